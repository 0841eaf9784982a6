"""The chart on a real API server: what it installs works, its rights suffice and are few, and an uninstall takes nothing from users."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dev.cluster import Cluster, ClusterSpec, up
from dev.cluster.errors import CommandError
from dev.operator_process import OperatorProcess
from dev.prometheus import prometheus

pytestmark = pytest.mark.apiserver

CHART = Path(__file__).parents[2] / "helm" / "trainyard"
NAMESPACE = "trainyard-system"
OPERATOR = f"system:serviceaccount:{NAMESPACE}:trainyard"
SETTINGS = ("--namespace", NAMESPACE, "--set", "defaultQueue.create=true,images.operator.tag=dev")
WORK = """
apiVersion: v1
kind: Namespace
metadata: {name: team}
---
apiVersion: trainyard.dev/v1alpha1
kind: TrainingJob
metadata: {name: digits, namespace: team}
spec:
  queue: default
  model: {name: cnn}
  dataset: {name: digits}
  workers: {replicas: 2, resources: {limits: {nvidia.com/gpu: 1}}}
  storage: {claimTemplate: {size: 1Gi}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: models, namespace: team}
spec: {accessModes: [ReadWriteMany], resources: {requests: {storage: 1Gi}}}
---
apiVersion: trainyard.dev/v1alpha1
kind: InferenceService
metadata: {name: digits, namespace: team}
spec:
  queue: default
  model: {claimName: models, path: digits}
  resources: {limits: {nvidia.com/gpu: 1}}
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A cluster of its own: the chart's kinds belong to its release, those of other tests do not."""
    spec = ClusterSpec(name=f"chart-{os.getpid()}", kwok_nodes=2, provider="local", audit=True)
    with up(spec) as cluster:
        cluster.helm("install", "trainyard", str(CHART), "--create-namespace", "--wait", *SETTINGS)
        yield cluster


def read(cluster: Cluster, *what: str) -> Any:
    return json.loads(cluster.kubectl("get", *what, "-o", "json"))


def may(cluster: Cluster, who: str, *what: str) -> bool:
    """Whether RBAC lets `who` do it."""
    try:
        answer = cluster.kubectl("auth", "can-i", *what, f"--as={who}", "--as-group=system:authenticated")
    except CommandError:  # "no" is exit code 1
        return False
    return answer.strip() == "yes"


def test_the_kinds_and_a_first_queue_are_there(cluster: Cluster) -> None:
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd", "trainingjobs.trainyard.dev")
    assert read(cluster, "queue", "default")["spec"]["flavors"][0]["name"] == "default"
    assert read(cluster, "flavor", "default")["spec"]["resources"] == ["nvidia.com/gpu"]
    assert read(cluster, "priorityclass", "trainyard-gang")["preemptionPolicy"] == "Never"


