"""What the doctor finds: each fault in an installation that is sound otherwise, and nothing in a sound one."""

import base64
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tests import builders as b
from tests.unit.cli.conftest import Run
from tests.unit.cli.stub_api import StubApi, a_person
from tests.unit.cli.yards import CREATED, GROUPS, NOW, SYSTEM, Object, a_lease, a_node, an_installation, stored
from trainyard.api.names import RESTORING
from trainyard.cli.doctor.checks import CHECKS, examine
from trainyard.cli.doctor.conformance import version_of
from trainyard.cli.doctor.finding import Severity
from trainyard.cli.doctor.seen import Certificate, Unread

Objects = dict[str, list[Object]]


def test_nothing_is_found_where_all_is_well() -> None:
    assert examine(an_installation()).findings == []


def test_nothing_is_claimed_of_what_could_not_be_read() -> None:
    """Somebody without rights is told so, and not that everything is missing."""
    seen = an_installation(
        objects={},
        groups=frozenset(),
        version="",
        server_time=None,
        certificate=None,
        unread=(Unread("list of Nodes", "forbidden"),),
    )
    (only,) = examine(seen).findings
    assert (only.severity, only.what) == (Severity.NOTE, "it could not be looked at: forbidden")


def first(kind: str, change: Callable[[Object], object]) -> Callable[[Objects], object]:
    """Change the first object of a kind."""
    return lambda objects: change(objects[kind][0])


def without(*kinds: str) -> Callable[[Objects], object]:
    return lambda objects: objects.update({kind: [] for kind in kinds})


def with_one(kind: str, obj: Object) -> Callable[[Objects], object]:
    return lambda objects: objects[kind].append(obj)


def in_place_of(kind: str, obj: Object) -> Callable[[Objects], object]:
    return lambda objects: objects.update({kind: [obj]})


