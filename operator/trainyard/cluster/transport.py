"""The wire: one request, or one watch stream, without any idea of objects or retries.

`Transport` is what `client.py` needs; `KubeTransport` speaks HTTPS with the certificates, tokens and proxies of a
kubeconfig or of the pod's service account, and simulations bring an API server in memory instead.

kubernetes.aio loads the configuration and builds the session. Its request layer is not used: it costs twice the CPU
of the session below it, encodes JSON slowly, and cannot bound the silence of a stream.
"""

import socket
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlencode
from urllib.request import getproxies, proxy_bypass

import aiohttp
import orjson
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.client.rest import RESTClientObject
from yarl import URL

from trainyard.cluster.errors import ClusterError, Silent, Unreachable, error_from
from trainyard.cluster.kubeconfig import load

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"  # JSON is YAML

_CONNECT_SECONDS = 5.0
_USER_AGENT = "trainyard"


@dataclass(frozen=True, slots=True)
class Response:
    """An answer of the API server, whatever its status."""

    status: int
    body: dict[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)
    sent: int = 0
    """Bytes of the request's body."""
    received: int = 0
    """Bytes of the answer's body."""


class Transport(Protocol):
    """How requests reach an API server. Raises `Unreachable` when no answer came, and nothing else."""

    async def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        *,
        body: object | None = None,
        content_type: str = JSON,
        within: float,
    ) -> Response:
        """Ask once and wait at most `within` seconds for the whole answer."""
        ...

    def stream(self, path: str, query: Mapping[str, str], inactivity: float) -> AsyncGenerator[dict[str, Any], None]:
        """Watch events until the server ends the stream.

        Raises `Silent` after `inactivity` seconds without a line, `Unreachable` when the connection breaks, and the
        error of the response when the watch is refused.
        """
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


class _Session(RESTClientObject):  # type: ignore[misc]
    """Builds kubernetes.aio's aiohttp session, with keep-alive probes that notice a peer that vanished."""

    def open(self) -> aiohttp.ClientSession:
        # The session would ask two threads for proxies and passwords of the environment before every single request.
        self.configuration.client_session_kwargs = {"trust_env": False}
        session: aiohttp.ClientSession = self._create_pool_manager()
        return session

    def _create_connector(self) -> aiohttp.TCPConnector:
        # No limit: a watch holds its connection, and an operator that is confined to fifteen namespaces has over a hundred.
        return aiohttp.TCPConnector(limit=0, ssl=self.ssl_context, socket_factory=_probing_socket)


def _probing_socket(address: Any) -> socket.socket:
    family, kind, protocol = address[:3]
    made = socket.socket(family, kind, protocol)
    made.setblocking(False)
    if family != socket.AF_UNIX:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):
            if hasattr(socket, option):  # Linux; elsewhere the inactivity timeout alone has to do
                made.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    return made


class KubeTransport:
    """HTTPS to a real API server. Belongs to the event loop in which it is first used."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._session: aiohttp.ClientSession | None = None
        self._base = str(configuration.host).rstrip("/")
        extras = {
            "proxy": configuration.proxy or _environment_proxy(self._base),
            "proxy_headers": configuration.proxy_headers,
            "server_hostname": configuration.tls_server_name,
        }
        self._extras: dict[str, Any] = {name: value for name, value in extras.items() if value}

    @property
    def url(self) -> str:
        """Where the API server is."""
        return self._base

    @classmethod
    async def connect(cls, kubeconfig: Path | str | None = None, context: str | None = None) -> "KubeTransport":
        """Raises NoClusterError."""
        return cls((await load(kubeconfig, context)).configuration)

    async def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        *,
        body: object | None = None,
        content_type: str = JSON,
        within: float,
    ) -> Response:
        data = None if body is None else orjson.dumps(body)
        limits = aiohttp.ClientTimeout(total=within, sock_connect=min(within, _CONNECT_SECONDS))
        try:
            async with self._opened().request(
                method,
                self._url(path, query),
                data=data,
                headers=self._headers(content_type),
                timeout=limits,
                **self._extras,
            ) as answer:
                raw = await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unreachable(_described(error, limits), doing=f"{method} {path}") from error
        return Response(answer.status, _decoded(raw), answer.headers, len(data or b""), len(raw))

    async def stream(
        self, path: str, query: Mapping[str, str], inactivity: float
    ) -> AsyncGenerator[dict[str, Any], None]:
        limits = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=inactivity)
        try:
            async with self._opened().get(
                self._url(path, query), headers=self._headers(JSON), timeout=limits, **self._extras
            ) as answer:
                if not answer.ok:
                    raise _refused(answer.status, _decoded(await answer.read()), answer.headers)
                async for line in _lines(answer.content):
                    yield orjson.loads(line)
        except aiohttp.SocketTimeoutError as error:
            raise Silent(f"no sign of life for {inactivity:g} s", doing=f"watch {path}") from error
        except (aiohttp.ClientError, TimeoutError, OSError, orjson.JSONDecodeError) as error:
            raise Unreachable(_described(error, limits), doing=f"watch {path}") from error

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = _Session(self._configuration).open()
        return self._session

    def _url(self, path: str, query: Mapping[str, str]) -> URL:
        return URL(f"{self._base}{path}?{urlencode(query)}" if query else f"{self._base}{path}", encoded=True)

    def _headers(self, content_type: str) -> dict[str, str]:
        headers = {"Accept": JSON, "Content-Type": content_type, "User-Agent": _USER_AGENT}
        # The hook of an in-cluster configuration re-reads the token file, which the kubelet replaces every hour.
        if self._configuration.refresh_api_key_hook is not None:
            self._configuration.refresh_api_key_hook(self._configuration)
        token = self._configuration.api_key.get("BearerToken")
        if token:
            headers["Authorization"] = token
        return headers


def _environment_proxy(base: str) -> str | None:
    """The proxy that HTTPS_PROXY and NO_PROXY ask for, as kubectl honours it; looked up once."""
    url = URL(base)
    if url.host is None or proxy_bypass(url.host):
        return None
    return getproxies().get(url.scheme)


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Lines of any length: the reader's own `readline` gives up at a fixed size."""
    rest = b""
    async for chunk in content.iter_any():
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            if line:
                yield line


def _refused(status: int, body: dict[str, Any], headers: Mapping[str, str]) -> ClusterError:
    return error_from(status, body, headers, doing="watch") or Unreachable(f"unexpected status {status}")


def _decoded(raw: bytes) -> dict[str, Any]:
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:  # a proxy's error page, or plain text such as "404 page not found"
        return {"message": raw[:500].decode(errors="replace").strip()}
    return body if isinstance(body, dict) else {"value": body}


def _described(error: BaseException, limits: aiohttp.ClientTimeout) -> str:
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return f"no connection within {limits.sock_connect:g} s"
    if type(error) is TimeoutError and limits.total is not None:
        return f"no answer within {round(limits.total, 1):g} s"
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
