"""`spec.batching` and `spec.requestLimits` of an InferenceService: how much its model servers take, and how they compute it."""

from pydantic import ConfigDict, Field

from trainyard.api.meta import Model, list_map, rules

_MOST_ROWS = 65_536
_MOST_WAITING = 65_536
_MOST_MILLISECONDS = 60_000


class ModelBatching(Model):
    """What is different for one model of a repository; the rest is as for all."""

    name: str = Field(
        min_length=1,
        max_length=128,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        description="Its folder in the repository.",
    )
    max_batch: int | None = Field(default=None, ge=1, le=_MOST_ROWS, description="In place of spec.batching.maxBatch.")
    max_queue: int | None = Field(
        default=None, ge=1, le=_MOST_WAITING, description="In place of spec.batching.maxQueue."
    )
    latency_budget_ms: int | None = Field(
        default=None, ge=0, le=_MOST_MILLISECONDS, description="In place of spec.batching.latencyBudgetMs."
    )


class LanguageBatching(Model):
    """How a language model generates for many at a time."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!has(self.stepTokens) || self.stepTokens >= self.maxRunning",
                "spec.batching.language.stepTokens must be at least maxRunning: each sequence that runs takes one token of a step",
            ),
        )
    )

    max_running: int = Field(default=64, ge=1, le=4096, description="Sequences that are generated together.")
    step_tokens: int | None = Field(
        default=None,
        ge=1,
        le=1_048_576,
        description="Most tokens of one step; a longer prompt is read in several. By default 512, or maxRunning if that is more.",
    )
    cache_mib: int | None = Field(
        default=None,
        alias="cacheMiB",
        ge=1,
        le=16_777_216,
        description="Memory for keys and values. By default what maxRunning full contexts need, at most 256 MiB on a CPU or 60 % of what is free on a GPU.",
    )


class Batching(Model):
    """How a model server computes requests together: as many as wait and fit, at once, unless a latency budget lets it wait for more."""

    max_batch: int = Field(
        default=64, ge=1, le=_MOST_ROWS, description="Most rows computed together, and most in one request."
    )
    max_queue: int | None = Field(
        default=None,
        ge=1,
        le=_MOST_WAITING,
        description="Requests that may wait in one server; more are answered with 429. By default twice spec.gateway.maxConcurrency.",
    )
    latency_budget_ms: int = Field(
        default=0,
        ge=0,
        le=_MOST_MILLISECONDS,
        description="A batch may wait for company while the age of its oldest request and the learned time of computing stay within so many milliseconds; 0: it never waits.",
    )
    compile: bool = Field(
        default=False,
        description="Compile the model (torch.compile) while a replica starts, which takes it up to minutes longer. Batches of the sizes at which that is faster and answers the same run compiled; the server's log says which. A server image of your own needs a C++ compiler for it.",
    )
    models: tuple[ModelBatching, ...] = Field(
        default=(),
        max_length=64,
        description="With spec.model.repository: models that differ.",
        json_schema_extra=list_map("name"),
    )
    language: LanguageBatching | None = Field(default=None, description="Of a language model.")


class RequestLimits(Model):
    """How large a request may be, and how long it may take."""

    max_body_bytes: int = Field(
        default=16_777_216,
        ge=1024,
        le=1_073_741_824,
        description="Longest body of a request; a longer one is answered with 413.",
    )
    seconds: int = Field(
        default=300,
        ge=1,
        le=86_400,
        description="Longest time that a request may take in a server; then it is answered with 504.",
    )
