"""The fake API server keeps the promises that the simulations rest on."""

import asyncio
from datetime import UTC, datetime
from random import Random

import pytest

from tests.simulation.fake_api import FakeApi
from tests.simulation.fake_faults import Crashed, on, verb, writes
from tests.simulation.fake_nodes import RUN_SECONDS, FakeKubelet, FakeScheduler, node
from tests.simulation.fake_verbs import Refused
from trainyard.cluster.client import ClusterClient
from trainyard.cluster.errors import Conflict, Forbidden, Unreachable
from trainyard.cluster.resources import CONFIG_MAPS, NODES, PODS, TRAINING_JOBS, Object, Resource
from trainyard.runtime.clock import LoopClock

pytestmark = pytest.mark.looptime

CLOCK = LoopClock(datetime(2026, 11, 23, tzinfo=UTC))


def client_of(api: FakeApi) -> ClusterClient:
    return ClusterClient(api.connect(), CLOCK, Random(1))


def config(name: str, owner: Object | None = None, **data: str) -> Object:
    metadata: Object = {"name": name, "namespace": "team"}
    if owner is not None:
        metadata["ownerReferences"] = [
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "name": owner["metadata"]["name"],
                "uid": owner["metadata"]["uid"],
            }
        ]
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def pod(name: str, node_name: str | None = None, **annotations: str) -> Object:
    container = {"name": "main", "resources": {"limits": {"nvidia.com/gpu": "1"}}}
    spec: Object = {"containers": [container]}
    if node_name is not None:
        field = {"key": "metadata.name", "operator": "In", "values": [node_name]}
        required = {"nodeSelectorTerms": [{"matchFields": [field]}]}
        spec["affinity"] = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    return {"metadata": {"name": name, "namespace": "team", "annotations": annotations}, "spec": spec}


async def test_what_it_owns_goes_with_an_owner() -> None:
    api = FakeApi(CLOCK)
    owner = api.put(CONFIG_MAPS, config("owner"))
    client = client_of(api)
    await client.create(CONFIG_MAPS, config("child", owner))
    await client.delete(CONFIG_MAPS, "team", "owner")
    await asyncio.sleep(1)
    assert api.all(CONFIG_MAPS) == []


async def test_a_child_of_an_owner_that_never_was_is_collected() -> None:
    api = FakeApi(CLOCK)
    await client_of(api).create(CONFIG_MAPS, config("child", {"metadata": {"name": "ghost", "uid": "none"}}))
    await asyncio.sleep(1)
    assert api.all(CONFIG_MAPS) == []


async def test_generation_counts_changes_of_the_spec_only() -> None:
    api = FakeApi(CLOCK)
    client = client_of(api)
    job: Object = {
        "metadata": {"name": "a", "namespace": "team"},
        "spec": {"priority": 1},
        "status": {"phase": "forged"},
    }
    created = await client.create(TRAINING_JOBS, job)
    assert "status" not in created
    await client.patch_status(TRAINING_JOBS, "team", "a", {"phase": "Running"})
    await client.patch(TRAINING_JOBS, "team", "a", {"metadata": {"labels": {"x": "y"}}})
    changed = await client.patch(TRAINING_JOBS, "team", "a", {"spec": {"priority": 2}, "status": {"phase": "forged"}})
    assert changed["metadata"]["generation"] == 2
    assert changed["status"] == {"phase": "Running"}


async def test_a_write_that_changes_nothing_makes_no_new_version() -> None:
    api = FakeApi(CLOCK)
    client = client_of(api)
    first = await client.apply(CONFIG_MAPS, config("a", x="1"))
    second = await client.apply(CONFIG_MAPS, config("a", x="1"))
    assert first["metadata"]["resourceVersion"] == second["metadata"]["resourceVersion"]


async def test_apply_takes_away_what_its_manager_no_longer_sends_and_leaves_the_rest() -> None:
    api = FakeApi(CLOCK)
    client = client_of(api)
    await client.apply(CONFIG_MAPS, config("a", x="1", y="2"))
    await client.patch(CONFIG_MAPS, "team", "a", {"data": {"theirs": "3"}})
    applied = await client.apply(CONFIG_MAPS, config("a", x="1"))
    assert applied["data"] == {"x": "1", "theirs": "3"}


async def test_dry_run_admits_but_stores_nothing() -> None:
    api = FakeApi(CLOCK)

    def no_pods(_verb: str, resource: Resource, _new: Object, _old: Object | None) -> None:
        if resource == PODS:
            raise Refused(403, "Forbidden", "exceeded quota: pods")

    api.admission.append(no_pods)
    client = client_of(api)
    await client.create(CONFIG_MAPS, config("a"), dry_run=True)
    assert api.all(CONFIG_MAPS) == []
    assert api.writes == []
    with pytest.raises(Forbidden) as caught:
        await client.create(PODS, pod("p"), dry_run=True)
    assert caught.value.message == "exceeded quota: pods"


