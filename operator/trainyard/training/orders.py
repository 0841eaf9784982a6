"""What the operator answers to a trainer's report: how many workers shall train, that somebody wants a checkpoint now, and what to expect.

A program that starts anew in its pods has the environment of their start: how often its gang is expected to be interrupted now stands here.

A checkpoint is asked for by an annotation, `trainyard.dev/checkpoint-requested`, of whatever value; another value asks again. It is
ordered until a checkpoint is reported that was not there when it was asked for, so an answer that is lost costs one report more.
"""

from collections.abc import Mapping
from typing import Any

from trainyard.api.names import CHECKPOINT_REQUESTED, WORKER
from trainyard.api.training_job import TrainingJob
from trainyard.training.pods import elastic


class Orders:
    """Remembers which requests are served; a new operator orders what stands once more."""

    def __init__(self) -> None:
        self._requests: dict[str, tuple[str, int, bool]] = {}
        """By job's uid: the request, the step of the last checkpoint when it was seen first, and whether it is served."""
        self._expected: dict[str, float] = {}
        """By job's uid: seconds from one interruption of its gang to the next, where its trainer goes by them."""

    def expect(self, uid: str, interruption_seconds: float | None) -> None:
        """As the job is in its place now; None: its trainer does not ask."""
        if interruption_seconds is None:
            self._expected.pop(uid, None)
        else:
            self._expected[uid] = interruption_seconds

    def of(self, job: TrainingJob, report: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The commands in the reply to this report."""
        if report.get("attempt") != job.status.attempt or job.status.admission is None:
            return []
        found: list[dict[str, Any]] = [{"workers": job.counts()[WORKER]}] if elastic(job) else []
        if (expected := self._expected.get(job.metadata.uid)) is not None:
            found.append({"interruptionSeconds": round(expected, 1)})
        return [*found, {"checkpoint": True}] if self._wants_checkpoint(job, report) else found

    def _wants_checkpoint(self, job: TrainingJob, report: Mapping[str, Any]) -> bool:
        asked, uid = job.metadata.annotations.get(CHECKPOINT_REQUESTED), job.metadata.uid
        if asked is None:
            self._requests.pop(uid, None)
            return False
        step = int((report.get("checkpoint") or {}).get("step", -1))
        known, before, served = self._requests.get(uid, ("", 0, True))
        if known != asked:
            before, served = step, False
        served = served or step != before
        self._requests[uid] = (asked, before, served)
        return not served

    def forget(self, uid: str) -> None:
        """The job is over or gone."""
        self._requests.pop(uid, None)
        self._expected.pop(uid, None)
