"""What belongs to somebody else: it is neither adopted nor touched, its owner is told, and labels alone prove nothing."""

import pytest

from tests import builders as b
from tests.simulation.operator_sim import Simulation
from trainyard.cluster.resources import CLAIMS, DEPLOYMENTS, PODS, SERVICES, TRAINING_JOBS, Object, Resource

pytestmark = pytest.mark.looptime


def theirs(sim: Simulation, resource: Resource, name: str, *, owned: bool, **labels: str) -> Object:
    """An object of somebody else's, of a Deployment if it is owned."""
    meta: Object = {"name": name, "namespace": "team", "labels": labels}
    if owned:
        there = {"metadata": {"name": "theirs", "namespace": "team"}, "spec": {"replicas": 1}}
        owner = sim.api.put(DEPLOYMENTS, there)["metadata"]["uid"]
        reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "theirs", "uid": owner, "controller": True}
        meta["ownerReferences"] = [reference]
    body: Object = {"metadata": meta, "spec": {"containers": [{"name": "main"}]}, "status": {"phase": "Running"}}
    if resource != PODS:
        body = {"metadata": meta, "spec": {}}
    return sim.api.put(resource, body)


def untouched(sim: Simulation, resource: Resource, before: Object) -> bool:
    return sim.api.get(resource, "team", before["metadata"]["name"]) == before


@pytest.mark.fault(14)
@pytest.mark.parametrize("owned", [True, False], ids=["owned", "free"])
@pytest.mark.parametrize(
    ("resource", "name"), [(PODS, "a-worker-1-1"), (SERVICES, "a-workers")], ids=["pod", "service"]
)
async def test_a_child_of_somebody_else_is_not_adopted_and_is_named(resource: Resource, name: str, owned: bool) -> None:
    async with Simulation() as sim:
        before = theirs(sim, resource, name, owned=owned)
        sim.create(b.training_job("a", b.workers(2)))
        words = f"'{name}' exists and belongs to somebody else; delete or rename it"
        await sim.until(lambda: words in str(sim.status("a").get("conditions")), 30)
        assert untouched(sim, resource, before)
        sim.api.remove(resource, "team", name)
        await sim.until(sim.is_("Running", "a"), 180)


async def test_a_name_that_is_taken_holds_up_nobody_but_the_job_of_that_name() -> None:
    async with Simulation() as sim:
        theirs(sim, SERVICES, "a-workers", owned=True)
        sim.create(b.training_job("a", b.workers(2)))
        await sim.until(lambda: sim.status("a").get("reason") == "Misconfigured", 30)
        sim.create(b.training_job("twin", b.workers(2)))
        await sim.until(sim.is_("Running", "twin"), 10)


@pytest.mark.parametrize("reclaim", ["Retain", "Delete"])
async def test_a_claim_that_is_there_already_is_used_and_outlives_the_job(reclaim: str) -> None:
    async with Simulation() as sim:
        sim.create(b.a_claim("a"))
        before = sim.api.get(CLAIMS, "team", "a")
        assert before is not None
        sim.create(b.training_job("a", b.workers(2), b.own_claim(reclaim=reclaim), b.runs(5), b.ttl(5)))
        await sim.until(lambda: sim.api.get(TRAINING_JOBS, "team", "a") is None, 60)
        await sim.rest(30)
        assert untouched(sim, CLAIMS, before)


@pytest.mark.parametrize("phase", ["Running", "Succeeded", "Failed"])
async def test_pods_with_our_labels_that_are_not_ours_change_nothing(phase: str) -> None:
    async with Simulation() as sim:
        labels = {"job": "a", "role": "worker", "index": "1", "attempt": "1", "queue": "research"}
        mine = {f"trainyard.dev/{name}": value for name, value in labels.items()}
        before = theirs(sim, PODS, "fake", owned=True, **mine)
        sim.api.edit(PODS, "team", "fake", lambda obj: obj["status"].update(phase=phase))
        sim.create(b.training_job("a", b.workers(2), b.runs(60)))
        await sim.until(sim.is_("Running", "a"), 10)
        await sim.rest(30)
        assert (sim.phase("a"), sim.status("a")["workers"]["active"], sim.status("a")["attempt"]) == ("Running", 2, 1)
        await sim.until(sim.is_("Complete", "a"), 60)
        assert sim.status("a")["restarts"] == 0
        there = sim.api.get(PODS, "team", "fake")
        assert there is not None
        assert there["metadata"]["uid"] == before["metadata"]["uid"]


async def test_a_pod_that_names_a_job_as_one_of_its_owners_is_not_its_worker() -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("a", b.runs(30)))
        await sim.until(sim.is_("Running", "a"), 10)
        uid = sim.job("a")["metadata"]["uid"]
        other = {"apiVersion": "trainyard.dev/v1alpha1", "kind": "TrainingJob", "name": "a", "uid": uid}
        pod = {"name": "beside", "namespace": "team", "ownerReferences": [other]}
        sim.api.put(PODS, {"metadata": pod, "spec": {"containers": []}, "status": {"phase": "Failed"}})
        await sim.until(sim.is_("Complete", "a"), 60)
        assert (sim.status("a")["restarts"], sim.status("a")["workers"]["succeeded"]) == (0, 1)
