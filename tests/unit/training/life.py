"""A job of one worker that is looked at now and then: what its status tells after each happening."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests import builders as b
from trainyard.api.flavor import FlavorSpec
from trainyard.api.ledger import Ledger
from trainyard.api.training_job import TrainingJob, TrainingJobStatus
from trainyard.scheduling.snapshot import Admit, Assignment, Decision, WorkloadKey
from trainyard.training.observed import Observed, Report
from trainyard.training.plan import plan_training_job
from trainyard.workloads.pod_state import Exit, PodState

BEGIN = datetime(2026, 11, 23, tzinfo=UTC)
KEY = WorkloadKey("TrainingJob", b.NAMESPACE, "a")
PLACE = Admit(KEY, "u", Assignment("h200", {"worker": ("n0",)}))


def at(seconds: float) -> datetime:
    return BEGIN + timedelta(seconds=seconds)


class Life:
    """A job of one worker with two GPUs that is looked at now and then; each look ends when there is no news."""

    def __init__(self, *modifiers: b.Modifier, flavor: FlavorSpec | None = None) -> None:
        self.flavors = {"h200": flavor} if flavor else {}
        stamp = b.meta(uid="01234567-89", generation=1, creationTimestamp=BEGIN.isoformat())
        self.job = TrainingJob.model_validate(b.training_job("a", stamp, b.gpus(2), *modifiers))
        self.shares_gpus = False
        self.pod: PodState | None = None
        self.report: Report | None = None
        self.urgent: list[bool] = []
        """Of each status that was written."""

    def look(self, seconds: float, decision: Decision | None = None) -> "Life":
        for _ in range(5):
            pods = (self.pod,) if self.pod else ()
            observed = Observed(
                self.job,
                pods=pods,
                decision=decision,
                report=self.report,
                flavors=self.flavors,
                shares_gpus=self.shares_gpus,
            )
            plan = plan_training_job(observed, at(seconds))
            if plan.status is None:
                break
            self.urgent.append(plan.urgent)
            before = self.job.status.model_dump(by_alias=True, mode="json")
            status = TrainingJobStatus.model_validate_json(json.dumps({**before, **plan.status}))
            self.job = self.job.model_copy(update={"status": status})
            decision = None
        assert sum(self.ledger.until(at(seconds)).values()) == pytest.approx(seconds, abs=1e-6)
        return self

    def starts(self, *, created: float, bound: float, started: float) -> "Life":
        """Its pod of the current attempt runs."""
        attempt, name = self.job.status.attempt, f"a-worker-0-{self.job.status.attempt}"
        self.pod = PodState(
            name, name, "worker", 0, attempt, "n0", "Running", True, at(created), at(bound), at(started)
        )
        return self

    def says(self, seconds: float, step: int, **body: Any) -> "Life":
        body = {"phase": "training", "step": step, "restoredStep": None, **body}
        self.report = Report(self.job.status.attempt, at(seconds), body)
        return self

    def fails(self, code: int, seconds: float, **words: Any) -> "Life":
        assert self.pod is not None
        ended = Exit(code, "Error", json.dumps(words), at(seconds))
        self.pod = replace(self.pod, phase="Failed", ready=False, exit=ended)
        return self

    def edit(self, **spec: Any) -> "Life":
        changed = type(self.job.spec).model_validate({**self.job.spec.model_dump(by_alias=True), **spec})
        self.job = self.job.model_copy(update={"spec": changed})
        return self

    @property
    def ledger(self) -> Ledger:
        assert self.job.status.ledger is not None
        return self.job.status.ledger

    def spent(self) -> dict[str, float]:
        """What is closed, without what is nothing."""
        return {name: value for name, value in self.ledger.seconds.model_dump(by_alias=True).items() if value}

    def causes(self) -> dict[str, tuple[float, float]]:
        """Seconds and GPU-seconds."""
        return {each.cause: (each.seconds, round(each.gpu_hours * 3600, 3)) for each in self.ledger.causes}


def trains(*modifiers: b.Modifier, flavor: FlavorSpec | None = None) -> Life:
    """Queued for 5 s, bound after 1 s, pulled for 4, first step 10 s later, at 20 s; a report of step 100 at 120 s."""
    life = Life(*modifiers, flavor=flavor).look(5, PLACE)
    life.starts(created=5, bound=6, started=10).look(12)
    return life.says(120, 100, firstStepAt=at(20).isoformat(), checkpoint={"step": 80, "path": "c/80"}).look(120)
