"""People without rights over the cluster ask the operator, as themselves: the commands, TLS, token and access reviews are real."""

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dev.cluster.control_plane import write_kubeconfig
from dev.operator_process import OperatorProcess
from tests import builders as b
from tests.apiserver.operator_process import SYSTEM
from tests.apiserver.yard import Yard

pytestmark = pytest.mark.apiserver


class Ann:
    """Somebody who may see and create jobs in one namespace, and nothing else."""

    def __init__(self, yard: Yard, operator: OperatorProcess, folder: Path) -> None:
        namespace, cluster = yard.namespace, yard.cluster
        cluster.kubectl("create", "serviceaccount", "ann", "-n", namespace)
        verbs = ("--verb=get,list,create", "--resource=trainingjobs.trainyard.dev")
        cluster.kubectl("create", "role", "ann", "-n", namespace, *verbs)
        cluster.kubectl(
            "create", "rolebinding", "ann", "-n", namespace, "--role=ann", f"--serviceaccount={namespace}:ann"
        )
        token = cluster.kubectl("create", "token", "ann", "-n", namespace).strip()
        given = json.loads(cluster.kubeconfig.read_text())["clusters"][0]["cluster"]
        self._kubeconfig = folder / "ann.kubeconfig"
        write_kubeconfig(self._kubeconfig, "ann", given["server"], token, Path(given["certificate-authority"]))
        secret = json.loads(cluster.kubectl("get", "secret", "trainyard-operator-tls", "-n", SYSTEM, "-o", "json"))
        self._authority = folder / "operator-ca.crt"
        self._authority.write_bytes(base64.b64decode(secret["data"]["ca.crt"]))
        self._server, self._namespace = f"https://localhost:{operator.https_port}", namespace

    def asks(self, *words: str, namespace: str = "") -> subprocess.CompletedProcess[str]:
        where = ("--server", self._server, "--server-ca", str(self._authority), "--kubeconfig", str(self._kubeconfig))
        command = (sys.executable, "-m", "trainyard.cli", *words, "-n", namespace or self._namespace, *where)
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    def is_told(self, *words: str) -> Any:
        done = self.asks(*words, "-o", "json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def ann(yard: Yard, operator: OperatorProcess, tmp_path: Path) -> Ann:
    return Ann(yard, operator, tmp_path)


def test_why_is_answered_to_whoever_may_get_the_job(yard: Yard, ann: Ann) -> None:
    yard.job("huge", b.gpus(640))
    yard.until_phase("huge", "Pending")
    assert ann.is_told("why", "huge")["reason"] == "ExceedsMaxQuota"
    assert "the queue can hold at most" in ann.asks("why", "huge").stdout


def test_nobody_is_told_of_another_namespace(ann: Ann) -> None:
    done = ann.asks("why", "anything", namespace="default")
    assert done.returncode != 0
    assert "may not get trainingjobs.trainyard.dev in 'default'" in done.stderr


def test_plan_is_answered_to_whoever_may_create_the_job_and_creates_nothing(
    yard: Yard, ann: Ann, tmp_path: Path
) -> None:
    manifest = b.training_job("planned", b.namespace(yard.namespace), b.queue(yard.queue))
    (tmp_path / "job.json").write_text(json.dumps(manifest))
    (answer,) = ann.is_told("plan", "-f", str(tmp_path / "job.json"))["workloads"]
    assert answer["starts"]
    assert yard.get("TrainingJob", "planned") is None
