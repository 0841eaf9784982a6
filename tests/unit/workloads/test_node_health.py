"""What conditions and failed attempts say of a node."""

from datetime import UTC, datetime, timedelta

import pytest

from tests import builders as b
from trainyard.api.training_job import TrainingJob
from trainyard.workloads.node_health import FAILURE_SECONDS, broken, failures

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("kind", "status", "is_broken"),
    [
        ("AcceleratedHardwareReady", "False", True),
        ("AcceleratedHardwareReady", "True", False),
        ("AcceleratedHardwareReady", "Unknown", False),
        ("GPUMissing", "True", True),
        ("GPUMissing", "False", False),
        ("GpuDriverHealthy", "True", False),
        ("GpuDriverHealthy", "False", True),
        ("NebiusGPUError", "True", True),
        ("KernelDeadlock", "True", True),
        ("Ready", "False", False),
        ("MemoryPressure", "True", False),
    ],
)
def test_conditions_of_monitors_are_understood(kind: str, status: str, is_broken: bool) -> None:
    assert broken([{"type": "Ready", "status": "True"}, {"type": kind, "status": status}]) == (
        kind if is_broken else ""
    )


def a_job(name: str, **status: object) -> TrainingJob:
    return TrainingJob.model_validate({**b.training_job(name), "status": status})


def restarted(node: str, ago: float) -> dict[str, object]:
    return {"attempt": 1, "cause": "exit code 1", "time": (NOW - timedelta(seconds=ago)).isoformat(), "node": node}


def test_jobs_that_failed_on_a_node_lately_are_counted_once_each() -> None:
    avoid = [{"name": "n1", "until": (NOW + timedelta(seconds=60)).isoformat()}]
    over = [{"name": "n1", "until": NOW.isoformat()}]
    jobs = [
        a_job("a", avoid=avoid, lastRestart=restarted("n1", 60)),
        a_job("b", lastRestart=restarted("n1", FAILURE_SECONDS - 1)),
        a_job("c", lastRestart=restarted("n1", FAILURE_SECONDS + 1)),
        a_job("d", avoid=over),
        a_job("e", lastRestart=restarted("", 60)),
        a_job("f", lastRestart=restarted("n2", 60)),
        a_job("g"),
    ]
    assert failures(jobs, NOW) == {"n1": 2, "n2": 1}
