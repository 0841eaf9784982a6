"""People and other controllers who edit, empty, strip or delete what the operator made, and those who delete a job in every way."""

import asyncio
from collections.abc import Callable

import pytest

from tests import builders as b
from tests.simulation.journeys import JOURNEYS, undisturbed
from tests.simulation.operator_sim import Simulation
from tests.simulation.oracles import end_state, judge, running
from trainyard.api.names import DIGEST, SHAPE
from trainyard.cluster.resources import (
    DEPLOYMENTS,
    INFERENCE_SERVICES,
    NODES,
    POD_DISRUPTION_BUDGETS,
    PODS,
    QUEUES,
    SERVICES,
    TRAINING_JOBS,
    Object,
    Resource,
)
from trainyard.workloads.understood import understand

pytestmark = pytest.mark.looptime
THEIRS = {"annotations": {"team.example.com/note": "keep"}, "labels": {"team.example.com/cost": "7"}}


async def a_gang_and_a_service(sim: Simulation) -> None:
    sim.create(b.training_job("a", b.workers(2)), b.inference_service("s", b.replicas(2)))
    await sim.until(lambda: sim.phase("a") == "Running" and sim.served("s").get("phase") == "Ready", 30)


def decorated(sim: Simulation, *resources: Resource) -> Callable[[Resource, Object | None, Object | None], None]:
    """Somebody else writes annotations and labels on everything as it comes."""

    def look(resource: Resource, old: Object | None, new: Object | None) -> None:
        if old is None and new is not None and resource in resources:
            meta = new["metadata"]
            asyncio.get_running_loop().call_soon(mark, resource, meta.get("namespace"), meta["name"])

    def mark(resource: Resource, namespace: str | None, name: str) -> None:
        if sim.api.get(resource, namespace, name) is not None:
            sim.api.edit(resource, namespace, name, add)

    return look


def add(obj: Object) -> None:
    for part, entries in THEIRS.items():
        obj["metadata"].setdefault(part, {}).update(entries)


@pytest.mark.fault(15)
@pytest.mark.parametrize("journey", ["job", "service"])
async def test_what_others_write_on_our_objects_stays_and_changes_nothing(journey: str) -> None:
    expected, _ = await undisturbed(journey)
    kinds = (TRAINING_JOBS, INFERENCE_SERVICES, PODS, SERVICES, DEPLOYMENTS)
    async with Simulation() as sim:
        sim.api.storage.listeners.append(decorated(sim, *kinds))
        await JOURNEYS[journey](sim)
        assert end_state(sim) == expected
        for each in (obj for kind in kinds for obj in sim.api.all(kind)):
            assert all(entries.items() <= each["metadata"][part].items() for part, entries in THEIRS.items()), each
        await judge(sim)


@pytest.mark.fault(14)
async def test_an_edited_gateway_is_put_right_once_and_one_that_is_deleted_comes_back() -> None:
    async with Simulation() as sim:
        await a_gang_and_a_service(sim)
        before = running(sim)
        (gateway,) = sim.api.all(DEPLOYMENTS)
        wanted, writes = gateway["spec"]["replicas"], len(sim.writes(DEPLOYMENTS))
        name = gateway["metadata"]["name"]
        sim.change(DEPLOYMENTS, name, replicas=9)
        await sim.until(lambda: sim.api.all(DEPLOYMENTS)[0]["spec"]["replicas"] == wanted, 30)
        await sim.rest(60)
        assert len(sim.writes(DEPLOYMENTS)) - writes <= 2
        await sim.delete(DEPLOYMENTS, name)
        for each in sim.api.all(SERVICES):
            await sim.delete(SERVICES, each["metadata"]["name"])
        for each in sim.api.all(POD_DISRUPTION_BUDGETS):
            await sim.delete(POD_DISRUPTION_BUDGETS, each["metadata"]["name"])
        await sim.until(lambda: len(sim.api.all(DEPLOYMENTS)) == 1 and len(sim.api.all(SERVICES)) == 2, 60)
        assert before <= running(sim)
        await judge(sim)


