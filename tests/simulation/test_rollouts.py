"""Rollouts of a changed model, with the whole operator on a cluster in memory and gateways that count."""

from typing import Any

import pytest

from tests import builders as b
from tests.simulation.operator_sim import Simulation
from trainyard.cluster.resources import INFERENCE_SERVICES

pytestmark = pytest.mark.looptime
NEW = "sha256:" + "c" * 64


class Callers:
    """A hundred requests a second, of which the new model gets its share, and copies of those of the old one."""

    def __init__(self, sim: Simulation, errors: float, differing: float) -> None:
        self.sim, self.errors, self.differing, self.number = sim, errors, differing, 0
        self.counts = {b.DIGEST: [0, 0], NEW: [0, 0]}
        self.compared = 0

    async def seconds(self, seconds: int) -> None:
        for _ in range(seconds):
            rollout = self.sim.served("s").get("rollout") or {}
            weight = rollout.get("weight", 0)
            self.compared += (100 - weight) * rollout.get("shadow", 0) // 100
            promoted = self.sim.served("s")["model"]["digest"] == NEW
            share = 100 if promoted else weight
            self._add(NEW, share, self.errors)
            self._add(b.DIGEST, 100 - share, 0.0)
            self.number += 1
            self.sim.demand = {"traffic": {"boot": "a", "number": self.number, "revisions": self._told()}}
            await self.sim.rest(1)

    def _add(self, digest: str, requests: int, errors: float) -> None:
        self.counts[digest][0] += requests
        self.counts[digest][1] += round(requests * errors)

    def _told(self) -> dict[str, Any]:
        told: dict[str, Any] = {
            digest: {"requests": count, "errors": errors, "times": {"20": count - errors}}
            for digest, (count, errors) in self.counts.items()
        }
        told[NEW] |= {"compared": self.compared, "differed": round(self.compared * self.differing)}
        return told


async def changed(sim: Simulation, errors: float, differing: float = 0.0, **rollout: Any) -> Callers:
    """A service of two replicas whose model has just changed, after it was called for a while."""
    spec = {"strategy": "Canary", "steps": [10, 50], "stepSeconds": 10, **rollout}
    sim.create(b.inference_service("s", b.replicas(2), b.spec(rollout=spec)))
    await sim.until(lambda: sim.served("s").get("phase") == "Ready", 30)
    sim.run_gateways("s")
    callers = Callers(sim, errors, differing)
    await callers.seconds(5)
    sim.change(INFERENCE_SERVICES, "s", model={"claimName": "models", "path": "new", "digest": NEW})
    return callers


def digests(sim: Simulation) -> list[str]:
    return [each["digest"] for each in sim.served("s")["admission"] if not each["release"]]


@pytest.mark.fault(2)
async def test_a_good_model_takes_over_also_when_the_operator_is_killed_meanwhile() -> None:
    async with Simulation() as sim:
        callers = await changed(sim, errors=0.0)
        await callers.seconds(25)
        assert sim.served("s")["rollout"]["weight"] == 10
        assert len(digests(sim)) == 3
        before = sim.served("s")["rollout"]["canaryCounts"]["requests"]
        assert before > 50
        await sim.restart()
        await callers.seconds(15)
        assert sim.served("s")["rollout"]["canaryCounts"]["requests"] > before
        await callers.seconds(250)
        assert sim.served("s")["rollout"]["phase"] == "Promoted"
        assert digests(sim) == [NEW, NEW]
        await sim.until(lambda: len(sim.names("s")) == 2, 30)
        assert {"RolloutStarted", "RolloutStep", "RolloutPromoted"} <= set(sim.events("s"))
        await sim.rest(30)
        writes = len(sim.writes(INFERENCE_SERVICES))
        await callers.seconds(60)
        assert len(sim.writes(INFERENCE_SERVICES)) == writes


@pytest.mark.fault(86)
async def test_a_bad_model_goes_and_is_not_tried_again() -> None:
    async with Simulation() as sim:
        callers = await changed(sim, errors=0.2)
        await callers.seconds(60)
        status = sim.served("s")
        assert status["rollout"]["phase"] == "RolledBack"
        assert "failed requests: 20.00%" in status["rollout"]["message"]
        assert status["model"]["digest"] == b.DIGEST
        await sim.until(lambda: len(sim.names("s")) == 2, 30)
        await sim.restart()
        writes = len(sim.writes(INFERENCE_SERVICES))
        await callers.seconds(60)
        assert digests(sim) == [b.DIGEST, b.DIGEST]
        assert len(sim.writes(INFERENCE_SERVICES)) == writes
        assert sim.served("s")["phase"] == "Ready"


@pytest.mark.fault(86)
async def test_a_model_of_other_answers_goes_before_any_caller_gets_one() -> None:
    async with Simulation() as sim:
        callers = await changed(sim, errors=0.0, differing=0.1, shadow={"percent": 20})
        await callers.seconds(60)
        status = sim.served("s")
        assert (status["rollout"]["phase"], status["rollout"]["reason"]) == ("RolledBack", "OtherAnswers")
        assert "different answers: " in status["rollout"]["message"]
        assert callers.counts[NEW] == [0, 0]
        assert callers.compared > 0
        await sim.until(lambda: len(sim.names("s")) == 2, 30)


async def test_a_model_whose_answers_agree_takes_over_also_when_the_operator_is_killed_meanwhile() -> None:
    async with Simulation() as sim:
        callers = await changed(sim, errors=0.0, differing=0.001, stepSeconds=30, shadow={"percent": 50})
        await callers.seconds(15)
        rollout = sim.served("s")["rollout"]
        assert (rollout["weight"], rollout["shadow"]) == (0, 50)
        before = rollout["canaryCounts"]["compared"]
        assert before > 50
        await sim.restart()
        await callers.seconds(11)
        assert sim.served("s")["rollout"]["canaryCounts"]["compared"] > before
        await callers.seconds(360)
        assert sim.served("s")["rollout"]["phase"] == "Promoted"
        assert digests(sim) == [NEW, NEW]


async def test_a_model_that_takes_something_else_gets_no_request() -> None:
    async with Simulation() as sim:
        sim.contracts[NEW] = {"inputs": [{"name": "mask", "datatype": "BOOL", "shape": [-1]}], "outputs": []}
        callers = await changed(sim, errors=0.0, header={"name": "X-Try", "value": "new"})
        await callers.seconds(60)
        status = sim.served("s")
        assert callers.counts[NEW] == [0, 0]
        assert (status["rollout"]["phase"], status["rollout"]["reason"]) == ("RolledBack", "ContractChanged")
        assert "inputs[mask]: none -> BOOL [-1]" in status["rollout"]["message"]
        assert "RolloutStep" not in sim.events("s")
        await sim.until(lambda: len(sim.names("s")) == 2, 30)
        sim.change(INFERENCE_SERVICES, "s", rollout={"strategy": "Canary", "contract": "Ignore", "steps": [10]})
        await callers.seconds(30)
        assert sim.served("s")["rollout"]["weight"] == 10
