"""A very small client of the API server for the cluster's own chores.

The operator has its own client; this one keeps `dev` free of the product, so that a bug there cannot hide here.
"""

import http.client
import json
import ssl
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dev.cluster.errors import ClusterError

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
CONFLICT, NOT_FOUND = 409, 404
_FIRST_ERROR = 400


class ApiError(ClusterError):
    """The API server answered with an error."""

    def __init__(self, method: str, path: str, code: int, message: str) -> None:
        super().__init__(f"{method} {path}: {code} {message}")
        self.code = code


@dataclass(frozen=True)
class Api:
    """Talks JSON with one API server as the user of `token`. Makes a connection per call: safe in threads."""

    server: str
    token: str
    authority: Path

    def request(self, method: str, path: str, body: Any = None, *, content_type: str = "application/json") -> Any:
        """One call; returns the decoded answer. ApiError from 400 on, OSError when the server is away."""
        connection = self._connect(timeout=15)
        try:
            payload = None if body is None else json.dumps(body)
            connection.request(method, path, payload, self._headers(content_type))
            response = connection.getresponse()
            text = response.read().decode()
        finally:
            connection.close()
        if response.status >= _FIRST_ERROR:
            raise ApiError(method, path, response.status, _message(text))
        return json.loads(text) if text.startswith(("{", "[")) else text

    def get(self, path: str) -> Any:
        return self.request("GET", path)

    def items(self, path: str) -> list[dict[str, Any]]:
        """The objects of a list, from the server's cache."""
        joint = "&" if "?" in path else "?"
        items: list[dict[str, Any]] = self.get(f"{path}{joint}resourceVersion=0")["items"] or []
        return items

    def create(self, path: str, body: dict[str, Any]) -> bool:
        """Create an object; False when one of that name is there already."""
        try:
            self.request("POST", path, body)
        except ApiError as error:
            if error.code == CONFLICT:
                return False
            raise
        return True

    def patch(self, path: str, body: Any, content_type: str = MERGE_PATCH) -> Any:
        return self.request("PATCH", path, body, content_type=content_type)

    def delete(self, path: str) -> bool:
        """Delete an object; False when there is none."""
        try:
            self.request("DELETE", path)
        except ApiError as error:
            if error.code == NOT_FOUND:
                return False
            raise
        return True

    def changes(self, path: str, seconds: int = 240) -> Iterator[dict[str, Any]]:
        """Watch events of a collection from now on, until the server ends the watch."""
        connection = self._connect(timeout=seconds + 30)
        try:
            query = urllib.parse.urlencode({"watch": "1", "timeoutSeconds": seconds, "resourceVersion": "0"})
            joint = "&" if "?" in path else "?"
            connection.request("GET", f"{path}{joint}{query}", None, self._headers("application/json"))
            response = connection.getresponse()
            if response.status >= _FIRST_ERROR:
                raise ApiError("WATCH", path, response.status, _message(response.read().decode()))
            while line := response.readline():
                yield json.loads(line)
        finally:
            connection.close()

    def ready(self) -> bool:
        """Whether the server says that it is ready."""
        try:
            return bool(self.get("/readyz") == "ok")
        except (OSError, http.client.HTTPException, ApiError):
            return False

    def _connect(self, timeout: float) -> http.client.HTTPSConnection:
        url = urllib.parse.urlsplit(self.server)
        context = ssl.create_default_context(cafile=str(self.authority))
        return http.client.HTTPSConnection(url.hostname or "", url.port, timeout=timeout, context=context)

    def _headers(self, content_type: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}", "Content-Type": content_type, "Accept": "application/json"}


def _message(text: str) -> str:
    try:
        return str(json.loads(text).get("message", text))
    except ValueError:
        return text.strip()[:500]
