"""What our code expects of an API server, asked the same way of the fake one and of a real one.

Each check is a coroutine that takes a `World`. A check that passes on the fake and fails on the real server shows a
lie in the simulations; so whatever the fake learns to do gets a check here.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from trainyard.cluster.client import ClusterClient
from trainyard.cluster.errors import AlreadyExists, Conflict, Invalid, NamespaceEnding, NotFound
from trainyard.cluster.resources import (
    CONFIG_MAPS,
    LEASES,
    NAMESPACES,
    PODS,
    SUBJECT_ACCESS_REVIEWS,
    TOKEN_REVIEWS,
    TRAINING_JOBS,
    Object,
)
from trainyard.cluster.store import uid_of, version_of


@dataclass(frozen=True, slots=True)
class World:
    """A server, by a client that reads pages of two, and a namespace that is the check's own."""

    client: ClusterClient
    namespace: str
    patience: float = 30.0
    """Seconds in which the server's controllers do their work."""

    def config(self, name: str, data: dict[str, str] | None = None, **labels: str) -> Object:
        metadata = {"name": name, "namespace": self.namespace, "labels": labels}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data or {}}

    def pod(self, name: str) -> Object:
        """A Pod that no node takes."""
        container = {"name": "main", "image": "none.invalid/none"}
        spec = {"containers": [container], "nodeSelector": {"conformance": "nowhere"}}
        metadata = {"name": name, "namespace": self.namespace}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}

    def job(self, name: str) -> Object:
        spec = {
            "queue": "research",
            "model": {"name": "cnn"},
            "dataset": {"name": "digits"},
            "training": {"epochs": 1},
            "workers": {"replicas": 1, "resources": {"limits": {"cpu": "1"}}},
            "priority": 1,
        }
        metadata = {"name": name, "namespace": self.namespace}
        return {"apiVersion": TRAINING_JOBS.api_version, "kind": "TrainingJob", "metadata": metadata, "spec": spec}

    async def found(self, name: str) -> Object | None:
        return await self.client.get(CONFIG_MAPS, self.namespace, name)


Check = Callable[[World], Awaitable[None]]
CHECKS: list[Check] = []


def check(function: Check) -> Check:
    CHECKS.append(function)
    return function


@check
async def an_object_gets_uid_version_and_generation(world: World) -> None:
    created = await world.client.create(TRAINING_JOBS, world.job("a"))
    assert uid_of(created)
    assert version_of(created).isdecimal()
    assert created["metadata"]["generation"] == 1
    assert created["metadata"]["creationTimestamp"].endswith("Z")


@check
async def a_taken_name_is_already_exists(world: World) -> None:
    await world.client.create(CONFIG_MAPS, world.config("a"))
    with pytest.raises(AlreadyExists):
        await world.client.create(CONFIG_MAPS, world.config("a"))


@check
async def a_name_is_generated(world: World) -> None:
    obj = {"metadata": {"generateName": "a-", "namespace": world.namespace}}
    first, second = await world.client.create(CONFIG_MAPS, obj), await world.client.create(CONFIG_MAPS, obj)
    assert first["metadata"]["name"].startswith("a-")
    assert first["metadata"]["name"] != second["metadata"]["name"]


@check
async def an_object_without_a_name_is_invalid(world: World) -> None:
    with pytest.raises(Invalid):
        await world.client.create(CONFIG_MAPS, {"metadata": {"namespace": world.namespace}})


@check
async def what_is_not_there_is_none_or_not_found(world: World) -> None:
    assert await world.found("missing") is None
    with pytest.raises(NotFound):
        await world.client.patch(CONFIG_MAPS, world.namespace, "missing", {"data": {"x": "1"}})
    with pytest.raises(NotFound):
        await world.client.patch_status(PODS, world.namespace, "missing", {"message": "x"}, uid="u")
    assert await world.client.delete(CONFIG_MAPS, world.namespace, "missing") is False


