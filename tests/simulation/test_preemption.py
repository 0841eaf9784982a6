"""Who makes way for whom, with the whole operator on a cluster in memory: in order, durable, with a checkpoint, and to an end."""

import pytest

from tests import builders as b
from tests.simulation.operator_sim import Simulation
from trainyard.api.names import GPU
from trainyard.cluster.resources import PODS, QUEUES, TRAINING_JOBS

pytestmark = pytest.mark.looptime


def quota(guaranteed: int, parent: str | None = None) -> b.Modifier:
    flavors = [{"name": "h200", "resources": [{"name": GPU, "guaranteed": str(guaranteed)}]}]
    return b.spec(flavors=flavors, **({"parent": parent} if parent else {}))


async def test_a_job_makes_way_for_a_higher_priority_and_starts_again() -> None:
    async with Simulation(nodes=1, gpus=4) as sim:
        sim.create(b.training_job("old", b.gpus(4)))
        await sim.until(sim.is_("Running", "old"), 10)
        sim.create(b.training_job("new", b.gpus(4), b.priority(1), b.runs(30)))
        await sim.until(lambda: sim.phase("new") == "Pending" and sim.status("new")["nomination"], 10)
        assert sim.status("new")["reason"] == "WaitingForPreemptedWorkloads"
        assert [each["name"] for each in sim.status("new")["nomination"]["victims"]] == ["old"]
        await sim.until(sim.is_("Running", "new"), 10)
        old = sim.status("old")
        assert (old["phase"], old["preemptions"], old["attempt"], old["restarts"]) == ("Pending", 1, 2, 0)
        assert old["preemption"] is None
        assert old["admission"] is None
        assert sim.status("new")["nomination"] is None
        assert old["queuePosition"] == 1
        await sim.until(sim.is_("Running", "old"), 60)
        assert sim.phase("new") == "Complete"
        await sim.rest(2)
        assert sim.events("old") == ["Admitted", "Running", "Preempted", "Preempted", "Admitted", "Running"]
        assert sim.events("new") == ["WaitingForPreemptedWorkloads", "Admitted", "Running", "Completed"]


async def test_the_nomination_is_written_before_a_victim_is_asked_and_that_before_a_pod_is_stopped() -> None:
    async with Simulation(nodes=1, gpus=4) as sim:
        sim.create(b.training_job("old", b.gpus(4)))
        await sim.until(sim.is_("Running", "old"), 10)
        before = len(sim.writes(TRAINING_JOBS, PODS))
        sim.create(b.training_job("new", b.gpus(4), b.priority(1)))
        await sim.until(sim.is_("Running", "new"), 10)
        done = [(each.verb, each.name) for each in sim.writes(TRAINING_JOBS, PODS)[before:]]
        stop = done.index(("delete", "old-worker-0-1"))
        assert [name for _, name in done[:stop]] == ["new", "old"]
        assert [name for _, name in done[stop + 1 :]][:2] == ["old", "new"]


async def test_the_trainer_has_until_the_deadline_to_write_its_checkpoint() -> None:
    async with Simulation(nodes=1, gpus=4) as sim:
        sim.create(b.training_job("old", b.gpus(4)))
        await sim.until(sim.is_("Running", "old"), 10)
        sim.create(b.training_job("new", b.gpus(4), b.priority(1)))
        await sim.until(lambda: sim.phase("old") == "Preempting", 10, step=0.01)
        await sim.until(lambda: sim.pods("old")[0]["metadata"].get("deletionTimestamp"), 10, step=0.01)
        assert 110 <= sim.pods("old")[0]["metadata"]["deletionGracePeriodSeconds"] <= 120


async def test_a_nominee_that_goes_away_spares_those_who_were_not_asked_yet() -> None:
    async with Simulation(nodes=1, gpus=4) as sim:
        sim.create(b.training_job("old", b.gpus(4)))
        await sim.until(sim.is_("Running", "old"), 10)
        sim.create(b.training_job("new", b.gpus(4), b.priority(1)))
        await sim.until(lambda: sim.status("new")["nomination"], 10, step=0.01)
        await sim.delete(TRAINING_JOBS, "new")
        await sim.rest(60)
        assert sim.phase("old") == "Running"
        assert sim.status("old")["preemption"] is None


async def test_a_victim_that_ends_by_itself_needs_nothing_more() -> None:
    async with Simulation(nodes=1, gpus=4) as sim:
        sim.create(b.training_job("old", b.gpus(4)))
        await sim.until(sim.is_("Running", "old"), 10)
        sim.create(b.training_job("new", b.gpus(4), b.priority(1)))
        await sim.until(lambda: sim.status("new")["nomination"], 10, step=0.01)
        sim.kubelet.finish("team", "old-worker-0-1")
        await sim.until(sim.is_("Running", "new"), 30)
        assert sim.phase("old") == "Complete"


