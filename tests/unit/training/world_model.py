"""A tiny world in which a TrainingJob lives: nodes, pods, a trainer with checkpoints, and a clock. No operator, no API server.

Whatever happens in it is asked for by a history; it keeps count of what a ledger should say.
"""

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from trainyard.api.names import ATTEMPT_LABEL, INDEX_LABEL, ROLE_LABEL, WORKER
from trainyard.training.observed import Report
from trainyard.workloads.plan import Delete
from trainyard.workloads.pod_state import Exit, PodState

BEGIN = datetime(2026, 11, 23, tzinfo=UTC)
NEVER = float("inf")
_LONGEST_STOP = 20.0
_LOST_AFTER = 10.0


def when(seconds: float) -> datetime:
    """The clock at that many seconds from the beginning."""
    return BEGIN + timedelta(microseconds=round(seconds * 1e6))


def as_written(seconds: float) -> datetime:
    """As the API server writes it: whole seconds."""
    return BEGIN + timedelta(seconds=int(seconds))


@dataclass(slots=True)
class Pod:
    """A pod, and when what happens to it next."""

    state: PodState
    place: str
    """The node that it is pinned to."""
    binds_at: float
    starts_at: float
    gone_at: float = NEVER

    def next_at(self) -> float:
        """When something happens to it of its own accord."""
        if self.state.deleting_since is not None:
            return self.gone_at
        if self.state.phase != "Pending":
            return NEVER
        return self.starts_at if self.state.bound else self.binds_at


@dataclass(slots=True)
class Trainer:
    """What the processes of one attempt do together while all its pods run."""

    attempt: int
    round: int
    members: frozenset[str]
    """Uids of the pods."""
    restored: int
    warm_up: float
    began: float
    elapsed: float = 0.0
    step: int = 0
    first_step_at: str | None = None
    resized: bool = False
    """It began since the number of pods changed, and not since something failed."""


@dataclass(slots=True)
class Training:
    """How the job trains."""

    total: int
    seconds_a_step: float
    save_every: int
    speaks: bool
    """Whether it reports and leaves last words."""
    divides: bool
    """Whether it says what it spent time on."""


