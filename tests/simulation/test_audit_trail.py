"""Each decision of the whole operator is on record, once, whichever part took it."""

import pytest

from tests import builders as b
from tests.simulation.fake_faults import both, on, verb
from tests.simulation.operator_sim import Simulation
from trainyard.api.audit import Action
from trainyard.cluster.resources import INFERENCE_SERVICES, PODS, QUEUES, TRAINING_JOBS

pytestmark = pytest.mark.looptime


def on_record(sim: Simulation, about: str) -> list[str]:
    return [str(each.action) for each in sim.records if each.about == about]


async def test_a_job_that_trains_and_ends() -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("a", b.workers(2), b.gpus(4), b.runs(20)))
        await sim.until(sim.is_("Complete", "a"), 60)
        await sim.rest(5)
        assert on_record(sim, "TrainingJob team/a") == [Action.ADMITTED, Action.PLACE_GIVEN_BACK]
        admitted, given_back = sim.records
        assert admitted.facts == {
            "flavor": "h200",
            "epoch": 1,
            "pods": 2,
            "nodes": 1,
            "firstNode": sim.records[0].facts["firstNode"],
            "attempt": 1,
        }
        assert given_back.facts["phase"] == "Complete"


async def test_a_preemption_names_who_makes_way_for_whom() -> None:
    async with Simulation(nodes=1, gpus=8) as sim:
        policy = {"withinQueue": "LowerPriority", "minRuntimeSeconds": 0}
        sim.change(QUEUES, "research", None, preemption=policy)
        sim.create(b.training_job("low", b.gpus(8), b.storage(), b.runs(10_000)))
        await sim.until(sim.is_("Running", "low"), 30)
        sim.create(b.training_job("high", b.gpus(8), b.priority(100), b.runs(60)))
        await sim.until(sim.is_("Running", "high"), 300)
        assert on_record(sim, "TrainingJob team/low")[:3] == [
            Action.ADMITTED,
            Action.ASKED_TO_MAKE_WAY,
            Action.PREEMPTED,
        ]
        assert on_record(sim, "TrainingJob team/high")[:2] == [Action.NOMINATED, Action.ADMITTED]
        nominated = next(each for each in sim.records if each.action == Action.NOMINATED)
        assert nominated.facts["victims"] == ["TrainingJob team/low"]
        asked = next(each for each in sim.records if each.action == Action.ASKED_TO_MAKE_WAY)
        assert asked.facts["by"] == "TrainingJob team/high"


async def test_each_replica_of_a_service_by_itself() -> None:
    async with Simulation() as sim:
        sim.create(b.inference_service("s", b.replicas(2)))
        await sim.until(lambda: len(sim.records) == 2, 30)
        assert {each.about for each in sim.records} == {f"InferenceService team/s replica {n}" for n in (1, 2)}
        assert {each.action for each in sim.records} == {Action.ADMITTED}


async def test_pods_of_a_lost_node_that_are_deleted_by_force() -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("a", b.storage(), b.runs(10_000)))
        await sim.until(sim.is_("Running", "a"), 30)
        (lost,) = sim.names("a")
        sim.stop_node(sim.nodes("a")[0])
        await sim.until(lambda: Action.FORCE_DELETED in on_record(sim, "TrainingJob team/a"), 600)
        forced = next(each for each in sim.records if each.action == Action.FORCE_DELETED)
        assert forced.facts["name"] == lost


@pytest.mark.parametrize(
    ("message", "action"),
    [
        ('pods "a" is forbidden: violates PodSecurity "restricted:latest"', Action.PRIVILEGES_REFUSED),
        ("exceeded quota: pods", Action.PODS_REFUSED),
    ],
)
async def test_pods_that_the_api_server_refuses(message: str, action: Action) -> None:
    async with Simulation() as sim:
        sim.refuse_pods(message)
        sim.create(b.training_job("a"))
        await sim.until(lambda: action in on_record(sim, "Namespace team"), 60)
        refused = next(each for each in sim.records if each.action == action)
        assert message in refused.facts["why"]
        assert refused.facts["from"] == {"TrainingJob team/a": 1}


async def test_a_tenant_whose_pods_are_refused_without_end_does_not_flood_the_trail() -> None:
    async with Simulation() as sim:
        sim.refuse_pods('pods "a" is forbidden: violates PodSecurity "restricted:latest"')
        for number in range(40):
            sim.create(b.training_job(f"a{number}", b.annotated(template=str(number))))
        await sim.rest(600)
        found = [each for each in sim.records if each.action == Action.PRIVILEGES_REFUSED]
        assert sum(each.facts["times"] for each in found) > 40
        assert len(found) < 10


