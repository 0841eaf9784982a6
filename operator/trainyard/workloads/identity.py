"""Who a pod of ours is: by its labels, or, where somebody took them off, by its owner and its name, which nobody can change."""

from collections.abc import Mapping
from typing import Any

from trainyard.api.names import ATTEMPT_LABEL, INDEX_LABEL, JOB_LABEL, ROLE_LABEL, SERVICE_LABEL

_OWNERS = ("TrainingJob", "InferenceService", "Queue", "Flavor")
_OF_A_JOB = frozenset({ROLE_LABEL, INDEX_LABEL, ATTEMPT_LABEL})
_OF_A_SERVICE = frozenset({ROLE_LABEL, INDEX_LABEL})


def owner(thing: Mapping[str, Any]) -> tuple[str, str, str]:
    """(kind, uid, name) of the controlling owner, if it is one of ours."""
    for each in thing["metadata"].get("ownerReferences", ()):
        if each.get("controller") and each["kind"] in _OWNERS:
            return each["kind"], each["uid"], each["name"]
    return "", "", ""


def labels_of(pod: Mapping[str, Any]) -> Mapping[str, str]:
    """Its labels, with those that say which pod of its owner it is."""
    metadata = pod["metadata"]
    labels: Mapping[str, str] = metadata.get("labels", {})
    if labels.keys() >= _OF_A_JOB or (labels.keys() >= _OF_A_SERVICE and SERVICE_LABEL in labels):
        return labels
    kind, _, name = owner(pod)
    rest = str(metadata["name"]).removeprefix(f"{name}-")
    if kind == "TrainingJob":
        role, _, index = rest.rpartition("-")[0].rpartition("-")
        attempt = rest.rpartition("-")[2]
        if role and index.isdecimal() and attempt.isdecimal():
            return {**labels, JOB_LABEL: name, ROLE_LABEL: role, INDEX_LABEL: index, ATTEMPT_LABEL: attempt}
    if kind == "InferenceService" and rest.isdecimal():
        return {**labels, SERVICE_LABEL: name, ROLE_LABEL: "replica", INDEX_LABEL: rest}
    return labels
