"""What is to be expected: how long jobs will run, how often they are interrupted, when those that wait will start, and what would start them now.

All of it is learned from what happened while this process ran, from the ended jobs that it found, and from what `admission/memory`
kept; nothing hangs on it but backfill and what people read. Neighbours: `scheduling/durations`, `forecast` and `remedies` do the arithmetic.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from trainyard.api.forecast import Remedy, StartEstimate
from trainyard.api.reasons import ConditionType, Waiting
from trainyard.api.training_job import TrainingJob
from trainyard.nodes.interruptions import Interruptions
from trainyard.runtime.clock import Clock
from trainyard.scheduling.durations import Durations, Features
from trainyard.scheduling.engine import Engine
from trainyard.scheduling.forecast import Forecast, Line, crowd, line_for
from trainyard.scheduling.remedies import remedies
from trainyard.scheduling.snapshot import Admit, Decision, Snapshot, Wait, WorkloadKey
from trainyard.scheduling.unwritten import Unwritten
from trainyard.scheduling.whatif import Settled
from trainyard.workloads import conditions

_STANDS = frozenset({Waiting.MISCONFIGURED, Waiting.NO_MATCHING_FLAVOR, Waiting.EXCEEDS_MAX_QUOTA})
"""As things are it can never start, however long others waited: that is not to be promised."""
ENOUGH = 20
"""So many jobs have to have ended before others are expected to be like them."""
_LINES_A_CYCLE = 500
_SEARCH_SECONDS = 0.05
"""How long a cycle may look for remedies, for one workload."""
_PAUSE_SECONDS = 1.0
_SHARE = 20.0
"""After a search there is none for so many times its length: one trial may take long where very many wait."""
_AGAIN_SECONDS = 600.0
"""Remedies are looked for anew after so long, or when somebody was refused for another reason."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What one that waits may be told."""

    eta: StartEstimate | None = None
    remedies: tuple[Remedy, ...] = ()


@dataclass(slots=True)
class _Waiting:
    since: datetime
    line: Line
    likely: float
    """Seconds from then to its start, as it was told first."""
    remedies: tuple[Remedy, ...] = ()
    searched: float | None = None
    reason: object = None


@dataclass(frozen=True, slots=True)
class _Ran:
    """A job that ended by itself."""

    features: Features
    seconds: float
    at: datetime


@dataclass(frozen=True, slots=True)
class _Waited:
    """One that found a line, and how long it waited then."""

    line: Line
    seconds: float


@dataclass(frozen=True, slots=True)
class _Trained:
    """Gangs on a flavor, for so many hours of its GPUs until then, and how often they were interrupted."""

    flavor: str
    gpu_hours: float
    times: int
    at: datetime


