"""The ledger of a TrainingJob: what all the time since its creation was spent on, and why what was not productive was not.

It stores transitions: a closed total for each category, and since when the current one lasts. Readers add the open interval.
"""

from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum

from pydantic import Field

from trainyard.api.energy import NOTHING, Draw, EnergySpent
from trainyard.api.meta import Figure, Model, PreciseTime, Word, list_map

MAX_CAUSES = 16
MAX_MARKS = 6
_HOUR = 3600.0


class Category(StrEnum):
    """What time is spent on: at each moment one of these."""

    QUEUED = "queued"  # waits for a place
    PROVISIONING = "provisioning"  # has a place; pods are created and bound
    PULLING = "pulling"  # all pods are bound; volumes and images are fetched
    STARTING = "starting"  # containers run and no step is made: imports, rendezvous, compilation
    LOADING = "loading"  # the same while the trainer says that it reads data or a checkpoint
    PRODUCTIVE = "productive"  # makes steps, or evaluates
    SAVING = "saving"  # writes a checkpoint and does nothing else
    DATA_WAIT = "dataWait"  # a step waits for data
    HANG = "hang"  # no step was made for far too long
    LOST_WORK = "lostWork"  # steps that a restart had to make again
    RECOVERING = "recovering"  # from the end of an attempt by a failure to the first step after it
    SUSPENDED = "suspended"  # by spec.suspend or a budget that is used up


COMPUTING = frozenset({Category.PRODUCTIVE, Category.LOST_WORK, Category.HANG})
"""In which GPUs are taken to draw what they draw under load. Processes that hang mostly spin."""


class AttemptSeconds(Model):
    """Seconds of an attempt from the start of its containers on."""

    starting: Figure = Field(default=0, description="Containers ran and no step was made: imports, rendezvous.")
    loading: Figure = Field(default=0, description="Data or a checkpoint was read before the first step.")
    productive: Figure = Field(default=0, description="Steps were made, or the model was evaluated.")
    saving: Figure = Field(default=0, description="A checkpoint was written, and nothing else done.")
    data_wait: Figure = Field(default=0, description="A step waited for data.")
    hang: Figure = Field(default=0, description="No step was made for far too long.")


class Seconds(AttemptSeconds):
    """Seconds by category."""

    queued: Figure = Field(default=0, description="Waited for a place.")
    provisioning: Figure = Field(default=0, description="Had a place; pods were created and bound.")
    pulling: Figure = Field(default=0, description="All pods were bound; volumes and images were fetched.")
    lost_work: Figure = Field(default=0, description="Steps were made that a restart had to make again.")
    recovering: Figure = Field(
        default=0, description="From the end of an attempt by a failure to the first step after it."
    )
    suspended: Figure = Field(default=0, description="Stopped by spec.suspend or a budget that was used up.")


class SpentFor(Model):
    """What one cause took."""

    cause: Word = Field(
        max_length=128,
        description="Class of a failure, reason of a wait, PodsStarting, or Saving, DataWait, Hang. Other sums up the smallest.",
    )
    seconds: Figure = Field(default=0, description="Time that was not productive for it.")
    gpu_hours: Figure = Field(default=0, description="GPU-hours that the job held in that time.")


class Spent(Model):
    """A ledger as people read it: all time until a moment, the open interval included."""

    seconds: dict[str, float] = Field(
        description="Seconds by category, most first; categories without any are left out."
    )
    gpu_hours: float = Field(description="GPU-hours that the job held in that time.")
    goodput: float | None = Field(
        default=None, description="Productive share of these GPU-hours, from 0 to 1; nothing if it held none."
    )
    causes: list[SpentFor] = Field(description="What took the time that was not productive, most first.")
    energy: EnergySpent | None = Field(
        default=None, description="What its place drew and cost; nothing if no flavor states power or price."
    )


class OwnSeconds(AttemptSeconds):
    """The part of the current attempt, which its trainer's reports still divide anew."""

    attempt: int = Field(description="The attempt.")
    round: int = Field(default=1, description="Which start of the program in its pods.")
    stepped: bool = Field(default=False, description="Whether that start is known to have made a step.")
    joules: Figure = Field(default=0, description="Energy that its trainer measured since that start.")


class Mark(Model):
    """How much productive time had led to a step; between two marks it is taken to be even."""

    step: int = Field(description="The step.")
    seconds: float = Field(description="Productive seconds until then.")
    gpu_hours: float = Field(description="Productive GPU-hours until then.")
    durable: bool = Field(default=False, description="Whether a checkpoint of it was reported.")


