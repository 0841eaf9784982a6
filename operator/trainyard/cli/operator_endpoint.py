"""Asks the operator's endpoint, for users who may not read the whole cluster: as themselves, with their own token."""

import asyncio
import os
import ssl
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any, TypeVar
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import orjson

from trainyard.api.meta import Model
from trainyard.cli.errors import CliError
from trainyard.cli.patience import Waiting

SERVER = "TRAINYARD_SERVER"
AUTHORITY = "TRAINYARD_CA"
_Answer = TypeVar("_Answer", bound=Model)


@dataclass(frozen=True, slots=True)
class Server:
    """Where the operator answers people."""

    url: str
    authority: Path | None
    token: str
    patience: float
    """So many seconds it may be silent."""

    async def ask(self, kind: type[_Answer], path: str, body: object | None = None) -> _Answer:
        """An answer. Raises CliError with the operator's own words if it gives none."""
        with Waiting(f"the operator at {self.url}", self.patience).answer_to(path.partition("?")[0]):
            return kind.model_validate_json(await asyncio.to_thread(self._fetch, path, body))

    def _fetch(self, path: str, body: object | None) -> bytes:
        """By the standard library: an HTTP client would take longer to load than the operator to answer."""
        request = Request(f"{self.url}{path}", None if body is None else orjson.dumps(body))  # noqa: S310  https only
        request.add_header("Authorization", f"Bearer {self.token}")
        request.add_header("Content-Type", "application/json")
        try:
            with urlopen(request, timeout=self.patience, context=self._trusted()) as response:  # noqa: S310  https only
                answer: bytes = response.read()
                return answer
        except HTTPError as error:
            raise CliError(_message(error.code, error.read())) from None
        except (OSError, HTTPException) as error:
            raise CliError(f"the operator does not answer at {self.url}: {self._why(path, error)}") from None

    def _why(self, path: str, error: Exception) -> str:
        """What came in place of an answer, and what to try."""
        reason = error.reason if isinstance(error, URLError) else error
        if isinstance(reason, TimeoutError):
            return f"{path.partition('?')[0]}: nothing came for {self.patience:g} s. Is --server (or {SERVER}) its address, and can it be reached from here? For one that is slow, see --request-timeout"
        return f"{reason or type(error).__name__}. Its certificate is signed by its own authority: name that with --server-ca"

    def _trusted(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self.authority)
        except (OSError, ssl.SSLError) as error:
            raise CliError(f"--server-ca {self.authority}: no certificate can be read from it: {error}") from None


def server(url: str | None, authority: Path | None, token: str, patience: float) -> Server | None:
    """The operator's endpoint by option or environment; None if neither names one. Raises CliError for an address that is none."""
    url = url or os.environ.get(SERVER)
    if not url:
        return None
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname:
        raise CliError(f"--server {url}: expected https://HOST:PORT")
    if not token:
        raise CliError(
            "the operator knows people by their bearer token, and the kubeconfig has none (it proves you by a certificate); use a context with a token"
        )
    named = authority or (Path(os.environ[AUTHORITY]) if os.environ.get(AUTHORITY) else None)
    return Server(url.rstrip("/"), named, token, patience)


def _message(status: int, raw: bytes) -> str:
    try:
        said: Any = orjson.loads(raw)["error"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        said = raw[:200].decode(errors="replace")
    return f"the operator says ({status}): {said}"
