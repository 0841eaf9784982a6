"""The API server, asked with the standard library: an HTTP client would take longer to load than the server to answer.

Raises the errors of `cluster/errors.py`; `explained` turns them into words for people.
"""

import argparse
import base64
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any
from urllib.parse import unquote, urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

import orjson

from trainyard.cli.access import Access, access, is_address
from trainyard.cli.errors import CliError
from trainyard.cluster.errors import (
    ClusterError,
    Forbidden,
    NotFound,
    ServerError,
    TooManyRequests,
    Unreachable,
    error_from,
)
from trainyard.cluster.resources import Object

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 30.0
_PAGE = 500
_CHUNK = 65536
MERGE_PATCH = "application/merge-patch+json"
"""As in `cluster/transport`, which takes long to load."""
UNKNOWN_USER = 401
_REDIRECT = 300


class ApiServer:
    """Answers one question at a time on a connection of its own; may be asked by several threads."""

    def __init__(self, reached: Access, renew: Callable[[], Access] | None = None) -> None:
        """renew: asked once more who one is when the server does not know it; tokens of plugins end after minutes."""
        self._access, self._renew = reached, renew

    @classmethod
    def of(cls, options: argparse.Namespace) -> "ApiServer":
        """That of the command's kubeconfig and context. Raises CliError."""

        def reached() -> Access:
            return access(options.kubeconfig, options.context)

        return cls(reached(), reached)

    @property
    def url(self) -> str:
        return self._access.url

    @property
    def namespace(self) -> str:
        """That of the context."""
        return self._access.namespace

    def get(self, path: str, query: Mapping[str, str] | None = None) -> Object:
        """An object. Raises ClusterError."""
        return self._object("GET", path, query or {}, None)

    def items(self, path: str, query: Mapping[str, str] | None = None) -> list[Object]:
        """Everything of a list, page by page. Raises ClusterError."""
        found: list[Object] = []
        asked = {**(query or {}), "limit": str(_PAGE)}
        while True:
            page = self.get(path, asked)
            found += page.get("items") or []
            more = (page.get("metadata") or {}).get("continue")
            if not more:
                return found
            asked["continue"] = str(more)

    def post(self, path: str, body: Object, query: Mapping[str, str] | None = None) -> Object:
        """The object as it is stored. Raises ClusterError."""
        return self._object("POST", path, query or {}, body)

    def patch(self, path: str, body: Object) -> Object:
        """A merge patch; a resourceVersion in its metadata is a precondition. The object as it is stored. Raises ClusterError."""
        return self._object("PATCH", path, {}, body)

    def time(self) -> datetime | None:
        """The server's own clock, to a second; None where a proxy leaves it out. Raises ClusterError."""
        connection, response = self._exchange("GET", "/version", {}, None)
        with closing(connection), closing(response):
            told = response.getheader("Date")
        try:
            return parsedate_to_datetime(told) if told else None
        except ValueError:
            return None

    def lines(self, path: str, query: Mapping[str, str], *, silence: float | None = ANSWER_SECONDS) -> Iterator[str]:
        """Lines of a text as they come, without their ends. silence: the longest, in seconds; None for any. Raises ClusterError."""
        connection, response = self._exchange("GET", path, query, None)
        rest = b""
        with closing(connection), closing(response):
            try:
                connection.bear(silence)
                while chunk := response.read1(_CHUNK):
                    *whole, rest = (rest + chunk).split(b"\n")
                    yield from (line.decode(errors="replace") for line in whole)
            except (OSError, HTTPException) as error:
                raise Unreachable(_described(error), doing=f"GET {path}") from None
        if rest:
            yield rest.decode(errors="replace")

    def _object(self, method: str, path: str, query: Mapping[str, str], body: Object | None) -> Object:
        connection, response = self._exchange(method, path, query, body)
        with closing(connection), closing(response):
            try:
                found: Any = orjson.loads(response.read())
            except (OSError, HTTPException) as error:
                raise Unreachable(_described(error), doing=f"{method} {path}") from None
            except orjson.JSONDecodeError:
                found = None
        if not isinstance(found, dict):
            raise Unreachable(
                "what answers there is no API server: expected an object as JSON", doing=f"{method} {path}"
            )
        return found

    def _exchange(
        self, method: str, path: str, query: Mapping[str, str], body: Object | None
    ) -> tuple["_Connection", HTTPResponse]:
        """An answer that is none of an error, to be read and closed."""
        connection, response = self._send(method, path, query, body)
        if response.status == UNKNOWN_USER and self._renew is not None:
            response.close()
            connection.close()
            self._access = self._renew()
            connection, response = self._send(method, path, query, body)
        if response.status < _REDIRECT:
            return connection, response
        with closing(connection), closing(response):
            try:
                said = _decoded(response.read())
            except (OSError, HTTPException):
                said = {}
        error = error_from(response.status, said, dict(response.getheaders()), doing=f"{method} {path}")
        raise error or Unreachable(f"it sends elsewhere, to {response.getheader('Location')}", doing=f"{method} {path}")

    def _send(
        self, method: str, path: str, query: Mapping[str, str], body: Object | None
    ) -> tuple["_Connection", HTTPResponse]:
        here = self._access
        connection = _Connection(here)
        target = f"{urlsplit(here.url).path}{path}" + (f"?{urlencode(query)}" if query else "")
        content = MERGE_PATCH if method == "PATCH" else "application/json"
        headers = {"Accept": "application/json, */*", "Content-Type": content, "User-Agent": "trainyard"}
        if here.authorization and here.trusted is not None:
            headers["Authorization"] = here.authorization
        try:
            connection.connect()
            connection.request(method, target, None if body is None else orjson.dumps(body), headers)
            return connection, connection.getresponse()
        except (OSError, HTTPException) as error:
            connection.close()
            raise Unreachable(_described(error), doing=f"{method} {path}") from None


