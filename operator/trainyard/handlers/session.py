"""The HTTP session of kopf, in which its requests to the API server are counted like those of our own client.

kopf's own login finds the credentials; the session is the one that kopf would make of them, and a trace of aiohttp in it. A watch is
counted when the API server takes it, and its events are not: kopf reads them past every trace.
"""

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from types import SimpleNamespace
from typing import Any, Protocol

import aiohttp
import kopf
import orjson
from yarl import URL

_NO_ANSWER = 0
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


class CallCounter(Protocol):
    """Told about every request, from kopf's thread. As `cluster.sender.CallObserver`, with the resource as it is written."""

    def __call__(self, verb: str, resource: str, code: int, seconds: float, size: int, /) -> None: ...


Login = Callable[..., kopf.ConnectionInfo | None]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Session(kopf.AiohttpSession):
    """Equal to another of the same credentials: kopf does not take those again which the API server refused."""

    info: kopf.ConnectionInfo

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Session) and self.info == other.info

    def __hash__(self) -> int:
        return hash((_Session, self.server))


class CountedLogin:
    """Its method `session` is a login handler of kopf's."""

    def __init__(self, login: Login, count: CallCounter) -> None:
        self._login, self._count = login, count
        self._last: _Session | None = None

    async def session(self, **kwargs: Any) -> kopf.AiohttpSession | None:
        info = self._login(**kwargs)
        if info is None:
            return None
        if self._last is None or self._last.info != info:
            self._last = _Session(
                server=info.server,
                priority=info.priority,
                default_namespace=info.default_namespace,
                expiration=info.expiration,
                aiohttp_session=_opened(info, _trace(self._count)),
                info=info,
            )
        return self._last


def _opened(info: kopf.ConnectionInfo, trace: aiohttp.TraceConfig) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=info.as_ssl_context()),
        headers=info.as_http_headers(),
        proxy=info.proxy_url,
        trust_env=info.trust_env,
        trace_configs=[trace],
        response_class=_Response,
    )


class _Response(aiohttp.ClientResponse):
    """Reads JSON as the rest of this process does: a list of 10,000 jobs has 50 MB."""

    async def json(self, *, encoding: str | None = None, loads: Any = orjson.loads, **options: Any) -> Any:  # noqa: ARG002
        return loads(await self.read())


def _trace(count: CallCounter) -> aiohttp.TraceConfig:
    trace = aiohttp.TraceConfig()

    async def begins(_session: aiohttp.ClientSession, context: SimpleNamespace, _: object) -> None:
        context.began = monotonic()

    async def answered(
        _session: aiohttp.ClientSession, context: SimpleNamespace, told: aiohttp.TraceRequestEndParams
    ) -> None:
        verb, resource = named(told.method, told.url)
        count(verb, resource, told.response.status, monotonic() - context.began, told.response.content_length or 0)

    async def failed(
        _session: aiohttp.ClientSession, context: SimpleNamespace, told: aiohttp.TraceRequestExceptionParams
    ) -> None:
        count(*named(told.method, told.url), _NO_ANSWER, monotonic() - context.began, 0)

    trace.on_request_start.append(begins)
    trace.on_request_end.append(answered)
    trace.on_request_exception.append(failed)
    return trace


def named(method: str, url: URL) -> tuple[str, str]:
    """The verb as RBAC calls it, and the resource as plural and group; what the API server offers is `discovery`."""
    core, *rest = [part for part in url.path.split("/") if part] or [""]
    group, rest = ("", rest[1:]) if core == "api" else (rest[0] if rest else "", rest[2:])
    if rest[:1] == ["namespaces"] and len(rest) > 2:  # noqa: PLR2004  a namespace and something in it
        rest = rest[2:]
    if not rest:
        return "get", "discovery"
    resource = f"{rest[0]}.{group}" if group else rest[0]
    if method != "GET":
        return _VERBS.get(method, method.lower()), resource
    if url.query.get("watch") in ("true", "1"):
        return "watch", resource
    return ("get" if len(rest) > 1 else "list"), resource
