"""What users put into their jobs and services is in no line of the operator's log, at its most talkative level."""

import io
import logging
from collections.abc import Iterator

import pytest

from tests import builders as b
from tests.simulation.operator_sim import Simulation
from trainyard.cluster.resources import SECRETS, TRAINING_JOBS
from trainyard.runtime.logging import configure

pytestmark = pytest.mark.looptime

PLANTED = "planted-8f3a"
"""In every value that may hold a secret."""


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    configure("DEBUG", stream)
    yield stream
    root.handlers[:], root.level = handlers, level


def _secretive(name: str, *modifiers: b.Modifier) -> b.Object:
    """A job whose program and side container are given passwords."""
    variables = [{"name": "PASSWORD", "value": PLANTED}]
    side = {"name": "side", "image": "x", "env": variables, "args": ["--password", PLANTED]}
    return b.training_job(
        name,
        b.template(spec={"containers": [{"name": "trainer", "env": variables}, side]}),
        b.annotated(credential=PLANTED),
        *modifiers,
    )


async def test_no_line_of_the_log_holds_what_users_gave_their_pods(lines: io.StringIO) -> None:
    async with Simulation(nodes=2, gpus=4) as sim:
        sim.create(_secretive("runs", b.runs(5)), _secretive("fails", b.runs(5, code=1), b.max_restarts(1)))
        sim.create(_secretive("moved", b.gpus(4), b.runs(100)), _secretive("waits", b.gpus(8), b.workers(9)))
        sim.create(b.inference_service("s", b.template(metadata={"annotations": {"credential": PLANTED}})))
        await sim.until(sim.is_("Complete", "runs"), 60)
        await sim.until(sim.is_("Failed", "fails"), 120)
        await sim.until(sim.is_("Running", "moved"), 60)
        sim.stop_node(sim.nodes("moved")[0])
        sim.refuse_pods("denied by a policy of the namespace")
        await sim.rest(60)
        sim.change(TRAINING_JOBS, "moved", suspend=True)
        await sim.rest(30)
        await sim.restart()
        await sim.rest(10)
    assert lines.getvalue().count("\n") > 5, "it does write a log"
    assert PLANTED not in lines.getvalue()


async def test_the_operator_reads_no_secret_of_users() -> None:
    async with Simulation() as sim:
        gateway = {"tls": {"secretName": "certificate"}, "auth": {"apiKeysSecret": "keys"}}
        sim.create(b.inference_service("s", b.spec(gateway=gateway)), _secretive("a", b.runs(5)))
        await sim.until(sim.is_("Complete", "a"), 60)
        assert not [each for each in sim.api.requests if each.resource == SECRETS]
