"""What the scheduler expects of a workload that waits: when it starts, and what would start it now."""

from pydantic import Field

from trainyard.api.meta import Model, Time


class StartEstimate(Model):
    """When a waiting workload is expected to start. Four starts out of five are to fall between the first time and the last."""

    earliest: Time = Field(description="One start in ten comes before this.")
    likely: Time = Field(description="As many starts come before this as after it.")
    latest: Time = Field(description="Nine starts in ten come before this.")


class Remedy(Model):
    """A small change with which the scheduler, asked on the state of that moment, would have started the workload at once."""

    change: str = Field(
        max_length=256,
        description="Field and value, e.g. spec.workers.replicas=4; or what to wait for, e.g. end of TrainingJob team/pretrain.",
    )
    message: str = Field(default="", max_length=1024, description="The same in a sentence, with where it would start.")
