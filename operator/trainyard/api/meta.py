"""What every kind shares: the base model, metadata, conditions, and field types with their Kubernetes schemas."""

from datetime import UTC, datetime
from functools import cache, lru_cache
from hashlib import blake2b
from typing import Annotated, Any, Literal, Self, cast
from weakref import WeakValueDictionary

import orjson
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PlainSerializer,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)
from pydantic.alias_generators import to_camel

from trainyard.api.names import RESTORING


class Model(BaseModel):
    """camelCase outside, snake_case inside, frozen, and strict about unknown fields only where the API server prunes them anyway."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")

    def model_post_init(self, _context: Any, /) -> None:
        """Share the set of fields that were given with all models of the same: sets of their own are a third of a job's memory."""
        given = self.__pydantic_fields_set__
        object.__setattr__(self, "__pydantic_fields_set__", _GIVEN.setdefault(frozenset(given), given))

    @classmethod
    @cache
    def plain(cls) -> Self:
        """The one of which nothing is said: a default that all have in common."""
        return cls()


class Shared(Model):
    """One that many objects have alike, such as what restarts they allow: equal ones take memory and are validated once.

    Only where a `Pool` is given as the context of validation, for objects that come from the API server by the thousand.
    """

    @model_validator(mode="wrap")
    @classmethod
    def _once(cls, value: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        if type(info.context) is not Pool or type(value) is not dict:
            return handler(value)
        try:
            said = blake2b(orjson.dumps(value), digest_size=16, person=cls.__name__.encode()[:16]).digest()
        except orjson.JSONEncodeError:  # numbers of more than 64 bits
            return handler(value)
        found = info.context.get(said)
        if found is None:
            found = info.context[said] = handler(value)
        return cast("Self", found)


class Pool(WeakValueDictionary[bytes, Model]):
    """Models by a hash of the JSON that they were made of, as long as somebody uses them."""


_GIVEN: dict[frozenset[str], set[str]] = {}
"""Sets of field names that occur; nobody changes them, since models are frozen and a copy of one copies its set."""

_RULE = ("rule", "message", "messageExpression")


def rules(*stated: tuple[str, ...]) -> dict[str, Any]:
    """`json_schema_extra` with CEL rules, each (rule, message) or (rule, message, expression of a better message)."""
    return {"x-kubernetes-validations": [dict(zip(_RULE, each, strict=False)) for each in stated]}


def kept(path: str) -> tuple[str, str]:
    """Rule of a field of a TrainingJob that keeps its value.

    It stands at the field and not above it: the API server evaluates every rule at every write of a status too, and each
    access to a field from above costs it a map of all fields beside it. Whether an optional field comes or goes has to be asked
    above, since a rule at a field that is not there is not asked.
    """
    return ("self == oldSelf", f"{path} is immutable: delete the job and create it anew")


def immutable(path: str) -> dict[str, Any]:
    """`json_schema_extra` of a field that keeps its value."""
    return rules(kept(path))


def stay(path: str, *names: str) -> tuple[str, str, str]:
    """A rule by which optional fields neither come nor go, since a rule at a field that is not there is not asked."""
    unchanged = " && ".join(f"has(self.{name}) == has(oldSelf.{name})" for name in names)
    first = f"'{names[-1]}'"
    for name in reversed(names[:-1]):
        first = f"(has(self.{name}) != has(oldSelf.{name}) ? '{name}' : {first})"
    message = "is immutable: delete the job and create it anew"
    return unchanged, f"{path}: {', '.join(names)} neither come nor go", f"'{path}.' + {first} + ' {message}'"


def list_map(*keys: str) -> dict[str, Any]:
    """`json_schema_extra` of a list whose entries are identified by `keys`, so that two appliers can own different entries."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


def _quantity_text(value: object) -> object:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


_QUANTITY = {
    "x-kubernetes-int-or-string": True,
    "anyOf": [{"type": "integer"}, {"type": "string"}],
    "maxLength": 64,
    "pattern": r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?[0-9]+))?$",
}
Quantity = Annotated[str, BeforeValidator(_quantity_text), WithJsonSchema(_QUANTITY)]
"""A Kubernetes quantity: 4, "500m", "16Gi"."""

_AMOUNT = {
    **_QUANTITY,
    "minimum": 0,
    "pattern": r"^\+?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?[0-9]+))?$",
}
Amount = Annotated[str, BeforeValidator(_quantity_text), WithJsonSchema(_AMOUNT)]
"""A Kubernetes quantity that is not negative."""

_PART = r"([^/.][^/]*|[.]([^/.][^/]*)?|[.][.][^/]+)"
FOLDER = rf"^{_PART}(/+{_PART})*/*$"
"""Pattern of a folder on a claim: neither absolute nor with a part that is `..`, so that it does not leave the claim."""
Name = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
"""The name of another object."""

LABEL_KEY = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
"""Pattern of a label's key, which is that of every qualified name: example.com/rack."""

Opaque = Annotated[dict[str, Any], WithJsonSchema({"type": "object", "x-kubernetes-preserve-unknown-fields": True})]
"""An object whose fields are checked elsewhere: by the API server's dry run, or by the trainer."""


@lru_cache(4096)
def moment(time: datetime) -> datetime:
    """The same moment, one object for all who tell of it. pydantic gives each a time zone of its own."""
    return time.astimezone(UTC)


Time = Annotated[
    datetime,
    AfterValidator(moment),
    PlainSerializer(lambda time: time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""A point in time, written in UTC with seconds."""

PreciseTime = Annotated[
    datetime,
    AfterValidator(moment),
    PlainSerializer(lambda time: time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"), when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""A point in time with microseconds, for what people measure."""


@lru_cache(1 << 14)
def word(text: str) -> str:
    """The same text, one object for all who say it; of those that were said last."""
    return text


Word = Annotated[str, AfterValidator(word)]
"""A string that thousands of objects have alike, such as a namespace or a reason: kept once."""

Figure = Annotated[float, AfterValidator(lambda number: number or 0.0)]
"""A number that is 0 in most objects: all have the same 0."""


class OwnerReference(Model):
    """Who owns an object; the garbage collector deletes it with its owner."""

    kind: str
    name: str
    uid: str
    controller: bool = False


class ObjectMeta(Model):
    """The part of metadata that the operator reads."""

    name: str
    namespace: Word = ""
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    creation_timestamp: Time | None = None
    deletion_timestamp: Time | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)

    @property
    def restoring(self) -> bool:
        """Whether the object is still being restored from a backup."""
        return RESTORING in self.annotations


class Condition(Model):
    """One statement about the object, with why and since when."""

    type: Annotated[Word, Field(max_length=64)] = Field(description="What the statement is about, e.g. Admitted.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    reason: Annotated[Word, Field(max_length=128)] = Field(description="One word for machines.")
    message: Annotated[Word, Field(max_length=4096)] = Field(default="", description="A sentence for people.")
    last_transition_time: Time = Field(description="When status last changed.")
    observed_generation: int = Field(default=0, description="The generation of the spec that this was said of.")


Conditions = Annotated[
    tuple[Condition, ...],
    Field(
        default=(),
        max_length=16,
        description="Statements about the object, kstatus-compatible.",
        json_schema_extra=list_map("type"),
    ),
]


class ResourceRequirements(Shared):
    """Resources of one pod, as in core/v1."""

    limits: dict[str, Quantity] = Field(
        default_factory=dict,
        description="Upper bounds by resource name, e.g. nvidia.com/gpu: 1. An extended resource such as a GPU is always asked for here.",
    )
    requests: dict[str, Quantity] = Field(
        default_factory=dict, description="What is set aside for the pod; defaults to limits."
    )


def _open(**properties: Any) -> dict[str, Any]:
    """The schema of an object of which only some fields are checked here."""
    return {"type": "object", "x-kubernetes-preserve-unknown-fields": True} | (
        {"properties": properties} if properties else {}
    )


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


_TEXT = {"type": "string"}
_TEXTS = {"type": "object", "additionalProperties": _TEXT}
_AMOUNTS = {"type": "object", "additionalProperties": _QUANTITY}
_CONTAINERS = _list(
    _open(
        name=_TEXT,
        env=_list(_open(name=_TEXT)),
        volumeMounts=_list(_open()),
        resources=_open(limits=_AMOUNTS, requests=_AMOUNTS),
    )
)
_TOLERATIONS = _list(_open(key=_TEXT, operator=_TEXT, value=_TEXT, effect=_TEXT))
PodTemplate = Annotated[
    dict[str, Any],
    WithJsonSchema(
        _open(
            metadata=_open(labels=_TEXTS, annotations=_TEXTS),
            spec=_open(
                containers=_CONTAINERS,
                initContainers=_CONTAINERS,
                volumes=_list(_open()),
                tolerations=_TOLERATIONS,
                nodeSelector=_TEXTS,
                affinity=_open(),
            ),
        )
    ),
]
"""A core/v1 PodTemplateSpec. Only what we read ourselves is checked here; all of it by the API server when a pod is made of it."""


class LabelSelectorRequirement(Model):
    """One expression of a label selector."""

    key: str = Field(description="The label.")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"] = Field(description="How values are compared.")
    values: list[str] = Field(default_factory=list, max_length=64, description="Values for In and NotIn.")


class LabelSelector(Model):
    """Selects objects by their labels; all parts must hold."""

    match_labels: dict[str, str] = Field(
        default_factory=dict, description="Labels that must be there with these values."
    )
    match_expressions: list[LabelSelectorRequirement] = Field(
        default_factory=list, max_length=32, description="Further requirements."
    )

    def matches(self, labels: dict[str, str]) -> bool:
        """Whether `labels` satisfy every part. An empty selector matches nothing: closed is the safe default."""
        if not self.match_labels and not self.match_expressions:
            return False
        if any(labels.get(key) != value for key, value in self.match_labels.items()):
            return False
        return all(_holds(each, labels) for each in self.match_expressions)


def _holds(each: LabelSelectorRequirement, labels: dict[str, str]) -> bool:
    match each.operator:
        case "Exists":
            return each.key in labels
        case "DoesNotExist":
            return each.key not in labels
        case "In":
            return labels.get(each.key) in each.values
        case "NotIn":
            return labels.get(each.key) not in each.values


class Toleration(Shared):
    """A taint that pods of this flavor accept, as in core/v1."""

    key: str = Field(default="", description="The taint's key; empty with operator Exists tolerates all.")
    operator: Literal["Exists", "Equal"] = Field(default="Equal", description="How the taint's value is compared.")
    value: str = Field(default="", description="The taint's value for Equal.")
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = Field(
        default="", description="The effect tolerated; empty tolerates all effects."
    )

    def tolerates(self, taint: "Taint") -> bool:
        if self.effect and self.effect != taint.effect:
            return False
        if self.operator == "Exists":
            return self.key in ("", taint.key)
        return self.key == taint.key and self.value == taint.value


class Taint(Model):
    """A taint of a node."""

    key: str
    value: str = ""
    effect: str = "NoSchedule"


def problems(error: ValidationError) -> str:
    """What is wrong with somebody's input: each field with what was expected and what was given."""
    parts = (
        f"{'.'.join(map(str, each['loc']))}: {each['msg']}, got {str(each['input'])[:80]!r}" for each in error.errors()
    )
    return "; ".join(parts)
