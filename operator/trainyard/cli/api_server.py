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
from trainyard.cli.patience import REQUEST_SECONDS, Waiting, unanswered
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

_PAGE = 500
_CHUNK = 65536
MERGE_PATCH = "application/merge-patch+json"
"""As in `cluster/transport`, which takes long to load."""
UNKNOWN_USER = 401
_REDIRECT = 300


class ApiServer:
    """Answers one question at a time on a connection of its own; may be asked by several threads."""

    def __init__(
        self, reached: Access, renew: Callable[[], Access] | None = None, patience: float = REQUEST_SECONDS
    ) -> None:
        """renew: asked once more who one is when the server does not know it; tokens of plugins end after minutes.

        patience: so many seconds the server may be silent.
        """
        self._access, self._renew, self._patience = reached, renew, patience
        self._waiting = Waiting(f"the cluster at {reached.url}", patience)

    @classmethod
    def of(cls, options: argparse.Namespace) -> "ApiServer":
        """That of the command's kubeconfig and context. Raises CliError."""

        def reached() -> Access:
            return access(options.kubeconfig, options.context)

        return cls(reached(), reached, options.request_timeout)

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
        with self._waiting.answer_to("GET /version"):
            connection, response = self._exchange("GET", "/version", {}, None, self._patience)
        with closing(connection), closing(response):
            told = response.getheader("Date")
        try:
            return parsedate_to_datetime(told) if told else None
        except ValueError:
            return None

    def lines(self, path: str, query: Mapping[str, str]) -> Iterator[str]:
        """Lines of a text, without their ends. Raises ClusterError."""
        with self._waiting.answer_to(f"GET {path}"):
            connection, response = self._exchange("GET", path, query, None, self._patience)
        yield from self._lines(path, connection, response)

    def lines_as_they_come(self, path: str, query: Mapping[str, str]) -> Iterator[str]:
        """The same of a text that goes on: who writes it may be silent for hours, before the first line too. Raises ClusterError."""
        yield from self._lines(path, *self._exchange("GET", path, query, None, None))

    def _lines(self, path: str, connection: "_Connection", response: HTTPResponse) -> Iterator[str]:
        rest = b""
        with closing(connection), closing(response):
            try:
                while chunk := response.read1(_CHUNK):
                    *whole, rest = (rest + chunk).split(b"\n")
                    yield from (line.decode(errors="replace") for line in whole)
            except (OSError, HTTPException) as error:
                raise Unreachable(self._described(error), doing=f"GET {path}") from None
        if rest:
            yield rest.decode(errors="replace")

    def _object(self, method: str, path: str, query: Mapping[str, str], body: Object | None) -> Object:
        with self._waiting.answer_to(f"{method} {path}"):
            connection, response = self._exchange(method, path, query, body, self._patience)
            with closing(connection), closing(response):
                try:
                    found: Any = orjson.loads(response.read())
                except (OSError, HTTPException) as error:
                    raise Unreachable(self._described(error), doing=f"{method} {path}") from None
                except orjson.JSONDecodeError:
                    found = None
        if not isinstance(found, dict):
            raise Unreachable(
                "what answers there is no API server: expected an object as JSON", doing=f"{method} {path}"
            )
        return found

    def _exchange(
        self, method: str, path: str, query: Mapping[str, str], body: Object | None, silence: float | None
    ) -> tuple["_Connection", HTTPResponse]:
        """An answer that is none of an error, to be read and closed. silence: the longest, in seconds; None for any."""
        connection, response = self._send(method, path, query, body, silence)
        if response.status == UNKNOWN_USER and self._renew is not None:
            response.close()
            connection.close()
            self._access = self._renew()
            connection, response = self._send(method, path, query, body, silence)
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
        self, method: str, path: str, query: Mapping[str, str], body: Object | None, silence: float | None
    ) -> tuple["_Connection", HTTPResponse]:
        here = self._access
        connection = _Connection(here, self._patience)
        target = f"{urlsplit(here.url).path}{path}" + (f"?{urlencode(query)}" if query else "")
        content = MERGE_PATCH if method == "PATCH" else "application/json"
        headers = {"Accept": "application/json, */*", "Content-Type": content, "User-Agent": "trainyard"}
        if here.authorization and here.trusted is not None:
            headers["Authorization"] = here.authorization
        try:
            connection.connect()
            connection.request(method, target, None if body is None else orjson.dumps(body), headers)
            connection.sock.settimeout(silence)
            return connection, connection.getresponse()
        except (OSError, HTTPException) as error:
            connection.close()
            raise Unreachable(self._described(error), doing=f"{method} {path}") from None

    def _described(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return f"nothing came for {self._patience:g} s"
        return str(error) or type(error).__name__


class _Connection(HTTPConnection):
    """TCP, through a proxy if there is one, then TLS."""

    def __init__(self, to: Access, patience: float) -> None:
        """patience: seconds that anything may take until the request is sent."""
        self._patience = patience
        parts = urlsplit(to.url)
        self._trusted, host = to.trusted, str(parts.hostname)
        port = parts.port or (443 if to.trusted else 80)
        self._server_name = to.server_name or host
        proxy = to.proxy or ("" if proxy_bypass(host) else getproxies().get(parts.scheme, ""))
        if not proxy:
            super().__init__(host, port, timeout=patience)
            return
        proxy = proxy if "://" in proxy else f"http://{proxy}"
        if not is_address(proxy, "http"):
            # It may hold a password.
            shown = proxy.rpartition("@")[2]
            raise CliError(f"the proxy {shown} cannot be used; expected http://HOST:PORT")
        by = urlsplit(proxy)
        super().__init__(str(by.hostname), by.port or 80, timeout=patience)
        proof = (
            base64.b64encode(f"{unquote(by.username)}:{unquote(by.password or '')}".encode()) if by.username else b""
        )
        self.set_tunnel(host, port, {"Proxy-Authorization": f"Basic {proof.decode()}"} if proof else {})

    def connect(self) -> None:
        super().connect()
        # A peer that vanishes is noticed, also where nothing is sent for hours.
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self.sock.settimeout(self._patience)
        if self._trusted is not None:
            self.sock = self._trusted.wrap_socket(self.sock, server_hostname=self._server_name)


def explained(error: ClusterError, server: ApiServer) -> CliError:
    """What happened and what to do, for people."""
    said = error.message
    if isinstance(error, Unreachable):
        return CliError(unanswered(server.url, str(error)))
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
