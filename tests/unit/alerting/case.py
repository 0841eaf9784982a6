"""What Prometheus is shown, and which alert must follow. Values are in promtool's notation, one each `step`."""

from collections.abc import Mapping
from dataclasses import dataclass, field

Shown = Mapping[str, str]
"""Values by series."""


@dataclass(frozen=True)
class Case:
    """fires: what makes the alert fire by `at`, with these labels. quiet: what comes near to it, and must not.

    also: what both see, too.
    """

    alert: str
    at: str
    fires: Shown
    quiet: tuple[Shown, ...]
    labels: Mapping[str, str] = field(default_factory=dict)
    also: Shown = field(default_factory=dict)
    step: str = "1m"


def series(metric: str, **labels: str) -> str:
    inside = ",".join(f'{name.rstrip("_")}="{value}"' for name, value in labels.items())
    return f"trainyard_{metric}{{{inside}}}"


JOB = {"namespace": "vision", "training_job": "digits"}
SERVICE = {"namespace": "vision", "inference_service": "digits"}


def of_job(metric: str, **labels: str) -> str:
    return series(f"training_job_{metric}", **JOB, **labels)


def of_service(metric: str, **labels: str) -> str:
    return series(f"inference_service_{metric}", **SERVICE, **labels)


def of_gateway(metric: str, pod: str = "gateway-1", **labels: str) -> str:
    return series(f"gateway_{metric}", **SERVICE, pod=pod, **labels)


def of_server(metric: str, **labels: str) -> str:
    return series(f"server_{metric}", **SERVICE, pod="replica-1", **labels)


def latency(metric: str, fast: str, slow: str, **labels: str) -> dict[str, str]:
    """A histogram whose values are below 0.1 s as often as `fast` says, and below 1000 s as often as `slow` does."""
    return {
        series(f"{metric}_bucket", **labels, le="0.1"): fast,
        series(f"{metric}_bucket", **labels, le="1000"): slow,
        series(f"{metric}_bucket", **labels, le="+Inf"): slow,
    }
