"""Whether the API server takes the pods of a job: asked once for all jobs of a template, and anew when the answer may be another one.

A gang's template is asked about by a dry run before the gang has a place; a single pod is simply tried, and asked about once it was
refused. A refusal stands until it is taken back: of those that it keeps waiting the first asks anew, and all are told when the answer
changes. It asks soon after something changed in the namespace that we see: its labels, which name the level of Pod Security,
and pods that ended, which a quota counts. It asks once a minute besides, for all of its template, since no watch of ours tells of
ResourceQuotas, LimitRanges, service accounts, priority classes and what admission policies and webhooks decide by: we may not read them.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from trainyard.api.training_job import TrainingJob
from trainyard.cluster.client import ClusterClient
from trainyard.cluster.errors import Forbidden, Invalid, ServerError, Unreachable, WebhookDown
from trainyard.cluster.resources import PODS
from trainyard.runtime.clock import Clock
from trainyard.training import pods
from trainyard.training.observed import Observed
from trainyard.training.workload import finished
from trainyard.workloads.keys import Key
from trainyard.workloads.refusals import REFUSED_SECONDS, fingerprint

log = logging.getLogger(__name__)

ACCEPTED_SECONDS = 600.0
PAUSE_SECONDS = 5.0
"""Pods end by the hundred: nobody asks again so soon for that."""
_MOST = 4096
"""Templates of which it is remembered that they were accepted."""
_ROUNDING_SECONDS = 0.1
_NO_DRY_RUN = "does not support dry run"


@dataclass(slots=True)
class _Refusal:
    """Of one template in one namespace."""

    message: str
    asked: float
    due: float
    """When it is asked about anew."""
    in_earnest: bool = False
    """Not in a dry run. Its gang's own pods, which are taken away then, say nothing of whether there is room for it."""
    waiting: dict[Key, None] = field(default_factory=dict)
    """The first of them asks."""


