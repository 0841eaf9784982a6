"""`spec.rollout` and `status.rollout`: how a changed model takes the place of the one that is served."""

from typing import Annotated, Literal

from pydantic import Field

from trainyard.api.meta import Model, PreciseTime

Strategy = Literal["Replace", "Canary", "BlueGreen"]
Phase = Literal["Progressing", "Paused", "Promoted", "RolledBack"]
Setback = Literal["ContractChanged", "ModelRefused", "NotReady", "MoreErrors", "Slower", "OtherAnswers"]
"""Why a model was given up."""


class Header(Model):
    """Requests with this header go to the new model."""

    name: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9-]+$", description="Name of the header.")
    value: str = Field(
        min_length=1, max_length=128, pattern=r"^[A-Za-z0-9._-]+$", description="Value that it must have."
    )


class Margins(Model):
    """By how much the new model may be worse."""

    error_rate: float = Field(
        default=0.01, gt=0, le=0.5, description="Added to the share of requests that fail with the old model."
    )
    latency_ratio: float = Field(
        default=1.25,
        ge=1,
        le=100,
        description="Times the 95th percentile of the old model's time to answer, rounded up to an eighth of an octave.",
    )
    disagreement: float = Field(
        default=0.02, gt=0, le=0.9, description="With shadow: share of the compared answers that may differ."
    )


class Shadow(Model):
    """Requests that the new model answers too, for comparison alone."""

    percent: int = Field(
        ge=1,
        le=100,
        description="Share of the old model's inferences that the new model gets a copy of.",
    )
    relative_tolerance: float = Field(
        default=0.01,
        ge=0,
        le=1000,
        description="How far a number of an answer may be from the old one, as a share of it.",
    )
    absolute_tolerance: float = Field(default=1e-5, ge=0, le=1e12, description="And how far it may be in any case.")


class Rollout(Model):
    """How a changed model takes the place of the old one."""

    strategy: Strategy = Field(
        default="Replace",
        description="Replace: one replica after the other. Canary: the new model gets a growing share of the requests and is compared with the old one. BlueGreen: a full set of new replicas gets all requests at once, and the old set is kept for keepSeconds.",
    )
    steps: tuple[Annotated[int, Field(ge=1, le=100)], ...] = Field(
        default=(5, 25, 50),
        min_length=1,
        max_length=10,
        description="Canary: share of the requests in percent, the smallest first.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    header: Header | None = Field(
        default=None, description="Requests with this header go to the new model whatever its share is."
    )
    shadow: Shadow | None = Field(
        default=None,
        description="Canary and BlueGreen: the new model gets copies of requests first, then while it has its shares; its answers go to nobody, and must agree with the old model's.",
    )
    minimum_requests: int = Field(
        default=500,
        ge=1,
        le=10_000_000,
        description="Requests that the new model must have had in a step before the next; in the step of copies alone, compared answers.",
    )
    margins: Margins = Field(default_factory=Margins, description="By how much the new model may be worse.")
    step_seconds: int = Field(default=60, ge=1, le=86_400, description="Canary: shortest time of a step.")
    deadline_seconds: int = Field(
        default=3600, ge=1, le=2_592_000, description="Time of a step after which onNotEnoughTraffic applies."
    )
    on_not_enough_traffic: Literal["Pause", "Promote"] = Field(
        default="Pause",
        description="What happens when a step's deadline passes without evidence either way: wait on, or go on.",
    )
    ready_seconds: int = Field(
        default=900, ge=1, le=86_400, description="Time for new replicas to get ready before the new model is given up."
    )
    keep_seconds: int = Field(
        default=300, ge=1, le=86_400, description="BlueGreen: how long the old replicas are kept after the switch."
    )
    contract: Literal["Enforce", "Ignore"] = Field(
        default="Enforce",
        description="Canary and BlueGreen: whether a model with other inputs or outputs than callers of the old one rely on is given up before it gets a request.",
    )
    auto_promote: bool = Field(
        default=True, description="Whether the last step ends by itself; false waits until this is set to true."
    )


class Revision(Model):
    """A model that replicas load."""

    claim_name: str = Field(description="Claim that holds it.")
    path: str = Field(description="Folder on the claim.")
    digest: str = Field(description="sha256 of model.safetensors.")
    variant: str = Field(default="", description="Which variant of the job's result it is; empty if it is none.")


class RevisionCounts(Model):
    """What a revision did."""

    requests: int = Field(default=0, description="Requests that it got.")
    errors: int = Field(default=0, description="Of these, those that failed: answered with 5xx or not at all.")
    answered: int = Field(default=0, description="Those with an answer in time to count.")
    slow: int = Field(default=0, description="Of the answered, those above the limit of time.")
    compared: int = Field(default=0, description="Answers to copies that were compared with the old model's.")
    differed: int = Field(default=0, description="Of these, those that differed.")


class RolloutStatus(Model):
    """Where a rollout stands."""

    phase: Phase = Field(description="Progressing, Paused, Promoted, RolledBack.")
    strategy: Strategy = Field(description="The strategy that it began with.")
    stable: Revision = Field(description="The model that was served before.")
    canary: Revision = Field(description="The new model.")
    step: int = Field(default=0, description="How many steps are over; with shadow the first has copies alone.")
    weight: int = Field(default=0, description="Share of requests, in percent, that go to the new model.")
    shadow: int = Field(default=0, description="Share of the other inferences, in percent, that it gets a copy of.")
    started_at: PreciseTime = Field(description="When it began.")
    since: PreciseTime = Field(description="When the step got its share, or began to wait for replicas.")
    outcome: str = Field(default="", description="Verdict: Continue, Promote, RollBack, NotEnoughTraffic.")
    reason: Literal["", Setback] = Field(
        default="",
        description="Why it was rolled back: ContractChanged (other inputs or outputs), ModelRefused (no replica serves it), NotReady, MoreErrors, Slower, OtherAnswers.",
    )
    message: str = Field(default="", max_length=1024, description="The numbers behind it.")
    limit: int | None = Field(
        default=None, description="Bucket of time, an eighth of an octave from 1 ms, above which the old model is slow."
    )
    stable_counts: RevisionCounts = Field(
        default_factory=RevisionCounts, description="What the old model did in this step."
    )
    canary_counts: RevisionCounts = Field(
        default_factory=RevisionCounts, description="What the new model did in this step."
    )
    counted_at: PreciseTime = Field(description="When these were read.")
    counter: str = Field(default="", max_length=64, description="Operator process whose counts the bases belong to.")
    stable_base: RevisionCounts = Field(
        default_factory=RevisionCounts, description="Its count of the old model when the step began."
    )
    canary_base: RevisionCounts = Field(
        default_factory=RevisionCounts, description="Its count of the new model when the step began."
    )
