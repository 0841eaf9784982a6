"""The smallest changes that would start a waiting workload now, each tried out on the scheduler before anybody is told.

A search by kind of change, cheapest for the user first: say how long it runs, relax the topology, another flavor, fewer pods or
GPUs (by bisection), another queue, or waiting for those who hold what it needs. Bounded by a number of trials, and by `hurry` for
callers with a clock.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TypeVar

from trainyard.api.forecast import Remedy
from trainyard.api.names import GPU
from trainyard.scheduling.cycle import Cycle
from trainyard.scheduling.engine import Engine
from trainyard.scheduling.running import Running
from trainyard.scheduling.snapshot import Assignment, PodSet, Workload, WorkloadKey
from trainyard.scheduling.whatif import Settled, place

MOST_REMEDIES = 4
MOST_TRIALS = 48
_QUEUES_TRIED = 6
_NODES_NAMED = 3
_DEVICE = 1000
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Fix:
    """A change with which the workload starts at once."""

    change: str
    """Field and value, or what to wait for."""
    message: str
    workload: Workload
    """As it would have to be."""
    assignment: Assignment
    """Where it would start."""
    size: float
    """How large the change is to its owner, for the order: from 0, it costs nothing, to 6, another's job has to end."""
    ended: tuple[WorkloadKey, ...] = ()
    """Who would have to have ended."""

    def remedy(self) -> Remedy:
        """As it stands in a status."""
        return Remedy(change=self.change[:256], message=self.message[:1024])


def remedies(settled: Settled, key: WorkloadKey, hurry: Callable[[], bool] = lambda: False) -> tuple[Fix, ...]:
    """At most four changes, smallest first; none for what does not wait. hurry: asked before each trial, True ends the search.

    Each holds on the state as it is; if there is time, also for a scheduler that remembers no kept places.
    """
    workload = settled.engine.pending.get(key)
    if workload is None or workload.blocked is not None or not workload.pods:
        return ()
    search = _Search(settled, workload, hurry)
    found = sorted((fix for look in _KINDS for fix in look(search)), key=lambda fix: fix.size)
    confirmed = (fix for fix in found if hurry() or _holds_anew(settled, fix))
    return tuple(itertools.islice(confirmed, MOST_REMEDIES))


def _holds_anew(settled: Settled, fix: Fix) -> bool:
    """A scheduler that remembers nothing would start it too: the operator may restart before the user acts."""
    return place(settled, fix.workload, fix.ended, anew=True) is not None


class _Search:
    """One workload, and trials until there have been enough."""

    def __init__(self, settled: Settled, workload: Workload, hurry: Callable[[], bool]) -> None:
        self.settled, self.workload, self.hurry = settled, workload, hurry
        self.left = MOST_TRIALS

    @property
    def engine(self) -> Engine:
        return self.settled.engine

    @property
    def now(self) -> float:
        return self.settled.now.timestamp()

    @property
    def is_job(self) -> bool:
        return self.workload.key.kind == "TrainingJob"

    @property
    def over(self) -> bool:
        return self.left <= 0 or self.hurry()

    def place(self, workload: Workload, ended: Sequence[WorkloadKey] = ()) -> Assignment | None:
        """Where it would start, or None; None too when the search is over."""
        if self.over:
            return None
        self.left -= 1
        if not ended:
            # Everybody else was asked already and cannot start: whether this one can changes nothing for them.
            return Cycle(self.engine, self.now).look(workload)
        return place(self.settled, workload, ended)

    def fix(self, change: str, words: str, workload: Workload, size: float) -> Iterator[Fix]:
        """The change, if it helps. words: begins the sentence."""
        place = self.place(workload)
        if place is not None:
            yield _fix(change, words, workload, place, size)

    def most(
        self, values: Sequence[_Value], changed: Callable[[_Value], Workload]
    ) -> tuple[_Value, Workload, Assignment] | None:
        """The first of `values`, from the smallest change to the largest, with which it starts, by bisection."""
        found = None
        low, high = 0, len(values)
        while low < high:
            # The largest change first: if that does not help, none will.
            middle = high - 1 if found is None else (low + high) // 2
            workload = changed(values[middle])
            place = self.place(workload)
            if place is None:
                if found is None:
                    return None
                low = middle + 1
            else:
                found, high = (values[middle], workload, place), middle
        return found


