"""Who is put on record and counted so that it is noticed: callers that are refused, and programs that touch files of other jobs.

The ones try keys or speak for others; the others read what their job does not name.
"""

from collections.abc import Callable

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from trainyard.api.audit import Action
from trainyard.endpoint.strays import StrayReport
from trainyard.runtime.audit_chain import Entry
from trainyard.runtime.audit_gathering import Gathering
from trainyard.workloads.keys import Key

TellJob = Callable[[Key, str], None]
"""Post an event of this on the job."""


class Forged(web.HTTPForbidden):
    """The caller says that it is somebody else."""


class Alarms:
    """A middleware of the endpoint, and whom its routes tell what is no refusal."""

    def __init__(self, record: Callable[[Entry], None], tell_job: TellJob) -> None:
        self._gathering, self._tell_job = Gathering(record), tell_job

    def middleware(self) -> Middleware:
        @web.middleware
        async def notice(request: web.Request, handler: Handler) -> web.StreamResponse:
            try:
                return await handler(request)
            except (web.HTTPUnauthorized, web.HTTPForbidden) as error:
                resource = request.match_info.route.resource
                route = resource.canonical if resource is not None else "other"
                self._gathering.add(_action(error), route, request.remote or "", error.text or error.reason)
                raise

        return notice

    def strayed(self, job: Key, pod: str, report: StrayReport) -> None:
        """A program of the job touched files of others. By namespace, as whoever may make jobs there may make any number of them."""
        told = f"pod {pod}: {report}"
        self._gathering.add(Action.STRAYED, f"Namespace {job.namespace}", str(job), told)
        self._tell_job(job, told)

    def settle(self) -> None:
        """Put on record what is not yet. For the end of the endpoint."""
        self._gathering.settle()


def _action(error: web.HTTPException) -> Action:
    if isinstance(error, Forged):
        return Action.FORGED
    return Action.TOKEN_REFUSED if isinstance(error, web.HTTPUnauthorized) else Action.CALL_FORBIDDEN
