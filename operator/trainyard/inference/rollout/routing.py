"""Which replicas are the canary's, and what share of the requests the gateways give them: read from the status alone."""

from typing import Any

from trainyard.api.inference_service import InferenceService


def is_canary(service: InferenceService, digest: str) -> bool:
    """Whether replicas of this model stand apart from those that share the requests, also while they drain after a rollback."""
    rollout = service.status.rollout
    return rollout is not None and rollout.phase != "Promoted" and digest != rollout.stable.digest


def split(service: InferenceService) -> dict[str, Any] | None:
    """Part of the list that gateways follow; None while the new model gets no request, not even one with the header."""
    rollout, header = service.status.rollout, service.spec.rollout.header
    if rollout is None or rollout.phase not in ("Progressing", "Paused") or not rollout.weight:
        return None
    named = header.model_dump() if header is not None else None
    return {"weight": 100 * rollout.weight, "header": named, "shadow": 0}
