"""What Helm makes of the chart: names that the operator's code knows, rights that it needs, and no others."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from dev.chart import CHART
from tests import builders as b
from tests.unit.helm.rendering import MONITORING, Object, helm, only, pod, render
from trainyard.api.inference_service import InferenceService, ReplicaAdmission, ServedModel
from trainyard.api.names import GROUP, LEADS_LABEL, OPERATOR_TLS, PRIORITY_CLASS, ROLE_LABEL, SERVICE_LABEL
from trainyard.config import Config
from trainyard.dcgm_adapter import Settings
from trainyard.inference.gateway import gateway_children
from trainyard.inference.observed import Observed
from trainyard.inference.replica import replica_pod
from trainyard.installed import of_environment


def rights(role: Object) -> set[tuple[str, str, str]]:
    """(group/resource, verb, name or empty) of each right."""
    return {
        (f"{group}/{resource}", verb, name)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        for name in rule.get("resourceNames", [""])
    }


def test_the_chart_passes_the_linter() -> None:
    done = helm("lint", "--strict", "--kube-version", "1.34.0", str(CHART))
    assert done.returncode == 0, done.stdout
    assert "WARNING" not in done.stdout


@pytest.mark.parametrize(
    "setting",
    [
        "operator.replica=2",
        "operator.replicas=two",
        "operator.logLevel=LOUD",
        "operator.namespaces={Research}",
        "images.trainer.tga=x",
        "images.trainer.tag=v1@sha256:0",
        "images.trainer.digest=sha256:0123",
        "defaultQueue.guaranteed=8",
        "priorityClass.value=2000000000",
        "metrics.serviceMonitor.interval=often",
        "networkPolicy.apiServer.ports={65536}",
        "networkPolicy.metricsFrom[0].namespace=monitoring",
        "operator.replicas=null",
        "nonsense=1",
    ],
)
def test_a_wrong_value_is_refused_by_name(setting: str) -> None:
    done = helm("template", "yard", str(CHART), "--kube-version", "1.34.0", "--set", setting)
    assert done.returncode != 0
    path, _, _ = setting.partition("=")
    assert path.rsplit(".", 1)[-1] in done.stderr


def test_every_object_says_what_it_belongs_to() -> None:
    for each in render("defaultQueue.create=true", "dashboards.enabled=true", *MONITORING):
        if each["kind"] != "CustomResourceDefinition":
            labels = each["metadata"]["labels"]
            assert labels["app.kubernetes.io/part-of"] == "trainyard"
            assert labels["app.kubernetes.io/instance"] == "yard"


def test_the_operator_is_told_only_what_it_reads() -> None:
    settings = {f"TRAINYARD_{name.upper()}" for name in Config.model_fields}
    env = {each["name"]: each for each in pod()["containers"][0]["env"]}
    assert set(env) <= settings
    assert {"TRAINYARD_NAMESPACE", "TRAINYARD_IDENTITY"} <= set(env)


def test_the_operator_understands_the_table_of_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    row = ("operator.failureTable[0].class=Storage", 'operator.failureTable[0].contains[0]=mount "a" failed')
    env = {each["name"]: each.get("value") for each in pod(*row)["containers"][0]["env"]}
    monkeypatch.setenv("TRAINYARD_FAILURE_TABLE", env["TRAINYARD_FAILURE_TABLE"])
    assert Config().failure_table[0].contains == ('mount "a" failed',)


def test_traces_go_where_the_values_say(monkeypatch: pytest.MonkeyPatch) -> None:
    address = "http://collector.monitoring:4318"
    (container,) = pod(f"telemetry.otlpEndpoint={address}", "telemetry.sampleRatio=0.05")["containers"]
    told = {each["name"]: each.get("value") for each in container["env"]}
    for name in ("TRAINYARD_OTLP_ENDPOINT", "TRAINYARD_TRACE_RATIO"):
        monkeypatch.setenv(name, told[name])
    assert (Config().otlp_endpoint, Config().trace_ratio) == (address, 0.05)


def test_the_endpoint_is_the_service() -> None:
    env = {each["name"]: each.get("value") for each in pod()["containers"][0]["env"]}
    service = only("Service", ending="yard-trainyard")
    ports = {port["name"]: port["port"] for port in service["spec"]["ports"]}
    name, namespace = service["metadata"]["name"], service["metadata"]["namespace"]
    assert env["TRAINYARD_ENDPOINT"] == f"https://{name}.{namespace}.svc:{ports['https']}"
    listens = {port["name"]: port["containerPort"] for port in pod()["containers"][0]["ports"]}
    fields = Config.model_fields
    assert listens == {"http": fields["http_port"].default, "https": fields["https_port"].default} == ports


def test_images_take_registry_and_tag() -> None:
    settings = ("images.registry=mirror.example/x", "images.trainer.tag=v2", "images.operator.tag=dev")
    env = {each["name"]: each.get("value") for each in pod(*settings)["containers"][0]["env"]}
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    assert env["TRAINYARD_TRAINER_IMAGE"] == "mirror.example/x/trainyard/trainer:v2"
    assert env["TRAINYARD_SERVER_IMAGE"] == f"mirror.example/x/trainyard/server:{version}"
    assert pod(*settings)["containers"][0]["image"] == "mirror.example/x/trainyard/operator:dev"


def test_a_digest_wins_over_the_tag() -> None:
    digest = f"sha256:{'0a' * 32}"
    names = ("operator", "trainer", "server", "gateway")
    (container,) = pod(*(f"images.{name}.{part}" for name in names for part in (f"digest={digest}", "tag=v2")))[
        "containers"
    ]
    env = {each["name"]: each.get("value") for each in container["env"]}
    assert container["image"] == f"docker.io/trainyard/operator@{digest}"
    for name in names[1:]:
        assert env[f"TRAINYARD_{name.upper()}_IMAGE"] == f"docker.io/trainyard/{name}@{digest}"


def test_the_pod_is_restricted() -> None:
    spec = pod()
    container = spec["containers"][0]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {volume["name"]: set(volume) - {"name"} for volume in spec["volumes"]} == {"tmp": {"emptyDir"}}
    assert container["resources"]["requests"]
    assert "cpu" not in container["resources"]["limits"]


def test_one_replica_is_replaced_and_several_one_after_the_other() -> None:
    assert only("Deployment")["spec"]["strategy"] == {"type": "Recreate"}
    several = only("Deployment", "operator.replicas=3")["spec"]["strategy"]
    assert several["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}


def test_several_replicas_have_a_budget_and_one_can_always_be_drained() -> None:
    assert not [each for each in render() if each["kind"] == "PodDisruptionBudget"]
    budget = only("PodDisruptionBudget", "operator.replicas=2")["spec"]
    labels = only("Deployment", "operator.replicas=2")["spec"]["template"]["metadata"]["labels"]
    assert budget["maxUnavailable"] == 1
    assert budget["selector"]["matchLabels"].items() <= labels.items()


def test_replicas_of_a_version_spread_over_nodes() -> None:
    labels = only("Deployment")["spec"]["template"]["metadata"]["labels"]
    (spread,) = pod("operator.replicas=2")["topologySpreadConstraints"]
    assert spread["labelSelector"]["matchLabels"].items() <= labels.items()
    assert (spread["topologyKey"], spread["matchLabelKeys"]) == ("kubernetes.io/hostname", ["pod-template-hash"])


CONFINED = "operator.namespaces={research,products}"


def test_an_operator_that_is_confined_has_no_right_of_the_cluster_on_what_lives_in_a_namespace() -> None:
    of_cluster = rights(only("ClusterRole", CONFINED, ending="yard-trainyard"))
    living = {resource.partition("/")[2].partition("/")[0] for resource, _, _ in of_cluster}
    reviews = {"tokenreviews", "subjectaccessreviews"}
    assert living == {"flavors", "queues", "nodes", "namespaces", *reviews}
    assert {verb for resource, verb, _ in of_cluster if not resource.endswith("reviews")} == {
        "get",
        "list",
        "watch",
        "patch",
    }
    assert {resource for resource, verb, _ in of_cluster if verb == "patch"} == {
        f"{GROUP}/flavors/status",
        f"{GROUP}/queues/status",
    }
    assert {name for resource, _, name in of_cluster if resource == "/namespaces"} == {"research", "products"}


def test_the_rights_of_a_confined_operator_are_those_of_the_cluster_in_its_namespaces() -> None:
    everywhere = rights(only("ClusterRole", ending="yard-trainyard"))
    roles = {
        each["metadata"]["namespace"]: rights(each)
        for each in render(CONFINED)
        if each["kind"] == "Role" and each["metadata"]["name"].startswith("trainyard-system:")
    }
    assert set(roles) == {"research", "products", "default"}
    assert roles["research"] == roles["products"]
    of_cluster = rights(only("ClusterRole", CONFINED, ending="yard-trainyard"))
    named = {each for each in of_cluster if each[0] == "/namespaces"}
    of_namespaces = {(resource, verb, "") for resource, verb, _ in named}
    assert roles["research"] | (of_cluster - named) | of_namespaces == everywhere
    assert roles["default"] == {("/events", "create", ""), ("/events", "patch", "")}


def test_each_role_of_a_confined_operator_is_bound_where_it_stands() -> None:
    objects = render(CONFINED)
    bound = {
        (each["metadata"]["namespace"], each["roleRef"]["name"]) for each in objects if each["kind"] == "RoleBinding"
    }
    assert bound == {
        (each["metadata"]["namespace"], each["metadata"]["name"]) for each in objects if each["kind"] == "Role"
    }


def test_events_about_nodes_need_no_role_of_their_own_where_jobs_stand_in_default() -> None:
    roles = [each for each in render("operator.namespaces={default}") if each["metadata"].get("namespace") == "default"]
    assert sorted(each["kind"] for each in roles) == ["Role", "RoleBinding"]


def test_the_operator_is_told_to_which_namespaces_it_is_confined(monkeypatch: pytest.MonkeyPatch) -> None:
    env = {each["name"]: each.get("value") for each in pod(CONFINED)["containers"][0]["env"]}
    monkeypatch.setenv("TRAINYARD_NAMESPACES", env["TRAINYARD_NAMESPACES"])
    assert Config().namespaces == ("research", "products")
    assert "TRAINYARD_NAMESPACES" not in {each["name"] for each in pod()["containers"][0]["env"]}


def test_prometheus_looks_for_services_where_they_may_be() -> None:
    chosen = [only("PodMonitor", *MONITORING, *more)["spec"]["namespaceSelector"] for more in ((), (CONFINED,))]
    assert chosen == [{"any": True}, {"matchNames": ["research", "products"]}]


def test_a_namespace_that_is_named_twice_is_refused() -> None:
    done = helm("template", "yard", str(CHART), "--kube-version", "1.34.0", "--set", "operator.namespaces={a,a}")
    assert "operator.namespaces: expected each namespace once, got a, a" in done.stderr


def test_trainers_reach_the_leader_and_prometheus_everyone() -> None:
    labels = only("Deployment")["spec"]["template"]["metadata"]["labels"]
    leader, metrics = (only("Service", ending=ending)["spec"] for ending in ("yard-trainyard", "-metrics"))
    assert leader["selector"] == {**metrics["selector"], LEADS_LABEL: "true"}
    assert metrics["selector"].items() <= labels.items()
    assert LEADS_LABEL not in labels
    chosen = only("ServiceMonitor", *MONITORING)["spec"]["selector"]["matchLabels"].items()
    found = [each["metadata"]["name"] for each in render() if chosen <= each["metadata"].get("labels", {}).items()]
    assert found == ["yard-trainyard-metrics"]


def _test_pod(*settings: str) -> Object:
    return only("Pod", *settings, ending="-test")


def test_the_pod_of_helm_test_is_restricted_and_has_no_rights() -> None:
    spec = _test_pod()["spec"]
    (container,) = spec["containers"]
    operator = pod()
    assert container["image"] == operator["containers"][0]["image"]
    assert container["securityContext"] == operator["containers"][0]["securityContext"]
    assert spec["securityContext"].items() <= operator["securityContext"].items()
    bound = {subject["name"] for each in render() for subject in each.get("subjects", ())}
    assert spec["serviceAccountName"] not in bound
    for each in (_test_pod(), only("ServiceAccount", ending="-test")):
        assert each["metadata"]["annotations"]["helm.sh/hook"] == "test"
    kept = _test_pod()["metadata"]["annotations"]["helm.sh/hook-delete-policy"]
    assert kept == "before-hook-creation", "helm test --logs reads the log of a pod that is still there"


def test_helm_test_asks_where_the_operator_is(tmp_path: Path) -> None:
    env = {each["name"]: each["value"] for each in _test_pod()["spec"]["containers"][0]["env"]}
    (tmp_path / "token").write_text("t")
    found = of_environment({**env, "KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}, tmp_path)
    told = {each["name"]: each.get("value") for each in pod()["containers"][0]["env"]}
    service = only("Service", ending="yard-trainyard")
    ports = {port["name"]: port["port"] for port in service["spec"]["ports"]}
    assert found.api_server == "https://[fd00::1]:443"
    assert found.endpoint == told["TRAINYARD_ENDPOINT"]
    assert found.health == f"http://{service['metadata']['name']}.trainyard-system.svc:{ports['http']}"


def test_a_network_policy_lets_in_helm_test() -> None:
    policy, labels = only("NetworkPolicy", "networkPolicy.enabled=true"), _test_pod()["metadata"]["labels"]
    assert not selects(policy["spec"]["podSelector"], labels)
    for port in ("http", "https"):
        assert admits(policy, port, labels, "trainyard-system")
        assert not admits(policy, port, labels, "team")


def test_the_operator_may_touch_no_secret_but_its_own() -> None:
    assert not [right for right in rights(only("ClusterRole", ending="yard-trainyard")) if "secret" in right[0]]
    mine = {right for right in rights(only("Role")) if right[0] == "/secrets"}
    assert mine == {("/secrets", "create", ""), ("/secrets", "get", OPERATOR_TLS), ("/secrets", "patch", OPERATOR_TLS)}


def test_the_operator_writes_nothing_of_ours_but_status() -> None:
    writes = {
        (resource, verb)
        for resource, verb, _ in rights(only("ClusterRole", ending="yard-trainyard"))
        if resource.startswith(f"{GROUP}/") and verb not in ("get", "list", "watch")
    }
    kinds = ("flavors", "queues", "trainingjobs", "inferenceservices")
    assert writes == {(f"{GROUP}/{kind}/status", "patch") for kind in kinds} | {(f"{GROUP}/trainingjobs", "delete")}


@pytest.mark.parametrize(("level", "verbs"), [("observe", set()), ("propose", set()), ("act", {"patch"})])
def test_nodes_are_written_to_only_where_the_operator_may_act(
    level: str, verbs: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = f"nodeHealth.level={level}"
    granted = rights(only("ClusterRole", setting, ending="yard-trainyard"))
    assert {verb for resource, verb, _ in granted if resource == "/nodes"} - {"get", "list", "watch"} == verbs
    env = {each["name"]: each.get("value") for each in pod(setting)["containers"][0]["env"]}
    monkeypatch.setenv("TRAINYARD_HEALTH_LEVEL", env["TRAINYARD_HEALTH_LEVEL"])
    assert Config().health_level == level


def test_the_adapter_of_dcgms_exporter_has_rights_of_its_own_and_is_told_what_it_reads() -> None:
    assert not [each for each in render() if each["metadata"]["name"].endswith("-dcgm")]
    on = "nodeHealth.dcgm.enabled=true"
    assert rights(only("ClusterRole", on, ending="-dcgm")) == {("/nodes", "get", ""), ("/nodes", "patch", "")}
    role = only("Role", on, ending="-dcgm")
    assert (rights(role), role["metadata"]["namespace"]) == ({("/pods", "list", "")}, "gpu-operator")
    template = only("Deployment", on, ending="-dcgm")["spec"]["template"]["spec"]
    told = {each["name"] for each in template["containers"][0]["env"]}
    assert told <= {f"TRAINYARD_DCGM_{name.upper()}" for name in Settings.model_fields}
    assert template["securityContext"]["runAsNonRoot"] is True


def test_the_adapters_pod_goes_where_the_values_say_and_nobody_may_ask_it_anything() -> None:
    on = ("nodeHealth.dcgm.enabled=true", "networkPolicy.enabled=true")
    pod = only("Deployment", *on, ending="-dcgm")["spec"]["template"]["spec"]
    assert {each["key"] for each in pod["tolerations"]} == {
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
    }
    policy = only("NetworkPolicy", *on, ending="-dcgm")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in policy
    assert {"protocol": "TCP", "port": 9400} in [port for rule in policy["egress"] for port in rule["ports"]]
    moved = (*on, "nodeHealth.dcgm.tolerations[0].operator=Exists", "nodeHealth.dcgm.nodeSelector.pool=system")
    pod = only("Deployment", *moved, ending="-dcgm")["spec"]["template"]["spec"]
    assert (pod["tolerations"], pod["nodeSelector"]) == ([{"operator": "Exists"}], {"pool": "system"})


def test_no_right_is_a_wildcard() -> None:
    for each in render():
        for rule in each.get("rules", ()) if each["kind"].endswith("Role") else ():
            assert "*" not in (*rule["apiGroups"], *rule["resources"], *rule["verbs"])


@pytest.mark.parametrize("ending", ["-view", "-edit"])
def test_users_may_not_write_a_status(ending: str) -> None:
    granted = rights(only("ClusterRole", ending=ending))
    assert not [right for right in granted if "/status" in right[0]]


def test_editors_may_not_change_queues_and_flavors() -> None:
    changed = {resource for resource, _, _ in rights(only("ClusterRole", ending="-edit"))}
    assert changed == {f"{GROUP}/trainingjobs", f"{GROUP}/inferenceservices", f"{GROUP}/inferenceservices/scale"}


def test_the_priority_class_is_the_one_that_pods_name_and_never_preempts() -> None:
    found = only("PriorityClass")
    assert found["metadata"]["name"] == PRIORITY_CLASS
    assert found["preemptionPolicy"] == "Never"
    assert found["globalDefault"] is False
    assert 0 < found["value"] < 1_000_000_000


def test_what_jobs_need_stays_after_an_uninstall() -> None:
    kept = {
        each["kind"]
        for each in render("defaultQueue.create=true")
        if each["metadata"].get("annotations", {}).get("helm.sh/resource-policy") == "keep"
    }
    assert kept == {"CustomResourceDefinition", "PriorityClass", "Flavor", "Queue"}


def test_crds_come_with_the_chart_unless_told_otherwise() -> None:
    assert len([each for each in render() if each["kind"] == "CustomResourceDefinition"]) == 4
    assert not [each for each in render("crds.install=false") if each["kind"] == "CustomResourceDefinition"]


def test_extras_are_off_by_default() -> None:
    kinds = {each["kind"] for each in render()}
    assert not kinds & {"ServiceMonitor", "PodMonitor", "PrometheusRule", "NetworkPolicy", "Queue", "Flavor"}


def test_the_rules_are_those_of_the_plain_file_but_for_where_runbooks_are() -> None:
    plain = yaml.safe_load((CHART / "files" / "rules.yaml").read_text())["groups"]
    assert only("PrometheusRule", *MONITORING)["spec"]["groups"] == plain
    elsewhere = only("PrometheusRule", *MONITORING, "metrics.prometheusRule.runbooks=https://wiki.example/runbooks")
    urls = [
        rule["annotations"]["runbook_url"]
        for group in elsewhere["spec"]["groups"]
        for rule in group["rules"]
        if "alert" in rule
    ]
    assert urls[0] == "https://wiki.example/runbooks#trainyardoperatordown"
    assert all(url.startswith("https://wiki.example/runbooks#") for url in urls)


@pytest.mark.parametrize("kind", ["ServiceMonitor", "PodMonitor", "PrometheusRule"])
def test_monitoring_carries_the_labels_by_which_a_prometheus_selects(kind: str) -> None:
    field = f"metrics.{kind[0].lower()}{kind[1:]}"
    found = only(kind, f"{field}.enabled=true", f"{field}.labels.release=prometheus")
    assert found["metadata"]["labels"]["release"] == "prometheus"


def test_gateways_and_servers_are_scraped_at_the_ports_that_they_have() -> None:
    service = InferenceService.model_validate(b.inference_service("s", b.meta(uid="u")))
    observed = Observed(service)
    place = ReplicaAdmission(serial=1, node="n", flavor="f", digest="d", admitted_at=datetime(2026, 11, 30, tzinfo=UTC))
    deployment = next(each for each in gateway_children(observed) if each["kind"] == "Deployment")
    pods = {
        "gateway": deployment["spec"]["template"],
        "replica": replica_pod(observed, place, ServedModel(claim_name="c", path="p", digest="d")),
    }
    spec = only("PodMonitor", *MONITORING)["spec"]
    for endpoint, (role, made) in zip(spec["podMetricsEndpoints"], pods.items(), strict=True):
        ports = [port["name"] for each in made["spec"]["containers"] for port in each["ports"]]
        assert endpoint["port"] in ports
        assert endpoint["relabelings"][0]["regex"] == role
        assert {SERVICE_LABEL, ROLE_LABEL} <= set(made["metadata"]["labels"])
        assert made["metadata"]["labels"][ROLE_LABEL] in spec["selector"]["matchExpressions"][1]["values"]


def admits(policy: Object, port: str, labels: dict[str, str], namespace: str) -> bool:
    """Whether a pod with these labels in that namespace may connect."""
    for rule in policy["spec"]["ingress"]:
        if port in [each["port"] for each in rule["ports"]]:
            for peer in rule["from"]:
                spaces = peer.get("namespaceSelector")
                there = namespace == "trainyard-system" if spaces is None else selects(spaces, _names(namespace))
                if there and selects(peer.get("podSelector", {}), labels):
                    return True
    return False


def selects(selector: Object, labels: dict[str, str]) -> bool:
    expressions = selector.get("matchExpressions", ())
    assert {each["operator"] for each in expressions} <= {"Exists"}
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        each["key"] in labels for each in expressions
    )


def _names(namespace: str) -> dict[str, str]:
    return {"kubernetes.io/metadata.name": namespace}


def test_a_network_policy_lets_in_whom_the_operator_serves_and_nobody_else() -> None:
    policy = only("NetworkPolicy", "networkPolicy.enabled=true")
    labels = only("Deployment")["spec"]["template"]["metadata"]["labels"]
    assert selects(policy["spec"]["podSelector"], labels)
    worker, gateway, other = ({ROLE_LABEL: "worker"}, {ROLE_LABEL: "gateway"}, {"app": "web"})
    for mine in (worker, gateway):
        assert admits(policy, "https", mine, "team")
        assert not admits(policy, "http", mine, "team")
    assert not admits(policy, "https", other, "team")
    assert admits(policy, "http", other, "monitoring")
    assert not admits(policy, "https", other, "monitoring")


def test_pods_that_ask_the_operator_have_the_label_by_which_the_policy_knows_them() -> None:
    observed = Observed(InferenceService.model_validate(b.inference_service("s", b.meta(uid="u"))))
    gateway = next(each for each in gateway_children(observed) if each["kind"] == "Deployment")["spec"]["template"]
    policy = only("NetworkPolicy", "networkPolicy.enabled=true")
    assert admits(policy, "https", gateway["metadata"]["labels"], "team")


def test_a_network_policy_lets_out_to_the_api_server_and_for_names() -> None:
    def ports(*settings: str) -> list[tuple[set[int], bool]]:
        rules = only("NetworkPolicy", "networkPolicy.enabled=true", *settings)["spec"]["egress"]
        return [({each["port"] for each in rule["ports"]}, "to" in rule) for rule in rules]

    assert ports() == [({443, 6443}, False), ({53}, False)]
    assert ports("networkPolicy.apiServer.cidrs={10.0.0.0/24}", "networkPolicy.apiServer.ports={8443}") == [
        ({8443}, True),
        ({53}, False),
    ]


def test_dashboards_are_found_by_the_sidecar() -> None:
    settings = ("dashboards.enabled=true", "dashboards.namespace=monitoring")
    found = [each for each in render(*settings) if each["kind"] == "ConfigMap"]
    files = {name: text for each in found for name, text in each["data"].items()}
    assert files == {path.name: path.read_text() for path in (CHART / "files" / "dashboards").glob("*.json")}
    assert len(found) == len(files) > 0
    for each in found:
        assert each["metadata"]["namespace"] == "monitoring"
        assert each["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert each["metadata"]["annotations"] == {"grafana_folder": "Trainyard"}
    assert not [each for each in render() if each["kind"] == "ConfigMap"]


def test_roles_can_be_left_to_somebody_else() -> None:
    settings = ("rbac.create=false", "rbac.aggregate=false", "serviceAccount.create=false", "serviceAccount.name=mine")
    kinds = {each["kind"] for each in render(*settings)}
    assert not kinds & {"ClusterRole", "Role"}
    assert [each["metadata"]["name"] for each in render(*settings) if each["kind"] == "ServiceAccount"] == [
        "yard-trainyard-test"
    ]
    assert pod(*settings)["serviceAccountName"] == "mine"


def test_what_users_may_name_is_asked_of_a_policy_where_the_api_server_has_such() -> None:
    policy, binding = only("ValidatingAdmissionPolicy"), only("ValidatingAdmissionPolicyBinding")
    assert binding["spec"] == {"policyName": policy["metadata"]["name"], "validationActions": ["Deny"]}
    resources = policy["spec"]["matchConstraints"]["resourceRules"][0]
    assert (resources["apiGroups"], resources["resources"]) == ([GROUP], ["trainingjobs", "inferenceservices"])
    assert not [each for each in render("admissionPolicy.create=false") if "AdmissionPolicy" in each["kind"]]
    old = helm("template", "yard", str(CHART), "-n", "x", "--kube-version", "1.29.0")
    assert old.returncode == 0, old.stderr
    assert "AdmissionPolicy" not in old.stdout


def test_the_audit_file_lies_on_the_claim_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = pod("audit.claimName=trail", "audit.fileBytes=5000", "audit.filesKept=3")
    (container,) = spec["containers"]
    for each in container["env"]:
        if each["name"].startswith("TRAINYARD_AUDIT"):
            monkeypatch.setenv(each["name"], each["value"])
    config = Config()
    assert (config.audit_file_bytes, config.audit_files_kept) == (5000, 3)
    (volume,) = [each for each in spec["volumes"] if each.get("persistentVolumeClaim") == {"claimName": "trail"}]
    (mount,) = [each for each in container["volumeMounts"] if each["name"] == volume["name"]]
    assert config.audit_file is not None
    assert str(config.audit_file.parent) == mount["mountPath"]
    assert not [each for each in pod()["containers"][0]["env"] if "AUDIT" in each["name"]]
