"""The endpoint believes a pod about its own job or service, and nobody about anything else."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from tests import builders as b
from tests.simulation.fake_api import FakeApi
from tests.simulation.fake_faults import on
from trainyard.api.audit import Action
from trainyard.api.names import TOKEN_AUDIENCE
from trainyard.cluster.client import ClusterClient
from trainyard.cluster.resources import TOKEN_REVIEWS
from trainyard.cluster.tokens import TokenReviewer
from trainyard.endpoint.alarms import Alarms
from trainyard.endpoint.callers import Callers
from trainyard.endpoint.certificates import up_to_date
from trainyard.endpoint.people import People
from trainyard.endpoint.questions import Questions
from trainyard.endpoint.server import MAX_BODY, Endpoint
from trainyard.inference.board import GatewayBoard
from trainyard.inference.membership import membership
from trainyard.questions.picture import take
from trainyard.runtime.audit_chain import Entry
from trainyard.runtime.clock import LoopClock
from trainyard.training.reports import ReportBoard
from trainyard.workloads.keys import Key
from trainyard.workloads.world import World

CLOCK = LoopClock(datetime(2026, 11, 23, tzinfo=UTC))
JOB = b.training_job("a", b.meta(uid="job"))
SERVICE = b.inference_service("s", b.meta(uid="service"))


def a_pod(name: str, owner: b.Object | None, **labels: str) -> b.Object:
    metadata: b.Object = {"name": name, "namespace": "team", "uid": f"uid-{name}", "labels": labels}
    if owner is not None:
        metadata["ownerReferences"] = [
            {
                "kind": owner["kind"],
                "name": owner["metadata"]["name"],
                "uid": owner["metadata"]["uid"],
                "controller": True,
            }
        ]
    return {"metadata": metadata, "spec": {"containers": []}}


PODS = {
    each["metadata"]["name"]: each
    for each in (
        a_pod("a-worker-0-1", JOB),
        a_pod("stranger", None),
        a_pod("s-gateway-0", None, **{"trainyard.dev/role": "gateway", "trainyard.dev/service": "s"}),
    )
}


class Rig:
    """An endpoint over plain HTTP with three pods, each with a token of its own name."""

    def __init__(self) -> None:
        self.api = FakeApi(CLOCK, latency=0)
        for name in (*PODS, "gone"):
            extra = {
                "authentication.kubernetes.io/pod-name": [name],
                "authentication.kubernetes.io/pod-uid": [f"uid-{name}"],
            }
            user = {"username": "system:serviceaccount:team:default", "extra": extra}
            self.api.tokens[name] = {"authenticated": True, "audiences": [TOKEN_AUDIENCE], "user": user}
        self.world = World()
        self.world.observe("TrainingJob", None, JOB)
        self.world.observe("InferenceService", None, SERVICE)
        self.reports, self.gateways = ReportBoard(), GatewayBoard()
        self.records: list[Entry] = []
        self.told: list[tuple[Key, str]] = []
        """Events of jobs."""
        self.woken: list[tuple[Key, float]] = []
        client = ClusterClient(self.api.connect(), CLOCK, Random(1))
        self.endpoint = Endpoint(
            "127.0.0.1",
            0,
            Callers(TokenReviewer(client, CLOCK), lambda _namespace, name: PODS.get(name)),
            self.world,
            CLOCK,
            self.reports,
            self.gateways,
            lambda service: membership(service, ()),
            lambda key, seconds: self.woken.append((key, seconds)),
            Questions(People(client), lambda: take(self.world, CLOCK.now()), tuple),
            Alarms(self.records.append, lambda key, message: self.told.append((key, message))),
        )
        self.http: TestClient[Any, Any] = TestClient(TestServer(self.endpoint.app()))

    async def post(self, path: str, body: object, token: str | None, *, raw: bytes | None = None) -> tuple[int, Any]:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        sent = {"data": raw} if raw is not None else {"json": body}
        async with self.http.post(path, headers=headers, **sent) as response:
            return response.status, await response.json()


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
    async with made.http:
        yield made


def progress(**fields: object) -> dict[str, object]:
    return {"jobUid": "job", "attempt": 1, "phase": "training", "step": 3, **fields}


def sync(**fields: object) -> dict[str, object]:
    return {
        "namespace": "team",
        "service": "s",
        "serviceUid": "service",
        "pod": "s-gateway-0",
        "generation": 0,
        "members": {"s-1": {"state": "UP", "inUse": 2}},
        **fields,
    }


async def test_progress_of_the_own_job_is_taken(rig: Rig) -> None:
    assert await rig.post("/v1/progress", progress(), "a-worker-0-1") == (200, {"commands": []})
    found = rig.reports.of("job")
    assert found is not None
    assert found.body["step"] == 3
    await rig.post("/v1/progress", progress(step=4), "a-worker-0-1")
    await rig.post("/v1/progress", progress(phase="done"), "a-worker-0-1")
    assert [seconds for _, seconds in rig.woken] == [0.0, 30.0, 0.0]


@pytest.mark.fault(94)
@pytest.mark.parametrize(
    ("token", "body", "status", "words"),
    [
        (None, progress(), 401, "expected an Authorization header"),
        ("forged", progress(), 401, "the token was refused"),
        ("\udcff\udcfe", progress(), 401, "expected an Authorization header"),
        ("gone", progress(), 403, "bound to no pod that is known"),
        ("stranger", progress(), 403, "a pod reports for its own job only"),
        ("a-worker-0-1", progress(jobUid="other"), 403, "a pod reports for its own job only"),
        ("a-worker-0-1", progress(attempt=0), 400, "attempt"),
        ("a-worker-0-1", progress(step="many"), 400, "step"),
        ("a-worker-0-1", progress(metrics=[1]), 400, "metrics"),
        ("a-worker-0-1", [], 400, "the body is a list; expected an object"),
    ],
)
async def test_progress_that_is_not_believed(
    rig: Rig, token: str | None, body: object, status: int, words: str
) -> None:
    answer = await rig.post("/v1/progress", body, token)
    assert answer[0] == status
    assert words in answer[1]["error"]
    assert rig.reports.of("job") is None


@pytest.mark.parametrize(("raw", "status"), [(b"{", 400), (b"\xff", 400), (b" " * (MAX_BODY + 1), 413)])
async def test_bodies_that_cannot_be_read(rig: Rig, raw: bytes, status: int) -> None:
    answer = await rig.post("/v1/progress", None, "a-worker-0-1", raw=raw)
    assert answer[0] == status
    assert answer[1]["error"]


async def test_errors_of_paths_and_methods_are_json(rig: Rig) -> None:
    assert (await rig.post("/v1/nothing", {}, None))[0] == 404
    async with rig.http.get("/v1/progress") as response:
        assert (response.status, (await response.json())["error"]) == (405, "Method Not Allowed")


async def test_a_gateway_gets_the_members_of_its_service(rig: Rig) -> None:
    status, answer = await rig.post("/v1/gateways", sync(), "s-gateway-0")
    assert status == 200
    assert answer["members"] == []
    assert answer["generation"] > 0
    assert rig.gateways.of("service")["s-gateway-0"].in_use == {"s-1": 2}
    assert len(rig.woken) == 1
    await rig.post("/v1/gateways", sync(), "s-gateway-0")
    assert len(rig.woken) == 1


@pytest.mark.fault(94)
@pytest.mark.parametrize(
    ("token", "body", "status"),
    [
        ("a-worker-0-1", sync(), 403),
        ("s-gateway-0", sync(service="other"), 403),
        ("s-gateway-0", sync(namespace="other"), 403),
        ("s-gateway-0", sync(pod="s-gateway-1"), 403),
        ("s-gateway-0", sync(serviceUid="earlier"), 404),
        ("s-gateway-0", sync(generation=-1), 400),
        ("s-gateway-0", sync(members={"a": {"inUse": -1}}), 400),
    ],
)
async def test_syncs_that_are_not_believed(rig: Rig, token: str, body: object, status: int) -> None:
    assert (await rig.post("/v1/gateways", body, token))[0] == status
    assert rig.gateways.of("service") == {}


async def test_an_api_server_that_cannot_check_tokens_is_told_as_503(rig: Rig) -> None:
    rig.api.faults.fail(on(TOKEN_REVIEWS), 400, times=None)
    assert (await rig.post("/v1/progress", progress(), "a-worker-0-1"))[0] == 503


async def test_it_listens_with_its_certificate() -> None:
    rig = Rig()
    rig.endpoint.use(up_to_date(None, "localhost", CLOCK.now()))
    assert await rig.endpoint.start() > 0
    await rig.endpoint.stop()
    await rig.endpoint.stop()
    await rig.http.close()


async def test_it_speaks_nothing_older_than_tls_1_3_and_is_known_by_its_own_authority_alone() -> None:
    rig, bundle = Rig(), up_to_date(None, "localhost", CLOCK.now())
    rig.endpoint.use(bundle)
    port = await rig.endpoint.start()
    ours, older = ssl.create_default_context(cadata=bundle.authority.decode()), ssl.create_default_context()
    older.load_verify_locations(cadata=bundle.authority.decode())
    older.maximum_version = ssl.TLSVersion.TLSv1_2
    stranger = ssl.create_default_context(cadata=up_to_date(None, "localhost", CLOCK.now()).authority.decode())
    try:
        _, writer = await asyncio.open_connection("localhost", port, ssl=ours)
        assert writer.get_extra_info("cipher")[1] == "TLSv1.3"
        writer.close()
        await writer.wait_closed()
        for refused in (older, stranger):
            with pytest.raises((ssl.SSLError, ConnectionResetError)):
                await asyncio.open_connection("localhost", port, ssl=refused)
    finally:
        await rig.endpoint.stop()
        await rig.http.close()


@pytest.mark.parametrize(
    ("path", "token", "body", "action"),
    [
        ("/v1/progress", None, progress(), Action.TOKEN_REFUSED),
        ("/v1/progress", "forged", progress(), Action.TOKEN_REFUSED),
        ("/v1/progress", "gone", progress(), Action.CALL_FORBIDDEN),
        ("/v1/progress", "stranger", progress(), Action.FORGED),
        ("/v1/progress", "a-worker-0-1", progress(jobUid="other"), Action.FORGED),
        ("/v1/gateways", "a-worker-0-1", sync(), Action.FORGED),
    ],
)
async def test_who_is_refused_is_on_record(
    rig: Rig, path: str, token: str | None, body: object, action: Action
) -> None:
    await rig.post(path, body, token)
    (record,) = rig.records
    assert (record.action, record.about, record.facts["times"]) == (action, path, 1)
    assert record.facts["from"] == {"127.0.0.1": 1}
    assert "error" in record.facts["why"]


def strayed(**fields: object) -> dict[str, object]:
    return {"jobUid": "job", "attempt": 1, "times": 3, "paths": ["b-0a1b2c3d/log", "b-0a1b2c3d"], **fields}


async def test_a_program_that_touches_files_of_other_jobs_is_on_record_and_an_event_of_its_job(rig: Rig) -> None:
    assert await rig.post("/v1/strays", strayed(), "a-worker-0-1") == (200, {})
    (record,) = rig.records
    assert (record.action, record.about, record.facts["from"]) == (
        Action.STRAYED,
        "Namespace team",
        {"TrainingJob team/a": 1},
    )
    assert record.facts["why"] == (
        "pod a-worker-0-1: files of other jobs were touched that this job does not name, 3 times at least: b-0a1b2c3d/log, b-0a1b2c3d"
    )
    assert rig.told == [(Key("TrainingJob", "team", "a"), record.facts["why"])]


@pytest.mark.parametrize(
    ("token", "body", "status"),
    [
        (None, strayed(), 401),
        ("forged", strayed(), 401),
        ("stranger", strayed(), 403),
        ("a-worker-0-1", strayed(jobUid="other"), 403),
        ("a-worker-0-1", strayed(times=0), 400),
        ("a-worker-0-1", strayed(paths=[]), 400),
        ("a-worker-0-1", strayed(paths=["x"] * 9), 400),
        ("a-worker-0-1", strayed(paths=["x" * 257]), 400),
        ("a-worker-0-1", strayed(paths=["\x1b[2J"]), 400),
        ("a-worker-0-1", strayed(paths=["a\nb"]), 400),
        ("a-worker-0-1", strayed(paths="x"), 400),
    ],
)
async def test_strays_are_believed_of_the_own_job_alone_and_as_far_as_they_make_sense(
    rig: Rig, token: str | None, body: object, status: int
) -> None:
    assert (await rig.post("/v1/strays", body, token))[0] == status
    assert rig.told == []
    assert [each for each in rig.records if each.action == Action.STRAYED] == []


async def test_what_was_in_order_or_is_only_a_mistake_is_on_no_record(rig: Rig) -> None:
    await rig.post("/v1/progress", progress(), "a-worker-0-1")
    await rig.post("/v1/progress", progress(step=-1), "a-worker-0-1")
    assert rig.records == []


async def test_refusals_that_are_gathered_when_the_endpoint_stops_are_on_record(rig: Rig) -> None:
    await rig.endpoint.start()
    for _ in range(5):
        await rig.post("/v1/progress", progress(), "forged")
    assert [each.facts["times"] for each in rig.records] == [1]
    await rig.endpoint.stop()
    assert [each.facts["times"] for each in rig.records] == [1, 4]
