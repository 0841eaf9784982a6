"""What becomes of jobs, as metrics count it, forecasts and scores of nodes learn it, and incidents are remembered."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, Protocol

from trainyard.admission.incident_log import IncidentLog
from trainyard.api.failure import FailureClass
from trainyard.api.incident import Incident
from trainyard.api.reasons import ConditionType
from trainyard.api.training_job import TrainingJob
from trainyard.nodes.lemons import Lemons, blames
from trainyard.runtime.clock import Clock
from trainyard.training.checkpoint_interval import interrupted, trained_hours
from trainyard.training.incidents import closed_since, of_deleted, told_apart
from trainyard.training.making_way import lost_gpu_seconds
from trainyard.training.stragglers import added_to
from trainyard.training.workload import finished
from trainyard.workloads import conditions
from trainyard.workloads.keys import Key
from trainyard.workloads.outlook import Outlooks
from trainyard.workloads.world import World


class Told(Protocol):
    """Hears what happens, for metrics."""

    def admitted(self, queue: str, seconds_waited: float) -> None: ...

    def preempted(self, queue: str, gpu_seconds: float) -> None: ...

    def failed(self, queue: str, kind: FailureClass) -> None: ...

    def interrupted(self, incident: Incident) -> None: ...

    def measured(self, queue: str, namespace: str, joules: float) -> None: ...

    def straggler(self, queue: str) -> None: ...

    def completed(self, queue: str, result: Literal["complete", "failed"]) -> None: ...


class JobHistory:
    """Of all jobs."""

    def __init__(
        self,
        world: World,
        clock: Clock,
        told: Told,
        outlooks: Outlooks,
        incidents: IncidentLog,
        lemons: Lemons,
        node_failed: Callable[[str], None],
        foretold: Callable[[], None],
    ) -> None:
        """node_failed: hears of a node that ended an attempt; foretold: that from now on it is known how long jobs run."""
        self._world, self._clock, self._told = world, clock, told
        self._outlooks, self._incidents, self._lemons = outlooks, incidents, lemons
        self._node_failed, self._foretold = node_failed, foretold

    def changed(self, before: TrainingJob, after: TrainingJob) -> None:
        """Its status is another one."""
        self._placed(before, after)
        self._ran(before, after)
        if after.status.last_failure is not None and before.status.last_failure != after.status.last_failure:
            self._told.failed(after.spec.queue, after.status.last_failure.kind)
            if blames(after.status.last_failure):
                self._attempt_ended(before, after.status.last_failure.node)
        if finished(after) and not finished(before):
            self._ended(before, after)

    def deleted(self, metadata: Mapping[str, Any]) -> None:
        """Its status goes with it: what interrupted it is remembered, as the world still knows it and no cache does."""
        job = self._world.get(Key("TrainingJob", metadata.get("namespace", ""), metadata["name"]))
        if isinstance(job, TrainingJob):
            self._incidents.over(of_deleted(job, self._clock.now()))

    def recall(self, jobs: Iterable[TrainingJob]) -> None:
        """Incidents that are over; what is known already is not told again."""
        for job in jobs:
            self._incidents.over(told_apart(job, each) for each in job.status.incidents if each.ended_at)

    def _placed(self, before: TrainingJob, after: TrainingJob) -> None:
        queue, had, has = after.spec.queue, before.status.admission, after.status.admission
        if had is None and has is not None and after.metadata.creation_timestamp:
            self._told.admitted(queue, (has.time - after.metadata.creation_timestamp).total_seconds())
        if before.status.preemption is not None and has is None and had is not None:
            self._told.preempted(queue, lost_gpu_seconds(before, self._clock.now()))

    def _ran(self, before: TrainingJob, after: TrainingJob) -> None:
        queue = after.spec.queue
        if before.status.admission is not None:
            hours = trained_hours(before, after)
            self._outlooks.ran(before.status.admission.flavor, hours, interrupted(before, after))
        over = closed_since(before, after)
        self._incidents.over(over)
        for each in over:
            self._told.interrupted(each)
        if after.status.ledger is not None:
            known = before.status.ledger.measured_joules if before.status.ledger else 0.0
            if after.status.ledger.measured_joules > known:
                self._told.measured(queue, after.metadata.namespace, after.status.ledger.measured_joules - known)
        for _ in added_to(before.status.stragglers, after.status.stragglers):
            self._told.straggler(queue)

    def _ended(self, before: TrainingJob, after: TrainingJob) -> None:
        foretells = self._outlooks.foretells
        self._outlooks.ended(after)
        if self._outlooks.foretells and not foretells:
            self._foretold()
        complete = conditions.holds(after.status.conditions, ConditionType.COMPLETE)
        if complete:
            self._attempt_ended(before, "")
        self._told.completed(after.spec.queue, "complete" if complete else "failed")

    def _attempt_ended(self, job: TrainingJob, failed: str) -> None:
        """What an attempt says of the nodes that it ran on."""
        if job.status.admission is None:
            return
        nodes = {name for role in job.status.admission.roles for name in role.nodes()}
        self._lemons.outcome(nodes, failed, self._clock.now())
        if failed:
            self._node_failed(failed)
