"""Jobs whose pods the API server refuses, and when they are tried again: as soon as what we see of the reason changes, and seldom otherwise."""

from collections.abc import Callable

import pytest

from tests import builders as b
from tests.simulation.fake_verbs import Refused
from tests.simulation.operator_sim import Simulation
from trainyard.cluster.resources import CLAIMS, NAMESPACES, PODS, TRAINING_JOBS, Object, Resource
from trainyard.runtime.work_queue import Again
from trainyard.workloads.keys import Key

pytestmark = pytest.mark.looptime
WORDS = 'pods "x" is forbidden: violates PodSecurity "restricted:latest"'


def gang(name: str) -> Object:
    return b.training_job(name, b.workers(2), b.gpus(1))


def refuse(sim: Simulation, condition: Callable[[], bool], message: str = WORDS) -> None:
    """No pod is taken while that holds."""

    def check(verb: str, resource: Resource, _new: Object, _old: Object | None) -> None:
        if verb == "create" and resource == PODS and condition():
            raise Refused(403, "Forbidden", message)

    sim.api.admission.append(check)


def all_refused(sim: Simulation, *names: str, words: str = WORDS) -> Callable[[], bool]:
    return lambda: all(
        sim.status(name).get("reason") == "Misconfigured" and words in sim.message(name) for name in names
    )


def asked(sim: Simulation) -> int:
    """Dry runs of pods until now."""
    return sum(each.resource == PODS and "dryRun" in each.query for each in sim.api.requests)


@pytest.mark.parametrize("workers", [1, 2])
async def test_of_many_jobs_of_a_template_one_asks_once_a_minute_and_nobody_else_is_looked_at(
    workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"job-{number}" for number in range(30)]
    async with Simulation() as sim:
        refusing = sim.refuse_pods(WORDS)
        sim.create(*(b.training_job(name, b.workers(workers), b.gpus(1)) for name in names))
        await sim.until(all_refused(sim, *names), 60)
        await sim.rest(60)
        looked, controllers = list[Key](), sim.process.app._controllers
        look = controllers["TrainingJob"]

        async def counted(key: Key) -> Again:
            looked.append(key)
            return await look(key)

        monkeypatch.setitem(controllers, "TrainingJob", counted)
        before = asked(sim)
        await sim.rest(600)
        assert 9 <= asked(sim) - before <= 10 * workers
        assert len(looked) <= 25
        refusing.clear()
        await sim.until(lambda: sum(sim.phase(name) == "Running" for name in names) == 16 // workers, 75)


async def test_when_the_namespace_changes_the_answer_may_be_another_one() -> None:
    async with Simulation() as sim:
        label = "pod-security.kubernetes.io/enforce"

        def restricted() -> bool:
            found = sim.api.get(NAMESPACES, None, b.NAMESPACE)
            return found is not None and found["metadata"]["labels"].get(label) != "privileged"

        refuse(sim, restricted)
        sim.create(gang("a"), gang("b"), b.training_job("c"))
        await sim.until(all_refused(sim, "a", "b", "c"), 30)
        await sim.rest(20)
        sim.api.edit(NAMESPACES, None, b.NAMESPACE, lambda obj: obj["metadata"]["labels"].update({label: "privileged"}))
        await sim.until(sim.is_("Running", "a", "b", "c"), 10)


async def test_when_a_pod_ends_there_may_be_room_in_a_quota() -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("before", b.runs(100)))
        await sim.until(sim.is_("Running", "before"), 30)
        refuse(
            sim, lambda: any(pod["status"].get("phase") == "Running" for pod in sim.pods("before")), "exceeded quota"
        )
        sim.create(gang("a"))
        await sim.until(all_refused(sim, "a", words="exceeded quota"), 30)
        await sim.until(sim.is_("Complete", "before"), 120)
        await sim.until(sim.is_("Running", "a"), 15)


async def test_when_the_one_that_asks_is_gone_another_one_does() -> None:
    async with Simulation() as sim:
        refusing = sim.refuse_pods(WORDS)
        sim.create(gang("a"))
        await sim.until(all_refused(sim, "a"), 30)
        sim.create(gang("b"), gang("c"))
        await sim.until(all_refused(sim, "b", "c"), 30)
        await sim.delete(TRAINING_JOBS, "a")
        sim.change(TRAINING_JOBS, "b", suspend=True)
        await sim.rest(70)
        refusing.clear()
        await sim.until(sim.is_("Running", "c"), 65)


async def test_what_the_api_server_says_now_is_told_to_all_that_wait() -> None:
    async with Simulation() as sim:
        refusing = sim.refuse_pods(WORDS)
        sim.create(gang("a"), gang("b"), b.training_job("c"), b.training_job("d"))
        await sim.until(all_refused(sim, "a", "b", "c", "d"), 30)
        sim.refuse_pods("exceeded quota: compute")
        refusing.clear()
        await sim.until(all_refused(sim, "a", "b", "c", "d", words="exceeded quota: compute"), 100)


async def test_a_webhook_that_cannot_be_asked_in_a_dry_run_keeps_nobody_waiting() -> None:
    async with Simulation() as sim:
        words = 'admission webhook "w.example.com" does not support dry run'
        sim.api.faults.fail(
            lambda each: each.resource == PODS and "dryRun" in each.query,
            400,
            times=None,
            reason="BadRequest",
            message=words,
        )
        sim.create(gang("a"))
        await sim.until(sim.is_("Running", "a"), 10)


async def test_a_job_whose_claim_comes_starts_at_once() -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("a", b.storage("later")))
        await sim.until(lambda: sim.status("a").get("reason") == "Misconfigured", 30)
        await sim.rest(20)
        sim.api.put(CLAIMS, b.a_claim("later"))
        await sim.until(sim.is_("Running", "a"), 5)