async def test_a_disruption_budget_that_somebody_deletes_comes_back_and_one_comes_with_a_second_gateway() -> None:
    async with Simulation() as sim:
        sim.create(b.inference_service("s", b.spec(gateway={"replicas": 1})))
        await sim.until(lambda: len(sim.api.all(DEPLOYMENTS)) == 1, 30)
        assert sim.api.all(POD_DISRUPTION_BUDGETS) == []
        sim.change(INFERENCE_SERVICES, "s", gateway={"replicas": 2})
        await sim.until(lambda: len(sim.api.all(POD_DISRUPTION_BUDGETS)) == 1, 30)
        (budget,) = sim.api.all(POD_DISRUPTION_BUDGETS)
        await sim.delete(POD_DISRUPTION_BUDGETS, budget["metadata"]["name"])
        await sim.until(lambda: len(sim.api.all(POD_DISRUPTION_BUDGETS)) == 1, 30)
        writes = len(sim.writes(POD_DISRUPTION_BUDGETS))
        await sim.rest(300)
        assert len(sim.writes(POD_DISRUPTION_BUDGETS)) == writes


@pytest.mark.fault(34)
async def test_an_emptied_status_of_a_job_is_known_again_from_its_pods() -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("a", b.workers(2)), b.training_job("b", b.gpus(2)))
        await sim.until(sim.is_("Running", "a", "b"), 20)
        before, nodes = running(sim), sim.nodes("a")
        for name in ("a", "b"):
            sim.api.edit(TRAINING_JOBS, "team", name, lambda obj: obj.update(status={}))
        await sim.until(sim.is_("Running", "a", "b"), 30)
        assert (running(sim), sim.nodes("a")) == (before, nodes)
        assert (sim.status("a")["attempt"], sim.status("a")["gpus"]) == (1, 2)
        await judge(sim)


@pytest.mark.fault(34)
async def test_an_emptied_status_of_a_service_is_known_again_from_its_pods() -> None:
    async with Simulation() as sim:
        sim.create(b.inference_service("s", b.replicas(2)))
        await sim.until(lambda: sim.served("s").get("phase") == "Ready", 30)
        before = running(sim)
        sim.api.edit(INFERENCE_SERVICES, "team", "s", lambda obj: obj.update(status={}))
        await sim.until(lambda: sim.served("s").get("phase") == "Ready", 30)
        assert running(sim) == before
        sim.change(INFERENCE_SERVICES, "s", replicas=3)
        await sim.until(lambda: sim.served("s")["readyReplicas"] == 3, 30)
        assert before < running(sim)
        await judge(sim)


DAMAGES: dict[str, dict[str, object]] = {
    "another type": {"phase": 7, "conditions": "x"},
    "no number": {"attempt": "three", "desiredReplicas": "many"},
    "less than is needed": {"conditions": [{"type": "Ready"}]},
    "an admission of another shape": {"admission": {"time": "yesterday", "roles": 3}},
    "wrong in its depths": {
        "ledger": {"seconds": [1], "causes": {"a": "b"}},
        "incidents": [{"x": 1}],
        "use": [{"y": 1}],
    },
}


@pytest.mark.fault(34)
@pytest.mark.parametrize("damage", DAMAGES)
async def test_what_another_version_left_in_a_status_is_taken_out_told_and_made_anew(damage: str) -> None:
    things = ((TRAINING_JOBS, "team", "a"), (INFERENCE_SERVICES, "team", "s"), (QUEUES, None, "research"))
    async with Simulation() as sim:
        await a_gang_and_a_service(sim)
        before, writes = running(sim), len(sim.writes())
        for resource, namespace, name in things:
            sim.api.edit(resource, namespace, name, lambda obj: obj["status"].update(DAMAGES[damage]))
        await sim.rest(60)
        assert running(sim) == before
        assert len(sim.writes()) - writes < 20, "it ends"
        assert (sim.phase("a"), sim.served("s")["phase"]) == ("Running", "Ready")
        for resource, namespace, name in things:
            understood = understand(resource.kind, sim.api.get(resource, namespace, name) or {})
            assert understood.damage is None
        assert "StatusMended" in (*sim.events("a"), *sim.events("s"), *sim.events("research"))
        await judge(sim)


