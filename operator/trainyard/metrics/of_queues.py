"""What queues hold and who waits in them, counted by the scheduler's own arithmetic."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from trainyard.api.inference_service import InferenceService
from trainyard.api.queue import QueueSpec
from trainyard.api.reasons import ConditionType, Waiting
from trainyard.api.training_job import TrainingJob, TrainingJobStatus
from trainyard.metrics import definitions as d
from trainyard.metrics.picture import Picture
from trainyard.metrics.sample import Sample
from trainyard.scheduling import accounts, quota
from trainyard.scheduling.resources import parse
from trainyard.workloads import conditions
from trainyard.workloads.keys import Key

UNKNOWN_QUEUE = "(unknown)"
"""Stands for every queue that jobs name and that is not there: any user can make up names."""
_HOUR = 3600.0
_WAITING = frozenset(each.value for each in Waiting)


Owner = TrainingJob | InferenceService


def queue_samples(picture: Picture) -> Iterator[Sample]:
    """All series of all queues."""
    snapshot = picture.snapshot
    held = [each for each in snapshot.workloads if each.admission]
    tree = quota.held(snapshot)
    for name, queue in snapshot.queues.items():
        for flavor in queue.flavors if name in tree else ():
            for each in flavor.resources:
                labels, cell = (name, flavor.name, each.name), (flavor.name, each.name)
                yield Sample(d.QUOTA_GUARANTEED, labels, tree.guaranteed(name, cell) / 1000)
                yield Sample(d.QUOTA_USED, labels, tree.held(name, cell) / 1000)
                if each.limit is not None:
                    yield Sample(d.QUOTA_LIMIT, labels, parse(each.limit) / 1000)
        if name in tree:
            share = tree.share(name)
            yield Sample(d.BORROWED_SHARE, (name,), share[-1] if share else 0.0)
        yield from _budget(name, queue, picture)
    admitted = Counter(each.queue for each in held)
    for name in snapshot.queues:
        yield Sample(d.ADMITTED, (name,), admitted[name])
    yield from _pending(_waiting(picture), set(snapshot.queues), picture.now)


def _waiting(picture: Picture) -> Iterator[tuple[str, Owner]]:
    """Queues that something wants a place in, and whose it is."""
    everybody: Iterable[Owner] = (*picture.jobs, *picture.services)
    owners = {Key(each.kind, each.metadata.namespace, each.metadata.name): each for each in everybody}
    for workload in picture.snapshot.workloads:
        owner = owners.get(Key(workload.key.kind, workload.key.namespace, workload.key.name))
        if owner is not None and not workload.admission:
            yield workload.queue, owner


def _budget(name: str, queue: QueueSpec, picture: Picture) -> Iterator[Sample]:
    if queue.budget is None:
        return
    used, start = picture.queues[name].budget, accounts.period_start(queue.budget, picture.now)
    hours = used.gpu_hours if used is not None and used.period_start == start else 0.0
    yield Sample(d.QUEUE_BUDGET, (name,), parse(queue.budget.gpu_hours) / 1000 * _HOUR)
    yield Sample(d.QUEUE_BUDGET_USED, (name,), hours * _HOUR)


def _pending(waiting: Iterable[tuple[str, Owner]], queues: set[str], now: datetime) -> Iterator[Sample]:
    counts: dict[str, Counter[str]] = defaultdict(Counter, {name: Counter() for name in queues})
    oldest: dict[str, float] = defaultdict(float)
    for queue, owner in waiting:
        name = queue if queue in queues else UNKNOWN_QUEUE
        counts[name][_reason(owner)] += 1
        oldest[name] = max(oldest[name], (now - _waits_since(owner)).total_seconds())
    for name, reasons in counts.items():
        for reason in Waiting:
            yield Sample(d.PENDING, (name, reason.value), reasons[reason.value])
        yield Sample(d.OLDEST_PENDING, (name,), oldest[name])


def _reason(owner: Owner) -> str:
    said = conditions.find(owner.status.conditions, ConditionType.ADMITTED)
    return said.reason if said and said.reason in _WAITING else Waiting.PENDING_EVALUATION.value


def _waits_since(owner: Owner) -> datetime:
    """Its creation, or when it lost the place that it had."""
    status = owner.status
    placed_before = status.attempt > 1 if isinstance(status, TrainingJobStatus) else status.next_serial > 1
    said = conditions.find(status.conditions, ConditionType.ADMITTED)
    if said and said.status == "False" and placed_before:
        return said.last_transition_time
    return owner.since() or datetime.fromtimestamp(0, UTC)
