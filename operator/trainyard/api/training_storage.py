"""Where a TrainingJob keeps data, checkpoints and results."""

from typing import Literal

from pydantic import ConfigDict, Field

from trainyard.api.meta import Model, Name, Quantity, Shared, rules

AccessMode = Literal["ReadWriteOnce", "ReadWriteMany", "ReadWriteOncePod"]


class ClaimTemplate(Model):
    """A claim to be made for the job."""

    size: Quantity = Field(default="10Gi", description="Size of the volume.")
    storage_class_name: str | None = Field(
        default=None, max_length=253, description="Class of the volume; empty takes the cluster's default."
    )
    access_modes: tuple[AccessMode, ...] = Field(
        default=("ReadWriteMany",),
        min_length=1,
        max_length=3,
        description="How the volume is shared. More than one worker needs ReadWriteMany.",
    )


class Storage(Shared):
    """Where data, checkpoints and exports live."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "has(self.claimName) != has(self.claimTemplate)",
                "spec.storage takes exactly one of claimName and claimTemplate",
            )
        )
    )

    claim_name: Name | None = Field(
        default=None,
        description="An existing PersistentVolumeClaim in the job's namespace. More than one worker needs one with ReadWriteMany.",
    )
    claim_template: ClaimTemplate | None = Field(
        default=None, description="Makes a claim with the job's name when there is none."
    )
    reclaim: Literal["Retain", "Delete"] = Field(
        default="Retain", description="Whether a claim made from claimTemplate outlives the job."
    )
