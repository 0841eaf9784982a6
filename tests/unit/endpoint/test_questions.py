"""People ask the operator: only about what they may see, and without names of what they may not."""

import asyncio
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from tests import builders as b
from tests.simulation.fake_api import FakeApi
from tests.simulation.fake_nodes import node
from trainyard.api.admission import JobAdmission, compact
from trainyard.api.incident import JobIncident
from trainyard.cluster.client import ClusterClient
from trainyard.endpoint.people import People
from trainyard.endpoint.questions import Questions
from trainyard.questions.picture import Picture, take
from trainyard.runtime.clock import LoopClock
from trainyard.workloads.world import World

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
CLOCK = LoopClock(NOW)
HELD = JobAdmission(epoch=1, queue="research", flavor="h200", time=NOW, roles=[compact("worker", ["n0"])])


class Rig:
    """A cluster of 8 GPUs, of which another team holds 6; ann may see and create in `team`."""

    def __init__(self) -> None:
        self.api, self.world = FakeApi(CLOCK, latency=0), World()
        created = {"generation": 1, "creationTimestamp": "2026-11-23T11:00:00Z"}
        secret = b.training_job(
            "secret",
            b.meta(uid="secret", **created),
            b.namespace("other"),
            b.gpus(6),
            b.status(admission=HELD.model_dump(by_alias=True, mode="json"), phase="Running"),
        )
        mine = b.training_job("mine", b.meta(uid="mine", **created), b.gpus(4))
        queue = b.a_queue("research", gpus=8)
        spaces = (b.a_namespace(), b.a_namespace("other", team="research"))
        for each in (node("n0", 8), b.a_flavor(), queue, *spaces, secret, mine):
            each["metadata"].setdefault("uid", each["metadata"]["name"])
            self.world.observe(each["kind"], None, each)
        self.api.tokens["ann"] = {"authenticated": True, "user": {"username": "ann", "groups": ["staff"]}}
        self.asked: list[Any] = []
        self.api.allows = self._allows
        client = ClusterClient(self.api.connect(), CLOCK, Random(1))
        app = web.Application()
        self.remembered: list[JobIncident] = []
        self.taken = 0
        """Pictures."""
        self.questions = Questions(People(client), self._take, lambda: self.remembered)
        self.questions.add_to(app.router)
        self.http: TestClient[Any, Any] = TestClient(TestServer(app))

    def _take(self) -> Picture:
        self.taken += 1
        return take(self.world, NOW)

    def _allows(self, spec: b.Object) -> bool:
        self.asked.append(spec)
        return bool(spec["user"] == "ann" and spec["resourceAttributes"]["namespace"] == "team")

    async def ask(self, path: str, body: object = None, token: str = "ann") -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {token}"}
        sent: dict[str, Any] = {} if body is None else {"json": body}
        async with self.http.request("GET" if body is None else "POST", path, headers=headers, **sent) as response:
            return response.status, await response.json()


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
    async with made.http:
        yield made


async def test_why_names_no_job_of_another_namespace(rig: Rig) -> None:
    status, answer = await rig.ask("/v1/why/team/mine")
    assert (status, answer["reason"]) == (200, "WaitingForQuota")
    assert [each["who"] for each in answer["holders"]] == ["a job of another namespace"]
    assert "secret" not in str(answer)
    assert rig.asked[0]["groups"] == ["staff"]
    assert rig.asked[0]["resourceAttributes"] == {
        "group": "trainyard.dev",
        "resource": "trainingjobs",
        "namespace": "team",
        "verb": "get",
    }


async def test_plan_says_what_a_job_would_do_and_creates_nothing(rig: Rig) -> None:
    fits, waits = b.training_job("fits", b.gpus(2)), b.training_job("waits", b.gpus(8))
    status, answer = await rig.ask("/v1/plan", {"namespace": "team", "manifests": [fits, waits]})
    assert status == 200
    assert [each["starts"] for each in answer["workloads"]] == [True, False]
    assert "secret" not in str(answer)
    assert {each["resourceAttributes"]["verb"] for each in rig.asked} == {"create"}
    assert not [each for each in rig.api.writes if "review" not in each.resource.plural]