class Outlooks:
    """Learns in the scheduler's thread, answers in the event loop's: each answer is one look into a dict."""

    def __init__(self, clock: Clock, missed: Callable[[str, float], None] = lambda _queue, _seconds: None) -> None:
        """missed: hears of every start, in which queue and by how many seconds the first estimate missed it."""
        self._clock, self._missed = clock, missed
        self._durations, self._forecast, self._interruptions = Durations(), Forecast(), Interruptions()
        self._ended, self._search_after = 0, 0.0
        self._newest: datetime | None = None
        """When the last job ended of those that were counted."""
        self.unwritten = Unwritten[_Ran | _Waited | _Trained]()
        self._expected: dict[str, float | None] = {}
        self._waiting: dict[WorkloadKey, _Waiting] = {}

    def _observe(self, told: _Ran | _Waited | _Trained) -> None:
        if isinstance(told, _Trained):
            self._interruptions.ran(told.flavor, told.gpu_hours, told.times, told.at)
            return
        if isinstance(told, _Waited):
            self._forecast.observe(told.line, told.seconds)
            return
        self._durations.observe(told.features, told.seconds)
        self._ended += 1
        self._newest = max(told.at, self._newest or told.at)

    # How long jobs run.

    def ended(self, job: TrainingJob) -> None:
        """A job is over; one that failed or was stopped says nothing of how long such jobs run."""
        status = job.status
        if conditions.holds(status.conditions, ConditionType.COMPLETE) and status.start_time and status.completion_time:
            seconds = (status.completion_time - status.start_time).total_seconds()
            told = _Ran(_features(job), seconds, status.completion_time)
            self._observe(told)
            self.unwritten.add(told)

    @property
    def foretells(self) -> bool:
        """Whether enough have ended to say how long others will run."""
        return self._ended >= ENOUGH

    def ended_before(self, jobs: Iterable[TrainingJob]) -> None:
        """Jobs that were found over: those that ended later than what is remembered are news."""
        known = self._newest
        for job in jobs:
            if known is None or (job.status.completion_time is not None and job.status.completion_time > known):
                self.ended(job)

    def to_dict(self) -> dict[str, Any]:
        """What was learned, as JSON can hold it."""
        return {
            "ended": self._ended,
            "newest": self._newest.isoformat() if self._newest else None,
            "durations": self._durations.to_dict(),
            "waits": self._forecast.to_dict(),
            "interruptions": self._interruptions.to_dict(),
        }

    def recall(self, kept: Mapping[str, Any]) -> None:
        """The inverse of `to_dict`; what was learned here, is not written yet and is news to it is added. Raises ValueError if it is damaged."""
        try:
            durations, forecast = Durations.from_dict(kept["durations"]), Forecast.from_dict(kept["waits"])
            newest = datetime.fromisoformat(kept["newest"]).astimezone(UTC) if kept["newest"] else None
            ended = int(kept["ended"])
            interruptions = Interruptions.from_dict(kept.get("interruptions", {}))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"what was learned is damaged and is to be deleted: {error!r}") from error
        self._durations, self._forecast, self._newest, self._ended = durations, forecast, newest, ended
        self._interruptions = interruptions
        if newest is not None:  # whoever wrote that has read the same jobs; a start is seen by one alone
            self.unwritten.known(lambda each: isinstance(each, _Ran) and each.at <= newest)
        for each in self.unwritten:
            self._observe(each)

    def seconds(self, job: TrainingJob) -> float | None:
        """How long it is expected to run: what it says, else what was learned; None if nobody knows. Stays as it was first told."""
        if job.spec.expected_seconds is not None:
            return float(job.spec.expected_seconds)
        if job.metadata.uid not in self._expected:
            if not self.foretells:
                return None
            self._expected[job.metadata.uid] = self._durations.predict(_features(job)).expected
        return self._expected[job.metadata.uid]

    def forget(self, uid: str) -> None:
        """The job is over or gone."""
        self._expected.pop(uid, None)

    # How often they are interrupted.

    def ran(self, flavor: str, gpu_hours: float, times: int) -> None:
        """A gang on the flavor ran for so many hours of its GPUs more, and was interrupted so often, unplanned."""
        now = self._clock.now()
        news = self._interruptions.ran(flavor, gpu_hours, times, now)
        if news is not None:
            self.unwritten.add(_Trained(flavor, news, times, now))

    def interruptions(self, flavor: str) -> float:
        """How many are expected in an hour of one GPU of the flavor."""
        return self._interruptions.rate(flavor, self._clock.now())

    # When what waits starts.

    def look(
        self, engine: Engine, snapshot: Snapshot, now: datetime, decisions: Iterable[Decision]
    ) -> list[WorkloadKey]:
        """After a cycle: what started teaches, what came gets its place in line, one that waits is looked at for remedies.

        Returns those of whom there is something new to tell.
        """
        waits: dict[WorkloadKey, Wait] = {}
        for each in decisions:
            if isinstance(each, Wait):
                waits[each.key] = each
            elif isinstance(each, Admit) and (known := self._waiting.pop(each.key, None)) is not None:
                waited = (now - known.since).total_seconds()
                told = _Waited(known.line, waited)
                self._observe(told)
                self.unwritten.add(told)
                self._missed(known.line.queue, abs(waited - known.likely))
        in_line = {key for key, each in waits.items() if each.verdict.reason not in _STANDS}
        left = [key for key in self._waiting if key in waits and key not in in_line]
        for key in self._waiting.keys() - in_line:
            self._waiting.pop(key)
        new = [key for key in waits if key in in_line and key not in self._waiting][:_LINES_A_CYCLE]
        self._take_lines(engine, now, new)
        helped = self._search(engine, snapshot, now, waits)
        return [*new, *left, helped] if helped is not None else [*new, *left]

    def _take_lines(self, engine: Engine, now: datetime, new: Sequence[WorkloadKey]) -> None:
        if not new:
            return
        among = crowd(engine)
        for key in new:
            waiting = engine.pending.class_of(key)
            if waiting is not None and waiting.standing is None:
                line = line_for(engine, waiting.members[key][1], among)
                self._waiting[key] = _Waiting(now, line, self._forecast.band(line, 0.0).likely)

    def of(self, key: WorkloadKey) -> Outlook:
        """For one that waits."""
        known = self._waiting.get(key)
        if known is None:
            return Outlook()
        now = self._clock.now()
        band = self._forecast.band(known.line, max(0.0, (now - known.since).total_seconds()))
        earliest, likely, latest = (now + timedelta(seconds=each) for each in (band.earliest, band.likely, band.latest))
        return Outlook(StartEstimate(earliest=earliest, likely=likely, latest=latest), known.remedies)

    def _search(
        self, engine: Engine, snapshot: Snapshot, now: datetime, waits: dict[WorkloadKey, Wait]
    ) -> WorkloadKey | None:
        """One at a time, the first in line first. Returns who can do other things than before."""
        began = self._clock.monotonic()
        if began < self._search_after:
            return None
        for key, known in self._waiting.items():
            reason = waits[key].verdict.reason
            if known.searched is None or began - known.searched > _AGAIN_SECONDS or known.reason is not reason:
                known.searched, known.reason = began, reason
                settled = Settled(snapshot, engine, now, waits)
                found = remedies(settled, key, lambda: self._clock.monotonic() - began > _SEARCH_SECONDS)
                before, known.remedies = known.remedies, tuple(each.remedy() for each in found)
                ended = self._clock.monotonic()
                self._search_after = ended + max(_PAUSE_SECONDS, _SHARE * (ended - began))
                return key if known.remedies != before else None
        return None


def _features(job: TrainingJob) -> Features:
    return Features(job.spec.queue, job.gpus(), job.spec.expected_seconds, job.metadata.name)
