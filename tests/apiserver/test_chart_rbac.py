"""The chart on a real API server: its objects are accepted, its rights suffice and are used, editors forge nothing.

`test_chart` installs, upgrades and uninstalls a release in a cluster of its own.
"""

import pytest
import yaml

from dev.cluster import Cluster
from dev.cluster.api import Api, ApiError
from dev.operator_process import OperatorProcess
from tests import builders as b
from tests.apiserver.operator_process import CHART, SYSTEM, audited, granted, rendered, right
from tests.apiserver.yard import Yard, completes_after

pytestmark = pytest.mark.apiserver

FORBIDDEN = 403
SPARE = {
    # verb group/resource: why it is granted although a journey without accidents does not need it
    "get /pods": "a repeated create asks whose pod is there",
    "get /nodes": "goes with list and watch",
    "get /namespaces": "goes with list and watch",
    "get /persistentvolumeclaims": "a repeated create asks whose claim is there",
    "get /services": "a repeated create asks whose Service is there",
    "get policy/poddisruptionbudgets": "a repeated create asks whose budget is there",
    "get trainyard.dev/flavors": "goes with list and watch",
    "get trainyard.dev/queues": "goes with list and watch",
    "get trainyard.dev/trainingjobs": "goes with list and watch",
    "get trainyard.dev/inferenceservices": "goes with list and watch",
    "create apps/deployments": "an apply of something new is authorised as a create too, and audited as a patch",
    "patch /services": "ports come and go with spec.gateway.tls and grpc",
    "patch /events": "an event that happens again is counted",
    "patch /pods": "a process of this tier is no pod that could be labelled; test_standby labels some",
    "patch /secrets": "the certificate is renewed weeks later",
    "create /configmaps": "what was learned is written every five minutes",
    "patch /configmaps": "what was learned is written every five minutes",
    "create authentication.k8s.io/tokenreviews": "no pod of this tier runs our images and calls the endpoint",
    "create authorization.k8s.io/subjectaccessreviews": "no person asks the endpoint here",
}


def test_helm_finds_nothing_to_complain_about(installed: Cluster) -> None:
    assert "0 chart(s) failed" in installed.helm("lint", "--strict", str(CHART))


def test_every_object_of_the_chart_is_accepted(installed: Cluster) -> None:
    values = (
        "defaultQueue.create=true",
        "operator.replicas=2",
        "networkPolicy.enabled=true",
        "dashboards.enabled=true",
    )
    objects = rendered(installed, *values)
    kinds = {each["kind"] for each in objects}
    assert {"Deployment", "ServiceAccount", "ClusterRole", "Role", "Service", "PriorityClass", "Queue"} <= kinds
    assert {"PodDisruptionBudget", "NetworkPolicy", "ConfigMap", "Pod"} <= kinds
    text = "---\n".join(yaml.safe_dump(each) for each in objects)
    flags = ("--dry-run=server", "--server-side", "--force-conflicts", "--validate=strict")
    printed = installed.kubectl("apply", *flags, "-n", SYSTEM, "-f", "-", input=text)
    assert printed.count("serverside-applied (server dry run)") == len(objects)


