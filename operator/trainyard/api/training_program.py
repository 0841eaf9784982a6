"""What runs in the pods of a TrainingJob: the user's own program, or the built-in one and how it trains."""

from typing import Annotated, Literal

from pydantic import Field, WithJsonSchema

from trainyard.api.meta import Model, Shared, rules

_RESERVED = (
    "name.startsWith('TRAINYARD_') || name in ['PET_NNODES', 'PET_NODE_RANK', 'PET_MASTER_ADDR', 'PET_MASTER_PORT']"
)


class Entrypoint(Model):
    """The user's own program."""

    command: list[str] = Field(
        min_length=1,
        max_length=256,
        description="Command and arguments, e.g. [torchrun, train.py]. PET_* variables tell torchrun its rank and peers.",
    )
    image: str = Field(
        default="", max_length=1024, description="Image that holds the program. Empty uses the trainer image."
    )
    env: dict[str, str] = Field(
        default_factory=dict,
        max_length=256,
        description="Environment variables added to every worker.",
        json_schema_extra=rules(
            (
                f"!self.exists(name, {_RESERVED})",
                "TRAINYARD_* and PET_NNODES, PET_NODE_RANK, PET_MASTER_ADDR, PET_MASTER_PORT are set by Trainyard",
            )
        ),
    )


OPTIMIZERS = Literal["gd", "sgd", "adam", "adamw"]


class Parallelism(Model):
    """How the processes of the workers share a step. All that is not shared otherwise is data parallel."""

    data: Literal["replicated", "sharded"] = Field(
        default="replicated",
        description="Whether each process holds all weights (DDP) or a share of them, gathered layer by layer (FSDP).",
    )
    tensor: int = Field(
        default=1, ge=1, le=1024, description="Processes that share each matrix; best on one node. For model llama."
    )
    pipeline: int = Field(default=1, ge=1, le=1024, description="Stages that share the row of layers. For model llama.")
    microbatches: int = Field(
        default=4, ge=1, le=4096, description="Parts in which a step passes through the stages; at least one a stage."
    )
    servers: int = Field(
        default=0,
        ge=0,
        le=1024,
        description="Processes, out of the workers', that hold the weights for the others (parameter servers); the first ones.",
    )
    staleness: int = Field(
        default=0,
        ge=0,
        le=1024,
        description="Steps that a worker may be ahead of another where there are servers; 0 makes every step together.",
    )


CheckpointSteps = Annotated[
    Annotated[int, Field(ge=1)] | Literal["auto"],
    WithJsonSchema(
        {
            "x-kubernetes-int-or-string": True,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            **rules(
                (
                    "type(self) == string ? self == 'auto' : self >= 1",
                    "spec.training.checkpointEverySteps must be a whole number of at least 1, or auto",
                )
            ),
        }
    ),
]
"""How many steps lie between two checkpoints."""


class Training(Shared):
    """How the built-in program trains."""

    epochs: int = Field(default=1, ge=1, le=1_000_000, description="Passes over the training data.")
    batch_size: int = Field(
        default=64, ge=1, le=1_048_576, description="Samples in a step over all workers together; divided among them."
    )
    optimizer: OPTIMIZERS = Field(
        default="adamw",
        description="Rule that updates the weights: gd (gradient descent on all samples at once), sgd (with momentum), adam, adamw.",
    )
    learning_rate: float = Field(default=0.001, gt=0, le=1000, description="Peak step size of the optimizer.")
    weight_decay: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Decay of weights per unit of learning rate; by default 0.01 with adamw and none with the others.",
    )
    momentum: float = Field(default=0.9, ge=0, lt=1, description="Momentum of sgd.")
    betas: list[Annotated[float, Field(ge=0, lt=1)]] | None = Field(
        default=None,
        min_length=2,
        max_length=2,
        description="Decay of the means that adam and adamw keep of gradients and of their squares; by default 0.9 and 0.999.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    schedule: Literal["trapezoid", "constant", "linear", "cosine"] = Field(
        default="trapezoid",
        description="Course of the learning rate after its rise: level and a straight fall at the end, constant, or a linear or cosine fall.",
    )
    warmup_steps: int | None = Field(
        default=None,
        ge=0,
        description="Steps in which the learning rate rises; by default a twentieth of all, at most 500.",
    )
    clip_norm: float | None = Field(
        default=None,
        gt=0,
        description="The most that the gradients of all weights together may measure; by default no limit.",
    )
    accumulate_steps: int = Field(
        default=1,
        ge=1,
        le=4096,
        description="Parts in which a worker takes its share of a step, one after the other, to need less memory.",
    )
    precision: Literal["fp32", "bf16", "fp8"] = Field(
        default="fp32",
        description="What the forward pass computes in; weights, gradients and optimizer stay in fp32. fp8 is bf16 with the products"
        " of linear layers in 8 bits, for GPUs of compute capability 8.9 or more; the job fails at once on any other.",
    )
    compile: bool = Field(
        default=False,
        description="Compile the model (torch.compile): slower at the first step, faster after it. An image of your own needs a C++ compiler for it.",
    )
    recompute: bool = Field(
        default=False,
        description="Compute what layers computed again in the backward pass rather than keep it: less memory, a third more work.",
    )
    parallelism: Parallelism | None = Field(
        default=None, description="How the workers' processes share a step; by default all are data parallel."
    )
    loss: Literal["cross-entropy", "mse"] | None = Field(
        default=None, description="What is minimised; by default cross-entropy for classes and mse for numbers."
    )
    seed: int = Field(
        default=0,
        ge=0,
        le=4_294_967_295,
        description="Seed of the initial weights, the split and the order of the data.",
    )
    label_smoothing: float | None = Field(
        default=None, ge=0, lt=1, description="How far cross-entropy moves its targets from 0 and 1; by default 0.1."
    )
    checkpoint_every_steps: CheckpointSteps | None = Field(
        default=None,
        description="Steps between checkpoints, or auto: as often as loses least, by what one costs and how often the gang is interrupted. By default one at the end of each epoch.",
    )
    async_checkpoints: bool = Field(
        default=True,
        description="Write checkpoints while training goes on; it stands still only for a copy of the weights in memory.",
    )
    keep_checkpoints: int = Field(default=3, ge=1, le=1000, description="Newest checkpoints that are kept.")
    keep_best: int = Field(
        default=0, ge=0, le=1000, description="Checkpoints that are kept besides because bestMetric was best there."
    )
    best_metric: str | None = Field(
        default=None,
        min_length=1,
        max_length=64,
        description="Metric of the held-out samples that keepBest goes by; by default accuracy, or mse for numbers. Less is better where the name has loss, mse or mae in it.",
    )
    keep_every_hours: float | None = Field(
        default=None, gt=0, le=87_600, description="Keeps one checkpoint besides for each so many hours."
    )
