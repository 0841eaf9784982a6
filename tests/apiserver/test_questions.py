"""People without rights over the cluster ask the operator, as themselves: the commands, TLS, token and access reviews are real."""

import json
from pathlib import Path

import pytest

from dev.operator_process import OperatorProcess
from tests import builders as b
from tests.apiserver.yard import Yard
from tests.asker import Asker

pytestmark = pytest.mark.apiserver


@pytest.fixture
def ann(yard: Yard, operator: OperatorProcess, tmp_path: Path) -> Asker:
    return Asker(yard.cluster, yard.namespace, operator, tmp_path)


def test_why_is_answered_to_whoever_may_get_the_job(yard: Yard, ann: Asker) -> None:
    yard.job("huge", b.gpus(640))
    yard.until_phase("huge", "Pending")
    assert ann.is_told("why", "huge")["reason"] == "ExceedsMaxQuota"
    assert "the queue can hold at most" in ann.asks("why", "huge").stdout


@pytest.mark.fault(82)
def test_nobody_is_told_of_another_namespace(ann: Asker) -> None:
    done = ann.asks("why", "anything", namespace="default")
    assert done.returncode != 0
    assert "may not get trainingjobs.trainyard.dev in 'default'" in done.stderr


def test_plan_is_answered_to_whoever_may_create_the_job_and_creates_nothing(
    yard: Yard, ann: Asker, tmp_path: Path
) -> None:
    manifest = b.training_job("planned", b.namespace(yard.namespace), b.queue(yard.queue))
    (tmp_path / "job.json").write_text(json.dumps(manifest))
    (answer,) = ann.is_told("plan", "-f", str(tmp_path / "job.json"))["workloads"]
    assert answer["starts"]
    assert yard.get("TrainingJob", "planned") is None
