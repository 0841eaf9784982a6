"""Asks the operator's endpoint, for users who may not read the whole cluster: as themselves, with their own token."""

import asyncio
import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiohttp
import orjson

from trainyard.api.meta import Model
from trainyard.cli.errors import CliError

SERVER = "TRAINYARD_SERVER"
AUTHORITY = "TRAINYARD_CA"
_SECONDS = 30.0
_OK = 200
_Answer = TypeVar("_Answer", bound=Model)


@dataclass(frozen=True, slots=True)
class Server:
    """Where the operator answers people."""

    url: str
    authority: Path | None
    token: str

    async def ask(self, kind: type[_Answer], path: str, body: object | None = None) -> _Answer:
        """An answer. Raises CliError with the operator's own words if it gives none."""
        limits = aiohttp.ClientTimeout(total=_SECONDS)
        headers = {"Authorization": f"Bearer {self.token}"}
        context = await asyncio.to_thread(self._trusted)
        try:
            async with (
                aiohttp.ClientSession(timeout=limits, headers=headers) as session,
                session.request(
                    "GET" if body is None else "POST",
                    f"{self.url}{path}",
                    data=None if body is None else orjson.dumps(body),
                    ssl=context,
                ) as response,
            ):
                raw = await response.read()
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise CliError(
                f"the operator does not answer at {self.url}: {error or type(error).__name__}. Its certificate is signed by its own authority: name that with --server-ca"
            ) from None
        if status != _OK:
            raise CliError(_message(status, raw))
        return kind.model_validate_json(raw)

    def _trusted(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self.authority)
        except (OSError, ssl.SSLError) as error:
            raise CliError(f"--server-ca {self.authority}: no certificate can be read from it: {error}") from None


def server(url: str | None, authority: Path | None, token: str) -> Server | None:
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
    return Server(url.rstrip("/"), named, token)


def _message(status: int, raw: bytes) -> str:
    try:
        said: Any = orjson.loads(raw)["error"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        said = raw[:200].decode(errors="replace")
    return f"the operator says ({status}): {said}"
