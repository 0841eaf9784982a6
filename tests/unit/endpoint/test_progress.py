"""A progress report: who may send one about which job, what it may say, and what stays when it is refused."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from tests import builders as b
from tests.simulation.fake_api import FakeApi
from trainyard.api.names import TOKEN_AUDIENCE
from trainyard.cluster.client import ClusterClient
from trainyard.cluster.tokens import TokenReviewer
from trainyard.endpoint.alarms import Alarms
from trainyard.endpoint.callers import Callers
from trainyard.endpoint.people import People
from trainyard.endpoint.questions import Questions
from trainyard.endpoint.server import MAX_BODY, Endpoint
from trainyard.inference.board import GatewayBoard
from trainyard.inference.membership import membership
from trainyard.questions.picture import take
from trainyard.runtime.clock import LoopClock
from trainyard.training.reports import ReportBoard
from trainyard.workloads.keys import Key
from trainyard.workloads.world import World

CLOCK = LoopClock(datetime(2026, 11, 23, tzinfo=UTC))
KEY = Key("TrainingJob", "team", "a")
LARGEST = 2**63 - 1


def a_job(uid: str) -> b.Object:
    return b.training_job("a", b.meta(uid=uid))


class Rig:
    """An endpoint over plain HTTP, a pod of job `a`, and tokens that are bound to it or not meant for us."""

    def __init__(self) -> None:
        self.api, self.world = FakeApi(CLOCK, latency=0), World()
        self.world.observe("TrainingJob", None, a_job("job"))
        owner = {"kind": "TrainingJob", "name": "a", "uid": "job", "controller": True}
        metadata = {"name": "a-worker-0-1", "namespace": "team", "uid": "pod", "ownerReferences": [owner]}
        self.pod: b.Object = {"metadata": metadata, "spec": {"containers": []}}
        self.token("good")
        self.token("elsewhere", audiences=["https://kubernetes.default.svc"])
        self.token("earlier", uid="pod-of-that-name-before")
        self.reports = ReportBoard()
        self.woken: list[Key] = []
        client = ClusterClient(self.api.connect(), CLOCK, Random(1))
        endpoint = Endpoint(
            "127.0.0.1",
            0,
            Callers(TokenReviewer(client, CLOCK), self._pod),
            self.world,
            CLOCK,
            self.reports,
            GatewayBoard(),
            lambda service: membership(service, ()),
            lambda key, _seconds: self.woken.append(key),
            Questions(People(client), lambda: take(self.world, CLOCK.now()), tuple),
            Alarms(lambda _: None, lambda _key, _message: None),
        )
        self.http: TestClient[Any, Any] = TestClient(TestServer(endpoint.app()))

    def _pod(self, namespace: str, name: str) -> b.Object | None:
        return self.pod if (namespace, name) == ("team", "a-worker-0-1") else None

    def token(self, token: str, audiences: list[str] | None = None, uid: str = "pod") -> None:
        extra = {
            "authentication.kubernetes.io/pod-name": ["a-worker-0-1"],
            "authentication.kubernetes.io/pod-uid": [uid],
        }
        user = {"username": "system:serviceaccount:team:default", "extra": extra}
        status = {"authenticated": True, "audiences": audiences or [TOKEN_AUDIENCE], "user": user}
        self.api.tokens[token] = status

    async def post(self, body: object, *, header: str | None = "Bearer good") -> tuple[int, Any]:
        headers = {} if header is None else {"Authorization": header}
        async with self.http.post("/v1/progress", json=body, headers=headers) as response:
            return response.status, await response.json()

    @property
    def kept(self) -> dict[str, Any] | None:
        """What is known of the job."""
        found = self.reports.of("job")
        return None if found is None else dict(found.body)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
    async with made.http:
        yield made


def said(**fields: object) -> dict[str, object]:
    return {"jobUid": "job", "attempt": 1, "phase": "training", "step": 3, "totalSteps": 10, **fields}


@pytest.mark.parametrize("header", ["Bearer good", "bearer good", "BEARER good", "Bearer   good", "Bearer good  "])
async def test_a_credential_is_understood_as_http_has_it(rig: Rig, header: str) -> None:
    assert (await rig.post(said(), header=header))[0] == 200


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (None, "expected an Authorization header with a bearer token"),
        ("", "expected an Authorization header"),
        ("good", "expected an Authorization header"),
        ("Bearer", "expected an Authorization header"),
        ("Bearer ", "expected an Authorization header"),
        ("Basic good", "expected an Authorization header"),
        ("Bearergood", "expected an Authorization header"),
        ("Bearer good good", "the token was refused"),
        ("Bearer good, Bearer good", "the token was refused"),
        ("Bearer bad", "the token was refused: unknown token"),
        ("Bearer elsewhere", f"the token is not meant for {TOKEN_AUDIENCE}"),
        (f"Bearer {'x' * 7000}", "the token was refused"),
    ],
)
async def test_a_credential_that_is_none_is_refused_with_401(rig: Rig, header: str | None, words: str) -> None:
    status, answer = await rig.post(said(), header=header)
    assert status == 401
    assert words in answer["error"]
    assert (rig.kept, rig.woken) == (None, [])


@pytest.mark.fault(94)
async def test_the_token_of_an_earlier_pod_of_that_name_is_refused(rig: Rig) -> None:
    assert (await rig.post(said(), header="Bearer earlier"))[0] == 403
    assert rig.kept is None


@pytest.mark.parametrize("now", [None, "another"], ids=["deleted", "made anew"])
async def test_a_report_about_a_job_that_is_gone_is_kept_nowhere(rig: Rig, now: str | None) -> None:
    rig.world.observe("TrainingJob", a_job("job"), a_job(now) if now else None)
    status, answer = await rig.post(said())
    assert status == 404
    assert "there is no TrainingJob team/a with uid job" in answer["error"]
    assert (rig.kept, rig.reports.of("another"), rig.woken) == (None, None, [])


async def test_a_report_takes_the_place_of_the_one_before(rig: Rig) -> None:
    await rig.post(said(step=3, loss=0.5, epoch=1))
    await rig.post(said(step=4))
    kept = rig.kept
    assert kept is not None
    assert (kept["step"], kept["loss"], kept["epoch"]) == (4, None, None)
    assert rig.woken == [KEY, KEY]


@pytest.mark.fault(94)
@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"step": -1}, "step: Input should be greater than or equal to 0, got '-1'"),
        ({"step": LARGEST + 1}, "step"),
        ({"step": 1.5}, "step"),
        ({"step": "many"}, "step"),
        ({"totalSteps": -1}, "totalSteps: Input should be greater than or equal to 0, got '-1'"),
        ({"epoch": -1}, "epoch"),
        ({"stepsPerSecond": -0.1}, "stepsPerSecond"),
        ({"throughput": -1}, "throughput"),
        ({"worldSize": 0}, "worldSize: Input should be greater than or equal to 1, got '0'"),
        ({"attempt": 0}, "attempt: Input should be greater than or equal to 1, got '0'"),
        ({"attempt": None}, "attempt"),
        ({"phase": "x" * 65}, "phase"),
        ({"warning": "x" * 4097}, "warning"),
        ({"metrics": {"accuracy": "high"}}, "metrics.accuracy"),
        ({"metrics": {f"m{number}": 1 for number in range(65)}}, "metrics"),
        ({"spent": {"saving": -1}}, "spent.saving"),
        ({"checkpoint": {"step": 1}}, "checkpoint.path: Field required"),
        ({"checkpoint": {"step": -1, "path": "p"}}, "checkpoint.step"),
        ({"checkpoint": {"step": 1, "path": "p" * 1025}}, "checkpoint.path"),
        ({"result": {"path": "p", "digest": "sha256:1"}}, "result.digest"),
        ({"firstStepAt": "yesterday"}, "firstStepAt"),
        ({"restarted": {"round": 1, "index": 0, "exitCode": 1}}, "restarted.round"),
    ],
)
async def test_what_is_out_of_range_is_refused_with_its_field_and_changes_nothing(
    rig: Rig, fields: dict[str, object], words: str
) -> None:
    await rig.post(said(step=2))
    before, woken = rig.kept, len(rig.woken)
    status, answer = await rig.post(said(**fields))
    assert status == 400
    assert words in answer["error"]
    assert (rig.kept, len(rig.woken)) == (before, woken)


@pytest.mark.parametrize(
    "fields", [{"step": 0}, {"step": LARGEST, "totalSteps": LARGEST}, {"step": 11}, {"metrics": {}}, {"new": 1}]
)
async def test_what_is_just_within_range_or_newer_than_the_operator_is_taken(
    rig: Rig, fields: dict[str, object]
) -> None:
    assert (await rig.post(said(**fields)))[0] == 200


async def test_the_largest_body_is_taken_and_a_larger_one_changes_nothing(rig: Rig) -> None:
    filled = said(padding="")
    room = MAX_BODY - len(str(filled)) - 64
    assert (await rig.post({**filled, "padding": "x" * room}))[0] == 200
    before = rig.kept
    assert (await rig.post({**filled, "step": 9, "padding": "x" * MAX_BODY}))[0] == 413
    assert rig.kept == before