@pytest.mark.parametrize("kind", ["Deployment", "Pod"])
def test_pods_of_the_chart_pass_the_strictest_pod_security(bare_yard: Yard, kind: str) -> None:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    bare_yard.patch("Namespace", bare_yard.namespace, {"metadata": {"labels": labels}})
    found = next(each for each in rendered(bare_yard.cluster) if each["kind"] == kind)
    template = found["spec"]["template"] if kind == "Deployment" else found
    template["spec"]["serviceAccountName"] = "default"
    meta = {"labels": template["metadata"]["labels"], "name": "mine", "namespace": bare_yard.namespace}
    bare_yard.until(lambda: bare_yard.kubectl("get", "serviceaccount", "default", "--ignore-not-found"))
    made = bare_yard.create(
        {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": template["spec"]}, dry_run=True
    )
    assert made["metadata"]["name"] == "mine"


def test_the_accounts_rights_suffice_and_each_is_used(yard: Yard, operator: OperatorProcess) -> None:
    assert operator.running
    journey(yard)
    calls = list(audited(yard.cluster))
    refused = [(each["verb"], each["requestURI"]) for each in calls if each["responseStatus"].get("code") in (401, 403)]
    beyond = [each for each in refused if not each[1].split("?")[0].endswith(("/pods", "/events"))]
    assert beyond == [], "pods and events are refused by namespaces' own policies, all else would be our rights"
    used = {right(each["verb"], each["objectRef"]) for each in calls if each.get("objectRef")}
    given = set(granted(rendered(yard.cluster)))
    assert given - used - SPARE.keys() == set(), "granted and never used"
    assert {each for each in used if each.split()[1] != "/"} - given - {"list coordination.k8s.io/leases"} == set()


def journey(yard: Yard) -> None:
    """What an operator does in its life: a gang with storage, its end by time to live, a TensorBoard, a service with its gateway."""
    yard.job("digits", b.workers(2), b.own_claim(), b.ttl(1), completes_after("1s"))
    yard.job("shown", b.own_claim(), b.spec(tensorboard=True))
    yard.until(lambda: yard.get("Deployment", "shown-tensorboard"))
    yard.patch("TrainingJob", "shown", {"spec": {"tensorboard": False}})
    yard.until(lambda: not (yard.get("Deployment", "shown-tensorboard") or yard.get("Service", "shown-tensorboard")))
    claim = b.a_claim("models", namespace=yard.namespace)
    claim["spec"]["resources"] = {"requests": {"storage": "1Gi"}}
    yard.create(claim)
    mine = (b.namespace(yard.namespace), b.queue(yard.queue), b.spec(drainSeconds=1))
    yard.create(b.inference_service("digits", *mine, b.replicas(2)))
    yard.kubectl("wait", "--for=condition=Ready", "tyi/digits", "--timeout=60s")
    yard.patch("InferenceService", "digits", {"spec": {"replicas": 1, "gateway": {"maxConcurrency": 8}}})
    yard.until(lambda: yard.status("digits", "InferenceService")["replicas"] == 1)
    yard.until(lambda: yard.get("TrainingJob", "digits") is None)
    yard.kubectl("wait", "--for=jsonpath={.status.conditions}", "tyf/h200", "--timeout=60s")


# What users may do.


@pytest.fixture
def editor(bare_yard: Yard) -> Api:
    """Somebody with the cluster's role edit in the namespace."""
    bare_yard.kubectl("create", "serviceaccount", "editor")
    bare_yard.kubectl(
        "create", "rolebinding", "editor", "--clusterrole=edit", f"--serviceaccount={bare_yard.namespace}:editor"
    )
    token = bare_yard.kubectl("create", "token", "editor").strip()
    return Api(bare_yard.api.server, token, bare_yard.api.authority)


def test_an_editor_runs_jobs_and_forges_no_status(bare_yard: Yard, editor: Api) -> None:
    mine = (b.namespace(bare_yard.namespace), b.queue(bare_yard.queue))
    jobs, services = bare_yard.path("TrainingJob"), bare_yard.path("InferenceService")

    def may_create() -> bool:
        try:
            return editor.create(jobs, b.training_job("mine", *mine))
        except ApiError as error:
            if error.code != FORBIDDEN:
                raise
            return False  # roles are aggregated within a moment

    bare_yard.until(may_create)
    editor.patch(f"{jobs}/mine", {"spec": {"suspend": True}})
    editor.create(services, b.inference_service("mine", *mine))
    editor.patch(f"{services}/mine/scale", {"spec": {"replicas": 2}})
    forged = {"status": {"phase": "Complete", "result": {"claimName": "x", "path": "x", "digest": "x"}}}
    for path in (f"{jobs}/mine", f"{services}/mine"):
        with pytest.raises(ApiError, match=r'cannot patch resource "\w+/status"'):
            editor.patch(f"{path}/status", forged)
        editor.patch(path, forged)
        status = editor.get(path).get("status", {})
        assert "result" not in status, "a status among other changes is dropped"
        assert status.get("phase") != "Complete"
    with pytest.raises(ApiError, match=r'cannot create resource "queues"'):
        editor.request("POST", bare_yard.path("Queue"), b.a_queue("mine"))
    with pytest.raises(ApiError, match=r'cannot patch resource "flavors"'):
        editor.patch(f"{bare_yard.path('Flavor')}/h200", {"spec": {"nodeSelector": {}}})
    editor.delete(f"{jobs}/mine")
