"""Which spec a replica was made of, so that a changed one takes the place of those that run. Pure.

Only what shapes the pod counts, and of that only what the user said: a default that changes with the operator's version
replaces nothing. The model has a digest of its own, and is rolled out by that.
"""

import hashlib

import orjson

from trainyard.api.inference_service import InferenceService, ReplicaAdmission

_SHAPES = {"template", "resources", "batching", "request_limits", "telemetry"}
_LENGTH = 12


def shape_of(service: InferenceService) -> str:
    """A mark of the pods that the spec asks for now."""
    said = service.spec.model_dump(mode="json", by_alias=True, include=_SHAPES, exclude_defaults=True)
    # A single model that is not pinned by a digest is known by where it lies.
    place = {} if service.spec.model.digest else service.spec.model.model_dump(include={"path", "repository"})
    return hashlib.sha256(orjson.dumps([said, place], option=orjson.OPT_SORT_KEYS)).hexdigest()[:_LENGTH]


def is_of(replica: ReplicaAdmission, service: InferenceService) -> bool:
    """Whether the replica's pod is what the spec asks for now. One that was admitted before there were marks is left alone."""
    return replica.shape in ("", shape_of(service))
