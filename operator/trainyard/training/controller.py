"""The thin shell round `plan_training_job`: read, plan, apply, report."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace

from trainyard.api.failure import FailureRow
from trainyard.api.training_job import TrainingJob
from trainyard.cluster.client import ClusterClient
from trainyard.cluster.resources import TRAINING_JOBS
from trainyard.nodes.interruptions import weight
from trainyard.runtime.clock import Clock
from trainyard.runtime.work_queue import NEVER, Again
from trainyard.scheduling.snapshot import Decision, Evict, Resize, WorkloadKey
from trainyard.training import pods
from trainyard.training.boards import Boards
from trainyard.training.case import Case
from trainyard.training.checkpoint_interval import interruption_seconds
from trainyard.training.failure import Consequence, Ended
from trainyard.training.observed import Board, Claim, Observed
from trainyard.training.parent import seen_in
from trainyard.training.plan import plan_training_job
from trainyard.training.reports import ReportBoard
from trainyard.training.status import stopping
from trainyard.training.templates import Templates
from trainyard.training.workload import finished, place_of, workload
from trainyard.workloads.applier import Applier, RefusedError, TakenError
from trainyard.workloads.decisions import Decisions
from trainyard.workloads.keys import Key
from trainyard.workloads.looks import Found, Looks
from trainyard.workloads.nominations import still_asked
from trainyard.workloads.outlook import Outlooks
from trainyard.workloads.plan import sooner
from trainyard.workloads.pod_state import PodState
from trainyard.workloads.pod_template import Surroundings
from trainyard.workloads.refusals import Refusals
from trainyard.workloads.world import World

log = logging.getLogger(__name__)

Listener = Callable[[TrainingJob, TrainingJob], None]
"""Told of a job before and after a reconcile, for metrics."""


class TrainingController:
    """Reconciles one TrainingJob at a time."""

    def __init__(
        self,
        world: World,
        cluster: ClusterClient,
        applier: Applier,
        clock: Clock,
        decisions: Decisions,
        reports: ReportBoard,
        surroundings: Callable[[], Surroundings],
        poke: Callable[[], None],
        wake: Callable[[Key, float], None],
        epoch: Callable[[], int],
        outlooks: Outlooks,
        listener: Listener = lambda _old, _new: None,
        failure_table: tuple[FailureRow, ...] = (),
    ) -> None:
        self._world, self._cluster, self._applier, self._clock = world, cluster, applier, clock
        self._decisions, self._reports, self._surroundings = decisions, reports, surroundings
        self._poke, self._wake, self._epoch, self._outlooks, self._listener = poke, wake, epoch, outlooks, listener
        self._failure_table = failure_table
        self._own, self._boards = Refusals(clock), Boards(world, applier, clock)
        """What is held against one job and none like it: names that others took, claims; by its uid and the field that is to blame."""
        self._uids: dict[Key, str] = {}
        self.templates = Templates(cluster, clock, wake, self._refused, self._answered)
        self.looks = Looks(self._look)

    async def reconcile(self, key: Key) -> Again:
        observed = self._observe(key)
        if observed is None:
            self._applier.forget(key)
            self.templates.leave(key)
            self._forget(self._uids.pop(key, ""))
            self._poke()
            return NEVER
        self._uids[key] = observed.job.metadata.uid
        self.looks.noticed(key)
        self._reports.expect(observed.job.metadata.uid, observed.interruption_seconds)
        words = await self.templates.ask(observed)
        observed = observed if observed.refused_field else replace(observed, refusal=words)
        plan = plan_training_job(observed, self._clock.now())
        try:
            held_back = await self._applier.apply(key, TRAINING_JOBS, plan)
        except RefusedError as error:
            held_back = await self._undo(key, observed, error)
        after = self._world.get(key)
        if isinstance(after, TrainingJob):
            self._settle(key, observed.job, after)
        loss = self._world.nodes.next_loss(_nodes(observed.job, observed.pods, observed.board), self._clock.now())
        shown = await self._boards.keep(key, observed)
        refused = (self._own.left(_own_mark(observed.job, field)) for field in _OWN_FIELDS)
        retry = sooner(self.templates.again(key), *(left + 0.1 for left in refused if left))
        return Again(sooner(plan.again, held_back, retry, loss, shown))

    def _look(self, key: Key) -> Found:
        observed = self._observe(key)
        found = workload(observed, self._clock.now()) if observed else None
        return ((found, observed.job.status.attempt),) if observed and found else ()

    def _observe(self, key: Key) -> Observed | None:
        job = self._world.get(key)
        if not isinstance(job, TrainingJob):
            return None
        meta = job.metadata
        claim = pods.claim_name(job)
        its_pods, board = self._world.pods.of(meta.uid), self._boards.observe(job)
        modes = self._world.claims.get((meta.namespace, claim)) if claim else None
        nodes = _nodes(job, its_pods, board)
        observed = Observed(
            job=job,
            pods=its_pods,
            decision=self._decision(key, job),
            claim=Claim(claim, modes) if claim and modes is not None else None,
            parent=seen_in(self._world, job),
            service_exists=self._world.services.get((meta.namespace, pods.service_name(job))) == meta.uid,
            lost_nodes=self._world.nodes.lost(nodes, self._clock.now()),
            silent_since=self._world.nodes.silent_since(nodes),
            leaving=self._world.nodes.leaving(nodes),
            departing=self._world.nodes.departing(nodes),
            shares_gpus=self._world.nodes.share_gpus(nodes),
            cordoned=self._world.nodes.cordoned(nodes),
            report=self._reports.of(meta.uid),
            epoch=self._epoch(),
            max_run_seconds=self._max_run_seconds(job),
            expected_seconds=None if finished(job) else self._outlooks.seconds(job),
            interruption_seconds=self._interruption_seconds(job),
            outlook=self._outlooks.of(_workload_key(key)) if job.status.admission is None else None,
            failure_table=self._failure_table,
            board=board,
            flavors=self._world.flavors(),
            surroundings=self._surroundings(),
        )
        if job.status.admission is not None:
            return observed
        for field in _OWN_FIELDS:
            if refusal := self._own.known(_own_mark(job, field)):
                return replace(observed, refusal=refusal, refused_field=field)
        return replace(observed, refusal=self.templates.refusal(observed))

    def _decision(self, key: Key, job: TrainingJob) -> Decision | None:
        """The scheduler's last word. A request to make way counts only while the status of whom it is for says so."""
        found = self._decisions.of(_workload_key(key), job.metadata.uid, job.status.attempt)
        if isinstance(found, Resize) and found.base is not None and found.base != place_of(job):
            self._decisions.drop(_workload_key(key))  # a spare was quicker, or the lost node is back
            return None
        return None if isinstance(found, Evict) and not still_asked(self._world, found) else found

    def _max_run_seconds(self, job: TrainingJob) -> int | None:
        limits = [
            job.spec.max_run_seconds,
            *(each.max_run_seconds for each in self._world.queues_above(job.spec.queue)),
        ]
        return min((each for each in limits if each is not None), default=None)

    def _interruption_seconds(self, job: TrainingJob) -> float | None:
        """For trainers that decide how often they save: what is expected of a gang of this size, on these nodes."""
        if job.spec.training.checkpoint_every_steps != "auto" or job.status.admission is None or finished(job):
            return None
        nodes = self._world.nodes
        heavy = {name: weight(view.standing) for name in _placed(job) if (view := nodes.get(name)) is not None}
        rate = self._outlooks.interruptions(job.status.admission.flavor)
        return interruption_seconds(job, rate, heavy, self._clock.now())

    async def _undo(self, key: Key, observed: Observed, error: RefusedError) -> float | None:
        """A child could not be created for good: give the place back and say why."""
        message, field = str(error), _refused_field(error)
        if field:
            self._own.refuse(_own_mark(observed.job, field), message)
            self._refused(key, message)
        else:
            self.templates.refused(observed, message)
        job = self._world.get(key)
        if not isinstance(job, TrainingJob) or job.status.admission is None:
            return None
        case = Case(replace(observed, job=job), self._clock.now())
        case.draft.undone(Ended(Consequence.UNDO, message))
        return await self._applier.apply(key, TRAINING_JOBS, case.plan())

    def _refused(self, key: Key, message: str) -> None:
        """The API server does not take the job's children."""
        log.warning("child refused: %s", message, extra={"object": str(key)})
        self._applier.refused(key, message)
        self.looks.noticed(key)  # a cycle may have looked while the API server was asked
        self._decisions.drop(_workload_key(key))
        self._poke()

    def _answered(self, keys: Iterable[Key]) -> None:
        """The API server takes their pods now, or says something else of them."""
        self.looks.all_noticed(keys)
        for key in keys:
            self._wake(key, 0.0)
        self._poke()

    def _forget(self, uid: str) -> None:
        """The job is over or gone."""
        self.templates.forget(uid)
        self._reports.forget(uid)
        self._outlooks.forget(uid)

    def _settle(self, key: Key, before: TrainingJob, after: TrainingJob) -> None:
        """Whoever waits should hear when places were taken or given back."""
        if finished(after):
            self._forget(after.metadata.uid)
        same_place = before.status.admission == after.status.admission
        if finished(after) or (
            after.status.admission is not None and not (same_place and isinstance(self._decision(key, after), Resize))
        ):
            self._decisions.drop(_workload_key(key))
        if _gist(before) != _gist(after):
            self._poke()
        if before.status != after.status:
            self._listener(before, after)