async def test_a_restart_repeats_nothing() -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("a", b.runs(10_000)))
        await sim.until(sim.is_("Running", "a"), 30)
        await sim.restart()
        await sim.rest(30)
        assert on_record(sim, "TrainingJob team/a") == [Action.ADMITTED]


async def test_a_decision_whose_answer_is_lost_is_on_record_all_the_same() -> None:
    async with Simulation() as sim:
        lost = sim.api.faults.lose(both(verb("patch_status"), on(TRAINING_JOBS)), times=6)
        sim.create(b.training_job("a", b.runs(20)))
        await sim.until(sim.is_("Complete", "a"), 300)
        await sim.rest(5)
        assert lost.hits == 6
        assert on_record(sim, "TrainingJob team/a") == [Action.ADMITTED, Action.PLACE_GIVEN_BACK]


async def test_it_is_on_record_before_a_pod_is_made_for_it() -> None:
    async with Simulation() as sim:
        seen: list[list[str]] = []
        sim.api.faults.lose(both(verb("patch_status"), on(TRAINING_JOBS)), times=1)
        sim.api.admission.append(
            lambda verb, resource, _new, _old: (
                seen.append(on_record(sim, "TrainingJob team/a")) if (verb, resource) == ("create", PODS) else None
            )
        )
        sim.create(b.training_job("a", b.runs(20)))
        await sim.until(sim.is_("Complete", "a"), 300)
        assert seen == [[Action.ADMITTED]]


async def test_a_job_that_somebody_deletes_in_its_place_gives_it_back() -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("a", b.runs(10_000)))
        await sim.until(sim.is_("Running", "a"), 30)
        await sim.delete(TRAINING_JOBS, "a")
        await sim.rest(5)
        assert on_record(sim, "TrainingJob team/a") == [Action.ADMITTED, Action.PLACE_GIVEN_BACK]
        assert sim.records[-1].facts["reason"] == "Deleted"


async def test_so_does_each_replica_of_a_service() -> None:
    async with Simulation() as sim:
        sim.create(b.inference_service("s", b.replicas(2)))
        await sim.until(lambda: len(sim.records) == 2, 30)
        await sim.delete(INFERENCE_SERVICES, "s")
        await sim.rest(5)
        for number in (1, 2):
            about = f"InferenceService team/s replica {number}"
            assert on_record(sim, about) == [Action.ADMITTED, Action.PLACE_GIVEN_BACK]


async def test_a_forced_delete_whose_answer_never_comes_is_on_record() -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("a", b.storage(), b.runs(10_000)))
        await sim.until(sim.is_("Running", "a"), 30)
        sim.api.faults.lose(both(verb("delete"), on(PODS)), times=None)
        sim.stop_node(sim.nodes("a")[0])
        await sim.until(lambda: Action.FORCE_DELETED in on_record(sim, "TrainingJob team/a"), 600)
        forced = next(each for each in sim.records if each.action == Action.FORCE_DELETED)
        assert forced.facts["answered"] is False


@pytest.mark.parametrize("end", ["can be read again", "is deleted"])
async def test_a_job_that_cannot_be_read_has_not_given_back_its_place_until_it_is_gone(end: str) -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("a", b.runs(10_000)))
        await sim.until(sim.is_("Running", "a"), 30)
        spec = sim.job("a")["spec"]
        sim.api.edit(TRAINING_JOBS, "team", "a", lambda obj: obj.update(spec=spec | {"workers": "several"}))
        await sim.until(lambda: "Unreadable" in sim.events("a"), 10)
        sim.api.edit(TRAINING_JOBS, "team", "a", lambda obj: obj.update(spec=spec | {"workers": "some"}))
        await sim.rest(5)
        assert on_record(sim, "TrainingJob team/a") == [Action.ADMITTED]
        if end == "is deleted":
            await sim.delete(TRAINING_JOBS, "a")
        else:
            sim.api.edit(TRAINING_JOBS, "team", "a", lambda obj: obj.update(spec=spec))
        await sim.rest(5)
        given_back = [Action.PLACE_GIVEN_BACK] if end == "is deleted" else []
        assert on_record(sim, "TrainingJob team/a") == [Action.ADMITTED, *given_back]
