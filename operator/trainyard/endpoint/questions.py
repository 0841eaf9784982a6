"""GET /v1/why, POST /v1/plan, GET /v1/top and GET /v1/incidents: the operator answers people who may not read the whole cluster.

Whoever may get a job in a namespace may ask why it waits; whoever may create one may ask what it would do. Names of other namespaces'
objects do not leave. One question is worked on at a time, in a thread; nothing is written.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

import orjson
from aiohttp import web
from pydantic import ValidationError

from trainyard.api.incident import JobIncident
from trainyard.api.meta import Model
from trainyard.cluster.resources import INFERENCE_SERVICES, TRAINING_JOBS
from trainyard.endpoint.callers import refused
from trainyard.endpoint.people import People
from trainyard.questions.anonymous import anonymous
from trainyard.questions.hurry import in_a_hurry
from trainyard.questions.incidents import Wanted, incidents
from trainyard.questions.picture import Picture, planned
from trainyard.questions.plan import plan
from trainyard.questions.top import top
from trainyard.questions.why import why
from trainyard.scheduling.snapshot import Workload
from trainyard.scheduling.whatif import Settler

_PATIENCE_SECONDS = 20.0
_MOST_MANIFESTS = 50
_INCIDENTS_QUERY = frozenset({"namespace", "job", "node", "class", "since", "planned"})
_PLURALS = {"TrainingJob": TRAINING_JOBS.plural, "InferenceService": INFERENCE_SERVICES.plural}
_Answer = TypeVar("_Answer", bound=Model)


class Questions:
    """The routes for people."""

    def __init__(
        self, people: People, take: Callable[[], Picture], remembered: Callable[[], Sequence[JobIncident]]
    ) -> None:
        """take: a picture of this moment. remembered: incidents of jobs, also of those that are gone."""
        self._people, self._take, self._remembered = people, take, remembered
        self._turn = asyncio.Semaphore(1)
        self._settler = Settler()

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_get("/v1/why/{namespace}/{name}", self._why)
        router.add_post("/v1/plan", self._plan)
        router.add_get("/v1/top", self._top)
        router.add_get("/v1/incidents", self._incidents)

    async def _why(self, request: web.Request) -> web.Response:
        namespace, name = request.match_info["namespace"], request.match_info["name"]
        kind = request.query.get("kind")
        if kind is not None and kind not in _PLURALS:
            raise refused(web.HTTPBadRequest, f"kind: {kind!r}; expected {' or '.join(_PLURALS)}")
        person = await self._people.known(request)
        await person.may("get", _PLURALS[kind or "TrainingJob"], namespace)
        async with self._alone():
            picture = self._take()
            thing = picture.find(namespace, name, kind)
            if thing is None:
                raise refused(
                    web.HTTPNotFound,
                    f"no {kind or 'TrainingJob or InferenceService'} {name!r} in namespace {namespace!r}",
                )
            if thing.kind == "InferenceService" and kind is None:
                await person.may("get", _PLURALS["InferenceService"], namespace)
            return await _answer(picture, namespace, lambda: why(picture, thing, in_a_hurry(), self._settler))

    async def _plan(self, request: web.Request) -> web.Response:
        person = await self._people.known(request)
        namespace, manifests = await _asked(request)
        for plural in sorted({_PLURALS[str(each["kind"])] for each in manifests}):
            await person.may("create", plural, namespace)
        async with self._alone():
            picture = self._take()
            added: list[Workload] = []
            for number, manifest in enumerate(manifests):
                added += _added(picture, manifest, namespace, f"manifests[{number}]")
            if not added:
                raise refused(web.HTTPUnprocessableEntity, "manifests: none of them wants a place")
            return await _answer(
                picture,
                namespace,
                lambda: plan(self._settler.settle(picture.snapshot, picture.now), added, in_a_hurry()),
            )

    async def _top(self, request: web.Request) -> web.Response:
        namespace = request.query.get("namespace", "")
        person = await self._people.known(request)
        await person.may("list", _PLURALS["TrainingJob"], namespace)
        async with self._alone():
            picture = self._take()
            return await _answer(
                picture,
                namespace,
                lambda: top(
                    self._settler.settle(picture.snapshot, picture.now), namespace, picture.carbon_grams_per_kwh
                ),
            )

    async def _incidents(self, request: web.Request) -> web.Response:
        person = await self._people.known(request)
        wanted = _wanted(request)
        await person.may("list", _PLURALS["TrainingJob"], wanted.namespace)
        async with self._alone():
            picture, known = self._take(), self._remembered()
            jobs = tuple(picture.world.training_jobs())  # here: the world goes on while the thread reads
            return await _answer(picture, wanted.namespace, lambda: incidents(jobs, known, wanted))

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """One question at a time, from the picture that is taken for it on: whoever asks a lot holds up others who ask, and nothing else."""
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await self._turn.acquire()
        except TimeoutError:
            raise refused(web.HTTPServiceUnavailable, "many ask at once; ask again in a moment") from None
        try:
            yield
        finally:
            self._turn.release()


async def _answer(picture: Picture, namespace: str, work: Callable[[], _Answer]) -> web.Response:
    """namespace: that of which the caller may see names; empty for one who may see all."""
    others = tuple(picture.world.namespaces) if namespace else ()
    answer = await asyncio.to_thread(lambda: anonymous(work(), namespace, others))
    return web.Response(body=answer.model_dump_json(by_alias=True), content_type="application/json")


def _wanted(request: web.Request) -> Wanted:
    query = request.query
    if unknown := query.keys() - _INCIDENTS_QUERY:
        raise refused(
            web.HTTPBadRequest, f"{', '.join(sorted(unknown))}: expected of {', '.join(sorted(_INCIDENTS_QUERY))}"
        )
    since = query.get("since")
    try:
        began = datetime.fromisoformat(since) if since else None
    except ValueError:
        raise refused(web.HTTPBadRequest, f"since: {since!r}; expected a time such as 2026-11-30T12:00:00Z") from None
    return Wanted(
        namespace=query.get("namespace", ""),
        job=query.get("job", ""),
        node=query.get("node", ""),
        cause=query.get("class", ""),
        since=began.replace(tzinfo=UTC) if began and began.tzinfo is None else began,
        planned=query.get("planned") == "true",
    )


async def _asked(request: web.Request) -> tuple[str, list[dict[str, Any]]]:
    try:
        body = orjson.loads(await request.read())
        namespace, manifests = body["namespace"], body["manifests"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise refused(web.HTTPBadRequest, 'expected {"namespace": "...", "manifests": [...]}') from None
    if not isinstance(namespace, str) or not isinstance(manifests, list):
        raise refused(web.HTTPBadRequest, "namespace: expected a string, and a list in manifests")
    if len(manifests) > _MOST_MANIFESTS or not all(isinstance(each, dict) for each in manifests):
        raise refused(web.HTTPBadRequest, f"manifests: expected at most {_MOST_MANIFESTS} objects")
    for number, each in enumerate(manifests):
        if str(each.get("kind")) not in _PLURALS:
            raise refused(
                web.HTTPUnprocessableEntity,
                f"manifests[{number}].kind: kind {each.get('kind')!r} is not planned; expected {' or '.join(_PLURALS)}",
            )
    return namespace, manifests


def _added(picture: Picture, manifest: dict[str, Any], namespace: str, at: str) -> list[Workload]:
    """What a manifest would add. Names of one namespace are shown: that in which the caller may create what is planned."""
    try:
        thing, found = planned(picture.world, manifest, namespace, picture.now)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(map(str, first["loc"]))
        raise refused(web.HTTPUnprocessableEntity, f"{at}.{field}: {first['msg']}") from None
    meta = thing.metadata
    if meta.namespace != namespace:
        raise refused(
            web.HTTPUnprocessableEntity,
            f"{at}.metadata.namespace: {meta.namespace!r}; expected {namespace!r} as in namespace",
        )
    if picture.find(namespace, meta.name, thing.kind) is not None:
        raise refused(web.HTTPConflict, f"{at}.metadata.name: there is a {thing.kind} {meta.name!r} already")
    return found
