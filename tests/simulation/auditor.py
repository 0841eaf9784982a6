"""Looks at every change of the simulated cluster and remembers each promise of the design that it finds broken.

Capacity: pods that may run never ask more of a node than it has. Quota: pods never grow beyond the largest quota there was. Attempts: no
pod of a job starts while one of another attempt may still run. Ranks: never two pods of one rank in one attempt.
"""

from collections import Counter, defaultdict

from tests.simulation.fake_api import FakeApi
from tests.simulation.fake_nodes import requests_of
from trainyard.api.names import ATTEMPT_LABEL, FLAVOR_LABEL, GPU, INDEX_LABEL, JOB_LABEL, QUEUE_LABEL, ROLE_LABEL
from trainyard.cluster.resources import NODES, PODS, QUEUES, Object, Resource
from trainyard.scheduling.resources import parse

_ENDED = ("Succeeded", "Failed")


class Auditor:
    """`broken` lists what was found, in words."""

    def __init__(self, api: FakeApi) -> None:
        self.broken: list[str] = []
        self._api = api
        self._held: Counter[tuple[str, str]] = Counter()
        self._most: Counter[tuple[str, str]] = Counter()
        api.storage.listeners.append(self._look)

    def _look(self, resource: Resource, old: Object | None, new: Object | None) -> None:
        if resource != PODS or (old is not None and new is not None and _gist(old) == _gist(new)):
            return
        alive = [each for each in self._pods() if each["status"].get("phase") not in _ENDED]
        self._quota(alive)
        if old is None and new is not None:
            self._attempts(new, alive)
        if new is not None and new["spec"].get("nodeName"):
            self._capacity(new["spec"]["nodeName"], alive)

    def _pods(self) -> list[Object]:
        return [stored.obj for stored in self._api.storage.select(PODS, lambda _: True)]

    def _capacity(self, name: str, alive: list[Object]) -> None:
        stored = self._api.storage.find(NODES, None, name)
        if stored is None:
            return
        used: Counter[str] = Counter()
        for pod in alive:
            if pod["spec"].get("nodeName") == name:
                used.update(requests_of(pod))
        offered = parse(stored.obj["status"]["allocatable"].get(GPU, "0"))
        if used[GPU] > offered:
            self.broken.append(f"node {name} holds {used[GPU]} thousandths of a GPU and offers {offered}")

    def _quota(self, alive: list[Object]) -> None:
        """Use below a root of the quota tree never grows beyond the largest quota there ever was.

        After a cut a job that restarts in its place has its pods made anew: by pods alone that looks like growth, so the
        quota in force is checked by the scheduler's own tests.
        """
        held: Counter[tuple[str, str]] = Counter()
        for pod in alive:
            labels = pod["metadata"].get("labels", {})
            if QUEUE_LABEL in labels:
                held[self._root(labels[QUEUE_LABEL]), labels.get(FLAVOR_LABEL, "")] += requests_of(pod)[GPU]
        for account, amount in held.items():
            self._most[account] = max(self._most[account], self._limit(*account))
            if amount > self._held[account] and amount > self._most[account]:
                self.broken.append(
                    f"at {self._api.clock.monotonic():.2f} s queue {account[0]} grew to {amount} thousandths of a GPU of {account[1]}"
                )
        self._held = held

    def _root(self, queue: str) -> str:
        stored = self._api.storage.find(QUEUES, None, queue)
        parent = stored.obj["spec"].get("parent") if stored else None
        return self._root(parent) if parent else queue

    def _limit(self, root: str, flavor: str) -> int:
        """What queues below a root are guaranteed together: borrowing only passes it on."""
        queues = [stored.obj for stored in self._api.storage.select(QUEUES, lambda _: True)]
        return sum(
            parse(each["guaranteed"])
            for queue in queues
            if self._root(queue["metadata"]["name"]) == root
            for quota in queue["spec"].get("flavors", ())
            for each in quota["resources"]
            if quota["name"] == flavor and each["name"] == GPU
        )

    def _attempts(self, new: Object, alive: list[Object]) -> None:
        labels = new["metadata"].get("labels", {})
        if JOB_LABEL not in labels:
            return
        owner = new["metadata"]["ownerReferences"][0]["uid"]
        attempts: dict[str, list[str]] = defaultdict(list)
        for pod in alive:
            if any(each["uid"] == owner for each in pod["metadata"].get("ownerReferences", ())):
                its = pod["metadata"]["labels"]
                attempts[its[ATTEMPT_LABEL]].append(f"{its[ROLE_LABEL]} {its[INDEX_LABEL]}")
        if len(attempts) > 1:
            self.broken.append(f"pods of attempts {sorted(attempts)} of job {labels[JOB_LABEL]} may run together")
        for attempt, ranks in attempts.items():
            if len(ranks) != len(set(ranks)):
                self.broken.append(f"two pods of one rank in attempt {attempt} of job {labels[JOB_LABEL]}")


def _gist(pod: Object) -> tuple[object, ...]:
    return pod["spec"].get("nodeName"), pod["status"].get("phase")
