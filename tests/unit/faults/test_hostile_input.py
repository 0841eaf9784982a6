"""Whatever users write, it is refused or understood; it never breaks a plan, a log line, a metric or a scrape."""

import asyncio
import copy
import io
import json
import logging
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests import builders as b
from tests.hand_clock import HandClock
from tests.unit.faults.schema_values import values
from trainyard.api.crds import crd
from trainyard.api.flavor import FlavorSpec
from trainyard.api.inference_service import InferenceService
from trainyard.api.training_job import TrainingJob
from trainyard.inference.observed import Observed as ObservedService
from trainyard.inference.plan import plan_inference_service
from trainyard.inference.workload import workloads
from trainyard.metrics.collector import WorldCollector
from trainyard.runtime.health import HealthServer
from trainyard.runtime.logging import configure
from trainyard.training.observed import Observed
from trainyard.training.plan import plan_training_job
from trainyard.training.workload import workload
from trainyard.workloads.keys import Key
from trainyard.workloads.world import World

NOW = datetime(2026, 11, 23, tzinfo=UTC)
FLAVORS = {"h200": FlavorSpec()}
EVIL = 'x"} 1\ntrainyard_forged{a="\x1b[2J'
ANY = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])


def spec_of(model: Any) -> Any:
    return crd(model)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]


SPECS = {model: values(spec_of(model)) for model in (TrainingJob, InferenceService)}


@st.composite
def specs(draw: st.DrawFn, model: Any) -> Any:
    """A strategy with a short name: hypothesis prints it."""
    return draw(SPECS[model])


def read(kind: str, spec: Any) -> Any:
    """As the operator does; None if it says that it cannot."""
    world, refused = World(lambda _key, _why: None), {"apiVersion": "trainyard.dev/v1alpha1", "kind": kind}
    meta = {"name": "a", "namespace": "team", "uid": "u", "generation": 1, "creationTimestamp": "2026-11-23T00:00:00Z"}
    world.observe(kind, None, {**refused, "metadata": meta, "spec": copy.deepcopy(spec)})
    return world.get(Key(kind, "team", "a"))


@pytest.mark.fault(81)
@ANY
@given(specs(TrainingJob))
def test_any_spec_of_a_job_is_refused_or_planned(spec: Any) -> None:
    job = read("TrainingJob", spec)
    if job is not None:
        observed = Observed(job=job, flavors=FLAVORS)
        wanted = workload(observed, NOW)
        assert wanted is None or wanted.blocked or wanted.pods
        assert plan_training_job(observed, NOW).create == () or job.spec.storage


@pytest.mark.fault(81)
@ANY
@given(specs(InferenceService))
def test_any_spec_of_a_service_is_refused_or_planned(spec: Any) -> None:
    model = spec["model"]  # of which a rule of the CRD asks for exactly one kind
    kind = next((each for each in ("graph", "trainingJob", "claimName") if model.get(each)), "trainingJob")
    spec["model"] = {kind: model.get(kind) or "a"} | ({"path": "x"} if kind == "claimName" else {})
    service = read("InferenceService", spec)
    if service is not None:
        observed = ObservedService(service=service, flavors=FLAVORS)
        assert list(workloads(observed, NOW)) is not None
        plan_inference_service(observed, NOW)


@pytest.mark.fault(79)
def test_a_name_that_would_fool_a_terminal_stays_in_its_log_line() -> None:
    root, stream = logging.getLogger(), io.StringIO()
    handlers, level = root.handlers[:], root.level
    configure("info", stream)
    try:
        logging.getLogger("trainyard").warning("refused: %s", EVIL + "\u202e", extra={"object": EVIL})
    finally:
        root.handlers[:], root.level = handlers, level
    (line,) = stream.getvalue().splitlines()
    assert json.loads(line)["object"] == EVIL
    assert not [character for character in line if ord(character) < 32]


@pytest.mark.fault(80)
def test_a_name_meant_for_a_query_is_text_in_a_label() -> None:
    world = World(now=lambda: NOW)
    job = b.training_job("x", b.meta(name=EVIL, uid="u"), b.queue(EVIL), b.status(phase="Running"))
    world.observe("Queue", None, b.a_queue(EVIL))
    world.observe("TrainingJob", None, job)
    registry = CollectorRegistry()
    registry.register(WorldCollector(world, HandClock(), lambda: True))
    page = generate_latest(registry).decode()  # type: ignore[no-untyped-call]
    families = list(text_string_to_metric_families(page))  # type: ignore[no-untyped-call]
    assert not [each.name for each in families if "forged" in each.name]
    assert EVIL in {value for each in families for sample in each.samples for value in sample.labels.values()}


@pytest.mark.fault(99)
async def test_the_operator_listens_on_both_families_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    from trainyard.config import Config  # noqa: PLC0415 - reads the environment

    monkeypatch.delenv("TRAINYARD_HOST", raising=False)
    with_ipv6 = await _can_listen("::1")
    server = HealthServer(Config().host, 0)
    await server.start()
    assert server._runner is not None
    try:
        places = {(":" in address[0], address[1]) for address in server._runner.addresses}
        for of_ipv6, port in places:
            host = "[::1]" if of_ipv6 else "127.0.0.1"
            async with aiohttp.ClientSession() as session, session.get(f"http://{host}:{port}/healthz") as answer:
                assert answer.status == 200
        assert {of_ipv6 for of_ipv6, _ in places} == ({True, False} if with_ipv6 else {False})
    finally:
        await server.stop()


async def _can_listen(host: str) -> bool:
    try:
        server = await asyncio.start_server(lambda _r, _w: None, host, 0)
    except OSError:
        return False
    server.close()
    return True