def _fix(change: str, words: str, workload: Workload, place: Assignment, size: float) -> Fix:
    anew = "; this cannot be changed: delete it and create it anew" if size else ""
    return Fix(change, f"{words} it would start now {where(place)}{anew}", workload, place, size)


def _shares(workload: Workload) -> bool:
    """It asks for a part of a GPU, which only some flavors give."""
    return any(each.requests.get(GPU, 0) % _DEVICE for each in workload.pods)


def where(place: Assignment) -> str:
    """As in "on n1 (4 pods) and n2 of flavor h200"."""
    nodes = Counter(node for names in place.nodes.values() for node in names)
    named = [f"{name} ({count} pods)" if count > 1 else name for name, count in list(nodes.items())[:_NODES_NAMED]]
    more = len(nodes) - len(named)
    listed = ", ".join(named) + (f" and {more} more nodes" if more else "")
    return f"on {listed} of flavor {place.flavor}"


def _shorter(search: _Search) -> Iterator[Fix]:
    """It ends before somebody needs the place that is kept for them."""
    workload = search.workload
    if not search.is_job:
        return
    most = search.engine.seconds(workload)
    times = {int(each.time - search.now) for each in search.engine.reservations if each.key != workload.key}
    for seconds in sorted((each for each in times if 1 <= each < most), reverse=True):
        declared = replace(workload, duration=float(seconds))
        words = f"if it is known to end within {_span(seconds)}, before what it needs is needed by another,"
        for fix in search.fix(f"spec.expectedSeconds={seconds}", words, declared, 0.0):
            yield fix
            return


def _looser(search: _Search) -> Iterator[Fix]:
    """Near to each other if possible, instead of at all costs."""
    topology = search.workload.topology
    if topology is not None and topology.mode == "required":
        looser = replace(search.workload, topology=replace(topology, mode="preferred"))
        words = f"with one {topology.level} preferred instead of required"
        yield from search.fix("spec.topology.mode=preferred", words, looser, 1.0)


def _other_flavor(search: _Search) -> Iterator[Fix]:
    """A flavor that the queue has and the workload does not ask for."""
    workload, rules = search.workload, search.engine.rules
    asked = rules.flavors_of(workload)
    for name in rules.flavors_of_queue(workload.queue) if workload.flavors else ():
        if name not in asked and name in rules.flavors and (rules.flavors[name].fractional or not _shares(workload)):
            other = replace(workload, flavors=(name,), throughputs=())
            fixes = list(search.fix(f"spec.flavors=[{name}]", f"on flavor {name}", other, 2.0))
            if fixes:
                yield fixes[0]
                return


def _fewer_pods(search: _Search) -> Iterator[Fix]:
    """The largest gang that starts. Of an elastic one the least that has to be there."""
    workload = search.workload
    if not search.is_job or not workload.pods:
        return
    pods, *others = workload.pods  # the workers come first
    step = workload.topology.slice_size if workload.topology else 1
    elastic = pods.least is not None

    def changed(count: int) -> Workload:
        smaller = replace(pods, least=count) if elastic else replace(pods, count=count)
        return replace(workload, pods=(smaller, *others))

    found = search.most(range(pods.minimum - step, 0, -step), changed)
    if found is None:
        return
    count, smaller, place = found
    change = f"spec.workers.{'minReplicas' if elastic else 'replicas'}={count}"
    words = f"with {'as few as ' if elastic else ''}{count} instead of {pods.minimum} workers"
    yield _fix(change, words, smaller, place, 1 + 4 * (1 - count / pods.minimum))