async def test_a_status_that_is_made_anew_keeps_the_attempt_that_the_claim_obeys() -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("a", b.storage(), b.runs(10_000)))
        await sim.until(sim.is_("Running", "a"), 30)
        for suspend, phase in ((True, "Suspended"), (False, "Running"), (True, "Suspended")):
            sim.change(TRAINING_JOBS, "a", suspend=suspend)
            await sim.until(sim.is_(phase, "a"), 120)
        before = sim.status("a")["attempt"]
        assert before > 1
        sim.api.edit(TRAINING_JOBS, "team", "a", lambda obj: obj["status"].update(conditions="x"))
        await sim.until(lambda: "StatusMended" in sim.events("a"), 30)
        sim.change(TRAINING_JOBS, "a", suspend=False)
        await sim.until(sim.is_("Running", "a"), 60)
        assert sim.status("a")["attempt"] >= before, "the claim's newest attempt would have it stop"
        await judge(sim)


async def test_what_was_restored_is_still_who_it_was_when_its_status_is_made_anew() -> None:
    was = {"uid": "11111111-old", "since": "2026-11-20T12:00:00Z", "taken": "2026-11-22T12:00:00Z"}
    async with Simulation() as sim:
        await a_gang_and_a_service(sim)
        before = running(sim)
        for resource, name in ((TRAINING_JOBS, "a"), (INFERENCE_SERVICES, "s")):
            sim.api.edit(resource, "team", name, lambda obj: obj["status"].update(restored=was, conditions="x"))
        await sim.rest(60)
        assert running(sim) == before
        assert (sim.phase("a"), sim.served("s")["phase"]) == ("Running", "Ready")
        assert sim.status("a")["restored"]["uid"] == sim.served("s")["restored"]["uid"] == was["uid"]
        await judge(sim)


@pytest.mark.fault(34)
async def test_a_job_that_cannot_be_read_says_so_keeps_its_pods_and_goes_on_when_it_can() -> None:
    async with Simulation() as sim:
        await a_gang_and_a_service(sim)
        spec = sim.job("a")["spec"]
        sim.api.edit(TRAINING_JOBS, "team", "a", lambda obj: obj.update(spec=spec | {"workers": "several"}))
        await sim.until(lambda: "Unreadable" in sim.events("a"), 10)
        writes = len(sim.api.requests)
        sim.kubelet.finish("team", sim.names("a")[0])
        await sim.rest(120)
        tried = [each for each in sim.api.requests[writes:] if each.name == "a" and each.verb != "get"]
        assert tried == [], "nothing is tried on what was known of it"
        sim.create(b.training_job("b", b.gpus(4)))
        await sim.until(sim.is_("Running", "b"), 30)
        sim.api.edit(TRAINING_JOBS, "team", "a", lambda obj: obj.update(spec=spec))
        for name in sim.names("a"):
            sim.kubelet.finish("team", name)
        await sim.until(sim.is_("Complete", "a"), 30)
        await judge(sim)


@pytest.mark.fault(34)
async def test_an_emptied_status_of_an_autoscaled_service_does_not_drain_it() -> None:
    async with Simulation() as sim:
        scaled = b.spec(autoscaling={"minReplicas": 1, "maxReplicas": 6}, gateway={"maxConcurrency": 4})
        sim.create(b.inference_service("s", scaled))
        await sim.until(lambda: sim.served("s").get("phase") == "Ready", 30)
        sim.run_gateways("s")
        for second in range(60):
            sim.demand = {"inFlight": 4, "queued": 20 * second, "requests": 40 * second}
            await sim.rest(1)
        before = running(sim)
        assert sim.served("s")["readyReplicas"] == 6
        sim.api.edit(INFERENCE_SERVICES, "team", "s", lambda obj: obj.update(status={}))
        for second in range(60, 70):
            sim.demand = {"inFlight": 4, "queued": 1200, "requests": 40 * second}
            await sim.rest(1)
        assert running(sim) == before
        assert not any(each.get("release") for each in sim.served("s")["admission"])
        assert sim.served("s")["desiredReplicas"] == 6
        assert sim.violations() == {}


