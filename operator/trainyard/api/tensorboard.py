"""What a TrainingJob's status says of its TensorBoard."""

from typing import Literal

from pydantic import Field

from trainyard.api.meta import Model


class TensorBoard(Model):
    """The TensorBoard asked for by spec.tensorboard."""

    state: Literal["Ready", "Starting", "Waiting", "Refused"] = Field(
        description="Ready, Starting, Waiting (for its volume), or Refused (by the API server)."
    )
    service: str = Field(description="Service at whose port 80 it answers.")
    message: str = Field(default="", max_length=1024, description="Why so, and what its claim means for it.")
