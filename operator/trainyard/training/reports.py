"""What the trainers reported last, and the check that a report may be believed. In memory: the next report is seconds away."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from trainyard.api.compression import MAX_VARIANTS, VariantName
from trainyard.api.meta import Model, problems
from trainyard.api.training_job import TrainingJob
from trainyard.training.observed import Report
from trainyard.training.orders import Orders
from trainyard.training.progress import measures_of
from trainyard.training.stragglers import Pace, added, pace

_INT64 = 2**63 - 1
_LATEST = 4_102_444_800.0
MOST_MEASURES = 16
"""Of one job that have series of their own."""
_Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]


class CheckpointReport(Model):
    """A checkpoint that is durable."""

    step: int = Field(ge=0, le=_INT64)
    path: str = Field(max_length=1024)


class LatencyReport(Model):
    """Medians of calls of so many samples."""

    batch_size: int = Field(ge=1, le=65_536)
    seconds: _Seconds
    parent_seconds: _Seconds


class VariantReport(Model):
    """What came of a variant. A termination message that would be too long leaves out figures."""

    name: VariantName
    verdict: Literal["Published", "Refused"]
    method: str = Field(default="", max_length=64)
    reason: str = Field(default="", max_length=4096)
    digest: _Digest | None = None
    size_bytes: int | None = Field(default=None, ge=0, le=_INT64)
    metrics: dict[str, float] = Field(default_factory=dict, max_length=8)
    latencies: list[LatencyReport] = Field(default_factory=list, max_length=8)
    speedup: _Seconds | None = None


class ResultReport(Model):
    """An exported model."""

    path: str = Field(max_length=1024)
    digest: _Digest
    variants: list[VariantReport] = Field(default_factory=list, max_length=MAX_VARIANTS)


class RestartedReport(Model):
    """The program was started again in its pods."""

    round: int = Field(ge=2, le=_INT64)
    index: int = Field(ge=0, le=_INT64)
    exit_code: int
    cause: str = Field(default="", max_length=4096)
    step: int | None = Field(default=None, ge=0, le=_INT64)
    at: float | None = Field(default=None, ge=0, le=_LATEST)
    """When the program failed, in Unix time."""
    counts: bool = True
    """Against spec.restart.maxRestarts: the loss of a pod is not the program's fault."""


class StepSeconds(Model):
    """What their own part of a step took the workers, without their waiting for each other."""

    p50: _Seconds = 0.0
    """Of the one in the middle."""
    slowest: _Seconds = 0.0
    slowest_rank: int = Field(default=0, ge=0, le=_INT64)


class CheckpointingReport(Model):
    """How often the trainer saves, where it decides, and by what."""

    every_steps: int = Field(ge=1, le=_INT64)
    seconds: _Seconds
    stall_seconds: _Seconds
    write_seconds: _Seconds
    interruption_seconds: _Seconds | None = None
    limit: str = Field(default="", max_length=64)
    """What else decided: Least, Most, Share or Write."""


class ProgressReport(Model):
    """Body of POST /v1/progress. Fields that are not known are ignored: trainers may be newer than the operator."""

    job_uid: str = Field(max_length=64)
    attempt: int = Field(ge=1)
    phase: str = Field(default="", max_length=64)
    step: int = Field(default=0, ge=0, le=_INT64)
    total_steps: int | None = Field(default=None, ge=0, le=_INT64)
    steps_per_second: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    epoch: int | None = Field(default=None, ge=0, le=_INT64)
    loss: float | None = Field(default=None)
    metrics: dict[str, float] = Field(default_factory=dict, max_length=64)
    throughput: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    world_size: int | None = Field(default=None, ge=1, le=_INT64)
    checkpoint: CheckpointReport | None = None
    restored_step: int | None = Field(default=None, ge=0, le=_INT64)
    first_step_at: datetime | None = None
    result: ResultReport | None = None
    spent: dict[str, _Seconds] | None = Field(default=None, max_length=32)
    """Seconds since the start of this attempt's program by category of the ledger (saving, dataWait, loading, hang); others are ignored."""
    joules: float | None = Field(default=None, ge=0, le=1e15, allow_inf_nan=False)
    """Energy of all GPUs of the job since this start of the program, by their own counters."""
    step_seconds: StepSeconds | None = None
    """As compared last."""
    warning: str | None = Field(default=None, max_length=4096)
    checkpoint_failures: int | None = Field(default=None, ge=0, le=_INT64)
    checkpointing: CheckpointingReport | None = None
    restarted: RestartedReport | None = None


def parse_last_words(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a termination message says that is fit for a status; nothing of it, if a user's own program wrote it its own way."""
    try:
        parsed = ProgressReport.model_validate({**body, "jobUid": "", "attempt": 1})
    except ValidationError:
        return {}
    return parsed.model_dump(by_alias=True, mode="json", exclude_unset=True)


class BadReport(ValueError):  # noqa: N818 - says what it is
    """The body is not a report; the message names the field, the value and what was expected."""


class ReportBoard:
    """The newest report of each job."""

    def __init__(self) -> None:
        self._reports: dict[str, Report] = {}
        self._orders = Orders()

    def of(self, uid: str) -> Report | None:
        return self._reports.get(uid)

    def put(self, body: Mapping[str, Any], now: datetime) -> bool:
        """Take a report. True when it says something new to look at: a first one, another attempt or phase, a warning. Raises BadReport."""
        try:
            parsed = ProgressReport.model_validate(body)
        except ValidationError as error:
            raise BadReport(problems(error)) from None
        old = self._reports.get(parsed.job_uid)
        if old is not None and old.attempt > parsed.attempt:
            return False
        body = parsed.model_dump(by_alias=True, mode="json")
        before = old.paces if old is not None and _run(old.body) == _run(body) else ()
        paces = added(before, _pace(parsed, now))
        measures = _placed(old.measures if old is not None else (), measures_of(body))
        self._reports[parsed.job_uid] = Report(parsed.attempt, now, body, paces, measures)
        known = old is not None and (old.attempt, old.body.get("phase")) == (parsed.attempt, parsed.phase)
        return not known or bool(parsed.warning)

    def answer(self, job: TrainingJob) -> list[dict[str, Any]]:
        """The commands with which the job's newest report is answered."""
        found = self.of(job.metadata.uid)
        return self._orders.of(job, found.body) if found is not None else []

    def expect(self, uid: str, interruption_seconds: float | None) -> None:
        """How far apart interruptions of the job are expected to be now, for the answers to its reports."""
        self._orders.expect(uid, interruption_seconds)

    def forget(self, uid: str) -> None:
        self._reports.pop(uid, None)
        self._orders.forget(uid)


def _placed(before: tuple[str, ...], told: Iterable[str]) -> tuple[str, ...]:
    """Names with a series, those that had one first."""
    left = MOST_MEASURES - len(before)
    return before if left <= 0 else (*before, *sorted(set(told).difference(before))[:left])


def _run(body: Mapping[str, Any]) -> tuple[int, int, object]:
    """What is compared only with itself: one start of the program, by so many."""
    restarted = body.get("restarted")
    return body["attempt"], restarted["round"] if restarted else 1, body.get("worldSize")


def _pace(report: ProgressReport, now: datetime) -> Pace | None:
    told = report.step_seconds
    if told is None or report.world_size is None:
        return None
    return pace(now.timestamp(), told.p50, told.slowest, told.slowest_rank, report.world_size)
