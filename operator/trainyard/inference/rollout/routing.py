"""Which replicas are the canary's, and what share of the requests the gateways give them: read from the status alone."""

from typing import Any

from trainyard.api.inference_service import InferenceService
from trainyard.api.rollout import RolloutStatus, Shadow


def is_canary(service: InferenceService, digest: str) -> bool:
    """Whether replicas of this model stand apart from those that share the requests, also while they drain after a rollback."""
    rollout = service.status.rollout
    return rollout is not None and rollout.phase != "Promoted" and digest != rollout.stable.digest


def split(service: InferenceService) -> dict[str, Any] | None:
    """Part of the list that gateways follow; None while the new model gets nothing, not even a request with the header."""
    rollout, header = service.status.rollout, service.spec.rollout.header
    if rollout is None or rollout.phase not in ("Progressing", "Paused") or not has_traffic(rollout):
        return None
    named = header.model_dump() if header is not None and rollout.weight else None
    found = {"weight": 100 * rollout.weight, "header": named, "shadow": 100 * rollout.shadow}
    shadow = service.spec.rollout.shadow
    return found | ({"tolerance": _tolerance(shadow)} if rollout.shadow and shadow is not None else {})


def has_traffic(rollout: RolloutStatus) -> bool:
    """Whether the new model gets requests or copies of them."""
    return bool(rollout.weight or rollout.shadow)


def _tolerance(shadow: Shadow) -> dict[str, float]:
    return {"relative": shadow.relative_tolerance, "absolute": shadow.absolute_tolerance}
