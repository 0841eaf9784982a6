"""What a pod says of its own program: it touched files of other jobs on the claim that its job does not name.

Said by the agent in the pod (images/trainer/trainer/strays), and believed of the job that the pod belongs to alone.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, ValidationError

from trainyard.api.meta import Model, problems
from trainyard.training.reports import BadReport

_INT64 = 2**63 - 1
_Path = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[ -~]+$")]


class StrayReport(Model):
    """Body of POST /v1/strays. paths: the first of them, in printable ASCII."""

    job_uid: str = Field(max_length=64)
    attempt: int = Field(ge=1, le=_INT64)
    times: int = Field(ge=1, le=_INT64)
    paths: list[_Path] = Field(min_length=1, max_length=8)

    def __str__(self) -> str:
        return f"files of other jobs were touched that this job does not name, {self.times} times at least: {', '.join(self.paths)}"


def parse_strays(body: Mapping[str, Any]) -> StrayReport:
    """Raises BadReport."""
    try:
        return StrayReport.model_validate(body)
    except ValidationError as error:
        raise BadReport(problems(error)) from None
