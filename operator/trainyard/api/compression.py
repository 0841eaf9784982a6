"""Smaller and faster variants of a trained model: `spec.compression`, and what a job's result tells of each of them."""

from typing import Annotated, Final, Literal

from pydantic import ConfigDict, Field

from trainyard.api.choice import NamedChoice
from trainyard.api.meta import FOLDER, Model, Name, list_map, rules

MAX_VARIANTS: Final = 16
MAX_VARIANT_NAME: Final = 40
_NAME: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
_DIGEST: Final = r"^sha256:[0-9a-f]{64}$"

VariantName = Annotated[str, Field(min_length=1, max_length=MAX_VARIANT_NAME, pattern=_NAME)]
"""The name of a variant, which is that of a folder too."""

Method = Literal["Int8Dynamic", "Int8Weights", "Float8", "BFloat16", "Float16", "Pruned", "Distilled"]


def variant_path(path: str, name: str) -> str:
    """Folder of a published variant, by that of the result."""
    return f"{path}/variants/{name}"


class CompressionParent(Model):
    """A model that was trained before."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "has(self.trainingJob) != has(self.claimName)",
                "spec.compression.parent takes exactly one of trainingJob and claimName",
            ),
            (
                "has(self.claimName) == has(self.path)",
                "spec.compression.parent.path is required with claimName, and only with it",
            ),
            (
                "!has(self.digest) || has(self.claimName)",
                "spec.compression.parent.digest goes with claimName: a trainingJob brings its own",
            ),
        )
    )

    training_job: Name | None = Field(
        default=None,
        description="A TrainingJob of the same namespace whose result is compressed. This job waits until it is there.",
    )
    claim_name: Name | None = Field(
        default=None, description="A PersistentVolumeClaim that holds the model; it is mounted read-only."
    )
    path: str | None = Field(
        default=None,
        min_length=1,
        max_length=1024,
        pattern=FOLDER,
        description="Folder on the claim with model.safetensors and card.json.",
    )
    digest: str | None = Field(
        default=None,
        pattern=_DIGEST,
        description="sha256 that model.safetensors must have; by default the one in its card.",
    )


class VariantParameters(Model):
    """What may be chosen about Pruned and Distilled."""

    fraction: float | None = Field(
        default=None, ge=0.01, le=0.99, description="Pruned: part of the units that go; by default 0.5."
    )
    student: NamedChoice | None = Field(
        default=None, description="Distilled: the smaller model that learns, and its parameters."
    )
    epochs: int | None = Field(
        default=None,
        ge=0,
        le=10_000,
        description="Passes over the training data; by default 5 of Pruned and 20 of Distilled, which needs at least 1.",
    )
    learning_rate: float | None = Field(
        default=None, ge=1e-8, le=10, description="Peak step size of the optimizer; by default 0.001."
    )
    batch_size: int | None = Field(default=None, ge=1, le=65_536, description="Samples in a step; by default 64.")
    temperature: float | None = Field(
        default=None, ge=0.1, le=100, description="How much the parent's answers are softened; by default 4."
    )
    soft_weight: float | None = Field(
        default=None, ge=0, le=1, description="Part of the loss that is the parent's opinion; by default 0.7."
    )


_TUNED = "self.method == 'Pruned' || self.method == 'Distilled'"
_STUDENT = "has(self.parameters) && has(self.parameters.student)"


class VariantSpec(Model):
    """One variant that is tried."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                f"!has(self.parameters) || {_TUNED}",
                "spec.compression.variants: parameters go with Pruned and Distilled; the other methods take none",
            ),
            (
                "!has(self.parameters) || !has(self.parameters.fraction) || self.method == 'Pruned'",
                "spec.compression.variants: parameters.fraction goes with Pruned",
            ),
            (
                f"(self.method == 'Distilled') == ({_STUDENT})",
                "spec.compression.variants: parameters.student is required with Distilled, and only with it",
            ),
            (
                "self.method != 'Distilled' || !has(self.parameters) || !has(self.parameters.epochs) || self.parameters.epochs >= 1",
                "spec.compression.variants: parameters.epochs must be at least 1 with Distilled, whose student knows nothing yet",
            ),
        )
    )

    name: VariantName = Field(description="What it is called, in status.result.variants and in spec.model.variant.")
    method: Method = Field(
        description="Int8Dynamic, Int8Weights, Float8, BFloat16, Float16: how weights or products are held."
        " Pruned: without the units that weigh least. Distilled: a smaller model that learns the parent's answers."
    )
    parameters: VariantParameters | None = Field(
        default=None, description="What may be chosen about Pruned and Distilled."
    )


class Compression(Model):
    """Variants of a model, each published only if it is measured to be as good and faster."""

    parent: CompressionParent | None = Field(
        default=None,
        description="A model that was trained before. By default the one that spec.model trains in this job.",
    )
    maximum_loss: float = Field(
        ge=0,
        le=1_000_000,
        description="By how much a variant's metric may be worse than its parent's: accuracy for classes, mse for numbers, loss in nats a token for text.",
    )
    batch_sizes: tuple[Annotated[int, Field(ge=1, le=65_536)], ...] = Field(
        default=(1, 32),
        min_length=1,
        max_length=8,
        description="Samples of a call for which the time is measured. A variant must be slower at none and faster at one.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    variants: tuple[VariantSpec, ...] = Field(
        min_length=1,
        max_length=MAX_VARIANTS,
        description="The variants that are tried, one after the other.",
        json_schema_extra=list_map("name"),
    )


class ParentModel(Model):
    """The model that a job compresses."""

    claim_name: str = Field(description="Claim that holds it.")
    path: str = Field(max_length=1024, description="Folder on the claim.")
    digest: str = Field(
        default="", max_length=128, description="sha256 that its model.safetensors must have; empty if none is known."
    )


class VariantLatency(Model):
    """How long a call takes, beside its parent's."""

    batch_size: int = Field(description="Samples of a call.")
    seconds: float = Field(description="Median time of the variant.")
    parent_seconds: float = Field(description="Median time of its parent, whose calls took turns with the variant's.")


class Variant(Model):
    """What came of a variant."""

    name: str = Field(max_length=MAX_VARIANT_NAME, description="Its name.")
    method: str = Field(default="", max_length=64, description="How it was made.")
    verdict: Literal["Published", "Refused"] = Field(description="Whether it may be served.")
    reason: str = Field(default="", max_length=512, description="Why it was refused, or how much faster it is.")
    path: str = Field(default="", max_length=1088, description="Folder on the result's claim; empty if it was refused.")
    digest: str = Field(
        default="", max_length=128, description="sha256 of its model.safetensors; empty if it was refused."
    )
    size_bytes: int | None = Field(default=None, description="Bytes of its weights, if it could be made.")
    metrics: dict[str, float] = Field(
        default_factory=dict, description="What it was judged by on held-out data, e.g. accuracy."
    )
    latencies: list[VariantLatency] = Field(
        default_factory=list, max_length=8, description="How long calls take, by their batch size."
    )
    speedup: float | None = Field(
        default=None, description="Times as fast as its parent, the mean over the batch sizes, if it was published."
    )