@check
async def the_status_is_written_apart_from_the_rest(world: World) -> None:
    client, space = world.client, world.namespace
    created = await client.create(TRAINING_JOBS, world.job("a") | {"status": {"queuePosition": 9}})
    assert "queuePosition" not in created.get("status", {})
    written = await client.patch_status(TRAINING_JOBS, space, "a", {"queuePosition": 1}, uid=uid_of(created))
    assert (written["status"]["queuePosition"], written["metadata"]["generation"]) == (1, 1)
    changed = await client.patch(TRAINING_JOBS, space, "a", {"spec": {"priority": 2}, "status": {"queuePosition": 7}})
    assert (changed["status"]["queuePosition"], changed["metadata"]["generation"]) == (1, 2)
    labelled = await client.patch(TRAINING_JOBS, space, "a", {"metadata": {"labels": {"x": "y"}}})
    assert labelled["metadata"]["generation"] == 2
    cleared = await client.patch_status(TRAINING_JOBS, space, "a", {"queuePosition": None})
    assert "queuePosition" not in cleared.get("status", {})


@check
async def a_status_write_to_another_uid_is_a_conflict(world: World) -> None:
    client, space = world.client, world.namespace
    another = "00000000-0000-0000-0000-000000000000"
    for resource, obj, change in (
        (TRAINING_JOBS, world.job("a"), {"queuePosition": 1}),
        (PODS, world.pod("a"), {"message": "x"}),
    ):
        created = await client.create(resource, obj)
        with pytest.raises(Conflict):
            await client.patch_status(resource, space, "a", change, uid=another)
        found = await client.get(resource, space, "a")
        assert found is not None
        assert not change.keys() & found.get("status", {}).keys()
        written = await client.patch_status(resource, space, "a", change, uid=uid_of(created))
        assert change.items() <= written["status"].items()


@check
async def a_status_write_from_an_old_version_is_a_conflict(world: World) -> None:
    client, space = world.client, world.namespace
    for resource, obj, change in (
        (TRAINING_JOBS, world.job("a"), {"queuePosition": 1}),
        (PODS, world.pod("a"), {"message": "x"}),
    ):
        old = await client.create(resource, obj)
        await client.patch(resource, space, "a", {"metadata": {"labels": {"x": "y"}}})
        with pytest.raises(Conflict):
            await client.patch_status(resource, space, "a", change, resource_version=version_of(old))
        with pytest.raises(Conflict):
            await client.patch_status(resource, space, "a", change, uid=uid_of(old), resource_version=version_of(old))


@check
async def a_write_from_an_old_version_is_a_conflict(world: World) -> None:
    client, space = world.client, world.namespace
    old = version_of(await client.create(CONFIG_MAPS, world.config("a")))
    fresh = version_of(await client.patch(CONFIG_MAPS, space, "a", {"data": {"x": "1"}}))
    with pytest.raises(Conflict):
        await client.patch(CONFIG_MAPS, space, "a", {"metadata": {"resourceVersion": old}, "data": {"x": "2"}})
    await client.patch(CONFIG_MAPS, space, "a", {"metadata": {"resourceVersion": fresh}, "data": {"x": "2"}})


@check
async def a_deletion_names_what_it_means(world: World) -> None:
    client, space = world.client, world.namespace
    created = await client.create(CONFIG_MAPS, world.config("a"))
    with pytest.raises(Conflict):
        await client.delete(CONFIG_MAPS, space, "a", uid="00000000-0000-0000-0000-000000000000")
    await client.patch(CONFIG_MAPS, space, "a", {"data": {"x": "1"}})
    with pytest.raises(Conflict):
        await client.delete(CONFIG_MAPS, space, "a", uid=uid_of(created), resource_version=version_of(created))
    assert await client.delete(CONFIG_MAPS, space, "a", uid=uid_of(created)) is True
    assert await world.found("a") is None


@check
async def a_pod_without_a_node_goes_at_once(world: World) -> None:
    created = await world.client.create(PODS, world.pod("a"))
    assert created["status"]["phase"] == "Pending"
    assert await world.client.delete(PODS, world.namespace, "a", uid=uid_of(created))
    assert await world.client.get(PODS, world.namespace, "a") is None


@check
async def finalizers_hold_an_object_until_they_are_gone(world: World) -> None:
    client, space = world.client, world.namespace
    held = world.config("a")
    held["metadata"]["finalizers"] = ["trainyard.dev/test"]
    await client.create(CONFIG_MAPS, held)
    assert await client.delete(CONFIG_MAPS, space, "a")
    found = await world.found("a")
    assert found is not None
    assert found["metadata"]["deletionTimestamp"]
    await client.patch(CONFIG_MAPS, space, "a", {"metadata": {"finalizers": None}})
    assert await world.found("a") is None


