"""TensorBoards come and go beside their jobs, with the whole operator on a cluster in memory."""

from typing import Any

import pytest

from tests import builders as b
from tests.simulation.fake_verbs import Refused
from tests.simulation.operator_sim import Simulation
from trainyard.cluster.resources import CLAIMS, DEPLOYMENTS, SERVICES, TRAINING_JOBS, Object, Resource

pytestmark = pytest.mark.looptime
SHOWN = b.spec(tensorboard=True)
NAME = "a-tensorboard"


def state(sim: Simulation, name: str = "a") -> str:
    said = sim.status(name)["tensorboard"]
    return str(said["state"]) if said else ""


def there(sim: Simulation) -> tuple[bool, bool]:
    """Whether there is the Deployment, and the Service."""
    found = [sim.api.get(kind, b.NAMESPACE, NAME) is not None for kind in (DEPLOYMENTS, SERVICES)]
    return found[0], found[1]


def replicas(sim: Simulation) -> int:
    found = sim.api.get(DEPLOYMENTS, b.NAMESPACE, NAME)
    assert found is not None
    return int(found["spec"]["replicas"])


async def test_it_is_made_with_the_job_kept_after_its_end_and_goes_with_it() -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("a", b.storage(), SHOWN, b.runs(20)))
        await sim.until(lambda: state(sim) == "Ready", 10)
        await sim.until(sim.is_("Complete", "a"), 40)
        await sim.rest(60)
        assert (state(sim), there(sim)) == ("Ready", (True, True))
        await sim.delete(TRAINING_JOBS, "a")
        await sim.until(lambda: there(sim) == (False, False), 60)


async def test_it_is_switched_on_and_off_while_the_job_runs_and_when_it_is_over() -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("a", b.storage(), b.runs(40)))
        await sim.until(sim.is_("Running", "a"), 10)
        pods = sim.names("a")
        for _ in ("while it runs", "when it is over"):
            sim.change(TRAINING_JOBS, "a", tensorboard=True)
            await sim.until(lambda: state(sim) == "Ready", 10)
            sim.change(TRAINING_JOBS, "a", tensorboard=False)
            await sim.until(lambda: there(sim) == (False, False) and state(sim) == "", 10)
            assert sim.names("a", alive=False) == pods
            await sim.until(sim.is_("Complete", "a"), 60)


async def test_what_was_switched_off_while_no_operator_ran_is_taken_away_by_the_next() -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("a", b.storage(), SHOWN))
        await sim.until(lambda: state(sim) == "Ready", 10)
        await sim.process.kill()
        sim.change(TRAINING_JOBS, "a", tensorboard=False)
        await sim.start()
        await sim.until(lambda: there(sim) == (False, False) and state(sim) == "", 20)


async def test_of_a_claim_that_one_node_can_have_it_lets_go_when_the_job_does() -> None:
    async with Simulation() as sim:
        sim.create(b.a_claim("mine", "ReadWriteOnce"))
        sim.create(b.training_job("a", b.storage("mine"), SHOWN, b.runs(90)))
        await sim.until(lambda: state(sim) == "Ready", 10)
        sim.change(TRAINING_JOBS, "a", suspend=True)
        await sim.until(sim.is_("Suspended", "a"), 30)
        await sim.until(lambda: (replicas(sim), state(sim)) == (0, "Waiting"), 10)
        sim.change(TRAINING_JOBS, "a", suspend=False)
        await sim.until(lambda: (replicas(sim), state(sim)) == (1, "Ready"), 30)
        await sim.until(sim.is_("Complete", "a"), 120)
        await sim.until(lambda: (replicas(sim), state(sim)) == (1, "Ready"), 10)


async def test_it_waits_for_the_claim() -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("a", b.storage("later"), SHOWN))
        await sim.until(lambda: state(sim) == "Waiting", 10)
        assert there(sim) == (False, False)
        sim.create(b.a_claim("later"))
        await sim.until(lambda: state(sim) == "Ready", 20)


async def test_a_refusal_of_it_is_told_and_the_job_goes_on() -> None:
    async with Simulation() as sim:
        on = [1]

        def refuse(verb: str, resource: Resource, _new: Object, _old: Object | None) -> None:
            if on and resource == DEPLOYMENTS and verb in ("create", "apply", "patch"):
                raise Refused(403, "Forbidden", "exceeded quota: deployments")

        sim.api.admission.append(refuse)
        sim.create(b.training_job("a", b.storage(), SHOWN, b.runs(300)))
        await sim.until(sim.is_("Running", "a"), 10)
        await sim.until(lambda: state(sim) == "Refused", 10)
        assert "exceeded quota" in sim.status("a")["tensorboard"]["message"]
        written = len(sim.writes(TRAINING_JOBS))
        await sim.rest(150)
        assert sim.phase("a") == "Running"
        assert len(sim.writes(TRAINING_JOBS)) == written
        assert sim.events("a").count("TensorBoardRefused") == 1
        on.clear()
        await sim.until(lambda: state(sim) == "Ready", 90)


async def test_what_somebody_else_has_made_under_its_name_is_left_alone() -> None:
    async with Simulation() as sim:
        theirs: dict[str, Any] = {"metadata": {"name": NAME, "namespace": b.NAMESPACE}, "spec": {"replicas": 3}}
        sim.api.put(DEPLOYMENTS, theirs)
        sim.create(b.training_job("a", b.storage(), SHOWN))
        await sim.until(lambda: state(sim) == "Refused", 10)
        assert "belongs to somebody else" in sim.status("a")["tensorboard"]["message"]
        assert replicas(sim) == 3
        sim.change(TRAINING_JOBS, "a", tensorboard=False)
        await sim.rest(90)
        assert there(sim) == (True, False)


async def test_one_that_stands_causes_no_writes() -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("a", b.storage(), SHOWN))
        await sim.until(lambda: state(sim) == "Ready", 10)
        await sim.rest(45)
        before = len(sim.writes())
        await sim.restart()
        await sim.rest(60)
        assert sim.writes()[before:] == []


async def test_a_job_without_one_costs_no_request() -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("a", b.storage(), b.runs(5)))
        await sim.until(sim.is_("Complete", "a"), 30)
        assert sim.writes(DEPLOYMENTS, SERVICES, CLAIMS) == []