class _Connection(HTTPConnection):
    """TCP, through a proxy if there is one, then TLS."""

    def __init__(self, to: Access) -> None:
        parts = urlsplit(to.url)
        self._trusted, host = to.trusted, str(parts.hostname)
        port = parts.port or (443 if to.trusted else 80)
        self._server_name = to.server_name or host
        proxy = to.proxy or ("" if proxy_bypass(host) else getproxies().get(parts.scheme, ""))
        if not proxy:
            super().__init__(host, port, timeout=CONNECT_SECONDS)
            return
        proxy = proxy if "://" in proxy else f"http://{proxy}"
        if not is_address(proxy, "http"):
            # It may hold a password.
            shown = proxy.rpartition("@")[2]
            raise CliError(f"the proxy {shown} cannot be used; expected http://HOST:PORT")
        by = urlsplit(proxy)
        super().__init__(str(by.hostname), by.port or 80, timeout=CONNECT_SECONDS)
        proof = (
            base64.b64encode(f"{unquote(by.username)}:{unquote(by.password or '')}".encode()) if by.username else b""
        )
        self.set_tunnel(host, port, {"Proxy-Authorization": f"Basic {proof.decode()}"} if proof else {})

    def connect(self) -> None:
        super().connect()
        # A peer that vanishes is noticed, also where nothing is sent for hours.
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if self._trusted is not None:
            self.sock = self._trusted.wrap_socket(self.sock, server_hostname=self._server_name)
        self._wire = self.sock
        self.bear(ANSWER_SECONDS)

    def bear(self, silence: float | None) -> None:
        """Wait so many seconds for the next bytes. `sock` itself is gone once the head of a last answer has come."""
        self._wire.settimeout(silence)


def explained(error: ClusterError, server: ApiServer) -> CliError:
    """What happened and what to do, for people."""
    said = error.message
    if isinstance(error, Unreachable):
        return CliError(
            f"the cluster does not answer at {server.url}: {said}. Is this the cluster that --context means?"
        )
    if error.status == UNKNOWN_USER:
        return CliError(
            f"the cluster at {server.url} does not know you: {said}. Log in anew, or name another --context"
        )
    if isinstance(error, Forbidden):
        return CliError(f"that is forbidden: {said}")
    if (isinstance(error, NotFound) and error.reason != "NotFound") or "could not find the requested resource" in said:
        return CliError("this cluster does not know Trainyard's kinds: install the chart there first")
    if isinstance(error, TooManyRequests | ServerError):
        return CliError(f"the cluster cannot answer now ({error.status}): {said}. Try again later")
    return CliError(said)


def _decoded(raw: bytes) -> dict[str, Any]:
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:  # a proxy's error page, or plain text such as "404 page not found"
        return {"message": raw[:500].decode(errors="replace").strip()} if raw.strip() else {}
    return body if isinstance(body, dict) else {}


def _described(error: Exception) -> str:
    return str(error) or type(error).__name__