@check
async def a_namespace_that_is_being_deleted_takes_nothing_new_and_ends_when_it_is_empty(world: World) -> None:
    client, space = world.client, f"{world.namespace}-ends"
    await client.create(NAMESPACES, {"metadata": {"name": space}})
    held = world.config("a")
    held["metadata"] |= {"namespace": space, "finalizers": ["trainyard.dev/test"]}
    await client.create(CONFIG_MAPS, held)
    assert await client.delete(NAMESPACES, None, space)
    found = await client.get(NAMESPACES, None, space)
    assert found is not None
    assert found["metadata"]["deletionTimestamp"]
    with pytest.raises(NamespaceEnding, match="being terminated"):
        await client.create(CONFIG_MAPS, {"metadata": {"name": "b", "namespace": space}})
    await client.patch(CONFIG_MAPS, space, "a", {"metadata": {"finalizers": None}})
    async with asyncio.timeout(world.patience):
        while await client.get(NAMESPACES, None, space) is not None:  # noqa: ASYNC110 - nothing tells when the controller is done
            await asyncio.sleep(0.1)
    assert await client.get(CONFIG_MAPS, space, "a") is None


@check
async def what_an_owner_owned_goes_with_it(world: World) -> None:
    client, space = world.client, world.namespace
    owner = await client.create(CONFIG_MAPS, world.config("owner"))
    child = world.config("child")
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid_of(owner)}
    child["metadata"]["ownerReferences"] = [reference]
    await client.create(CONFIG_MAPS, child)
    await client.delete(CONFIG_MAPS, space, "owner")
    async with asyncio.timeout(world.patience):
        while await world.found("child") is not None:  # noqa: ASYNC110 - nothing tells when the collector is done
            await asyncio.sleep(0.2)


@check
async def a_write_that_changes_nothing_is_no_new_version(world: World) -> None:
    client, space = world.client, world.namespace
    await client.apply(CONFIG_MAPS, world.config("a", {"x": "1"}))
    first = await client.apply(CONFIG_MAPS, world.config("a", {"x": "1"}))
    second = await client.apply(CONFIG_MAPS, world.config("a", {"x": "1"}))
    third = await client.patch(CONFIG_MAPS, space, "a", {"data": {"x": "1"}})
    assert version_of(first) == version_of(second) == version_of(third)


@check
async def apply_owns_exactly_what_it_sends(world: World) -> None:
    client, space = world.client, world.namespace
    created = await client.apply(CONFIG_MAPS, world.config("a", {"x": "1", "y": "2"}, keep="1", drop="1"))
    assert created["data"] == {"x": "1", "y": "2"}
    await client.patch(CONFIG_MAPS, space, "a", {"data": {"theirs": "3"}})
    applied = await client.apply(CONFIG_MAPS, world.config("a", {"x": "9"}, keep="1"))
    assert applied["data"] == {"x": "9", "theirs": "3"}
    assert applied["metadata"]["labels"] == {"keep": "1"}


@check
async def apply_to_another_uid_is_a_conflict(world: World) -> None:
    await world.client.create(CONFIG_MAPS, world.config("a"))
    other = world.config("a", {"x": "1"})
    other["metadata"]["uid"] = "00000000-0000-0000-0000-000000000000"
    with pytest.raises(Conflict):
        await world.client.apply(CONFIG_MAPS, other)
    other["metadata"]["name"] = "b"
    with pytest.raises(Conflict):
        await world.client.apply(CONFIG_MAPS, other)


@check
async def a_dry_run_stores_nothing(world: World) -> None:
    dry = await world.client.create(CONFIG_MAPS, world.config("a"), dry_run=True)
    assert dry["metadata"]["name"] == "a"
    assert await world.found("a") is None
    await world.client.apply(CONFIG_MAPS, world.config("a"), dry_run=True)
    assert await world.found("a") is None
    await world.client.create(CONFIG_MAPS, world.config("a", {"x": "1"}))
    changed = await world.client.apply(CONFIG_MAPS, world.config("a", {"x": "2"}), dry_run=True)
    assert changed["data"] == {"x": "2"}
    stored = await world.found("a")
    assert stored is not None
    assert stored["data"] == {"x": "1"}