def schema(obj: Object) -> Object:
    found: Object = obj["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return found


def a_pod(name: str = "w", **status: object) -> Object:
    return {"metadata": {"name": name, "namespace": "team"}, "spec": {"nodeName": "n0"}, "status": status}


def not_pulled() -> Object:
    waiting = {"reason": "ImagePullBackOff", "message": "no such host"}
    return a_pod(containerStatuses=[{"image": "trainer:x", "state": {"waiting": waiting}}])


def ending(since: str) -> Object:
    pod = a_pod()
    pod["metadata"]["deletionTimestamp"] = since
    return pod


def condition(kind: str, value: str, reason: str, message: str) -> b.Modifier:
    stated = {"type": kind, "status": value, "reason": reason, "message": message, "lastTransitionTime": CREATED}
    return b.status(conditions=[stated])


def gone_for_good(obj: Object) -> None:
    obj["metadata"] |= {"deletionTimestamp": CREATED, "finalizers": ["somebody.example/keeps"]}


def sick(obj: Object) -> None:
    obj["status"]["conditions"].append({"type": "GPUMissing", "status": "True"})


def one_of_two_sick(objects: Objects) -> None:
    sick(objects["Node"][0])
    objects["Node"].append(a_node("n1"))


FAULTS: list[tuple[Callable[[Objects], object], Severity, str]] = [
    (
        lambda objects: objects["CustomResourceDefinition"].pop(),
        Severity.PROBLEM,
        "there is no such CustomResourceDefinition",
    ),
    (
        first("CustomResourceDefinition", lambda each: each.update(status={})),
        Severity.PROBLEM,
        "the API server does not serve it",
    ),
    (
        first("CustomResourceDefinition", lambda each: schema(each)["properties"].pop("status")),
        Severity.WARNING,
        "its schema is not that of Trainyard",
    ),
    (without("Deployment"), Severity.PROBLEM, "there is no Deployment of the operator"),
    (first("Deployment", lambda each: each["spec"].update(replicas=0)), Severity.PROBLEM, "scaled to zero"),
    (
        first("Deployment", lambda each: each.update(status={"replicas": 1})),
        Severity.PROBLEM,
        "0 of its 1 pods are ready",
    ),
    (
        first("Deployment", lambda each: each["metadata"]["labels"].update({"app.kubernetes.io/version": "9.9"})),
        Severity.NOTE,
        "it is of version 9.9",
    ),
    (
        first("Deployment", lambda each: each["spec"]["template"]["metadata"].clear()),
        Severity.NOTE,
        "tells Prometheus to scrape",
    ),
    (
        first("Pod", lambda each: each["status"]["containerStatuses"][0].update(restartCount=7)),
        Severity.WARNING,
        "started again 7 times",
    ),
    (without("Lease"), Severity.PROBLEM, "there is none: no operator ever led here"),
    (first("Lease", lambda each: each["spec"].update(holderIdentity="")), Severity.PROBLEM, "nobody leads"),
    (
        first("Lease", lambda each: each["spec"].update(renewTime="2026-11-30T11:58:00Z")),
        Severity.PROBLEM,
        "renewed it 120 s ago",
    ),
    (
        first("Lease", lambda each: each["spec"].update(renewTime="2026-11-30T12:01:00Z")),
        Severity.WARNING,
        "that of pod trainyard-0 is 60 s ahead",
    ),
    (
        first("Lease", lambda each: each["spec"].update(holderIdentity="laptop")),
        Severity.WARNING,
        "laptop leads, which is no pod",
    ),
    (without("PriorityClass"), Severity.PROBLEM, "there is none"),
    (
        first("PriorityClass", lambda each: each.pop("preemptionPolicy")),
        Severity.WARNING,
        "preemptionPolicy is PreemptLowerPriority",
    ),
    (without("Flavor", "Node"), Severity.PROBLEM, "there is none"),
    (
        first("Node", lambda each: each["metadata"]["labels"].clear()),
        Severity.PROBLEM,
        "no node has its labels (gpu=h200)",
    ),
    (
        first("Node", lambda each: each["status"]["allocatable"].pop("nvidia.com/gpu")),
        Severity.PROBLEM,
        "none of its 1 nodes offers nvidia.com/gpu",
    ),
    (first("Node", sick), Severity.PROBLEM, "1 of 1 nodes are sick: n0 (GPUMissing)"),
    (
        one_of_two_sick,
        Severity.WARNING,
        "1 of 2 nodes are sick",
    ),
    (
        with_one("Node", {**a_node("n1"), "metadata": {"name": "n1"}}),
        Severity.WARNING,
        "1 with 8 GPUs belong to no flavor: n1",
    ),
    (without("Queue"), Severity.PROBLEM, "there is none"),
    (
        first("Queue", condition("Ready", "False", "Misconfigured", "spec.parent: a -> a is a cycle")),
        Severity.PROBLEM,
        "is a cycle",
    ),
    (first("Queue", b.hold()), Severity.NOTE, "its stopPolicy is Hold"),
    (first("Queue", b.spec(namespaceSelector={})), Severity.WARNING, "its namespaceSelector is empty"),
    (first("Queue", b.open_to(team="nobody")), Severity.WARNING, "no namespace has the labels"),
    (first("Queue", b.spec(flavors=[])), Severity.WARNING, "neither it nor a queue above it has quotas"),
    (
        in_place_of("Queue", stored(b.a_queue("research", gpus=9))),
        Severity.WARNING,
        "guaranteed 9 nvidia.com/gpu, and its nodes offer 8",
    ),
    (first("TrainingJob", b.spec(queue=7)), Severity.PROBLEM, "it cannot be understood: spec.queue"),
    (
        first("TrainingJob", condition("Admitted", "False", "Misconfigured", "no such claim")),
        Severity.WARNING,
        "no such claim",
    ),
    (first("TrainingJob", gone_for_good), Severity.PROBLEM, "held by somebody.example/keeps"),
    (
        first("InferenceService", b.status(readyReplicas=2, gateways=0)),
        Severity.PROBLEM,
        "2 replicas answer, and none of its gateways",
    ),
    (with_one("Pod", not_pulled()), Severity.PROBLEM, "1 pods cannot pull it: no such host"),
    (
        with_one("Pod", ending("2026-11-30T11:40:00Z")),
        Severity.PROBLEM,
        "1 should have ended more than ten minutes ago",
    ),
    (
        first("Queue", b.meta(annotations={RESTORING: "sha256:x"})),
        Severity.WARNING,
        "1 objects are still marked as being restored",
    ),
]


def confined(*namespaces: str) -> Callable[[Object], object]:
    env = [{"name": "TRAINYARD_NAMESPACES", "value": json.dumps(namespaces)}]
    return lambda each: each["spec"]["template"]["spec"]["containers"][0].update(env=env)


FAULTS += [
    (
        with_one("Lease", {**a_lease(), "metadata": {"name": "trainyard-operator", "namespace": "beside"}}),
        Severity.PROBLEM,
        "another one leads in beside",
    ),
    (first("Deployment", confined("team", "gone")), Severity.PROBLEM, "there is no namespace gone"),
    (
        first("Deployment", confined("research")),
        Severity.WARNING,
        "objects stand in namespaces that the operator does not look after: team/",
    ),
]


@pytest.mark.parametrize(("change", "severity", "what"), FAULTS, ids=[each[2] for each in FAULTS])
def test_each_fault_is_found(change: Callable[[Objects], object], severity: Severity, what: str) -> None:
    found = [each for each in examine(an_installation(change)).findings if what in each.what]
    assert [each.severity for each in found] == [severity], examine(an_installation(change)).findings
    assert found[0].why
    assert found[0].remedy


@pytest.mark.parametrize(
    ("fields", "severity", "what"),
    [
        ({"refused": ("create pods",)}, Severity.PROBLEM, "its account may not create pods"),
        ({"metrics": {"trainyard_invariant_violations_total": 2.0}}, Severity.PROBLEM, "2 findings of broken promises"),
        ({"server_time": NOW - timedelta(seconds=30)}, Severity.WARNING, "that of this machine is 30 s ahead"),
        ({"version": "v1.28.4-eks"}, Severity.PROBLEM, "the API server is of version v1.28.4-eks"),
        ({"groups": frozenset(GROUPS) - {"policy/v1"}}, Severity.PROBLEM, "PodDisruptionBudget is not there"),
        ({"certificate": Certificate(NOW - timedelta(days=1))}, Severity.PROBLEM, "certificate ended 2026-11-29"),
        (
            {"certificate": Certificate(NOW + timedelta(days=2))},
            Severity.WARNING,
            "ends 2026-12-02 12:00Z and was not renewed",
        ),
    ],
)
def test_what_no_object_tells_is_found(fields: dict[str, Any], severity: Severity, what: str) -> None:
    found = examine(an_installation(**fields)).findings
    assert (severity, True) in [(each.severity, what in each.what) for each in found], found


@pytest.mark.parametrize("kind", ["Queue", "TrainingJob"])
def test_what_goes_soon_is_not_stuck(kind: str) -> None:
    soon = (NOW - timedelta(minutes=1)).isoformat()
    change = first(kind, lambda each: each["metadata"].update(deletionTimestamp=soon, finalizers=["x"]))
    assert examine(an_installation(change)).findings == []


def test_a_quota_above_is_enough_and_a_cycle_ends() -> None:
    def tree(objects: Objects) -> None:
        objects["Queue"].append(stored(b.a_queue("below", b.spec(flavors=[], parent="research"))))

    assert examine(an_installation(tree)).findings == []
    found = examine(an_installation(first("Queue", b.spec(flavors=[], parent="research")))).findings
    assert all("quotas" not in each.what for each in found)


def test_the_worst_comes_first() -> None:
    def several(objects: Objects) -> None:
        b.hold()(objects["Queue"][0])
        objects["PriorityClass"].clear()
        objects["Node"].append({**a_node("n1"), "metadata": {"name": "n1"}})

    severities = [each.severity for each in examine(an_installation(several)).findings]
    assert severities == [Severity.PROBLEM, Severity.WARNING, Severity.NOTE]


def test_every_check_finds_something_in_some_fault() -> None:
    """A check that nothing here makes speak is not tested."""
    yards = [an_installation(change) for change, *_ in FAULTS]
    silent = {check.__name__ for check in CHECKS if not any(list(check(each)) for each in yards)}
    assert silent == {
        "kubernetes_has_what_is_needed",
        "rights_suffice",
        "certificate_lasts",
        "promises_hold",
        "clocks_agree",
        "all_was_read",
    }


@pytest.mark.parametrize(
    ("text", "version"), [("v1.34.1-gke.5", (1, 34)), ("1.29+", (1, 29)), ("", None), ("main", None)]
)
def test_versions_are_read(text: str, version: tuple[int, int] | None) -> None:
    assert version_of(text) == version


# The command.


def test_a_sound_installation_is_called_so(yard: StubApi, run: Run) -> None:
    assert run("doctor") == (0, "all is well: Trainyard 0.1.0 on Kubernetes v1.34.1\n", "")


def test_the_exit_code_tells_problems_from_warnings(yard: StubApi, run: Run) -> None:
    node = yard.objects["/api/v1/nodes/n0"]
    yard.add({**node, "metadata": {"name": "n1"}})
    code, printed, complained = run("doctor")
    assert (code, complained) == (3, "error: 0 problems, 1 warnings\n")
    assert "what to do: label them as a flavor asks" in printed
    yard.errors["POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews"] = [(201, {"status": {"allowed": False}})]
    code, printed, _ = run("doctor", "-o", "json")
    assert code == 4
    assert json.loads(printed)["findings"][0]["about"] == "rights of the operator"


def test_what_may_not_be_read_is_told_and_the_rest_is_looked_at(yard: StubApi, run: Run) -> None:
    yard.errors["GET", "/api/v1/nodes"] = [
        (403, {"kind": "Status", "reason": "Forbidden", "message": "no nodes for you"})
    ]
    code, printed, _ = run("doctor")
    assert code == 0
    assert printed.startswith("note: list of Nodes: it could not be looked at: no nodes for you")


def test_a_cluster_without_the_chart_gets_the_first_step(yard: StubApi, run: Run) -> None:
    for path in [each for each in yard.objects if "trainyard" in each]:
        del yard.objects[path]
    yard.script["/apis/apiextensions.k8s.io/v1/customresourcedefinitions"] = [{"items": []}]
    code, printed, _ = run("doctor")
    assert code == 4
    assert printed.count("there is no such CustomResourceDefinition") == 4
    assert "helm upgrade --install trainyard" in printed


def test_the_key_of_the_certificate_is_never_printed(yard: StubApi, run: Run) -> None:
    _, printed, _ = run("doctor", "-o", "json")
    assert "S0VZ" not in printed


def test_conformance_is_a_table_of_features(yard: StubApi, run: Run) -> None:
    code, printed, _ = run("doctor", "--conformance")
    rows = {line.split("  ")[0]: line for line in printed.splitlines()}
    assert code == 0
    assert " yes " in rows["Leases"]
    assert " no " in rows["Prometheus operator"]


def test_a_certificate_of_somebody_else_needs_no_further_names(yard: StubApi, run: Run) -> None:
    without_names, _ = a_person()
    secret = yard.objects[f"/api/v1/namespaces/{SYSTEM}/secrets/trainyard-operator-tls"]
    secret["data"]["tls.crt"] = base64.b64encode(without_names).decode()
    code, printed, _ = run("doctor")
    assert (code, "certificate ends" in printed) == (3, True)
