"""`spec.slo`: how soon requests are to be answered, and how many of them."""

from typing import Literal

from pydantic import Field

from trainyard.api.meta import Model


class ServiceLevelObjective(Model):
    """Measured at the gateways; nothing is decided by it. What autoscaling aims at is in spec.autoscaling."""

    latency_ms: int = Field(ge=1, le=3_600_000, description="A request is answered well within so many milliseconds.")
    of: Literal["Answer", "FirstByte"] = Field(
        default="Answer",
        description="Until when the time counts: the end of the answer, or with FirstByte its beginning, as for streams of text. Waiting in the gateway counts.",
    )
    objective: float = Field(
        default=99.0, gt=0, lt=100, description="Percentage of the requests that are to be answered well."
    )
