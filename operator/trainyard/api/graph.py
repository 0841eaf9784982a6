"""`spec.model.graph` of an InferenceService: stages, each of which asks other services, one after the other."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from trainyard.api.meta import Model, Name, list_map, rules

REQUEST = "request"
"""What stands before a tensor's name where the tensor came with the request, instead of a stage."""
_TENSOR = r"^[A-Za-z0-9._/-]+$"
_SOURCE = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?[.][A-Za-z0-9._/-]+$"


def _one_of(*fields: str) -> str:
    return f"{' + '.join(f'(has(self.{field}) ? 1 : 0)' for field in fields)} == 1"


class Target(Model):
    """Who is asked: an InferenceService of the same namespace, or any other server of the V2 protocol."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("has(self.service) != has(self.url)", "a target takes exactly one of service and url"),
            ("!has(self.url) || has(self.model)", "a target with url needs model, the name of the model there"),
        )
    )

    service: Name | None = Field(default=None, description="An InferenceService of the same namespace.")
    url: str | None = Field(
        default=None,
        max_length=1024,
        pattern=r"^http://[A-Za-z0-9.-]+(:[0-9]{1,5})?$",
        description="Address of a server of the Open Inference Protocol v2, such as code of your own in an image of your own.",
    )
    model: str | None = Field(
        default=None,
        min_length=1,
        max_length=253,
        pattern=r"^[A-Za-z0-9._-]+$",
        description="Name of the model there; by default the service's.",
    )


class When(Model):
    """What a request must be like: a header, or the values of a tensor."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("has(self.header) != has(self.tensor)", "a condition takes exactly one of header and tensor"),
            (
                _one_of("equals", "atLeast", "below"),
                "a condition takes exactly one of equals, atLeast and below",
            ),
            ("!has(self.header) || has(self.equals)", "a condition on a header takes equals"),
        )
    )

    header: str | None = Field(
        default=None, max_length=64, pattern=r"^[A-Za-z0-9-]+$", description="A header of the request."
    )
    tensor: str | None = Field(
        default=None, max_length=128, pattern=_TENSOR, description="An input of the stage; all its values must fit."
    )
    equals: str | None = Field(default=None, max_length=256, description="The value; numbers are compared as numbers.")
    at_least: float | None = Field(default=None, description="Numbers from here.")
    below: float | None = Field(default=None, description="Numbers less than this.")


class Case(Model):
    """Where requests go that are like this."""

    when: When = Field(description="What they are like.")
    target: Target = Field(description="Who is asked then.")


class Ensemble(Model):
    """Several are asked the same, and one output of theirs is made one."""

    targets: list[Target] = Field(min_length=2, max_length=16, description="Who is asked, all at a time.")
    output: str = Field(max_length=128, pattern=_TENSOR, description="The output that all have and that is combined.")
    combine: Literal["Mean", "Vote", "Concat"] = Field(
        description="Mean of numbers; Vote: the value that most say, on a tie that of the first; Concat: the columns of all side by side."
    )


class Switch(Model):
    """One of several is asked."""

    cases: list[Case] = Field(min_length=1, max_length=16, description="The first that fits counts.")
    otherwise: Target | None = Field(
        default=None, description="Who is asked where none fits; without it such a request is refused with 400."
    )


class Stage(Model):
    """One step: its inputs, and who is asked."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                _one_of("target", "ensemble", "switch"),
                "a stage takes exactly one of target, ensemble and switch",
            ),
        )
    )

    name: Name = Field(description="Name in errors and metrics.")
    target: Target | None = Field(default=None, description="Who is asked.")
    ensemble: Ensemble | None = Field(default=None, description="Several that are asked the same.")
    switch: Switch | None = Field(default=None, description="One of several is asked, depending on the request.")
    inputs: dict[str, Annotated[str, Field(max_length=192, pattern=_SOURCE)]] = Field(
        default_factory=dict,
        max_length=32,
        description="Where each input comes from: STAGE.TENSOR, or request.TENSOR. By default all that the stage before answers, for the first all that came with the request.",
    )

    def targets(self) -> list[Target]:
        """Everyone whom it may ask."""
        if self.ensemble is not None:
            return self.ensemble.targets
        if self.switch is not None:
            last = [] if self.switch.otherwise is None else [self.switch.otherwise]
            return [*(case.target for case in self.switch.cases), *last]
        return [] if self.target is None else [self.target]


class Graph(Model):
    """Stages, one after the other; what the last one answers is the answer."""

    stages: list[Stage] = Field(
        min_length=1, max_length=16, description="In order.", json_schema_extra=list_map("name")
    )
