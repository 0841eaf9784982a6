"""The operator's endpoint: say what is applied, hear what is wanted.

The token is read anew for each call, since kubelet rotates it. Whatever goes wrong is one exception, because the
answer is always the same: go on with what is known and ask again.
"""

import ssl
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson

from gateway.config import Settings
from gateway.members import InvalidMembership, Membership, parse_membership

_TIMEOUT_SECONDS = 3.0


class OperatorAway(Exception):  # noqa: N818 - an event of every upgrade, not a mistake
    """No usable reply; the message says why."""


class Operator:
    """Client of the operator's gateway endpoint. Use as an async context manager."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.sync_url
        self._token_file: Path = settings.token_file
        self._tls = ssl.create_default_context(cadata=settings.sync_ca) if settings.sync_ca else True
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS)
        connector = aiohttp.TCPConnector(ssl=self._tls, limit=1)
        self._session = aiohttp.ClientSession(connector=connector, timeout=timeout)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def sync(self, report: dict[str, Any], before: Membership | None) -> Membership:
        """Membership wanted now. Raises OperatorAway."""
        assert self._session is not None, "sync() is called inside `async with`"
        try:
            headers = {"Authorization": f"Bearer {self._token_file.read_text().strip()}"}
            body = orjson.dumps(report)
            headers["Content-Type"] = "application/json"
            async with self._session.post(self._url, data=body, headers=headers) as response:
                reply = await response.read()
                if response.status != 200:  # noqa: PLR2004 - OK
                    raise OperatorAway(f"the operator answered {response.status}: {reply[:200]!r}")
            return parse_membership(orjson.loads(reply), before)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise OperatorAway(f"{type(error).__name__}: {error}") from error
        except (InvalidMembership, orjson.JSONDecodeError) as error:
            raise OperatorAway(f"the operator's reply is not usable: {error}") from error
