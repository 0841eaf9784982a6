"""Callers that are refused: put on record and counted, so that somebody who tries keys or speaks for others is noticed.

A record for each kind of refusal and route at most every ten seconds, with how many there were: whoever floods the endpoint does not
flood the audit trail.
"""

from collections import Counter
from collections.abc import Callable

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from trainyard.api.audit import Action
from trainyard.runtime.audit_chain import Entry
from trainyard.runtime.clock import Clock

_EVERY_SECONDS = 10.0
_LONGEST = 512


class Forged(web.HTTPForbidden):
    """The caller says that it is somebody else."""


class Alarms:
    """A middleware of the endpoint."""

    def __init__(self, record: Callable[[Entry], None], clock: Clock) -> None:
        self._record, self._clock = record, clock
        self._waiting: Counter[tuple[Action, str]] = Counter()
        self._told: dict[tuple[Action, str], float] = {}

    def middleware(self) -> Middleware:
        @web.middleware
        async def notice(request: web.Request, handler: Handler) -> web.StreamResponse:
            try:
                return await handler(request)
            except (web.HTTPUnauthorized, web.HTTPForbidden) as error:
                self._refused(_action(error), request, error.text or error.reason)
                raise

        return notice

    def _refused(self, action: Action, request: web.Request, why: str) -> None:
        resource = request.match_info.route.resource
        kind = action, resource.canonical if resource is not None else "other"
        self._waiting[kind] += 1
        now = self._clock.monotonic()
        if now - self._told.get(kind, -_EVERY_SECONDS) < _EVERY_SECONDS:
            return
        self._told[kind] = now
        facts = {"from": request.remote or "", "why": why[:_LONGEST], "times": self._waiting.pop(kind)}
        self._record(Entry(action, kind[1], facts))


def _action(error: web.HTTPException) -> Action:
    if isinstance(error, Forged):
        return Action.FORGED
    return Action.TOKEN_REFUSED if isinstance(error, web.HTTPUnauthorized) else Action.CALL_FORBIDDEN
