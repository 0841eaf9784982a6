"""Queues that go, shrink, grow and come back under jobs that run and wait; and specs that change faster than anybody looks."""

from typing import Any

import pytest

from tests import builders as b
from tests.simulation.operator_sim import CLOCK, Simulation
from tests.simulation.oracles import judge, running
from trainyard.cluster.resources import FLAVORS, INFERENCE_SERVICES, QUEUES, TRAINING_JOBS
from trainyard.scheduling.cycle import Cycle

pytestmark = pytest.mark.looptime


def quota(sim: Simulation, gpus: int, queue: str = "research") -> None:
    sim.change(QUEUES, queue, None, flavors=b.a_queue(queue, gpus=gpus)["spec"]["flavors"])


@pytest.mark.fault(69, 72)
async def test_jobs_of_a_queue_that_is_deleted_run_on_and_count_again_when_it_is_back() -> None:
    async with Simulation(nodes=1, gpus=4, quota=3) as sim:
        sim.create(b.training_job("a", b.gpus(2)))
        await sim.until(sim.is_("Running", "a"), 10)
        alive = running(sim)
        sim.api.remove(QUEUES, None, "research")
        sim.create(b.training_job("b", b.gpus(2)))
        await sim.until(lambda: sim.status("b").get("reason") == "Misconfigured", 30)
        assert "there is no Queue 'research'" in sim.message("b")
        await sim.rest(60)
        assert running(sim) == alive
        await judge(sim)
        sim.create(b.a_queue("research", gpus=3))
        await sim.until(lambda: sim.status("b").get("reason") == "WaitingForQuota", 30)
        assert sim.status("b")["queuePosition"] == 1
        quota(sim, 4)
        await sim.until(sim.is_("Running", "b"), 30)
        assert alive < running(sim)
        await judge(sim)


@pytest.mark.fault(69)
async def test_a_place_is_kept_beside_jobs_whose_queue_is_gone() -> None:
    """For it the ends of all that run are played through."""
    async with Simulation(nodes=1, gpus=4) as sim:
        sim.create(b.a_queue("gone", gpus=4))
        sim.create(b.training_job("old", b.gpus(3), b.queue("gone"), b.runs(100), b.spec(expectedSeconds=100)))
        await sim.until(sim.is_("Running", "old"), 10)
        sim.api.remove(QUEUES, None, "gone")
        await sim.rest(5)
        sim.create(b.training_job("large", b.gpus(4), b.runs(10)))
        await sim.until(lambda: sim.phase("large") == "Pending", 10)
        sim.create(b.training_job("small", b.runs(5), b.spec(expectedSeconds=5)))
        await sim.until(sim.is_("Complete", "small"), 30)
        await sim.until(sim.is_("Complete", "large"), 150)
        await judge(sim)


async def test_a_cycle_that_fails_leaves_nobody_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """It fails when its engine has given away the places already, and before anybody hears of it."""
    failures = iter([RuntimeError("once")])
    run = Cycle.run

    def fails_once(cycle: Cycle, *arguments: Any, **options: Any) -> Any:
        admitted = run(cycle, *arguments, **options)
        if admitted and (failure := next(failures, None)) is not None:
            raise failure
        return admitted

    monkeypatch.setattr(Cycle, "run", fails_once)
    async with Simulation(nodes=1, gpus=4) as sim:
        sim.create(*(b.training_job(f"j{number}") for number in range(4)))
        await sim.until(sim.is_("Running", *(f"j{number}" for number in range(4))), 60)
        assert next(failures, None) is None
        await judge(sim)


@pytest.mark.fault(70)
async def test_a_quota_that_is_cut_below_its_use_stops_nobody_and_lets_nobody_in() -> None:
    async with Simulation(nodes=1, gpus=8) as sim:
        sim.create(*(b.training_job(f"j{number}", b.gpus(2)) for number in range(4)))
        await sim.until(sim.is_("Running", *(f"j{number}" for number in range(4))), 10)
        alive = running(sim)
        quota(sim, 4)
        sim.create(b.training_job("next", b.gpus(2)))
        await sim.rest(60)
        assert (running(sim), sim.phase("next")) == (alive, "Pending")
        await judge(sim)
        for number in range(2):
            sim.kubelet.finish("team", f"j{number}-worker-0-1")
        await sim.rest(30)
        assert sim.phase("next") == "Pending", "what is used is all there is"
        sim.kubelet.finish("team", "j2-worker-0-1")
        await sim.until(sim.is_("Running", "next"), 30)


