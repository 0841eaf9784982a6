"""An operator for one job: plans with the real plan, and applies, stores and schedules as the real parts do, with their failures."""

import json
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

from tests import builders as b
from tests.unit.training.world_model import NEVER, World, when
from trainyard.api.names import WORKER
from trainyard.api.reasons import Waiting
from trainyard.api.training_job import TrainingJob, TrainingJobStatus
from trainyard.scheduling.snapshot import (
    Admit,
    Assignment,
    Decision,
    Preempt,
    Resize,
    Verdict,
    Victim,
    Wait,
    Words,
    WorkloadKey,
)
from trainyard.training.observed import Claim, Observed
from trainyard.training.plan import plan_training_job
from trainyard.training.workload import finished, place_of, workload
from trainyard.workloads.plan import Delete, Plan

KEY = WorkloadKey("TrainingJob", b.NAMESPACE, "a")
OTHER = WorkloadKey("TrainingJob", b.NAMESPACE, "other")
_CALM_SECONDS = 30
"""Between two status writes that only tell numbers."""


class SmallOperator:
    """`job` is what is stored."""

    def __init__(self, job: TrainingJob, world: World, random: Random, note: Callable[[str], None]) -> None:
        self.job, self.world, self._random, self._note = job, world, random, note
        self.decision: tuple[Decision, int] | None = None
        """The scheduler's, and for which attempt."""
        self.decided = False
        """Whether that is new."""
        self.writes, self.last_write = 0, -NEVER
        self._raw: dict[str, Any] = {}
        self._service = False

    def look(self, *, chaos: bool) -> Plan:
        """One reconcile. chaos: whether the API server and the operator itself may fail in it."""
        observed = self._observed()
        plan = plan_training_job(observed, when(self.world.now))
        if self._apply(plan, chaos=chaos):
            held, before = self.job.status.admission, observed.job.status.admission
            resizes = self.decision is not None and isinstance(self.decision[0], Resize)
            if finished(self.job) or (held is not None and not (held is before and resizes)):
                self.decision = None
            self._schedule(chaos=chaos)
        return plan

    def edit(self, **spec: Any) -> None:
        """As a user does."""
        meta = self.job.metadata.model_copy(update={"generation": self.job.metadata.generation + 1})
        changed = type(self.job.spec).model_validate({**self.job.spec.model_dump(by_alias=True), **spec})
        self.job = self.job.model_copy(update={"metadata": meta, "spec": changed})

    def _observed(self) -> Observed:
        world = self.world
        seen = Observed(
            job=self.job,
            pods=world.states(),
            service_exists=self._service,
            claim=Claim("results", ("ReadWriteMany",)),
            lost_nodes=world.lost(),
            report=world.report,
            epoch=1,
            max_run_seconds=self.job.spec.max_run_seconds,
        )
        if self.decision is None or self.decision[1] != self.job.status.attempt:
            self.decision = None
            return seen
        return replace(seen, decision=self.decision[0])

    def _apply(self, plan: Plan, *, chaos: bool) -> bool:
        """As the applier does: the status first, and nothing more if that fails. False when it came to an end before its time."""
        luck = self._random.random() if chaos else 1.0
        if plan.status and luck < 0.05:
            self._note("a write is lost")
            return False
        if plan.status and (plan.urgent or self.world.now - self.last_write >= _CALM_SECONDS):
            self._write(dict(plan.status))
        if luck < 0.1:
            self._note("the answer to a write is lost")
            return False
        actions: list[Delete | dict[str, Any]] = [*plan.delete, *plan.create]
        for count, each in enumerate(actions):
            if luck < 0.15 and count:
                self._note("the operator dies halfway")
                self.restart()
                return False
            if isinstance(each, Delete):
                self.world.delete(each)
            elif each["kind"] == "Pod":
                self.world.create(each)
            else:
                self._service = True
        return True

    def _write(self, patch: dict[str, Any]) -> None:
        self._raw = _merged(self._raw, patch)
        self.job = self.job.model_copy(update={"status": TrainingJobStatus.model_validate(self._raw)})
        self.last_write = self.world.now
        self.writes += 1
        self._note(f"{self.job.status.phase} {self.job.status.reason}, attempt {self.job.status.attempt}")

    def restart(self) -> None:
        """Another operator begins with what is stored."""
        text = json.dumps(self._raw)
        self.job = self.job.model_copy(update={"status": TrainingJobStatus.model_validate_json(text)})
        self.world.report, self.decision, self.last_write = None, None, -NEVER

    def _schedule(self, *, chaos: bool) -> None:
        """As the scheduler would decide."""
        self.decided = False
        if self.job.status.admission is not None and (self.decision is not None or not self.world.down):
            return
        seen = self._observed()
        wanted = workload(seen, when(self.world.now))
        if wanted is None:
            return
        status, uid = self.job.status, self.job.metadata.uid
        if wanted.admission is None:
            decision: Decision = Admit(KEY, uid, self.place())
            if wanted.blocked is not None:
                decision = Wait(KEY, uid, Words(wanted.blocked), 1)
            elif chaos and self._random.random() < 0.5:
                decision = self._not_now(uid)
        elif wanted.lost and self._random.random() < 0.5:
            decision = Resize(KEY, uid, self._mended(wanted.admission), wanted.admission)
        else:
            return
        self.decided = self.decision is None or type(self.decision[0]) is not type(decision)
        self.decision = (decision, status.attempt)

    def _mended(self, held: Assignment) -> Assignment:
        """Other nodes for those that are silent."""
        fit = [each for each in self.world.nodes if each not in self.world.down] or self.world.nodes
        nodes = {
            role: tuple(self._random.choice(fit) if each in self.world.down else each for each in names)
            for role, names in held.nodes.items()
        }
        return Assignment(held.flavor, nodes)

    def _not_now(self, uid: str) -> Decision:
        if self._random.random() < 0.3:
            return Preempt(KEY, uid, self.place(), (Victim(OTHER, "o", 1.0),), 30)
        reason = self._random.choice((Waiting.WAITING_FOR_QUOTA, Waiting.TOPOLOGY_PLACEMENT_FAILED))
        return Wait(KEY, uid, Words(Verdict(reason, "somebody else holds it")), self._random.randint(1, 9))

    def place(self, count: int | None = None, *, stays: bool = False) -> Assignment:
        """Somewhere that is not silent, for so many workers or as many as are of use. stays: those that there are keep their nodes."""
        workers, fit = self.job.spec.workers, [each for each in self.world.nodes if each not in self.world.down]
        least = workers.min_replicas or workers.replicas
        chosen = count or self._random.randint(least, workers.replicas)
        counts = self.job.counts() | {WORKER: chosen}
        nodes = {
            role: tuple(self._random.choice(fit or self.world.nodes) for _ in range(each))
            for role, each in counts.items()
        }
        held = place_of(self.job)
        if held is not None and stays:
            stay = held.nodes.get(WORKER, ())[:chosen]
            nodes = {**held.nodes, WORKER: stay + nodes[WORKER][len(stay) :]}
        return Assignment("h200", nodes)

    def nodes(self) -> list[str]:
        """Of the place that is held, one for each pod."""
        admission = self.job.status.admission
        return [node for role in admission.roles for node in role.nodes()] if admission else []


def _merged(old: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """A JSON merge patch."""
    new = dict(old)
    for name, value in patch.items():
        if value is None:
            new.pop(name, None)
        elif isinstance(value, dict):
            new[name] = _merged(old[name] if isinstance(old.get(name), dict) else {}, value)
        else:
            new[name] = value
    return new
