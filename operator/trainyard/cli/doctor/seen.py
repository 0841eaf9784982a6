"""An installation at one moment, as far as the user may see it. Frozen: the checks ask nobody."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson
from pydantic import ValidationError

from trainyard.api.flavor import Flavor
from trainyard.api.inference_service import InferenceService
from trainyard.api.names import OPERATOR_LEASE
from trainyard.api.queue import Queue
from trainyard.api.training_job import TrainingJob
from trainyard.cluster.resources import Object
from trainyard.nodes.times import parse
from trainyard.workloads.understood import KINDS, Ours

OPERATOR = {"app.kubernetes.io/component": "operator", "app.kubernetes.io/part-of": "trainyard"}
"""Labels that the chart puts on the operator."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """The serving certificate of the operator's endpoint. Its key is not looked at."""

    ends: datetime


@dataclass(frozen=True, slots=True)
class Unread:
    """Something that could not be looked at."""

    what: str
    why: str


@dataclass(frozen=True, slots=True)
class Installation:
    """What there is. A kind that could not be read is empty and stands in `unread`."""

    now: datetime
    system: str
    """Namespace of the operator."""
    server_time: datetime | None = None
    version: str = ""
    """Of the API server."""
    groups: frozenset[str] = frozenset()
    """Groups with version that it serves, as in apps/v1."""
    objects: Mapping[str, Sequence[Object]] = field(default_factory=dict)
    """By kind."""
    certificate: Certificate | None = None
    refused: tuple[str, ...] = ()
    """Rights that the operator's account lacks."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Sums of the leader's series, by name."""
    unread: tuple[Unread, ...] = ()

    def of_kind(self, kind: str) -> Sequence[Object]:
        return self.objects.get(kind, ())

    def knows(self, kind: str) -> bool:
        """Whether that kind could be read."""
        return kind in self.objects

    def operator_pods(self) -> list[Object]:
        return [each for each in self.of_kind("Pod") if _has(each, OPERATOR) and _namespace(each) == self.system]

    def operator_deployment(self) -> Object | None:
        return next((each for each in self.of_kind("Deployment") if _has(each, OPERATOR)), None)

    def lease(self) -> Object | None:
        return next((each for each in self.leases() if _namespace(each) == self.system), None)

    def leases(self) -> list[Object]:
        """Of this operator, and of others."""
        return [each for each in self.of_kind("Lease") if each["metadata"]["name"] == OPERATOR_LEASE]

    def served(self) -> tuple[str, ...]:
        """Namespaces to which the operator is confined; empty: all."""
        deployment = self.operator_deployment()
        return served_by(deployment) if deployment is not None else ()

    def flavors(self) -> list[Flavor]:
        return [each for each in self._ours("Flavor") if isinstance(each, Flavor)]

    def queues(self) -> list[Queue]:
        return [each for each in self._ours("Queue") if isinstance(each, Queue)]

    def jobs(self) -> list[TrainingJob]:
        return [each for each in self._ours("TrainingJob") if isinstance(each, TrainingJob)]

    def services(self) -> list[InferenceService]:
        return [each for each in self._ours("InferenceService") if isinstance(each, InferenceService)]

    def _ours(self, kind: str) -> list[Ours]:
        found = []
        for each in self.of_kind(kind):
            try:
                found.append(KINDS[kind].model_validate(each))
            except ValidationError:  # told by the check of objects
                continue
        return found


def served_by(deployment: Object) -> tuple[str, ...]:
    """Namespaces to which an operator's Deployment confines it; empty: all."""
    for container in deployment["spec"]["template"]["spec"].get("containers") or ():
        for each in container.get("env") or ():
            if each["name"] == "TRAINYARD_NAMESPACES":
                try:
                    return tuple(map(str, orjson.loads(each.get("value") or "[]")))
                except ValueError:
                    return ()
    return ()


def name_of(obj: Object) -> str:
    """Namespace/name, or the name alone."""
    namespace = _namespace(obj)
    return f"{namespace}/{obj['metadata']['name']}" if namespace else str(obj["metadata"]["name"])


def time_of(value: Any) -> datetime | None:
    """A time as Kubernetes writes it; None for what is none."""
    return parse(value) if isinstance(value, str) else None


def _namespace(obj: Object) -> str:
    return str(obj["metadata"].get("namespace", ""))


def _has(obj: Object, labels: Mapping[str, str]) -> bool:
    return all(obj["metadata"].get("labels", {}).get(key) == value for key, value in labels.items())