async def test_top_shows_queues_to_whoever_may_list_jobs(rig: Rig) -> None:
    status, answer = await rig.ask("/v1/top?namespace=team")
    assert status == 200
    assert [(each["queue"], each["used"]) for each in answer["queues"]] == [("research", "6")]


@pytest.mark.parametrize(
    ("path", "body", "token", "status", "words"),
    [
        ("/v1/why/team/mine", None, "stranger", 401, "the token was refused"),
        ("/v1/why/other/secret", None, "ann", 403, "ann may not get trainingjobs.trainyard.dev in 'other'"),
        ("/v1/why/team/nothing", None, "ann", 404, "no TrainingJob or InferenceService 'nothing'"),
        ("/v1/why/team/mine?kind=Pod", None, "ann", 400, "kind: 'Pod'"),
        ("/v1/plan", {"manifests": []}, "ann", 400, "expected"),
        ("/v1/plan", {"namespace": "team", "manifests": ["x"]}, "ann", 400, "manifests: expected at most 50 objects"),
        ("/v1/plan", {"namespace": "team", "manifests": [{"kind": "Pod"}]}, "ann", 422, "manifests[0].kind"),
        ("/v1/plan", {"namespace": "team", "manifests": []}, "ann", 422, "none of them wants a place"),
        ("/v1/top", None, "ann", 403, "may not list"),
    ],
)
async def test_what_cannot_be_answered_says_why(
    rig: Rig, path: str, body: object, token: str, status: int, words: str
) -> None:
    found, answer = await rig.ask(path, body, token)
    assert found == status
    assert words in answer["error"]


async def test_a_plan_for_another_namespace_is_refused(rig: Rig) -> None:
    job = b.training_job("fits", b.namespace("other"))
    status, answer = await rig.ask("/v1/plan", {"namespace": "team", "manifests": [job]})
    assert (status, answer["error"]) == (
        422,
        "manifests[0].metadata.namespace: 'other'; expected 'team' as in namespace",
    )
    status, answer = await rig.ask("/v1/plan", {"namespace": "other", "manifests": [job]})
    assert (status, "may not create" in answer["error"]) == (403, True)


async def test_names_of_a_namespace_are_not_shown_to_somebody_who_plans_in_another(rig: Rig) -> None:
    status, answer = await rig.ask(
        "/v1/plan", {"namespace": "other", "manifests": [b.training_job("waits", b.gpus(8))]}
    )
    assert (status, "secret" in str(answer)) == (403, False)


async def test_of_somebody_unknown_no_body_is_read(rig: Rig) -> None:
    server = rig.http.server
    reader, writer = await asyncio.open_connection(server.host, server.port)
    head = f"POST /v1/plan HTTP/1.1\r\nHost: {server.host}\r\nAuthorization: Bearer stranger\r\nContent-Length: 99999\r\n\r\n"
    writer.write(head.encode())  # and nothing of the body, ever
    try:
        assert b" 401 " in await reader.readline()
    finally:
        writer.close()


async def test_a_picture_is_taken_when_it_is_a_questions_turn_and_not_before(rig: Rig) -> None:
    async with rig.questions._alone():
        asking = [asyncio.create_task(rig.ask("/v1/why/team/mine")) for _ in range(3)]
        while len(rig.asked) < len(asking):  # noqa: ASYNC110  the server's part of it runs in this loop
            await asyncio.sleep(0.01)
        assert rig.taken == 0
    assert [status for status, _ in await asyncio.gather(*asking)] == [200, 200, 200]
    assert rig.taken == 3


