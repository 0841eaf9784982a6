"""Adds up a ledger: seconds by category, GPU-hours, causes; moves what turns out to have been something else.

Whatever is added or moved, the seconds add up to the time that was added: all is rounded to the microsecond, which is exact.
"""

from collections.abc import Mapping
from datetime import datetime

from trainyard.api.energy import NOTHING, Draw
from trainyard.api.ledger import (
    COMPUTING,
    MAX_CAUSES,
    MAX_MARKS,
    AttemptSeconds,
    Category,
    Ledger,
    Mark,
    OwnSeconds,
    Seconds,
    SpentFor,
)

OTHER = "Other"
OVERHEADS = {Category.HANG: "Hang", Category.SAVING: "Saving", Category.DATA_WAIT: "DataWait"}
"""What trainers tell apart from steps, and the cause that it goes to."""
_OWN: dict[str, str] = {str(field.alias): name for name, field in AttemptSeconds.model_fields.items()}
"""Fields of an attempt by category."""
_HOUR = 3600.0


class Book:
    """A ledger while it is changed. GPU-hours of all that is added are those of `gpus` held."""

    def __init__(self, ledger: Ledger, run: tuple[int, int], gpus: float, draw: Draw = NOTHING) -> None:
        """run: attempt and round until now. draw: what is drawn and paid in all the time that is added."""
        known = ledger.attempt
        own = known if known and known.attempt == run[0] else OwnSeconds(attempt=run[0])
        self._ledger, self._gpus, self._draw = ledger, gpus, draw
        self._joules, self._cost, self._measured = ledger.estimated_joules, ledger.cost, ledger.measured_joules
        self._own_joules = own.joules if own.round == run[1] else 0.0
        self._seconds: dict[str, float] = ledger.seconds.model_dump(by_alias=True)
        self.stepped = own.stepped and own.round == run[1]
        """Whether the run is known to have made a step."""
        self._run = run
        self._own: dict[str, float] = {each: getattr(own, field) for each, field in _OWN.items()}
        self._gpu_hours = ledger.gpu_hours
        self._causes = {each.cause: (each.seconds, each.gpu_hours) for each in ledger.causes}
        self._marks = {each.step: each for each in ledger.marks}
        self._before = (self._seconds[Category.PRODUCTIVE], self._productive_hours())

    def add(self, category: Category, seconds: float, cause: str) -> None:
        """Time that went by. cause: why it was not productive, if it was not."""
        if seconds <= 0:
            return
        hours = seconds * self._gpus / _HOUR
        self._gpu_hours += hours
        self._joules += self._draw.joules(seconds, busy=category in COMPUTING)
        self._cost += self._draw.cost(seconds)
        self._grow(category, seconds)
        if category is not Category.PRODUCTIVE:
            self._blame(cause, seconds, hours)

    def divide(self, spent: Mapping[str, float]) -> None:
        """Take the trainer's word for what the attempt's running time was spent on. spent: seconds since its start, by category."""
        loading = self._more(spent, Category.LOADING, Category.STARTING)
        self._grow(Category.STARTING, -loading)
        self._grow(Category.LOADING, loading)
        for category, cause in OVERHEADS.items():
            seconds = self._more(spent, category, Category.PRODUCTIVE)
            self._move(category, seconds, seconds * self._gpus / _HOUR, cause)

    def measure(self, joules: float) -> None:
        """The run's trainer has measured so much since its start."""
        self._measured += max(0.0, joules - self._own_joules)
        self._own_joules = max(joules, self._own_joules)

    def lose_after(self, step: int, cause: str) -> None:
        """The run goes on from a step: what was made after it is made again. Only what was added to this book is the run's own."""
        kept = self._at(step)
        if kept is None:  # it has more than was ever heard of
            return
        seconds = min(self._before[0], self._seconds[Category.PRODUCTIVE]) - kept.seconds
        hours = min(self._before[1], self._productive_hours()) - kept.gpu_hours
        own = self._own[Category.PRODUCTIVE]
        self._move(Category.LOST_WORK, max(0.0, round(seconds, 6)), max(0.0, hours), cause)
        self._own[Category.PRODUCTIVE] = min(own, self._seconds[Category.PRODUCTIVE])
        self._marks = {each: mark for each, mark in {**self._marks, step: kept}.items() if 0 < each <= step}

    def hung(self, step: int) -> None:
        """The run was ended since it made no step any more: what came after its last step was no work."""
        if not self._marks or self._seconds[Category.PRODUCTIVE] <= 0:
            return
        last = max(self._marks.values(), key=lambda each: each.step)
        worked = last.seconds + max(0, step - last.step) * last.seconds / last.step
        seconds = round(max(0.0, min(self._seconds[Category.PRODUCTIVE] - worked, self._own[Category.PRODUCTIVE])), 6)
        self._move(Category.HANG, seconds, seconds * self._gpus / _HOUR, OVERHEADS[Category.HANG])

    def stood_still(self, seconds: float, cause: str) -> None:
        """The run had ended for so long when it was known: what was counted as its work meanwhile was none."""
        seconds = round(max(0.0, min(seconds, self._own[Category.PRODUCTIVE], self._seconds[Category.PRODUCTIVE])), 6)
        self._move(Category.RECOVERING, seconds, seconds * self._gpus / _HOUR, cause)

    def mark(self, step: int, saved: int | None) -> None:
        """The work has come so far. saved: step of the last checkpoint."""
        if step <= 0:
            return
        here = Mark(
            step=step,
            seconds=round(self._seconds[Category.PRODUCTIVE], 6),
            gpu_hours=round(self._productive_hours(), 9),
        )
        known = {each.step: each for each in self._marks.values() if each.step <= step}
        self._marks = known if step in known else {**known, step: here}
        if saved is not None and (found := self._at(saved)) is not None:
            self._marks[saved] = found.model_copy(update={"step": saved, "durable": True})
        durable = sorted(each for each, mark in self._marks.items() if mark.durable and each != step)
        kept = {*durable[1 - MAX_MARKS :], step}
        self._marks = {each: self._marks[each] for each in sorted(kept)}

    def closed(self, category: Category | None, cause: str, ended: str, now: datetime, run: tuple[int, int]) -> Ledger:
        """The ledger until now, and what begins. run: attempt and round that go on."""
        attempt, begun = run
        stepped = self.stepped and run == self._run
        same = attempt == self._run[0]
        joules = round(self._own_joules, 3) if run == self._run else 0.0
        own = OwnSeconds(attempt=attempt, round=begun, stepped=stepped, joules=joules, **self._own) if same else None
        return Ledger(
            current=category,
            cause=cause,
            since=max(now, self._ledger.since),
            seconds=Seconds(**self._seconds),
            gpu_hours=round(self._gpu_hours, 9),
            estimated_joules=round(self._joules, 3),
            measured_joules=round(self._measured, 3),
            cost=round(self._cost, 9),
            causes=self._largest(),
            attempt=own,
            ended=ended,
            marks=list(self._marks.values()),
        )

    def _grow(self, category: Category, seconds: float) -> None:
        self._seconds[category] = round(self._seconds[category] + seconds, 6)
        self._grow_own(category, seconds)

    def _grow_own(self, category: Category, seconds: float) -> None:
        if category in _OWN:
            self._own[category] = round(self._own[category] + seconds, 6)

    def _blame(self, cause: str, seconds: float, hours: float) -> None:
        before = self._causes.get(cause, (0.0, 0.0))
        self._causes[cause] = (round(before[0] + seconds, 6), before[1] + hours)

    def _move(self, category: Category, seconds: float, hours: float, cause: str) -> None:
        """What was counted as productive was something else."""
        if seconds > 0:
            self._grow(Category.PRODUCTIVE, -seconds)
            self._grow(category, seconds)
            self._blame(cause, seconds, hours)

    def _more(self, spent: Mapping[str, float], category: Category, taken_from: Category) -> float:
        """Seconds that the attempt spent so, says its trainer, and that are counted as something else."""
        missing = float(spent.get(category, 0.0)) - self._own[category]
        return round(min(max(0.0, missing), self._own[taken_from]), 6)

    def _productive_hours(self) -> float:
        return max(0.0, self._gpu_hours - sum(hours for _, hours in self._causes.values()))

    def _at(self, step: int) -> Mark | None:
        """Productive time that led to a step, between the marks round it; None beyond the last mark."""
        before = Mark(step=0, seconds=0, gpu_hours=0)
        if step <= 0:
            return before
        for mark in sorted(self._marks.values(), key=lambda each: each.step):
            if mark.step >= step:
                part = (step - before.step) / (mark.step - before.step) if mark.step > before.step else 1.0
                return Mark(
                    step=step,
                    seconds=round(before.seconds + part * (mark.seconds - before.seconds), 6),
                    gpu_hours=round(before.gpu_hours + part * (mark.gpu_hours - before.gpu_hours), 9),
                    durable=mark.durable and mark.step == step,
                )
            before = mark
        return None

    def _largest(self) -> list[SpentFor]:
        """The largest causes by time; the others together."""
        by_size = sorted(self._causes, key=lambda each: (each == OTHER, -self._causes[each][0]))
        if len(by_size) > MAX_CAUSES:
            rest = by_size[MAX_CAUSES - 1 :]
            seconds, hours = (sum(self._causes[each][part] for each in rest) for part in (0, 1))
            self._causes = {each: self._causes[each] for each in by_size[: MAX_CAUSES - 1]}
            self._causes[OTHER] = (seconds, hours)
        return [
            SpentFor(cause=cause, seconds=round(seconds, 6), gpu_hours=round(hours, 9))
            for cause, (seconds, hours) in self._causes.items()
        ]
