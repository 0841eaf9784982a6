"""An installation in which all is well, for what looks for faults: as the API server would tell it."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any

import orjson

from tests import builders as b
from trainyard import __version__
from trainyard.api.crds import KINDS, crd
from trainyard.cli.doctor.seen import OPERATOR, Certificate, Installation

Object = dict[str, Any]
NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
SYSTEM = "trainyard-system"
CREATED = "2026-11-01T00:00:00Z"
GROUPS = (
    "apiextensions.k8s.io/v1",
    "coordination.k8s.io/v1",
    "authentication.k8s.io/v1",
    "authorization.k8s.io/v1",
    "scheduling.k8s.io/v1",
    "policy/v1",
    "discovery.k8s.io/v1",
)


@cache
def _kinds() -> bytes:
    """Made once: there are hundreds of fields."""
    status = {"conditions": [{"type": "Established", "status": "True"}]}
    return orjson.dumps([crd(each) | {"status": status} for each in KINDS])


def a_deployment() -> Object:
    meta = {"name": "trainyard", "namespace": SYSTEM, "labels": {**OPERATOR, "app.kubernetes.io/version": __version__}}
    template = {
        "metadata": {"annotations": {"prometheus.io/scrape": "true"}},
        "spec": {"serviceAccountName": "trainyard", "containers": [{"name": "operator"}]},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": meta,
        "spec": {"replicas": 1, "template": template},
        "status": {"replicas": 1, "readyReplicas": 1},
    }


def an_operator_pod() -> Object:
    status = {"phase": "Running", "containerStatuses": [{"name": "operator", "image": "op", "restartCount": 0}]}
    meta = {"name": "trainyard-0", "namespace": SYSTEM, "labels": OPERATOR}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"nodeName": "n0"}, "status": status}


def a_lease() -> Object:
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "trainyard-operator", "namespace": SYSTEM},
        "spec": {
            "holderIdentity": "trainyard-0",
            "renewTime": "2026-11-30T11:59:58.000000Z",
            "leaseDurationSeconds": 15,
        },
    }


def a_node(name: str = "n0", gpus: int = 8) -> Object:
    ready = {"type": "Ready", "status": "True"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"gpu": "h200"}},
        "spec": {},
        "status": {"allocatable": {"nvidia.com/gpu": str(gpus), "cpu": "8"}, "conditions": [ready]},
    }


def stored(obj: Object, *modifiers: b.Modifier) -> Object:
    for modify in (b.meta(uid=f"uid-{obj['metadata']['name']}", creationTimestamp=CREATED, generation=1), *modifiers):
        modify(obj)
    return obj


def sound() -> dict[str, list[Object]]:
    """By kind."""
    return {
        "CustomResourceDefinition": orjson.loads(_kinds()),
        "Deployment": [a_deployment()],
        "Pod": [an_operator_pod()],
        "Lease": [a_lease()],
        "PriorityClass": [
            {
                "apiVersion": "scheduling.k8s.io/v1",
                "kind": "PriorityClass",
                "metadata": {"name": "trainyard-gang"},
                "preemptionPolicy": "Never",
                "value": 0,
            }
        ],
        "Node": [a_node()],
        "Namespace": [b.a_namespace()],
        "Flavor": [stored(b.a_flavor("h200", b.selects(gpu="h200")))],
        "Queue": [stored(b.a_queue("research"))],
        "TrainingJob": [stored(b.training_job("a"))],
        "InferenceService": [stored(b.inference_service("s"))],
    }


def an_installation(
    change: Callable[[dict[str, list[Object]]], object] = lambda _: None, **fields: Any
) -> Installation:
    """A sound one with some objects changed, or with other fields."""
    objects = sound()
    change(objects)
    given: dict[str, Any] = {
        "now": NOW,
        "system": SYSTEM,
        "server_time": NOW,
        "version": "v1.34.1",
        "groups": frozenset(GROUPS),
        "objects": objects,
        "certificate": Certificate(datetime(2026, 12, 20, tzinfo=UTC)),
    }
    return Installation(**given | fields)