@pytest.mark.fault(71)
async def test_a_raised_quota_admits_at_once_and_a_circle_and_a_missing_flavor_are_told_with_their_names() -> None:
    async with Simulation(nodes=1, gpus=4, quota=1) as sim:
        sim.create(b.training_job("a", b.gpus(2)))
        await sim.until(sim.is_("Pending", "a"), 10)
        quota(sim, 2)
        await sim.until(sim.is_("Running", "a"), 2)
        sim.create(b.a_queue("up", b.spec(parent="down")), b.a_queue("down", b.spec(parent="up")))
        sim.create(b.training_job("round", b.queue("down")))
        await sim.until(lambda: sim.status("round").get("reason") == "Misconfigured", 30)
        assert "down" in sim.message("round")
        assert "up" in sim.message("round")
        sim.api.remove(FLAVORS, None, "h200")
        sim.create(b.training_job("late"))
        await sim.until(lambda: sim.status("late").get("reason") in ("Misconfigured", "NoMatchingFlavor"), 30)
        assert "h200" in sim.message("late")
        assert sim.phase("a") == "Running"


@pytest.mark.fault(74)
async def test_of_wishes_that_come_and_go_within_a_second_the_last_one_counts() -> None:
    async with Simulation() as sim:
        sim.create(b.inference_service("s", b.replicas(4), b.drain(1)), b.training_job("a"))
        await sim.until(lambda: sim.served("s").get("readyReplicas") == 4 and sim.phase("a") == "Running", 60)
        for wish in (0, 4, 0, 4):
            sim.change(INFERENCE_SERVICES, "s", replicas=wish)
            sim.change(TRAINING_JOBS, "a", suspend=wish == 0)
            await sim.rest(0.2)
        await sim.until(lambda: sim.served("s")["readyReplicas"] == 4 and sim.phase("a") == "Running", 120)
        await sim.rest(30)
        assert (len(sim.names("s")), len(sim.names("a"))) == (4, 1)
        await judge(sim)


@pytest.mark.fault(73)
async def test_what_may_change_of_a_job_changes_it_and_nothing_else() -> None:
    async with Simulation(nodes=1, gpus=2) as sim:
        sim.create(b.training_job("a", b.gpus(2)), b.training_job("b", b.gpus(2)), b.training_job("c", b.gpus(2)))
        await sim.until(lambda: sim.phase("a") == "Running" and sim.status("c").get("queuePosition") == 2, 40)
        alive = running(sim)
        sim.change(TRAINING_JOBS, "c", priority=5, maxRunSeconds=None, ttlSecondsAfterFinished=5)
        sim.change(TRAINING_JOBS, "a", priority=9)
        await sim.until(lambda: sim.status("c").get("queuePosition") == 1, 40)
        assert running(sim) == alive
        await judge(sim)


@pytest.mark.fault(77)
async def test_a_large_gang_starts_although_small_jobs_come_without_end() -> None:
    async with Simulation(nodes=4, gpus=1) as sim:
        sim.create(*(b.training_job(f"s{number}", b.runs(30 + 10 * number)) for number in range(4)))
        await sim.rest(5)
        sim.create(b.training_job("large", b.workers(4)))
        began, number = CLOCK.monotonic(), 4
        while sim.phase("large") != "Running":
            assert CLOCK.monotonic() - began < 600, sim.describe()
            sim.create(b.training_job(f"s{number}", b.runs(40)))
            number += 1
            await sim.rest(10)


@pytest.mark.fault(82)
async def test_names_of_claims_and_models_lead_nowhere_but_into_ones_own_namespace() -> None:
    async with Simulation() as sim:
        sim.create(b.a_namespace("other"), b.a_claim("secret", namespace="other"))
        trained = {"claimName": "secret", "path": "model", "digest": b.DIGEST}
        sim.create(b.training_job("theirs", b.namespace("other"), b.status(phase="Complete", result=trained)))
        sim.create(b.training_job("a", b.storage("secret")), b.inference_service("s", b.served_job("theirs")))
        sim.create(b.inference_service("t", b.served_claim("secret", "model")))
        await sim.rest(60)
        assert "secret" in sim.message("a")
        assert sim.names("a") == sim.names("s") == sim.names("t") == []
        assert "theirs" in str(sim.served("s")["conditions"])
        assert "secret" in str(sim.served("t")["conditions"])


@pytest.mark.fault(71)
async def test_who_can_no_longer_start_is_promised_no_time() -> None:
    async with Simulation(nodes=1, gpus=4) as sim:
        sim.create(b.training_job("a", b.gpus(4)), b.training_job("b", b.gpus(4)))
        await sim.until(lambda: sim.status("b").get("eta"), 30)
        sim.api.remove(FLAVORS, None, "h200")
        await sim.until(lambda: sim.status("b").get("reason") == "NoMatchingFlavor", 30)
        await sim.until(lambda: sim.status("b").get("eta") is None, 60)
        sim.create(b.a_flavor())
        await sim.until(lambda: sim.status("b").get("eta"), 60)
