"""Callers that are refused: put on record and counted, so that somebody who tries keys or speaks for others is noticed."""

from collections.abc import Callable

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from trainyard.api.audit import Action
from trainyard.runtime.audit_chain import Entry
from trainyard.runtime.audit_gathering import Gathering


class Forged(web.HTTPForbidden):
    """The caller says that it is somebody else."""


class Alarms:
    """A middleware of the endpoint."""

    def __init__(self, record: Callable[[Entry], None]) -> None:
        self._refusals = Gathering(record)

    def middleware(self) -> Middleware:
        @web.middleware
        async def notice(request: web.Request, handler: Handler) -> web.StreamResponse:
            try:
                return await handler(request)
            except (web.HTTPUnauthorized, web.HTTPForbidden) as error:
                resource = request.match_info.route.resource
                route = resource.canonical if resource is not None else "other"
                self._refusals.add(_action(error), route, request.remote or "", error.text or error.reason)
                raise

        return notice

    def settle(self) -> None:
        """Put on record what is not yet. For the end of the endpoint."""
        self._refusals.settle()


def _action(error: web.HTTPException) -> Action:
    if isinstance(error, Forged):
        return Action.FORGED
    return Action.TOKEN_REFUSED if isinstance(error, web.HTTPUnauthorized) else Action.CALL_FORBIDDEN
