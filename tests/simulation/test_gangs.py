"""What a gang is made of: spares, the order in which roles start, whose end completes the job, what is left of it."""

import json

import pytest

from tests import builders as b
from tests.simulation.operator_sim import Simulation
from trainyard.workloads.keys import Key

pytestmark = pytest.mark.looptime


def _nodes(sim: Simulation, role: str) -> list[str]:
    pods = sorted(sim.pods("a"), key=lambda pod: pod["metadata"]["name"])
    return [each["spec"].get("nodeName", "") for each in pods if f"-{role}-" in each["metadata"]["name"]]


async def test_a_spare_takes_over_at_once_in_a_full_cluster() -> None:
    async with Simulation(nodes=4, gpus=8) as sim:
        sim.create(b.training_job("a", b.workers(2), b.gpus(8), b.spares(1), b.storage()))
        await sim.until(sim.is_("Running", "a"), 20)
        sim.create(b.training_job("other", b.gpus(8)))
        await sim.until(sim.is_("Running", "other"), 20)
        (standing,) = _nodes(sim, "spare")
        sim.stop_node(_nodes(sim, "worker")[1])
        await sim.until(lambda: _nodes(sim, "worker")[1:] == [standing], 60)
        await sim.until(sim.is_("Running", "a"), 20)
        assert _nodes(sim, "spare") == []
        assert "SpareUsed" in sim.events("a")
        assert sim.status("a")["gpus"] == 16
        assert sim.violations() == {}


async def test_where_there_is_no_spare_any_more_the_place_is_mended_as_without_them() -> None:
    async with Simulation(nodes=11, gpus=8) as sim:
        sim.create(b.training_job("a", b.workers(2), b.gpus(8), b.spares(1), b.storage()))
        await sim.until(sim.is_("Running", "a"), 20)
        (standing,) = _nodes(sim, "spare")
        sim.stop_node(_nodes(sim, "worker")[1])
        await sim.until(lambda: _nodes(sim, "worker")[1:] == [standing], 90)
        await sim.until(sim.is_("Running", "a"), 60)
        sim.stop_node(standing)
        await sim.until(lambda: len(_nodes(sim, "worker")) == 2 and standing not in _nodes(sim, "worker"), 90)
        await sim.until(sim.is_("Running", "a"), 60)
        assert sim.events("a").count("SpareUsed") == 1
        assert sim.violations() == {}


async def test_spares_that_are_lost_or_end_disturb_nobody() -> None:
    async with Simulation(nodes=11, gpus=8) as sim:
        sim.create(b.training_job("a", b.workers(1), b.gpus(8), b.spares(2)))
        await sim.until(sim.is_("Running", "a"), 20)
        first, second = _nodes(sim, "spare")
        sim.stop_node(first)
        await sim.until(lambda: _nodes(sim, "spare") == [second], 60)
        await sim.until(lambda: sim.status("a")["gpus"] == 16, 60)
        assert sim.events("a").count("SpareLost") == 1
        uid = sim.pods("a")[0]["metadata"]["uid"]
        sim.kubelet.finish("team", "a-spare-0-1", 1, "")
        await sim.rest(30)
        assert _nodes(sim, "spare") == []
        await sim.until(lambda: _nodes(sim, "spare") == [second], 60)
        assert sim.pods("a")[0]["metadata"]["uid"] != uid
        assert (sim.phase("a"), sim.status("a")["restarts"]) == ("Running", 0)
        assert sim.violations() == {}


async def test_a_job_with_spares_completes_and_gives_back_all_of_its_place() -> None:
    async with Simulation(nodes=2, gpus=8) as sim:
        sim.create(b.training_job("a", b.gpus(8), b.spares(1), b.runs(5)), b.training_job("next", b.gpus(8)))
        await sim.until(sim.is_("Complete", "a"), 60)
        await sim.until(lambda: sim.names("a") == [], 20)
        await sim.until(sim.is_("Running", "next"), 20)


async def test_roles_start_in_order_and_the_status_says_who_waits_for_whom() -> None:
    async with Simulation() as sim:
        prepared = b.role("prepare", seconds=700)
        order = b.spec(startDeadlineSeconds=30)
        made = b.training_job("a", b.workers(2), prepared, order, b.runs(5))
        made["spec"]["workers"]["dependsOn"] = [{"role": "prepare", "status": "Complete"}]
        sim.create(made)
        await sim.until(lambda: sim.names("a") == ["a-prepare-0-1"], 20)
        await sim.rest(400)  # the deadline is for what starts, not for what runs
        assert sim.names("a") == ["a-prepare-0-1"]
        assert "worker waits until all of prepare are Complete" in sim.message("a", "Ready")
        await sim.until(sim.is_("Complete", "a"), 600)
        assert sim.status("a")["attempt"] == 1


async def test_roles_that_wait_for_each_other_never_get_a_place_and_are_told() -> None:
    async with Simulation() as sim:
        made = b.training_job("a", b.role("ps"))
        made["spec"]["workers"] = {"dependsOn": [{"role": "ps"}]}
        made["spec"]["roles"][0]["dependsOn"] = [{"role": "worker"}]
        sim.create(made)
        await sim.until(lambda: sim.status("a").get("reason") == "Misconfigured", 20)
        assert "worker waits for ps waits for worker" in sim.message("a")


async def test_the_end_of_an_evaluator_completes_the_job_where_the_policy_says_so() -> None:
    async with Simulation() as sim:
        policy = b.spec(successPolicy={"roles": ["eval"]})
        sim.create(b.training_job("a", b.workers(2), b.role("eval", seconds=20), policy))
        await sim.until(sim.is_("Complete", "a"), 60)
        assert "1 of 1 pods of eval ended with exit code 0" in sim.message("a", "Complete")
        await sim.until(lambda: sim.names("a") == [], 20)


@pytest.mark.parametrize(("policy", "left"), [("Running", 1), ("All", 0)])
async def test_what_is_left_of_a_finished_job_is_what_its_owner_asked_for(policy: str, left: int) -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("a", b.runs(5), b.spec(cleanPodPolicy=policy)))
        await sim.until(sim.is_("Complete", "a"), 60)
        await sim.rest(10)
        assert len(sim.names("a", alive=False)) == left
        await sim.process.app.reconcile(Key("TrainingJob", "team", "a"))
        assert sim.phase("a") == "Complete"


async def test_with_a_window_only_restarts_that_come_thick_and_fast_fail_the_job() -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("a", b.spec(restart={"maxRestarts": 1, "windowSeconds": 600})))
        for attempt, pause in enumerate((700, 700, 5), start=1):
            await sim.until(lambda: sim.names("a") != [] and sim.phase("a") == "Running", 60)
            await sim.rest(pause)
            assert sim.phase("a") == "Running"
            sim.kubelet.finish("team", f"a-worker-0-{attempt}", 1, json.dumps({"cause": f"cause {attempt}"}))
            await sim.rest(2)
        await sim.until(sim.is_("Failed", "a"), 30)
        assert "1 restarts were allowed within 600 s and used" in sim.message("a", "Failed")
        assert sim.status("a")["restarts"] == 2