class Templates:
    """What is known of the templates of all jobs."""

    def __init__(
        self,
        cluster: ClusterClient,
        clock: Clock,
        wake: Callable[[Key, float], None],
        hear: Callable[[Key, str], None],
        changed: Callable[[Iterable[Key]], None],
    ) -> None:
        """hear: of each refusal of a job's pods; changed: of those for whom the answer is another one now."""
        self._cluster, self._clock, self._wake, self._hear, self._changed = cluster, clock, wake, hear, changed
        self._marks: dict[str, str] = {}
        self._refusals: dict[str, dict[str, _Refusal]] = {}
        """By namespace and mark."""
        self._place: dict[Key, str] = {}
        """The mark under which one waits."""
        self._accepted: dict[str, float] = {}
        """Until when nobody asks."""

    def refusal(self, observed: Observed) -> str:
        """Why the API server takes no such pod; empty if it does, or if that is not known."""
        there = self._refusals.get(observed.job.metadata.namespace)
        found = there.get(self._mark(observed)) if there else None
        return found.message if found else ""

    async def ask(self, observed: Observed) -> str:
        """The same, asked of the API server if it is not known, or if it is this job's turn to ask anew."""
        job, key = observed.job, _key(observed.job)
        idle = job.spec.suspend or finished(job) or job.metadata.deletion_timestamp is not None
        if idle or job.status.admission is not None:
            self.leave(key)
            return ""
        mark, now = self._mark(observed), self._clock.monotonic()
        standing = self._refusals.get(key.namespace, {}).get(mark)
        if standing is None:
            self.leave(key)
            if job.spec.pods() == 1 or self._accepted.get(mark, 0.0) > now:
                return ""
        else:
            self._wait(key, mark, standing)
            if next(iter(standing.waiting)) != key or standing.due > now:
                return standing.message
            standing.asked, standing.due = now, now + REFUSED_SECONDS
        answer = await self._dry_run(observed)
        if answer is None:
            return standing.message if standing else ""
        if answer:
            self._refuse(observed, answer, in_earnest=False)
        else:
            self._accept(key.namespace, mark)
        return answer

    def refused(self, observed: Observed, message: str) -> None:
        """A pod that was to be was refused."""
        self._refuse(observed, message, in_earnest=True)

    def _refuse(self, observed: Observed, message: str, *, in_earnest: bool) -> None:
        key, mark, now = _key(observed.job), self._mark(observed), self._clock.monotonic()
        self._accepted.pop(mark, None)
        there = self._refusals.setdefault(key.namespace, {})
        standing = there.get(mark)
        if standing is None:
            standing = there[mark] = _Refusal(message, now, now)
        told = [each for each in standing.waiting if each != key] if standing.message != message else []
        standing.message, standing.in_earnest = message, in_earnest
        standing.asked, standing.due = now, now + REFUSED_SECONDS
        self._wait(key, mark, standing)
        self._hear(key, message)
        if told:
            self._changed(told)

    def again(self, key: Key) -> float | None:
        """Seconds until it is this job's turn to ask anew; None if that is not to be."""
        standing = self._standing(key)
        if standing is None or next(iter(standing.waiting)) != key:
            return None
        return max(0.0, standing.due - self._clock.monotonic()) + _ROUNDING_SECONDS

    def namespace_changed(self, namespace: str) -> None:
        """What its labels say may be why pods were refused there."""
        self._ask_soon(namespace, lambda _: True)

    def pod_ended(self, namespace: str) -> None:
        """There may be room for another one in a quota."""
        self._ask_soon(namespace, lambda standing: not standing.in_earnest)

    def _ask_soon(self, namespace: str, concerned: Callable[[_Refusal], bool]) -> None:
        now = self._clock.monotonic()
        for standing in filter(concerned, self._refusals.get(namespace, {}).values()):
            standing.due = min(standing.due, max(now, standing.asked + PAUSE_SECONDS))
            self._wake(next(iter(standing.waiting)), standing.due - now + _ROUNDING_SECONDS)

    def leave(self, key: Key) -> None:
        """It does not wait any more: another one asks in its stead."""
        standing, mark = self._standing(key), self._place.pop(key, "")
        if standing is None:
            return
        asks = next(iter(standing.waiting)) == key
        del standing.waiting[key]
        if not standing.waiting:
            self._end(key.namespace, mark)
        elif asks:
            left = max(0.0, standing.due - self._clock.monotonic())
            self._wake(next(iter(standing.waiting)), left + _ROUNDING_SECONDS)

    def forget(self, uid: str) -> None:
        """The job is over or gone."""
        self._marks.pop(uid, None)

    def _mark(self, observed: Observed) -> str:
        """Fingerprint of the job's pods; the parts of the spec that make it never change."""
        uid = observed.job.metadata.uid
        if uid not in self._marks:
            self._marks[uid] = "+".join(dict.fromkeys(map(fingerprint, pods.samples(observed))))
        return self._marks[uid]

    def _standing(self, key: Key) -> _Refusal | None:
        mark = self._place.get(key)
        return self._refusals[key.namespace][mark] if mark is not None else None

    def _wait(self, key: Key, mark: str, standing: _Refusal) -> None:
        if self._place.get(key) != mark:
            self.leave(key)  # one of the same name that is no more
            self._place[key] = mark
            standing.waiting[key] = None

    def _accept(self, namespace: str, mark: str) -> None:
        if len(self._accepted) >= _MOST:
            self._accepted.clear()
        self._accepted[mark] = self._clock.monotonic() + ACCEPTED_SECONDS
        if mark in self._refusals.get(namespace, {}):
            told = self._end(namespace, mark).waiting
            for key in told:
                self._place.pop(key, None)
            self._changed(told)

    def _end(self, namespace: str, mark: str) -> _Refusal:
        there = self._refusals[namespace]
        ended = there.pop(mark)
        if not there:
            del self._refusals[namespace]
        return ended

    async def _dry_run(self, observed: Observed) -> str | None:
        """The words of a refusal; empty for none; None if nobody knows: the real pods will tell."""
        try:
            for sample in pods.samples(observed):
                await self._cluster.create(PODS, sample, dry_run=True)
        except (Forbidden, Invalid, WebhookDown) as error:
            # Where a webhook cannot be asked without doing something, the real pods are.
            return "" if _NO_DRY_RUN in error.message else error.message
        except (Unreachable, ServerError) as error:
            log.warning(
                "whether the pod template is accepted is not known yet: %s",
                error,
                extra={"object": str(_key(observed.job))},
            )
            return None
        return ""


def _key(job: TrainingJob) -> Key:
    return Key("TrainingJob", job.metadata.namespace, job.metadata.name)