class Ledger(Model):
    """What the time since the job's creation was spent on. The seconds, and now minus `since`, add up to the job's age."""

    current: Category | None = Field(
        default=None, description="What time is spent on from `since` on; nothing once the job is over."
    )
    cause: Word = Field(default="", max_length=128, description="Why it is not productive, if it is not.")
    since: PreciseTime = Field(description="Until when all is counted in: the end of the seconds below.")
    seconds: Seconds = Field(default_factory=Seconds.plain, description="Seconds by category, until `since`.")
    gpu_hours: Figure = Field(
        default=0,
        description="GPU-hours until `since`: the GPUs held, times the time for which they were, whatever it was spent on.",
    )
    estimated_joules: Figure = Field(
        default=0,
        description="Energy until `since`, estimated: time for which the place was held, by wattsPerUnit of the flavor while it computed and by idleWattsPerUnit else.",
    )
    measured_joules: Figure = Field(
        default=0,
        description="Energy that its trainers measured, by the GPUs' own counters, while they ran. It is no part of the estimate, and less of the time.",
    )
    cost: Figure = Field(
        default=0,
        description="Price until `since` of the time for which the place was held, by pricePerHour of the flavor.",
    )
    causes: list[SpentFor] = Field(
        default_factory=list,
        max_length=MAX_CAUSES,
        description="What took the time that was not productive, until `since`.",
        json_schema_extra=list_map("cause"),
    )
    attempt: OwnSeconds | None = Field(default=None, description="The part of the current attempt.")
    ended: Word = Field(
        default="",
        max_length=128,
        description="Why the attempt before ended, until the first step after it shows which steps are made again.",
    )
    marks: list[Mark] = Field(
        default_factory=list,
        max_length=MAX_MARKS,
        description="Steps of the last checkpoints and the last report, to tell what a restart loses.",
        json_schema_extra=list_map("step"),
    )

    def until(self, now: datetime) -> dict[str, float]:
        """Seconds by category as its name is written, the open interval included."""
        found = self.seconds.model_dump(by_alias=True)
        if self.current is not None:
            found[self.current.value] += (now - self.since).total_seconds()
        return found

    def open_seconds(self, now: datetime) -> float:
        """How long the open interval has lasted."""
        return max(0.0, (now - self.since).total_seconds()) if self.current is not None else 0.0

    def held(self, now: datetime, gpus: float) -> float:
        """GPU-hours until now. gpus: what the job holds now."""
        return self.gpu_hours + self.open_seconds(now) * gpus / _HOUR

    def wasted(self, now: datetime, gpus: float) -> Iterator[SpentFor]:
        """What was not productive until now, by cause; that of the open interval may come twice."""
        yield from self.causes
        if self.current is not Category.PRODUCTIVE and (since := self.open_seconds(now)):
            yield SpentFor(cause=self.cause, seconds=since, gpu_hours=since * gpus / _HOUR)

    def energy(self, now: datetime, draw: Draw = NOTHING) -> EnergySpent | None:
        """What the place drew and cost until now. draw: what the job draws now. None where nobody stated power or price."""
        since = self.open_seconds(now)
        joules = self.estimated_joules + draw.joules(since, busy=self.current in COMPUTING)
        cost = self.cost + draw.cost(since)
        if not (joules or cost or self.measured_joules):
            return None
        return EnergySpent(estimated_joules=joules, measured_joules=self.measured_joules, cost=cost)

    def spent(self, now: datetime, gpus: float, draw: Draw = NOTHING) -> Spent:
        """All of it. gpus, draw: what the job holds and draws now."""
        seconds = {name: each for name, each in self.until(now).items() if each > 0}
        held, causes = self.held(now, gpus), dict[str, SpentFor]()
        for each in self.wasted(now, gpus):
            known = causes.get(each.cause, SpentFor(cause=each.cause))
            more = {"seconds": known.seconds + each.seconds, "gpu_hours": known.gpu_hours + each.gpu_hours}
            causes[each.cause] = known.model_copy(update=more)
        wasted = sum(each.gpu_hours for each in causes.values())
        return Spent(
            seconds=dict(sorted(seconds.items(), key=lambda each: -each[1])),
            gpu_hours=held,
            goodput=min(1.0, max(0.0, 1 - wasted / held)) if held > 0 else None,
            causes=sorted(causes.values(), key=lambda each: -each.seconds),
            energy=self.energy(now, draw),
        )
