"""A choice out of one of the trainer's registries."""

from pydantic import Field

from trainyard.api.meta import Opaque, Shared


class NamedChoice(Shared):
    """Something out of a registry, with parameters of its own."""

    name: str = Field(
        min_length=1,
        max_length=128,
        description="Name in the trainer's registry. An unknown name fails the job at once and lists what there is.",
    )
    parameters: Opaque = Field(
        default_factory=dict, description="Parameters that this choice takes; unknown ones fail the job and are named."
    )