async def test_a_suspended_nominee_gives_its_nomination_up() -> None:
    async with Simulation(nodes=1, gpus=4) as sim:
        sim.create(b.training_job("old", b.gpus(4)))
        await sim.until(sim.is_("Running", "old"), 10)
        sim.create(b.training_job("new", b.gpus(4), b.priority(1)))
        await sim.until(lambda: sim.status("new")["nomination"], 10, step=0.01)
        sim.change(TRAINING_JOBS, "new", suspend=True)
        await sim.until(sim.is_("Suspended", "new"), 10)
        assert sim.status("new")["nomination"] is None
        await sim.until(sim.is_("Running", "old"), 60)


async def test_a_queue_gets_back_what_it_lent_and_nobody_within_the_guarantee_is_hurt() -> None:
    async with Simulation(nodes=2, gpus=4) as sim:
        sim.create(
            b.a_queue("org", quota(0)), b.a_queue("lender", quota(4, "org")), b.a_queue("other", quota(4, "org"))
        )
        sim.create(b.training_job("own", b.queue("other"), b.gpus(4)))
        await sim.until(sim.is_("Running", "own"), 10)
        sim.create(b.training_job("borrowed", b.queue("other"), b.gpus(4), b.priority(9)))
        await sim.until(sim.is_("Running", "own", "borrowed"), 10)
        sim.create(b.training_job("mine", b.queue("lender"), b.gpus(4)))
        await sim.until(sim.is_("Running", "mine"), 20)
        phases = {name: sim.phase(name) for name in ("own", "borrowed")}
        assert sorted(phases.values()) == ["Pending", "Running"]
        await sim.rest(600)
        assert {name: sim.phase(name) for name in phases} == phases
        assert sim.phase("mine") == "Running"


async def test_an_elastic_job_shrinks_for_others_and_grows_again() -> None:
    async with Simulation(nodes=1, gpus=8) as sim:
        sim.create(b.training_job("wide", b.elastic(2, 8)))
        await sim.until(sim.is_("Running", "wide"), 10)
        assert len(sim.names("wide")) == 8
        sim.create(b.training_job("new", b.gpus(5), b.runs(30)))
        await sim.until(sim.is_("Running", "new", "wide"), 30)
        wide = sim.status("wide")
        assert len(sim.names("wide")) == 3
        assert (wide["attempt"], wide["preemptions"], wide["gpus"], wide["preemption"]) == (2, 1, 3, None)
        assert "PET_NNODES" in str(sim.pods("wide")[0])
        await sim.until(lambda: sim.phase("wide") == "Running" and len(sim.names("wide")) == 8, 3000)
        await sim.rest(2)
        assert sim.status("wide")["attempt"] == 3
        assert sim.events("wide") == ["Admitted", "Running", "Resized", "Running", "Resized", "Running"]


async def test_a_drained_queue_stops_its_jobs_and_lets_them_go_on_later() -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("a", b.workers(2)), b.training_job("b", b.runs(200)))
        await sim.until(sim.is_("Running", "a", "b"), 10)
        sim.change(QUEUES, "research", None, stopPolicy="HoldAndDrain")
        await sim.until(sim.is_("Pending", "a", "b"), 30)
        assert sim.pods("a") == sim.pods("b") == []
        await sim.rest(40)
        assert sim.status("a")["reason"] == "OnHold"
        assert (sim.status("a")["preemptions"], sim.status("a")["restarts"]) == (0, 0)
        sim.change(QUEUES, "research", None, stopPolicy="None")
        await sim.until(sim.is_("Running", "a", "b"), 30)
        assert "QueueDrained" in sim.events("a")


@pytest.mark.parametrize("where", ["job", "queue"])
async def test_a_job_that_ran_as_long_as_it_may_stops_after_a_checkpoint_and_fails(where: str) -> None:
    async with Simulation() as sim:
        if where == "queue":
            sim.change(QUEUES, "research", None, maxRunSeconds=100)
        sim.create(b.training_job("a", b.workers(2), *([b.spec(maxRunSeconds=100)] if where == "job" else [])))
        await sim.until(sim.is_("Running", "a"), 10)
        await sim.rest(90)
        assert sim.phase("a") == "Running"
        await sim.until(sim.is_("Failed", "a"), 20)
        assert sim.status("a")["reason"] == "RunTimeExceeded"
        assert sim.pods("a") == []