@dataclass(slots=True)
class World:
    """Everything but the job's object."""

    random: Random
    training: Training
    nodes: list[str]
    now: float = 0.0
    down: dict[str, float] = field(default_factory=dict)
    """Since when nodes are silent."""
    processes: int = 1
    """In each pod."""
    pods: dict[str, Pod] = field(default_factory=dict)
    trainer: Trainer | None = None
    saved: list[int] = field(default_factory=list)
    report: Report | None = None
    two_attempts: str = ""
    """Set when pods of two attempts could run at once."""
    _uids: int = 0
    _size: int = 1
    _attempt: int = 0

    def lost(self) -> frozenset[str]:
        """Nodes that will not answer again soon."""
        return frozenset(name for name, since in self.down.items() if self.now - since >= _LOST_AFTER)

    def states(self) -> tuple[PodState, ...]:
        return tuple(pod.state for pod in self.pods.values())

    def running(self, attempt: int) -> list[Pod]:
        """Workers of the attempt that run, and are not asked to end, on a node that is there."""
        return [
            pod
            for pod in self.pods.values()
            if (pod.state.attempt, pod.state.role) == (attempt, WORKER)
            and pod.state.running
            and pod.state.index < self._size
            and pod.state.node not in self.down
        ]

    def all_run(self, count: int, attempt: int) -> bool:
        """Whether the first so many workers of the attempt do."""
        running = (pod.state for pod in self.pods.values() if pod.state.running and pod.state.node not in self.down)
        return sum((each.attempt, each.role) == (attempt, WORKER) and each.index < count for each in running) == count

    def create(self, made: dict[str, Any]) -> None:
        """As the API server does: a name that is taken stays as it is."""
        meta, labels = made["metadata"], made["metadata"]["labels"]
        if meta["name"] in self.pods:
            return
        attempt = int(labels[ATTEMPT_LABEL])
        others = [pod.state for pod in self.pods.values() if pod.state.attempt != attempt and not pod.state.finished]
        if others:
            self.two_attempts = f"{meta['name']} is made while {others[0].name} may still run"
        self._uids += 1
        pinned = made["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        (node,) = pinned["nodeSelectorTerms"][0]["matchFields"][0]["values"]
        state = PodState(
            name=meta["name"],
            uid=str(self._uids),
            role=labels[ROLE_LABEL],
            index=int(labels[INDEX_LABEL]),
            attempt=attempt,
            node="",
            phase="Pending",
            ready=False,
            created=as_written(self.now),
        )
        binds = self.now + self.random.uniform(0.01, 2)
        self.pods[meta["name"]] = Pod(state, node, binds, binds + self.random.uniform(0.2, 15))

    def delete(self, asked: Delete) -> None:
        """As the API server does: gone at once with a grace of 0, else when the kubelet says so."""
        pod = self.pods.get(asked.name)
        if pod is None or pod.state.uid != asked.uid:
            return
        if asked.grace_seconds == 0 or (not pod.state.bound and not pod.state.finished):
            del self.pods[asked.name]
        elif pod.state.deleting_since is None:
            pod.state = replace(pod.state, deleting_since=as_written(self.now))
            stop = self.random.uniform(0.1, min(_LONGEST_STOP, asked.grace_seconds or _LONGEST_STOP))
            pod.gone_at = self.now + stop
            if self.trainer is not None and self.trainer.step and self.random.random() < 0.8:
                self._save(self.trainer.step)

    def end(self, pod: Pod, code: int | None, reason: str = "") -> None:
        """The container ends; without a code the kubelet or the node controller says that the pod failed."""
        if code is None:
            pod.state = replace(pod.state, phase="Failed", ready=False, reason=reason)
            return
        message = json.dumps(self.words()) if self.training.speaks and pod.state.index == 0 else ""
        ended = Exit(code, "Error" if code else "Completed", message, as_written(self.now))
        pod.state = replace(pod.state, phase="Failed" if code else "Succeeded", ready=False, exit=ended)

    def words(self) -> dict[str, Any]:
        """What rank 0 would report now."""
        trainer = self.trainer
        if trainer is None:
            return {"step": 0}
        said: dict[str, Any] = {
            "phase": "training" if trainer.step > trainer.restored else "loading",
            "step": trainer.step,
            "totalSteps": self.training.total,
            "restoredStep": trainer.restored or None,
            "worldSize": len(trainer.members) * self.processes,
            "firstStepAt": trainer.first_step_at,
            "checkpoint": {"step": self.saved[-1], "path": f"c/{self.saved[-1]}"} if self.saved else None,
        }
        if trainer.round > 1:
            failed = {"index": 0, "exitCode": 1, "cause": "x", "step": None, "at": when(trainer.began).timestamp()}
            resized = {"exitCode": 75, "counts": False} if trainer.resized else {}
            said["restarted"] = {"round": trainer.round, **failed, **resized}
        if self.training.divides:
            steps = max(0.0, trainer.elapsed - trainer.warm_up)
            said["spent"] = {
                "loading": min(1.0, trainer.elapsed),
                "saving": steps / 9,
                "dataWait": steps / 50,
                "x": 1.0,
            }
        return said

    def speak(self) -> None:
        """A report arrives."""
        if self.trainer is not None and self.training.speaks:
            self.report = Report(self.trainer.attempt, when(self.now), self.words())

    def next_at(self) -> float:
        """When something happens of its own accord."""
        times = [pod.next_at() for pod in self.pods.values() if not pod.state.finished and pod.place not in self.down]
        if len(self.running(self._attempt)) >= self._size:
            trainer = self.trainer
            if trainer is None or trainer.attempt != self._attempt:
                return self.now
            left = self.training.total - trainer.restored
            times.append(trainer.began + trainer.warm_up + left * self.training.seconds_a_step)
        times += [at for since in self.down.values() if (at := since + _LOST_AFTER) > self.now]
        return max(self.now, min(times, default=NEVER))

    def go_on(self, until: float, size: int, attempt: int) -> None:
        """Time passes. size, attempt: of the gang as it is admitted."""
        self.now, self._size, self._attempt = until, size, attempt
        for name, pod in list(self.pods.items()):
            if pod.state.finished:
                if until >= pod.gone_at:
                    del self.pods[name]
                continue
            self._one(name, pod)
        self._train(size, attempt)

    def _one(self, name: str, pod: Pod) -> None:
        if pod.place in self.down:
            return
        if not pod.state.bound and self.now >= pod.binds_at:
            pod.state = replace(pod.state, node=pod.place, scheduled=as_written(pod.binds_at))
        if not pod.state.bound:
            return
        if pod.state.deleting_since is not None:
            if self.now >= pod.gone_at:
                del self.pods[name]
        elif pod.state.phase == "Pending" and self.now >= pod.starts_at:
            pod.state = replace(pod.state, phase="Running", ready=True, started=as_written(pod.starts_at))

    def _train(self, size: int, attempt: int) -> None:
        running = self.running(attempt)
        if len(running) < size:
            if self.trainer is not None and self.trainer.attempt != attempt:
                self.trainer = None
            return
        members = frozenset(pod.state.uid for pod in running)
        trainer = self.trainer
        if trainer is None or trainer.attempt != attempt or trainer.members != members:
            resized = trainer is not None and trainer.attempt == attempt and len(trainer.members) != len(members)
            if resized and trainer is not None:
                self._save(trainer.step)  # all stop in order
            self.begin(attempt, members)
            assert self.trainer is not None
            self.trainer.resized = resized
            return
        trainer.elapsed = self.now - trainer.began
        made = int(max(0.0, trainer.elapsed - trainer.warm_up) / self.training.seconds_a_step)
        trainer.step = min(self.training.total, trainer.restored + made)
        if trainer.step > trainer.restored and trainer.first_step_at is None:
            first = trainer.began + trainer.warm_up + self.training.seconds_a_step
            trainer.first_step_at = when(min(first, self.now)).isoformat()
        saved = trainer.step - trainer.step % self.training.save_every
        if saved > trainer.restored:
            self._save(saved)
        if trainer.step >= self.training.total:
            for pod in running:
                self.end(pod, 0)

    def begin(self, attempt: int, members: frozenset[str]) -> None:
        """The program starts in all pods, from one of the last checkpoints."""
        before = self.trainer.round if self.trainer is not None and self.trainer.attempt == attempt else 0
        restored = self.random.choice(self.saved[-2:]) if self.saved else 0
        warm_up = self.random.uniform(0.5, 5)
        self.trainer = Trainer(attempt, before + 1, members, restored, warm_up, self.now, step=restored)

    def _save(self, step: int) -> None:
        if step not in self.saved:
            self.saved.append(step)