def test_the_operators_rights_suffice_for_a_job_and_a_service(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubeconfig = _kubeconfig_of_the_operator(cluster, tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(CHART.parents[1] / "operator"))
    env = {"TRAINYARD_NAMESPACE": NAMESPACE, "KUBECONFIG": str(kubeconfig)}
    log = tmp_path / "operator.log"
    with OperatorProcess(cluster, kubeconfig=kubeconfig, env=env, log=log) as operator:
        operator.wait_ready()
        cluster.kubectl("apply", "-f", "-", input=WORK)
        cluster.kubectl("wait", "--for=condition=Ready", "--timeout=60s", "-n", "team", "trainingjob/digits")
        cluster.kubectl("wait", "--for=condition=Ready", "--timeout=60s", "-n", "team", "inferenceservice/digits")
        _compare_metrics(operator)
    assert _refused(cluster) == []


def _kubeconfig_of_the_operator(cluster: Cluster, folder: Path) -> Path:
    token = cluster.kubectl("create", "token", "trainyard", "-n", NAMESPACE, "--duration=1h").strip()
    config = json.loads(cluster.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token}
    path = folder / "kubeconfig"
    path.write_text(json.dumps(config))
    return path


def _compare_metrics(operator: OperatorProcess) -> None:
    """What a real Prometheus reads of the real operator is what the cluster holds."""
    with prometheus({"operator": operator.url.removeprefix("http://")}, interval=0.5) as scraped:
        scraped.wait_for('trainyard_inference_service_ready{namespace="team"} == 1')
        assert len(scraped.families("trainyard_")) >= 25
        assert scraped.value('sum(trainyard_node_gpus{state="allocated"})') == 3
        assert scraped.value('sum(trainyard_quota_used{queue="default"})') == 3
        assert scraped.value("sum(trainyard_operator_leader)") == 1
        assert scraped.value('trainyard_training_job_phase{training_job="digits",phase="Running"}') == 1
        assert scraped.value('sum(trainyard_kube_requests_total{code="403"}) or vector(0)') == 0


def _refused(cluster: Cluster) -> list[str]:
    """Requests of the operator that RBAC refused."""
    entries = (json.loads(line) for line in cluster.audit_log.read_text().splitlines())
    mine = [each for each in entries if each["user"]["username"] == OPERATOR]
    assert mine, "the operator called nothing as its own account"
    return [
        f"{each['verb']} {each['requestURI']}" for each in mine if each.get("responseStatus", {}).get("code") == 403
    ]


@pytest.mark.fault(82)
@pytest.mark.parametrize(
    "what",
    [
        ("get", "secrets", "-n", "team"),
        ("list", "secrets", "-n", NAMESPACE),
        ("get", "secret/other", "-n", NAMESPACE),
        ("delete", "secret/trainyard-operator-tls", "-n", NAMESPACE),
        ("update", "trainingjobs.trainyard.dev", "-n", "team"),
        ("delete", "inferenceservices.trainyard.dev", "-n", "team"),
        ("delete", "statefulsets.apps", "-n", "team"),
        ("delete", "persistentvolumeclaims", "-n", "team"),
        ("create", "pods", "--subresource=exec", "-n", "team"),
        ("patch", "pods", "-n", "team"),
        ("patch", "nodes"),
        ("create", "clusterrolebindings.rbac.authorization.k8s.io"),
        ("impersonate", "users"),
    ],
    ids=" ".join,
)
def test_the_operator_may_not(cluster: Cluster, what: tuple[str, ...]) -> None:
    assert not may(cluster, OPERATOR, *what)


@pytest.mark.parametrize(
    ("role", "what", "allowed"),
    [
        ("view", ("get", "trainingjobs.trainyard.dev"), True),
        ("view", ("create", "trainingjobs.trainyard.dev"), False),
        ("edit", ("create", "trainingjobs.trainyard.dev"), True),
        ("edit", ("patch", "inferenceservices.trainyard.dev", "--subresource=scale"), True),
        ("edit", ("patch", "trainingjobs.trainyard.dev", "--subresource=status"), False),
        ("edit", ("update", "inferenceservices.trainyard.dev", "--subresource=status"), False),
        ("admin", ("delete", "inferenceservices.trainyard.dev"), True),
        ("admin", ("patch", "trainingjobs.trainyard.dev", "--subresource=status"), False),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_users_get_trainyards_kinds_with_the_clusters_roles(
    cluster: Cluster, role: str, what: tuple[str, ...], allowed: bool
) -> None:
    make = ("create", "rolebinding", f"user-{role}", f"--clusterrole={role}", f"--user={role}-of-default")
    cluster.kubectl("apply", "-n", "default", "-f", "-", input=cluster.kubectl(*make, "--dry-run=client", "-o", "json"))
    cluster.kubectl("wait", "--for=create", "--timeout=60s", f"clusterrole/{NAMESPACE}:trainyard-edit")
    assert may(cluster, f"{role}-of-default", *what, "-n", "default") is allowed


@pytest.mark.fault(26, 29)
def test_an_upgrade_and_an_uninstall_take_nothing_from_users(cluster: Cluster) -> None:
    cluster.kubectl("apply", "-f", "-", input=WORK)
    cluster.kubectl("run", "mine", "-n", "team", "--image=x", "--overrides", json.dumps(_owned_by_the_job(cluster)))
    before = _belongings(cluster)
    cluster.helm("upgrade", "trainyard", str(CHART), *SETTINGS, "--set", "operator.logLevel=DEBUG")
    assert _belongings(cluster) == before
    cluster.helm("uninstall", "trainyard", "--namespace", NAMESPACE, "--wait")
    assert _belongings(cluster) == before
    assert read(cluster, "deployments", "-n", NAMESPACE)["items"] == []
    assert not [each for each in read(cluster, "clusterroles")["items"] if "trainyard" in each["metadata"]["name"]]
    cluster.helm("install", "trainyard", str(CHART), *SETTINGS)
    assert _belongings(cluster) == before


def _owned_by_the_job(cluster: Cluster) -> dict[str, Any]:
    job = read(cluster, "trainingjob", "digits", "-n", "team")
    owner = {"apiVersion": job["apiVersion"], "kind": job["kind"], "name": "digits", "uid": job["metadata"]["uid"]}
    return {"metadata": {"ownerReferences": [owner]}}


def _belongings(cluster: Cluster) -> dict[str, str]:
    """Uid of everything that is a user's."""
    kinds = "crd,priorityclasses,flavors,queues,trainingjobs,inferenceservices,pods"
    found = read(cluster, kinds, "--all-namespaces")["items"]
    return {
        f"{each['kind']} {each['metadata']['name']}": each["metadata"]["uid"]
        for each in found
        if each["metadata"].get("namespace", "") in ("", "team") and not each["metadata"].get("deletionTimestamp")
    }