def _fewer_gpus(search: _Search) -> Iterator[Fix]:
    """The most GPUs a pod with which it starts."""
    workload = search.workload
    if not workload.pods:
        return
    pods, *others = workload.pods
    asked = pods.requests.get(GPU, 0) // _DEVICE

    def changed(count: int) -> Workload:
        return replace(workload, pods=(_with_gpus(pods, count), *others))

    found = search.most(range(asked - 1, 0, -1), changed)
    if found is None:
        return
    count, smaller, place = found
    field = "spec.workers.resources" if search.is_job else "spec.resources"
    words = f"with {count} instead of {asked} GPUs a {'worker' if others else 'pod'}"
    yield _fix(f"{field}.limits[{GPU}]={count}", words, smaller, place, 1 + 4 * (1 - count / asked))


def _with_gpus(pods: PodSet, count: int) -> PodSet:
    return replace(pods, requests={**pods.requests, GPU: count * _DEVICE})


def _other_queue(search: _Search) -> Iterator[Fix]:
    """A queue that admits the namespace, with the flavors that are asked for if it has them."""
    workload, rules, tried = search.workload, search.engine.rules, 0
    labels = dict(rules.namespaces.get(workload.key.namespace, {}))
    for name in sorted(rules.queues.keys() - rules.parents - {workload.queue}):
        if tried >= _QUEUES_TRIED or not rules.queues[name].namespace_selector.matches(labels):
            continue
        tried += 1
        moved, change, words = replace(workload, queue=name), f"spec.queue={name}", f"in queue {name}"
        if workload.flavors and not rules.flavors_of(moved) and not _shares(workload):
            moved = replace(moved, flavors=(), throughputs=())
            change, words = f"{change}, spec.flavors=[]", f"{words}, on any flavor of it,"
        fixes = list(search.fix(change, words, moved, 3.0 + ("flavors" in change)))
        if fixes:
            yield fixes[0]
            return


def _wait(search: _Search) -> Iterator[Fix]:
    """The first to end that would make room, alone or with those that are expected to end before."""
    workload = search.workload
    flavors = set(search.engine.rules.flavors_of(workload))
    root = search.engine.root(workload.queue)
    held = sorted(
        (each.ends, key, each)
        for key, each in search.engine.running.items()
        if each.flavor in flavors or search.engine.root(each.workload.queue) == root
    )
    keys = [key for _, key, _ in held]
    found = _first_prefix(search, keys)
    if found is None:
        return
    needed, place = found
    last = search.engine.running[needed[-1]]
    yield _waiting(search, needed, last, place)


def _first_prefix(search: _Search, keys: list[WorkloadKey]) -> tuple[list[WorkloadKey], Assignment] | None:
    """The fewest of `keys`, from the front, whose end starts the workload; then without those that are not needed."""
    low, high, place = 0, 0, None
    while place is None:
        # The more end, the more is to be decided anew: few first.
        if high == len(keys):
            return None
        low, high = high, min(2 * high or 1, len(keys))
        place = search.place(search.workload, keys[:high])
        if place is None and search.over:
            return None
    while low < high - 1:
        middle = (low + high) // 2
        tried = search.place(search.workload, keys[:middle])
        if tried is None:
            low = middle
        else:
            high, place = middle, tried
    needed = keys[:high]
    chunk = len(needed) // 2
    while chunk:
        for begin in range(0, len(needed) - 1, chunk):
            without = needed[:begin] + needed[min(begin + chunk, len(needed) - 1) :]
            tried = search.place(search.workload, without)
            if tried is not None:
                needed, place = without, tried
                break
        else:
            chunk //= 2
        chunk = min(chunk, len(needed) // 2)
    return needed, place


def _waiting(search: _Search, needed: list[WorkloadKey], last: Running, place: Assignment) -> Fix:
    key = needed[-1]
    name = f"{key.kind} {key.namespace}/{key.name}"
    others = len(needed) - 1
    change = f"end of {name}" + (f" and {others} that end before it" if others else "")
    known = last.workload.duration is not None
    when = f", about {_moment(last.ends)}" if known else "; nobody has said how long it runs"
    message = f"when {name}{f' and {others} others' if others else ''} ended it would start {where(place)}{when}"
    return Fix(change, message, search.workload, place, 6.0, tuple(needed))


def _span(seconds: int) -> str:
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%MZ")


_KINDS = (_shorter, _looser, _other_flavor, _fewer_pods, _fewer_gpus, _other_queue, _wait)
"""In the order in which trials are spent."""
