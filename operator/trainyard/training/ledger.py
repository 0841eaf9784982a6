"""The goodput ledger of a job: derives each new entry from the status before, the status to be written, pods and report.

No rule of the plan has to think of it: `status.Draft` asks here whenever a status is finished. What lies between two writes is divided
by the times that pods and report tell, so that nothing is written just to note a time. Neighbours: `ledger_sight` says what can be
known of an attempt, `ledger_book` adds up.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from trainyard.api.failure import FailureClass
from trainyard.api.ledger import Category, Ledger
from trainyard.api.reasons import Reason, Waiting
from trainyard.api.training_job import TrainingJob, TrainingJobStatus
from trainyard.training.ledger_book import Book
from trainyard.training.ledger_sight import Sight, run_of

SILENT = timedelta(seconds=10)
"""A trainer that makes steps says so every two seconds."""
STOPPING = frozenset({"Suspending", "Preempting"})
"""Phases of a job whose pods write a checkpoint and end."""
_START = (Category.PROVISIONING, Category.PULLING, Category.STARTING, Category.LOADING, Category.PRODUCTIVE)


def opened(job: TrainingJob, now: datetime) -> Ledger:
    """The ledger as the status has it; one that has none yet was queued since its creation."""
    if job.status.ledger is not None:
        return job.status.ledger
    since = job.since() or now
    return Ledger(current=Category.QUEUED, since=min(since, now), cause=Waiting.PENDING_EVALUATION.value)


def advanced(sight: Sight, new: TrainingJobStatus, *, news: bool) -> Ledger:
    """The ledger that belongs to `new`: the one before, if nothing is to be noted. news: whether progress is written anyway."""
    failed = sight.failed_at()
    if failed is None or run_of(new) != sight.told_of:
        return _advanced(sight, new, news=news)
    # The same report tells that a run ended and how the next one goes: one after the other.
    since = opened(sight.job, sight.now).since
    first = _advanced(replace(sight, now=max(since, min(failed, sight.now))), new, news=news)
    begun = sight.job.model_copy(update={"status": new.model_copy(update={"ledger": first})})
    return _advanced(replace(sight, job=begun), begun.status, news=True)


def _advanced(sight: Sight, new: TrainingJobStatus, *, news: bool) -> Ledger:
    was, old = sight.job.status, opened(sight.job, sight.now)
    if old.current is None:
        return old
    stages = _stages(sight, old)
    reached = stages[-1][1] if stages else old.current
    worked = sight.stepped or Category.PRODUCTIVE in (old.current, *(category for _, category in stages))
    ended = _ended(old, was, new, worked=worked)
    category = _category(was, new, reached)
    cause = _cause(category, new, ended)
    same_run = run_of(was) == run_of(new)
    if (category, cause) == (old.current, old.cause) and new.admission is was.admission and same_run and not news:
        return old
    book = Book(old, run_of(was), sight.job.held_gpus(), sight.draw)
    _divide(book, sight, old, stages)
    failure = new.last_failure
    if (
        failure is not was.last_failure
        and failure
        and failure.kind is FailureClass.HANG
        and "hang" not in sight.spent()
    ):
        book.hung(failure.step or 0)
    if new.restarts > was.restarts and ended:
        book.stood_still((sight.now - _still_since(sight)).total_seconds(), ended)
    if reached is Category.PRODUCTIVE and sight.heard:
        _settle(book, sight, old)
    return book.closed(category, cause, ended, sight.now, run_of(new))


def _stages(sight: Sight, old: Ledger) -> list[tuple[datetime, Category]]:
    """What the attempt went through, by what its pods and its trainer tell; empty when they do not decide."""
    status = sight.job.status
    if status.admission is None or (old.current is Category.SAVING and status.phase in STOPPING):
        return []
    if sight.stepped:
        found = [(old.since, Category.PRODUCTIVE)]
    elif old.current is Category.RECOVERING:
        found = [(first, Category.PRODUCTIVE)] if (first := sight.first_step()) else []
    else:
        found = _start(sight, old, status.admission.time)
    if (failed := sight.failed_at()) is not None:
        found.append((failed, Category.RECOVERING))
    return found


def _start(sight: Sight, old: Ledger, placed: datetime) -> list[tuple[datetime, Category]]:
    """How far the start is, from what the ledger shows on; all of it, if it had to begin again."""
    times = (placed, sight.bound_at, sight.began_at, sight.loading_at, sight.first_step())
    found = [(at, category) for at, category in zip(times, _START, strict=True) if at is not None]
    known = _START.index(old.current) if old.current in _START else -1
    beyond = [each for each in found if _START.index(each[1]) > known]
    return beyond if beyond or found[-1][1] is old.current else found


def _divide(book: Book, sight: Sight, old: Ledger, stages: list[tuple[datetime, Category]]) -> None:
    """Give the open interval to the stages that it saw, each for its time."""
    assert old.current is not None
    since, category, end = old.since, old.current, max(sight.now, old.since)
    for at, following in (*stages, (end, None)):
        until = min(max(at, since), end)
        cause = old.cause if category is old.current else _cause(category, sight.job.status, old.ended)
        book.add(category, (until - since).total_seconds(), cause)
        if following is not None:
            since, category = until, following
    book.divide(sight.spent())
    book.measure(sight.joules)


def _still_since(sight: Sight) -> datetime:
    """Since when a run that has ended made no step: as it was told, else since its last report, if that is long ago."""
    failed, said = sight.failed_at(), sight.said_at
    if failed is not None:
        return failed
    silent = said is not None and sight.heard and sight.now - said > SILENT
    return said if silent and said else sight.now


def _settle(book: Book, sight: Sight, old: Ledger) -> None:
    """Steps are made: what was made in vain before is known now, and how far the work is."""
    restored = sight.restored()
    if old.ended and not sight.stepped and restored is not None:
        book.lose_after(restored, old.ended)
    book.stepped = True
    book.mark(sight.step, sight.saved())


def _ended(old: Ledger, was: TrainingJobStatus, new: TrainingJobStatus, *, worked: bool) -> str:
    """Why a run ended that may have lost work: remembered until the first step after it."""
    if run_of(new) == run_of(was):
        return "" if worked else old.ended
    if not worked:
        return old.ended
    return failure_class(new) if new.restarts > was.restarts else new.reason


def _category(was: TrainingJobStatus, new: TrainingJobStatus, reached: Category) -> Category | None:
    """What begins with the new status. reached: what the facts told until now."""
    if new.completion_time is not None:
        return None
    if new.admission is None and new.phase == "Suspended":
        return Category.SUSPENDED
    if new.restarts > was.restarts or reached is Category.RECOVERING:
        return Category.RECOVERING
    if new.admission is None:
        return Category.QUEUED
    if new.phase in STOPPING:
        return (
            Category.SAVING if reached is Category.PRODUCTIVE else reached
        )  # before its first step it has nothing to save
    if new.attempt != was.attempt or was.admission is None or new.admission.time != was.admission.time:
        return Category.PROVISIONING
    return Category.PRODUCTIVE if reached is Category.SAVING else reached  # it is not stopped after all


def _cause(category: Category | None, status: TrainingJobStatus, ended: str) -> str:
    """Why time of this category is not productive. ended: why the run before ended, if it made steps."""
    if category is None or category is Category.PRODUCTIVE:
        return ""
    if category in _START:
        return ended or Reason.PODS_STARTING.value
    if category is Category.RECOVERING and status.admission is not None:
        return failure_class(status)
    return status.reason or Waiting.PENDING_EVALUATION.value


def failure_class(status: TrainingJobStatus) -> str:
    """Class of the failure that the last restart followed from, or of one since then; a pod that just vanished has none."""
    failure, restart = status.last_failure, status.last_restart
    known = failure is not None and restart is not None and failure.attempt >= restart.attempt
    return failure.kind.value if known and failure else FailureClass.INFRASTRUCTURE.value
