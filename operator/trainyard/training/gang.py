"""The last rule of a TrainingJob: create what is missing of its gang, watch it start, report how it goes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from trainyard.api.reasons import Reason
from trainyard.api.training_gang import Dependency
from trainyard.training import pods as children
from trainyard.training.case import Case, alarms
from trainyard.training.making_way import left_to_run
from trainyard.training.resizing import next_joiner
from trainyard.training.roles import waiting_roles
from trainyard.training.spares import next_spare
from trainyard.training.starting import all_ran, pods_that_ran, prepares, settles_in, starting_since, storage
from trainyard.training.straggler_watch import watch_stragglers
from trainyard.workloads.plan import Note, Plan, sooner
from trainyard.workloads.times import BIND_SECONDS


def gang(case: Case) -> Plan | None:
    """Create what is missing, watch it start, report how it goes."""
    missing, later = case.missing(), waiting_roles(case.job, case.current)
    case.draft.counted(case.current)
    case.draft.set(preemption=None)  # who made way and went on has done so now
    create = storage(case)
    if missing and not children.alone(case.job) and not case.observed.service_exists:
        create = (*create, children.service(case.job))
    for role, group in groupby((each for each in missing if each[0] not in later), key=lambda each: each[0]):
        create = (*create, *children.pods_of(case.observed, role, (index for _, index in group)))
    notes: tuple[Note, ...] = ()
    running = pods_that_ran(case)
    news = False
    if running == case.size and (settling := settles_in(case)) > 0:
        return case.plan(create=create, again=settling)
    if running == case.size:
        case.draft.running(all_ran(case))
        news = not case.ready()
        notes = (
            (Note(Reason.RUNNING, f"attempt {case.status.attempt}: all {running} {case.spec.noun} run"),)
            if news
            else ()
        )
    else:
        case.draft.starting(_how_it_starts(case, missing, later, running))
    if case.report is not None:
        case.draft.reported(case.report)
        notes = (*notes, *_warnings(case))
        if running == case.size:
            notes = (*notes, *watch_stragglers(case))
    # Readers hear that a gang runs; nobody waits for it. Where very many start at once, what ended meanwhile need not be told.
    return replace(case.plan(create=create, notes=notes, again=_when_next(case)), takes_turn=news)


def _warnings(case: Case) -> tuple[Note, ...]:
    """What the trainer wants a person to know is an event once, until a newer checkpoint is made; so is the first that fails."""
    progress = case.draft.fields["progress"]
    if not progress.warning or alarms(case.draft.status()) == alarms(case.status):
        return ()
    return (Note(Reason.WARNING, progress.warning, warning=True),)


def _how_it_starts(
    case: Case, missing: Sequence[tuple[str, int]], later: Mapping[str, Dependency], running: int
) -> str:
    """What the slowest pods wait for."""
    waits = sorted({pod.waiting or pod.unschedulable for pod in case.gang if not pod.running} - {""})
    text = f"{running} of {case.size} {case.spec.noun} run"
    if created := [each for each in missing if each[0] not in later]:
        text += f", {len(created)} are being created"
    waits = [*(f"{role} waits until all of {on.role} are {on.status}" for role, on in later.items()), *waits]
    return f"{text}; {'; '.join(waits)}"[:1000] if waits else text


def _when_next(case: Case) -> float | None:
    """The next deadline that no event announces."""
    unbound = [
        BIND_SECONDS - (case.now - pod.seen).total_seconds() for pod in case.gang if not pod.bound and not pod.finished
    ]
    deadline = None
    if case.status.admission is not None and not case.ready() and not prepares(case):
        deadline = case.spec.start_deadline_seconds - (case.now - starting_since(case)).total_seconds()
    earliest = sooner(*unbound, deadline, left_to_run(case), next_spare(case), next_joiner(case))
    return None if earliest is None else max(0.5, earliest)