def unmark(pod: Object) -> None:
    for each in (DIGEST, SHAPE):
        pod["metadata"].get("annotations", {}).pop(each, None)


@pytest.mark.fault(34)
async def test_replicas_without_a_mark_of_their_model_are_known_again_too() -> None:
    """An earlier version did not write it on their pods."""
    async with Simulation() as sim:
        sim.create(b.inference_service("s", b.replicas(2)))
        await sim.until(lambda: sim.served("s").get("phase") == "Ready", 30)
        before = running(sim)
        for pod in sim.api.all(PODS):
            sim.api.edit(PODS, "team", pod["metadata"]["name"], unmark)
        sim.api.edit(INFERENCE_SERVICES, "team", "s", lambda obj: obj.update(status={}))
        await sim.until(lambda: sim.served("s").get("phase") == "Ready", 30)
        await sim.rest(10)
        assert running(sim) == before
        await judge(sim)


@pytest.mark.fault(34)
@pytest.mark.parametrize("left", [0, 1])
async def test_an_emptied_status_of_a_job_some_of_whose_spares_are_gone_disturbs_none_of_its_workers(left: int) -> None:
    async with Simulation(nodes=11, gpus=8) as sim:
        sim.create(b.training_job("a", b.workers(2), b.gpus(8), b.spares(1 + left), b.storage()))
        await sim.until(sim.is_("Running", "a"), 20)
        last = next(pod for pod in sim.pods("a") if pod["metadata"]["name"] == f"a-spare-{left}-1")
        sim.stop_node(last["spec"]["nodeName"])
        await sim.until(lambda: len(sim.pods("a")) == 2 + left, 90)
        before = running(sim)
        sim.api.edit(TRAINING_JOBS, "team", "a", lambda obj: obj.update(status={}))
        await sim.until(sim.is_("Running", "a"), 30)
        await sim.rest(10)
        assert running(sim) == before
        assert sim.status("a")["gpus"] == 8 * (2 + left)


@pytest.mark.fault(34)
async def test_of_a_gang_that_was_not_whole_when_its_status_was_emptied_another_attempt_starts() -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("a", b.workers(2)))
        await sim.until(sim.is_("Running", "a"), 20)
        sim.kubelet.finish("team", "a-worker-1-1", 1)
        sim.api.edit(TRAINING_JOBS, "team", "a", lambda obj: obj.update(status={}))
        await sim.until(lambda: sim.phase("a") == "Running" and len(sim.pods("a")) == 2, 120)
        await judge(sim)


@pytest.mark.fault(35)
async def test_pods_without_our_labels_are_known_by_their_owner_and_name() -> None:
    async with Simulation() as sim:
        await a_gang_and_a_service(sim)
        before = running(sim)
        for pod in sim.api.all(PODS):
            sim.api.edit(PODS, "team", pod["metadata"]["name"], lambda obj: obj["metadata"].pop("labels"))
        await sim.rest(60)
        assert running(sim) == before
        assert (sim.phase("a"), sim.served("s")["phase"]) == ("Running", "Ready")
        sim.create(b.training_job("fills", b.gpus(8)), b.training_job("waits", b.gpus(8)))
        await sim.rest(30)
        assert {sim.phase("fills"), sim.phase("waits")} == {"Running", "Pending"}, "what they hold is still counted"


def deleted(sim: Simulation, name: str, policy: str) -> None:
    """As the API server deletes with that propagation; the foreground is a finalizer that waits for the children."""
    if policy == "Foreground":
        held = {"deletionTimestamp": "2026-11-23T00:01:00Z", "finalizers": ["foregroundDeletion"]}
        sim.api.edit(TRAINING_JOBS, "team", name, lambda obj: obj["metadata"].update(held))
        for pod in sim.pods(name):
            sim.api.remove(PODS, "team", pod["metadata"]["name"])
    elif policy == "Orphan":
        for pod in sim.pods(name):
            sim.api.edit(PODS, "team", pod["metadata"]["name"], lambda obj: obj["metadata"].pop("ownerReferences"))
    if policy != "Foreground":
        sim.api.remove(TRAINING_JOBS, "team", name)


