"""`spec.autoscaling` and `status.scaling`: how the number of replicas follows the demand, and why it is what it is."""

from typing import Literal

from pydantic import ConfigDict, Field

from trainyard.api.meta import Model, PreciseTime, list_map, rules

Day = Literal["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
Metric = Literal["Concurrency", "Rate", "Latency"]
_CLOCK = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"
MOST_REPLICAS = 1024


class Schedule(Model):
    """Other limits at some times of the week."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!has(self.minReplicas) || !has(self.maxReplicas) || self.minReplicas <= self.maxReplicas",
                "spec.autoscaling.schedules: minReplicas must not exceed maxReplicas",
            ),
            (
                "has(self.minReplicas) || has(self.maxReplicas)",
                "spec.autoscaling.schedules: give minReplicas, maxReplicas or both",
            ),
        )
    )

    name: str = Field(min_length=1, max_length=63, description="Named in decisions that it limits.")
    days: tuple[Day, ...] = Field(
        default=(), max_length=7, description="Days on which it begins; every day if none is given."
    )
    start: str = Field(
        max_length=5, pattern=_CLOCK, description="Wall-clock time at which it begins, 08:00. Replicas start before it."
    )
    end: str = Field(
        max_length=5,
        pattern=_CLOCK,
        description="Wall-clock time at which it ends; not later than start: the next day.",
    )
    timezone: str = Field(default="UTC", min_length=1, max_length=64, description="IANA name, such as Europe/Berlin.")
    min_replicas: int | None = Field(
        default=None, ge=0, le=MOST_REPLICAS, description="In place of spec.autoscaling.minReplicas."
    )
    max_replicas: int | None = Field(
        default=None, ge=0, le=MOST_REPLICAS, description="In place of spec.autoscaling.maxReplicas."
    )


class Autoscaling(Model):
    """The number of replicas follows the demand. Where it is given, spec.replicas is only the number at the beginning."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "self.minReplicas <= self.maxReplicas",
                "spec.autoscaling.minReplicas must not exceed spec.autoscaling.maxReplicas",
            ),
            ("self.metric != 'Rate' || has(self.target)", "spec.autoscaling.target is required with metric Rate"),
            (
                "(self.metric == 'Latency') == has(self.latencyObjectiveMs)",
                "spec.autoscaling.latencyObjectiveMs is required with metric Latency, and only with it",
            ),
            (
                "self.panicWindowSeconds <= self.stableWindowSeconds",
                "spec.autoscaling.panicWindowSeconds must not exceed stableWindowSeconds",
            ),
        )
    )

    min_replicas: int = Field(
        default=1, ge=0, le=MOST_REPLICAS, description="Never fewer; 0 lets an idle service give its quota back."
    )
    max_replicas: int = Field(ge=1, le=MOST_REPLICAS, description="Never more.")
    metric: Metric = Field(
        default="Concurrency",
        description="What target counts: requests at a time, requests a second, or (Latency) as many at a time as keep the mean time of an answer below latencyObjectiveMs, which is learned.",
    )
    target: float | None = Field(
        default=None,
        gt=0,
        le=1e6,
        description="Of each replica: requests at a time (Concurrency; by default spec.gateway.maxConcurrency) or a second (Rate).",
    )
    target_utilization: int | None = Field(
        default=None,
        ge=10,
        le=100,
        description="Percentage of target that is planned with. By default as much is kept free as the random arrival of requests needs: much of a small service, little of a large one.",
    )
    latency_objective_ms: int | None = Field(
        default=None, ge=1, le=3_600_000, description="With metric Latency: mean time of an answer, waiting included."
    )
    stable_window_seconds: int = Field(
        default=60, ge=6, le=3600, description="Demand is averaged over so long; fewer replicas only after as long."
    )
    panic_window_seconds: int = Field(
        default=6, ge=2, le=600, description="A surge that this window shows beyond doubt is followed at once."
    )
    scale_to_zero_after_seconds: int = Field(
        default=300, ge=5, le=604_800, description="With minReplicas 0: none is kept after so long without a request."
    )
    predictive: bool = Field(
        default=True,
        description="Look ahead by the time that a replica takes to start: by the trend, and by the same time of earlier days.",
    )
    schedules: tuple[Schedule, ...] = Field(
        default=(),
        max_length=16,
        description="Other limits at some times; where several hold, the highest of each limit does.",
        json_schema_extra=list_map("name"),
    )


class StartStage(Model):
    """A part of the time that replicas take from being wanted to being sent requests."""

    name: str = Field(
        description="quota, scheduling, image, load (with warm-up) or gateway (until one sends it requests)."
    )
    p50_seconds: float = Field(description="Half of the starts took less.")
    p90_seconds: float = Field(description="Nine of ten starts took less.")


class ColdStart(Model):
    """How long replicas of this service take to start, on the flavor that it used last."""

    flavor: str = Field(default="", description="Flavor that it was measured on.")
    starts: int = Field(default=0, description="How many starts it is learned from, at most 64.")
    p50_seconds: float = Field(default=0, description="From having a place to being ready: half took less.")
    p90_seconds: float = Field(default=0, description="Nine of ten took less. The autoscaler looks ahead by so much.")
    stages: list[StartStage] = Field(
        default_factory=list,
        max_length=8,
        description="Its parts, in order.",
        json_schema_extra=list_map("name"),
    )


class Scaling(Model):
    """The last decision about the number of replicas. Written when the number or its reason changes."""

    desired: int = Field(description="Replicas that are wanted.")
    reason: str = Field(default="", description="What decided, in one word.")
    message: str = Field(default="", max_length=2048, description="The arithmetic behind it.")
    limits: list[str] = Field(default_factory=list, max_length=4, description="Limits that were met.")
    decided_at: PreciseTime | None = Field(default=None, description="When.")
    metric: str = Field(default="", description="What was counted.")
    demand: float = Field(default=0, description="What was planned for, in requests at a time or a second.")
    stable: float = Field(default=0, description="The same, averaged over the stable window.")
    panic: float = Field(default=0, description="The same, averaged over the panic window.")
    forecast: float = Field(default=0, description="The same, as expected after horizonSeconds.")
    target: float = Field(default=0, description="How much of it one replica takes.")
    horizon_seconds: float = Field(default=0, description="How far it was looked ahead.")
    held: int = Field(default=0, description="Requests held while there was no replica.")
    queued: int = Field(default=0, description="Requests waiting in the gateways.")
    in_flight: int = Field(default=0, description="Requests being answered.")
    ready: int = Field(default=0, description="Replicas that answered.")
    starting: int = Field(default=0, description="Replicas that were starting.")
    service_seconds: float | None = Field(default=None, description="Mean time of an answer, without waiting.")
    cold_start: ColdStart | None = Field(default=None, description="How long replicas take to start.")
    profile: list[float] = Field(
        default_factory=list,
        max_length=48,
        description="Demand by half-hour of the day in UTC, learned; negative where nothing is known yet.",
    )