async def test_a_plan_of_a_wrong_field_names_it(rig: Rig) -> None:
    job = b.training_job("wrong", b.spec(workers={"replicas": -1}))
    status, answer = await rig.ask("/v1/plan", {"namespace": "team", "manifests": [job]})
    assert status == 422
    assert "manifests[0].spec.workers.replicas" in answer["error"]


def struck(job: str, namespace: str, **more: Any) -> JobIncident:
    fields = {"number": 1, "attempt": 1, "cause": "Node", "fault_at": NOW, "detected_at": NOW, "ended_at": NOW, **more}
    return JobIncident(namespace=namespace, job=job, uid=f"uid-{job}", **fields)


async def test_incidents_are_told_of_one_namespace_to_who_may_list_its_jobs(rig: Rig) -> None:
    words = "makes way for TrainingJob other/secret"
    rig.remembered = [struck("gone", "team", message=words), struck("theirs", "other")]
    status, answer = await rig.ask("/v1/incidents?namespace=team")
    assert status == 200
    assert [each["job"] for each in answer["incidents"]] == ["gone"]
    assert "secret" not in str(answer)
    assert rig.asked[0]["resourceAttributes"]["verb"] == "list"
    assert (await rig.ask("/v1/incidents"))[0] == 403, "of all namespaces"


async def test_incidents_of_a_restored_job_are_told_once(rig: Rig) -> None:
    known = {"number": 1, "attempt": 1, "cause": "Node", "faultAt": NOW.isoformat(), "detectedAt": NOW.isoformat()}
    at_first = {"uid": "uid-back", "since": NOW.isoformat(), "taken": NOW.isoformat()}
    job = b.training_job("back", b.meta(uid="new", generation=1), b.status(incidents=[known], restored=at_first))
    rig.world.observe("TrainingJob", None, job)
    later = struck("back", "team", fault_at=NOW.replace(hour=13), number=2)
    rig.remembered = [struck("back", "team"), later]
    _, answer = await rig.ask("/v1/incidents?namespace=team")
    assert [(each["uid"], each["number"]) for each in answer["incidents"]] == [("uid-back", 2), ("uid-back", 1)]


async def test_the_world_is_read_by_nobody_but_the_loops_thread(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on meanwhile: a dict that changes while it is gone through ends the answer."""
    readers, read = [], World.training_jobs

    def watched(world: World) -> Any:
        readers.append(threading.current_thread())
        return read(world)

    monkeypatch.setattr(World, "training_jobs", watched)
    assert (await rig.ask("/v1/incidents?namespace=team"))[0] == 200
    assert set(readers) == {threading.current_thread()}


async def test_incidents_are_chosen_by_what_is_asked(rig: Rig) -> None:
    old = NOW.replace(year=2025)
    rig.remembered = [
        struck("a", "team", node="n1"),
        struck("b", "team", node="n2", cause="Hang"),
        struck("c", "team", fault_at=old, detected_at=old, ended_at=old),
        struck("d", "team", cause="Preempted", planned=True),
    ]

    async def told(query: str) -> list[str]:
        _, answer = await rig.ask(f"/v1/incidents?namespace=team&{query}")
        return sorted(each["job"] for each in answer["incidents"])

    assert await told("node=n1") == ["a"]
    assert await told("class=hang") == ["b"]
    assert await told("job=c") == ["c"]
    assert await told("since=2026-01-01T00:00:00Z") == ["a", "b"]
    assert await told("planned=true") == ["a", "b", "c", "d"]
    assert await told("class=Preempted") == ["d"], "who names it wants it"


@pytest.mark.parametrize("query", ["since=yesterday", "nodes=n1"])
async def test_a_question_for_incidents_that_is_wrong_names_the_field(rig: Rig, query: str) -> None:
    status, answer = await rig.ask(f"/v1/incidents?namespace=team&{query}")
    assert status == 400
    assert query.partition("=")[0] in answer["error"]
    assert "expected" in answer["error"]
