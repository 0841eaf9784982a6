"""Writes the CustomResourceDefinitions of all kinds: `python -m trainyard.api.crds FOLDER`."""

import sys
from pathlib import Path
from typing import Any

import yaml

from trainyard.api.flavor import Flavor
from trainyard.api.inference_service import InferenceService
from trainyard.api.meta import Model
from trainyard.api.names import GROUP, VERSION
from trainyard.api.queue import Queue
from trainyard.api.schema import structural_schema
from trainyard.api.training_job import TrainingJob

Column = tuple[str, str, str]  # header, type, path; a header with * is shown only with -o wide

_COLUMNS: dict[str, list[Column]] = {
    "Flavor": [
        ("Nodes", "integer", ".status.nodes"),
        ("Ready", "integer", ".status.readyNodes"),
        ("Spot*", "boolean", ".spec.spot"),
        ("Fractional*", "boolean", ".spec.fractional"),
        ("Price*", "number", ".spec.pricePerHour"),
    ],
    "Queue": [
        ("Parent", "string", ".spec.parent"),
        ("Pending", "integer", ".status.pending"),
        ("Admitted", "integer", ".status.admitted"),
        ("Use", "string", ".status.summary"),
        ("Stop", "string", ".spec.stopPolicy"),
        ("Weight*", "integer", ".spec.weight"),
    ],
    "TrainingJob": [
        ("Phase", "string", ".status.phase"),
        ("Reason", "string", ".status.reason"),
        ("Queue", "string", ".spec.queue"),
        ("Pos", "integer", ".status.queuePosition"),
        ("GPUs", "integer", ".status.gpus"),
        ("Step", "integer", ".status.progress.step"),
        ("Of", "integer", ".status.progress.totalSteps"),
        ("ETA", "string", ".status.progress.eta"),
        ("Start*", "string", ".status.eta.likely"),
        ("Accuracy*", "number", ".status.progress.metrics.accuracy"),
        ("Restarts*", "integer", ".status.restarts"),
        ("Preemptions*", "integer", ".status.preemptions"),
    ],
    "InferenceService": [
        ("Phase", "string", ".status.phase"),
        ("Reason", "string", ".status.reason"),
        ("Queue", "string", ".spec.queue"),
        ("Ready", "integer", ".status.readyReplicas"),
        ("Desired", "integer", ".status.desiredReplicas"),
        ("GPUs", "integer", ".status.gpus"),
        ("URL*", "string", ".status.url"),
    ],
}
_SCALE = {
    "specReplicasPath": ".spec.replicas",
    "statusReplicasPath": ".status.replicas",
    "labelSelectorPath": ".status.selector",
}
_CLUSTER_SCOPED = frozenset({"Flavor", "Queue"})

KINDS: tuple[type[Flavor | Queue | TrainingJob | InferenceService], ...] = (
    Flavor,
    Queue,
    TrainingJob,
    InferenceService,
)


def crd(model: type[Flavor | Queue | TrainingJob | InferenceService]) -> dict[str, Any]:
    """The CustomResourceDefinition of one kind, as applied to a cluster."""
    kind = model.__name__
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": _root_schema(model)},
        "subresources": {"status": {}} | ({"scale": _SCALE} if kind == "InferenceService" else {}),
        "additionalPrinterColumns": [
            *map(_column, _COLUMNS[kind]),
            _column(("Age", "date", ".metadata.creationTimestamp")),
        ],
    }
    names = {
        "kind": kind,
        "listKind": f"{kind}List",
        "plural": model.plural,
        "singular": kind.lower(),
        "shortNames": [model.short],
        "categories": ["trainyard"],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        # Deleting a CRD deletes every object of its kind: uninstalling the chart must not.
        "metadata": {"name": f"{model.plural}.{GROUP}", "annotations": {"helm.sh/resource-policy": "keep"}},
        "spec": {
            "group": GROUP,
            "scope": "Cluster" if kind in _CLUSTER_SCOPED else "Namespaced",
            "names": names,
            "versions": [version],
        },
    }


def _root_schema(model: type[Model]) -> dict[str, Any]:
    schema = structural_schema(model)
    properties = schema["properties"]
    properties["apiVersion"] = {"type": "string", "description": "Version of the schema of this object."}
    properties["kind"] = {"type": "string", "description": "Kind of this object."}
    properties["metadata"] = {"type": "object"}
    properties["status"].pop("default", None)
    schema["required"] = [each for each in schema.get("required", []) if each == "spec"]
    return schema


def _column(column: Column) -> dict[str, Any]:
    header, kind, path = column
    return {"name": header.removesuffix("*"), "type": kind, "jsonPath": path} | (
        {"priority": 1} if header.endswith("*") else {}
    )


class _Plain(yaml.SafeDumper):
    """Repeats what occurs twice: people read these files, and references in YAML help nobody."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def write(folder: Path) -> None:
    """Write one file for each kind."""
    for model in KINDS:
        text = yaml.dump(crd(model), Dumper=_Plain, sort_keys=False, width=1000)
        (folder / f"{model.plural}.yaml").write_text(
            f"# Generated by `make generate` from operator/trainyard/api; do not edit.\n{text}"
        )


if __name__ == "__main__":
    write(Path(sys.argv[1]))
