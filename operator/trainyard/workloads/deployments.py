"""Deployments as we apply them: each carries a hash of what was asked for, so that nothing is applied twice."""

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson

from trainyard.api.names import CONTENT
from trainyard.workloads.plan import Object


def deployment(meta: Object, spec: Object) -> Object:
    """One of our own, marked with what is in it."""
    mark = hashlib.sha256(orjson.dumps(spec, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {**meta, "annotations": {CONTENT: mark}},
        "spec": spec,
    }


def as_wanted(there: Mapping[str, Any] | None, wanted: Object) -> bool:
    """Whether the API server has it as it should be: marked with what we ask for, and not scaled by somebody else since."""
    if there is None:
        return False
    replicas = wanted["spec"].get("replicas")
    return there["metadata"].get("annotations", {}).get(CONTENT) == wanted["metadata"]["annotations"][
        CONTENT
    ] and replicas in (None, there.get("spec", {}).get("replicas", replicas))


def ready_replicas(there: Mapping[str, Any] | None) -> int:
    return int((there or {}).get("status", {}).get("readyReplicas", 0))