@pytest.mark.fault(32)
@pytest.mark.parametrize("policy", ["Background", "Foreground", "Orphan"])
async def test_however_a_job_is_deleted_its_quota_is_free_when_its_pods_are_gone(policy: str) -> None:
    async with Simulation(nodes=1, gpus=2) as sim:
        sim.create(b.training_job("a", b.gpus(2)))
        await sim.until(sim.is_("Running", "a"), 10)
        sim.create(b.training_job("next", b.gpus(2)))
        deleted(sim, "a", policy)
        if policy == "Orphan":
            await sim.rest(60)
            assert sim.phase("next") == "Pending", "an orphan keeps what it holds until it is gone"
            assert "a-worker-0-1" in sim.message("next")
            await sim.delete(PODS, "a-worker-0-1")
        await sim.until(sim.is_("Running", "next"), 60)
        if policy == "Foreground":
            assert sim.pods("a") == [], "nothing is made for what is being deleted"
            sim.api.remove(TRAINING_JOBS, "team", "a")
        await judge(sim)


@pytest.mark.fault(32)
async def test_what_a_service_that_is_being_deleted_holds_counts_until_its_pods_are_gone() -> None:
    async with Simulation(nodes=1, gpus=2) as sim:
        sim.create(b.inference_service("s", b.gpus(2)))
        await sim.until(lambda: sim.served("s")["phase"] == "Ready", 60)
        sim.create(b.training_job("next", b.gpus(2)))
        held = {"deletionTimestamp": "2026-11-23T00:01:00Z", "finalizers": ["foregroundDeletion"]}
        sim.api.edit(INFERENCE_SERVICES, "team", "s", lambda obj: obj["metadata"].update(held))
        await sim.rest(60)
        assert sim.phase("next") == "Pending"
        (replica,) = [each for each in sim.pods("s") if each["metadata"]["labels"]["trainyard.dev/role"] == "replica"]
        assert replica["metadata"]["name"] in sim.message("next")
        sim.api.remove(PODS, "team", replica["metadata"]["name"])
        await sim.until(sim.is_("Running", "next"), 30)
        await sim.rest(60)
        assert sim.phase("next") == "Running"
        sim.api.remove(INFERENCE_SERVICES, "team", "s")
        await judge(sim)


@pytest.mark.fault(33)
@pytest.mark.parametrize("count", [1, 2])
async def test_a_job_that_is_made_anew_in_the_midst_of_its_creation_starts_afresh(count: int) -> None:
    for number in range(1, 9):
        async with Simulation() as sim:
            made = b.training_job("a", b.workers(count), b.own_claim())

            def again(sim: Simulation = sim, made: Object = made) -> None:
                sim.api.remove(TRAINING_JOBS, "team", "a")
                sim.create(made)

            await sim.until(lambda sim=sim: sim.process.app.read.is_set(), 10)  # type: ignore[misc]
            sim.api.faults.then_after_write(number, again)
            sim.create(made)
            await sim.until(sim.is_("Running", "a"), 120)
            await sim.rest(20)
            uid = sim.job("a")["metadata"]["uid"]
            owners = {owner["uid"] for pod in sim.pods("a") for owner in pod["metadata"]["ownerReferences"]}
            assert owners == {uid}, f"made anew after write {number}"
            assert (sim.phase("a"), len(sim.pods("a"))) == ("Running", count)


@pytest.mark.fault(54)
async def test_what_a_person_says_of_a_node_is_obeyed_and_never_said_again() -> None:
    async with Simulation(nodes=1) as sim:
        sim.create(b.training_job("a"))
        await sim.until(sim.is_("Running", "a"), 10)
        sim.api.edit(NODES, None, "n0", lambda obj: obj["spec"].update(unschedulable=True))
        sim.create(b.training_job("b"))
        await sim.rest(60)
        assert (sim.phase("a"), sim.phase("b")) == ("Running", "Pending")
        sim.api.edit(NODES, None, "n0", lambda obj: obj["spec"].pop("unschedulable"))
        await sim.until(sim.is_("Running", "b"), 20)
        await judge(sim)
        assert sim.writes(NODES) == []