@check
async def lists_are_complete_over_pages_and_of_one_version(world: World) -> None:
    made = [await world.client.create(CONFIG_MAPS, world.config(f"c{number}", app="x")) for number in range(5)]
    listed = await world.client.list(CONFIG_MAPS, world.namespace, label_selector="app=x")
    assert [obj["metadata"]["name"] for obj in listed.items] == [f"c{number}" for number in range(5)]
    assert {(obj["apiVersion"], obj["kind"]) for obj in listed.items} == {("v1", "ConfigMap")}
    assert int(listed.resource_version) >= int(version_of(made[-1]))


@check
async def selectors_choose_by_labels_and_fields(world: World) -> None:
    for name, role in (("a", "worker"), ("b", "gateway"), ("c", "worker")):
        await world.client.create(CONFIG_MAPS, world.config(name, role=role))

    async def names(labels: str, fields: str = "metadata.name!=kube-root-ca.crt") -> list[str]:
        listed = await world.client.list(CONFIG_MAPS, world.namespace, label_selector=labels, field_selector=fields)
        return [obj["metadata"]["name"] for obj in listed.items]

    assert await names("role=worker") == ["a", "c"]
    assert await names("role in (gateway, x),role") == ["b"]
    assert await names("role!=worker") == ["b"]
    assert await names("!role") == []
    assert await names("role", "metadata.name=c") == ["c"]
    assert await names("role notin (worker)") == ["b"]


@check
async def a_watch_tells_what_happened_since_a_list_as_its_selector_sees_it(world: World) -> None:
    client, space = world.client, world.namespace
    await client.create(CONFIG_MAPS, world.config("in", app="x"))
    listed = await client.list(CONFIG_MAPS, space, label_selector="app=x")
    await client.create(CONFIG_MAPS, world.config("other", app="y"))
    await client.patch(CONFIG_MAPS, space, "in", {"data": {"x": "1"}})
    await client.patch(CONFIG_MAPS, space, "other", {"metadata": {"labels": {"app": "x"}}})
    await client.patch(CONFIG_MAPS, space, "in", {"metadata": {"labels": {"app": "y"}}})
    await client.delete(CONFIG_MAPS, space, "other")
    seen, versions = [], [int(listed.resource_version)]
    async with asyncio.timeout(world.patience):
        async for kind, obj in client.watch(
            CONFIG_MAPS, space, resource_version=listed.resource_version, label_selector="app=x", inactivity=60
        ):
            if kind != "BOOKMARK":
                seen.append((kind, obj["metadata"]["name"]))
                versions.append(int(version_of(obj)))
            if len(seen) == 4:
                break
    assert seen == [("MODIFIED", "in"), ("ADDED", "other"), ("DELETED", "in"), ("DELETED", "other")]
    assert versions == sorted(set(versions)), "every event is later than the one before, deletions too"


@check
async def a_lease_keeps_microseconds(world: World) -> None:
    spec = {"holderIdentity": "a", "renewTime": "2026-11-23T10:11:12.123456Z", "leaseDurationSeconds": 15}
    lease = {"metadata": {"name": "a", "namespace": world.namespace}, "spec": spec}
    created = await world.client.create(LEASES, lease)
    assert created["spec"]["renewTime"] == "2026-11-23T10:11:12.123456Z"
    released = {"metadata": {"annotations": {"x": None}}, "spec": {"holderIdentity": "", "leaseDurationSeconds": 1}}
    patched = await world.client.patch(LEASES, world.namespace, "a", released)
    assert not patched["spec"].get("holderIdentity")


@check
async def reviews_answer_without_storing(world: World) -> None:
    review = await world.client.create(TOKEN_REVIEWS, {"spec": {"token": "unknown", "audiences": ["trainyard.dev"]}})
    assert not review["status"].get("authenticated")
    attributes = {"namespace": world.namespace, "verb": "get", "resource": "pods"}
    question = {"spec": {"user": "system:admin", "groups": ["system:masters"], "resourceAttributes": attributes}}
    assert (await world.client.create(SUBJECT_ACCESS_REVIEWS, question))["status"]["allowed"] is True
