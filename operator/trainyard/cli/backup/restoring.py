"""Carries a restore out: everything is created marked and gets its status, and only then goes on, in the order of the queues.

Broken off at any point, it leaves marked objects with which the operator does nothing; the same command goes on from there.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from trainyard.api.names import RESTORING
from trainyard.api.reasons import Reason
from trainyard.cli.backup import needs
from trainyard.cli.backup.document import MEMORY, Backup, Saved
from trainyard.cli.backup.planning import (
    Key,
    RestorePlan,
    Step,
    There,
    body,
    has_past,
    in_turn,
    patch_between,
    status_of,
)
from trainyard.cli.backup.taking import RESOURCES, recall
from trainyard.cli.errors import CliError
from trainyard.cluster.client import ClusterClient
from trainyard.cluster.errors import AlreadyExists, ClusterError, NotFound
from trainyard.cluster.resources import (
    CLAIMS,
    CONFIG_MAPS,
    NAMESPACES,
    SELF_SUBJECT_ACCESS_REVIEWS,
    Object,
    Resource,
)
from trainyard.runtime.clock import Clock

Progress = Callable[[str, int], Any]
"""What is done and how many there are: a context that counts them."""
_AT_A_TIME = 8
SETTLE_SECONDS = 60.0
"""So long the operator has to look at those that held places, before those that waited come."""
_LOOK_SECONDS = 0.5


async def look(client: ClusterClient, backup: Backup, system: str) -> There:
    """What of it the cluster has. Raises CliError."""
    try:
        async with asyncio.TaskGroup() as group:
            lists = {kind: group.create_task(client.list(each)) for kind, each in RESOURCES.items()}
            claims = group.create_task(client.list(CLAIMS))
            spaces = group.create_task(client.list(NAMESPACES))
            kept = group.create_task(recall(client, system))
    except* NotFound:
        raise CliError("this cluster does not know Trainyard's kinds: install the chart there first") from None
    except* ClusterError as errors:
        raise CliError(f"what is there could not be read: {errors.exceptions[0]}") from None
    wanted = {each.key for each in backup.saved}
    found = {_key(kind, each): each for kind, task in lists.items() for each in task.result().items}
    return There(
        {key: each for key, each in found.items() if key in wanted},
        frozenset(each["metadata"]["name"] for each in spaces.result().items),
        frozenset(
            needs.Claim(each["metadata"]["namespace"], each["metadata"]["name"]) for each in claims.result().items
        ),
        kept.result(),
    )


def _key(kind: str, obj: Object) -> Key:
    return kind, obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


async def rehearse(client: ClusterClient, plan: RestorePlan, progress: Progress) -> None:
    """Whether the API server would take all of it from this user. Raises CliError with all that it would not."""
    refused = [each async for each in _refusals(client, plan)]
    new = [each for each in plan.steps if each.how == "create"]

    async def ask(step: Step) -> None:
        try:
            await client.create(RESOURCES[step.saved.kind], body(step, plan.backup.digest), dry_run=True)
        except AlreadyExists:
            refused.append(f"{step.saved} has come meanwhile")
        except ClusterError as error:
            refused.append(f"{step.saved}: {error.message}")

    with progress("checking", len(new)) as count:
        await _each(new, ask, count)
    if refused:
        more = f"\n  and {len(refused) - _NAMED} more" if len(refused) > _NAMED else ""
        raise CliError("nothing was restored:\n  " + "\n  ".join(sorted(refused)[:_NAMED]) + more)


_NAMED = 20


async def _refusals(client: ClusterClient, plan: RestorePlan) -> Any:
    """Rights that a rehearsal of creating does not ask for."""
    for kind in dict.fromkeys(each.saved.kind for each in plan.steps if has_past(each.saved)):
        resource = RESOURCES[kind]
        for subresource in ("status", ""):
            asked = {"group": resource.group, "resource": resource.plural, "subresource": subresource, "verb": "patch"}
            review = {"spec": {"resourceAttributes": asked}}
            try:
                answer = await client.create(SELF_SUBJECT_ACCESS_REVIEWS, review)
            except ClusterError as error:
                raise CliError(f"the API server does not say what you may do: {error.message}") from None
            if not (answer.get("status") or {}).get("allowed"):
                yield f"you may not patch {resource}{'/' if subresource else ''}{subresource}, which restoring takes"


class Restore:
    """One restore that is being carried out."""

    def __init__(
        self, client: ClusterClient, clock: Clock, plan: RestorePlan, progress: Progress, say: Callable[[str], None]
    ) -> None:
        self._client, self._clock, self._plan, self._progress, self._say = client, clock, plan, progress, say

    async def run(self, system: str) -> None:
        """All of it. Raises CliError where it is broken off."""
        plan = self._plan
        try:
            # Queues and flavors stand, with their accounts, before the first job is there.
            await self._all("flavors and queues", plan.of_kind("Flavor", "Queue"), self._bring)
            await self._all("flavors and queues", plan.of_kind("Queue"), self._let_go)
            for name in plan.memory:
                await self._remember(system, name, plan.backup.memory[name])
            rest = plan.of_kind("TrainingJob", "InferenceService")
            await self._all("jobs and services", rest, self._bring)
            await self._all("what has ended", in_turn(rest, "at once"), self._let_go)
            first = in_turn(rest, "held a place")
            await self._one_by_one("what held a place", first)
            await self._settled(first)
            await self._one_by_one("what waits", in_turn(rest, "waits"))
        except* CliError as errors:
            raise CliError(f"broken off: {errors.exceptions[0]}") from None
        except* ClusterError as errors:
            raise CliError(
                f"broken off: {errors.exceptions[0]}. What was created and has not gone on yet is left alone by the operator: the same command goes on from there"
            ) from None

    async def _bring(self, step: Step) -> None:
        """Create it and give it its status. Repeating it changes nothing."""
        saved, resource = step.saved, RESOURCES[step.saved.kind]
        uid = step.found["metadata"]["uid"] if step.found else ""
        meta = saved.thing.metadata
        if step.how == "replace":
            patch = {"metadata": {"uid": uid}, "spec": patch_between(step.found["spec"], saved.raw["spec"])}
            await self._client.patch(resource, meta.namespace or None, meta.name, patch)
            return
        if step.how == "create":
            try:
                made = await self._client.create(resource, body(step, self._plan.backup.digest))
            except AlreadyExists:
                made = await self._own(resource, saved)
            uid = made["metadata"]["uid"]
        if has_past(saved):
            status = status_of(saved, self._plan.backup.taken, self._clock.now())
            told = await self._client.patch_status(resource, meta.namespace or None, meta.name, status, uid=uid)
            if "restored" in status and not told.get("status", {}).get("restored"):
                raise CliError(
                    f"{resource} of this cluster does not know status.restored, by which {saved} would find its checkpoints: bring the CustomResourceDefinitions to this version first. Nothing runs yet"
                )

    async def _own(self, resource: Resource, saved: Saved) -> Object:
        """One that is there after all: our own request whose answer was lost. Raises CliError if it is somebody else's."""
        meta = saved.thing.metadata
        found = await self._client.get(resource, meta.namespace or None, meta.name)
        mark = (found or {}).get("metadata", {}).get("annotations", {}).get(RESTORING)
        if found is None or (has_past(saved) and mark != self._plan.backup.digest):
            raise CliError(f"{saved} was created by somebody else meanwhile; the same command goes on without it")
        return found

    async def _let_go(self, step: Step) -> None:
        """From now on the operator looks after it."""
        if step.how == "replace" or not has_past(step.saved):
            return
        meta = step.saved.thing.metadata
        patch: Object = {"metadata": {"annotations": {RESTORING: None}}}
        await self._client.patch(RESOURCES[step.saved.kind], meta.namespace or None, meta.name, patch)

    async def _remember(self, system: str, name: str, text: str) -> None:
        content: Object = {"data": {MEMORY[name]: text}}
        meta = {"name": name, "namespace": system}
        try:
            await self._client.create(
                CONFIG_MAPS, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, **content}
            )
        except AlreadyExists:
            await self._client.patch(CONFIG_MAPS, system, name, content)

    async def _all(self, label: str, steps: Sequence[Step], what: Callable[[Step], Awaitable[None]]) -> None:
        with self._progress(label, len(steps)) as count:
            await _each(steps, what, count)

    async def _one_by_one(self, label: str, steps: Sequence[Step]) -> None:
        """In turn: the scheduler may look in between, and is to find the first ones first."""
        with self._progress(label, len(steps)) as count:
            for step in steps:
                await self._let_go(step)
                count()

    async def _settled(self, steps: Sequence[Step]) -> None:
        """Wait until the operator has looked at each: what held a place gets one before those that waited ask for it."""
        waited_for = {each.saved.key for each in steps}
        ends = self._clock.monotonic() + SETTLE_SECONDS
        while waited_for and self._clock.monotonic() < ends:
            await asyncio.sleep(_LOOK_SECONDS)
            for kind in {key[0] for key in waited_for}:
                found = (await self._client.list(RESOURCES[kind])).items
                waited_for -= {_key(kind, each) for each in found if not _unlooked(each)}
                waited_for -= {key for key in waited_for if key[0] == kind} - {_key(kind, each) for each in found}
        if waited_for:
            self._say(
                f"the operator has not looked at {len(waited_for)} that held places within {SETTLE_SECONDS:.0f} s: is it running? The others come now all the same"
            )


def _unlooked(obj: Object) -> bool:
    return bool((obj.get("status") or {}).get("reason") == Reason.RESTORED.value)


async def _each(steps: Iterable[Step], what: Callable[[Step], Awaitable[None]], count: Callable[[], None]) -> None:
    """Several at a time; the first failure ends it."""
    room = asyncio.Semaphore(_AT_A_TIME)

    async def one(step: Step) -> None:
        async with room:
            await what(step)
            count()

    async with asyncio.TaskGroup() as group:
        for step in steps:
            group.create_task(one(step))