async def test_lists_come_in_pages_of_one_version() -> None:
    api = FakeApi(CLOCK)
    for number in range(1201):
        api.put(CONFIG_MAPS, config(f"c{number:04d}"))
    listed = await client_of(api).list(CONFIG_MAPS, "team")
    assert len(listed.items) == 1201
    assert [request.verb for request in api.requests] == ["list"] * 7
    assert listed.resource_version == str(api.storage.revision)


async def test_selectors_choose_by_labels_and_fields() -> None:
    api = FakeApi(CLOCK)
    for name, role in (("a", "worker"), ("b", "gateway"), ("c", "worker")):
        api.put(CONFIG_MAPS, config(name) | {"metadata": {"name": name, "namespace": "team", "labels": {"role": role}}})
    client = client_of(api)

    async def names(labels: str | None = None, fields: str | None = None) -> list[str]:
        listed = await client.list(CONFIG_MAPS, "team", label_selector=labels, field_selector=fields)
        return [item["metadata"]["name"] for item in listed.items]

    assert await names("role=worker") == ["a", "c"]
    assert await names("role in (gateway, x),role") == ["b"]
    assert await names("role!=worker") == ["b"]
    assert await names("!role") == []
    assert await names(fields="metadata.name=c") == ["c"]
    assert await names("role notin (worker)", "metadata.name!=c") == ["b"]


async def test_a_crash_follows_the_write_and_silences_that_process_only() -> None:
    api = FakeApi(CLOCK)
    connection = api.connect("first")
    first, second = ClusterClient(connection, CLOCK, Random(1)), client_of(api)
    api.faults.crash_after_write(2)
    await first.create(CONFIG_MAPS, config("a"))
    with pytest.raises(Crashed):
        await first.create(CONFIG_MAPS, config("b"))
    assert connection.crashed.is_set()
    assert [item["metadata"]["name"] for item in api.all(CONFIG_MAPS)] == ["a", "b"]
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(3600):
            await first.get(CONFIG_MAPS, "team", "a")
    assert await second.get(CONFIG_MAPS, "team", "a") is not None


async def test_a_slow_write_takes_effect_after_its_client_gave_up_but_not_after_its_own_timeout() -> None:
    api = FakeApi(CLOCK)
    connection = api.connect()
    api.faults.slow(writes(), 3.5, times=1)
    with pytest.raises(Unreachable):
        await connection.request(
            "POST", "/api/v1/namespaces/team/configmaps", {"timeout": "4s"}, body=config("a"), within=1
        )
    assert api.all(CONFIG_MAPS) == []
    await asyncio.sleep(3)
    assert len(api.all(CONFIG_MAPS)) == 1
    api.faults.slow(writes(), 30, times=1)
    with pytest.raises(Unreachable):
        await connection.request(
            "POST", "/api/v1/namespaces/team/configmaps", {"timeout": "4s"}, body=config("b"), within=1
        )
    await asyncio.sleep(60)
    assert len(api.all(CONFIG_MAPS)) == 1


async def test_a_pinned_pod_runs_on_its_node_and_ends() -> None:
    api = FakeApi(CLOCK)
    FakeScheduler(api)
    FakeKubelet(api)
    for name in ("n1", "n2"):
        api.put(NODES, node(name, gpus=1))
    client = client_of(api)
    await client.create(PODS, pod("p", "n2", **{RUN_SECONDS: "10"}))
    await client.create(PODS, pod("q", "n2"))
    await asyncio.sleep(5)
    running, waiting = api.get(PODS, "team", "p"), api.get(PODS, "team", "q")
    assert running is not None
    assert waiting is not None
    assert (running["spec"]["nodeName"], running["status"]["phase"]) == ("n2", "Running")
    assert waiting["status"]["conditions"][0]["reason"] == "Unschedulable"
    await asyncio.sleep(20)
    ended, started = api.get(PODS, "team", "p"), api.get(PODS, "team", "q")
    assert ended is not None
    assert started is not None
    assert ended["status"]["phase"] == "Succeeded"
    assert started["status"]["phase"] == "Running"


async def test_a_dead_node_keeps_its_pods_until_they_are_deleted_by_force() -> None:
    api = FakeApi(CLOCK)
    FakeScheduler(api)
    kubelet = FakeKubelet(api)
    api.put(NODES, node("n1"))
    client = client_of(api)
    created = await client.create(PODS, pod("p", "n1"))
    await asyncio.sleep(5)
    kubelet.stop_node("n1")
    await client.delete(PODS, "team", "p", uid=created["metadata"]["uid"])
    await asyncio.sleep(600)
    assert len(api.all(PODS)) == 1
    with pytest.raises(Conflict):
        await client.delete(PODS, "team", "p", uid="another", grace_seconds=0)
    await client.delete(PODS, "team", "p", uid=created["metadata"]["uid"], grace_seconds=0)
    assert api.all(PODS) == []


async def test_faults_strike_as_often_as_scripted() -> None:
    api = FakeApi(CLOCK)
    fault = api.faults.fail(verb("get"), 503, times=2)
    client = client_of(api)
    assert await client.get(CONFIG_MAPS, "team", "a") is None
    assert fault.hits == 2
    api.faults.hang(on(CONFIG_MAPS), times=None)
    with pytest.raises(Unreachable):
        await client.get(CONFIG_MAPS, "team", "a")
