"""How far training is: from what its rank 0 says."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from trainyard.api.training_job import Progress
from trainyard.training.checkpoint_interval import told

_LONGEST_ETA = 366 * 86_400.0
_LONGEST_NAME = 64


def same_progress(old: Progress | None, new: Progress | None) -> bool:
    """Whether nothing is told that a reader does not know, apart from when."""
    if old is None or new is None:
        return old is new
    return old.model_copy(update={"updated_at": new.updated_at, "eta": new.eta}) == new


def progress_of(body: Mapping[str, Any], old: Progress | None, now: datetime) -> Progress:
    metrics = measures_of(body) or (old.metrics if old else {})
    step, total, rate = int(body.get("step") or 0), body.get("totalSteps"), _step_rate(body, old, now)
    return Progress(
        phase=str(body.get("phase", ""))[:64],
        step=step,
        total_steps=total if total is not None else (old.total_steps if old else None),
        epoch=body.get("epoch"),
        loss=body.get("loss"),
        metrics=dict(list(metrics.items())[:32]),
        throughput=body.get("throughput"),
        world_size=body.get("worldSize") or (old.world_size if old else None),
        restored_step=body["restoredStep"]
        if body.get("restoredStep") is not None
        else (old.restored_step if old else None),
        eta=_duration((total - step) / rate) if total and rate and total > step else "",
        warning=str(body.get("warning") or (old.warning if old else ""))[:1024],
        checkpoint_failures=int(body.get("checkpointFailures") or 0),
        checkpointing=told(body.get("checkpointing")) or (old.checkpointing if old else None),
        updated_at=now,
    )


def measures_of(body: Mapping[str, Any]) -> dict[str, float]:
    """Measures on held-out data, by names that are not too long."""
    return {str(name)[:_LONGEST_NAME]: float(value) for name, value in (body.get("metrics") or {}).items()}


def _step_rate(body: Mapping[str, Any], old: Progress | None, now: datetime) -> float | None:
    """Steps per second: what the trainer says, else what two reports tell."""
    if isinstance(rate := body.get("stepsPerSecond"), int | float) and rate > 0:
        return float(rate)
    if old is None or (seconds := (now - old.updated_at).total_seconds()) <= 0:
        return None
    made = int(body.get("step") or 0) - old.step
    return made / seconds if made > 0 else None


def _duration(seconds: float) -> str:
    """As in 45s, 3m20s, 5h12m."""
    if seconds > _LONGEST_ETA:
        return "over a year"
    whole = int(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{whole % 60:02}s" if minutes else f"{whole}s"