def _nodes(job: TrainingJob, its_pods: Iterable[PodState], board: Board) -> set[str]:
    """Nodes that matter to the job: where it was placed and where its pods are, that of its TensorBoard too."""
    return _placed(job) | {pod.node for pod in (*its_pods, *board.pods)}


def _placed(job: TrainingJob) -> set[str]:
    if job.status.admission is None:
        return set()
    return {role.prefix + run.node for role in job.status.admission.roles for run in role.runs}


def _gist(job: TrainingJob) -> tuple[object, ...]:
    """What of a status lets somebody else start, or asks somebody to make way."""
    status = job.status
    since = status.admission.time if status.admission else None
    replacing = tuple(status.replacing)
    size = job.size() if status.admission else 0
    return (
        since,
        size,
        finished(job),
        status.parent is None,
        status.nomination is None,
        status.preemption is None,
        stopping(status),
        replacing,
    )


_NAME, _CLAIM = _OWN_FIELDS = ("metadata.name", "spec.storage.claimTemplate")


def _refused_field(error: RefusedError) -> str:
    """That a refusal is about; empty for the template of the pods."""
    if isinstance(error, TakenError):
        return _NAME
    return _CLAIM if error.kind == "PersistentVolumeClaim" else ""


def _own_mark(job: TrainingJob, field: str) -> str:
    return f"{job.metadata.uid}/{field}"


def _workload_key(key: Key) -> WorkloadKey:
    return WorkloadKey(key.kind, key.namespace, key.name)
