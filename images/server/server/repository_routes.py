"""The repository extension over REST: what there is, load, unload."""

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any

from aiohttp import web

from server.bodies import Bodies
from server.errors import BadRequest
from server.protocol import parse
from server.replies import ok
from server.repository import Repository
from server.tensors import as_object, shown

_IGNORED = ("unload_dependents",)  # no model here depends on another


class RepositoryRoutes:
    """Handlers of /v2/repository."""

    def __init__(self, repository: Repository, bodies: Bodies) -> None:
        self._repository = repository
        self._bodies = bodies

    def routes(self) -> list[web.RouteDef]:
        model = "/v2/repository/models/{model}"
        return [
            web.post("/v2/repository/index", self._index),
            web.post(f"{model}/load", self._load),
            web.post(f"{model}/unload", self._unload),
        ]

    async def _index(self, request: web.Request) -> web.Response:
        ready = (await self._fields(request)).get("ready", False)
        if not isinstance(ready, bool):
            raise BadRequest(f"ready is {shown(ready)}; expected true or false")
        return ok(self._repository.index(only_ready=ready))

    async def _load(self, request: web.Request) -> web.Response:
        require_known(as_object((await self._fields(request)).get("parameters", {}), "parameters"))
        await to_the_end(self._repository.load(request.match_info["model"]))
        return ok({})

    async def _unload(self, request: web.Request) -> web.Response:
        require_known(as_object((await self._fields(request)).get("parameters", {}), "parameters"))
        await to_the_end(self._repository.unload(request.match_info["model"]))
        return ok({})

    async def _fields(self, request: web.Request) -> Mapping[str, Any]:
        body = await self._bodies.read(request)
        return as_object(parse(body), "the request body") if body else {}


def require_known(parameters: Mapping[str, Any]) -> None:
    """Raises BadRequest for a parameter that would change what is loaded: only the folder says that here."""
    for name in parameters:
        if name not in _IGNORED:
            raise BadRequest(f"parameter {name!r} is not supported; a model is loaded as its folder has it")


_changing: set[asyncio.Task[None]] = set()  # the loop holds tasks weakly


async def to_the_end(change: Coroutine[Any, Any, None]) -> None:
    """Await a change that goes on when the caller leaves: half a load would be worse than one nobody waits for."""
    task = asyncio.create_task(change)
    _changing.add(task)
    task.add_done_callback(_changing.discard)
    await asyncio.shield(task)
