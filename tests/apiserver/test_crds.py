"""The kinds on a real API server: what it refuses and in which words, what may change, and what `kubectl explain` says."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from dev.cluster import Cluster
from dev.cluster.api import ApiError
from dev.cluster.errors import CommandError
from tests import builders as b
from tests.apiserver.operator_process import REPOSITORY
from tests.apiserver.yard import Yard

pytestmark = pytest.mark.apiserver

CRDS = sorted((REPOSITORY / "crds").glob("*.yaml"))
EXAMPLES = sorted((REPOSITORY / "examples").rglob("*.yaml"))


def test_crds_are_applied_by_plain_kubectl(installed: Cluster) -> None:
    for path in CRDS:
        assert f"{path.stem}.trainyard.dev" in installed.kubectl("apply", "-f", str(path))


@pytest.mark.parametrize("path", EXAMPLES, ids=[str(path.relative_to(REPOSITORY)) for path in EXAMPLES])
def test_every_example_is_accepted(path: Any, bare_yard: Yard) -> None:
    text = path.read_text()
    for name in {
        each["metadata"]["namespace"]
        for each in yaml.safe_load_all(text)
        if each and "namespace" in each.get("metadata", {})
    }:
        bare_yard.cluster.kubectl("apply", "-f", "-", input=yaml.safe_dump(b.a_namespace(name)))
    printed = bare_yard.cluster.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", str(path))
    assert printed.count("(server dry run)") == sum(each is not None for each in yaml.safe_load_all(text))


# What is refused.

RACK = "topology.trainyard.dev/rack"
SLICES = {"level": RACK, "sliceSize": 2, "sliceLevel": "kubernetes.io/hostname"}
REFUSED: dict[str, tuple[list[b.Modifier], list[str]]] = {
    "no workers": ([b.workers(0)], ["spec.workers.replicas: Invalid value: 0", "greater than or equal to 1"]),
    "negative workers": ([b.workers(-1)], ["spec.workers.replicas: Invalid value: -1", "greater than or equal to 1"]),
    "too many workers": (
        [b.workers(8193)],
        ["spec.workers.replicas: Invalid value: 8193", "less than or equal to 8192"],
    ),
    "a role called worker": ([b.role("worker")], ["spec.roles: worker is the role of spec.workers"]),
    "a role without a program": (
        [b.role("ps"), lambda obj: obj["spec"]["roles"][0].pop("entrypoint")],
        ["spec.roles[0].entrypoint: Required value"],
    ),
    "the same role twice": ([b.role("ps"), b.role("ps", 2)], ["spec.roles[1]: Duplicate value"]),
    "a name too long for its role": (
        [b.meta(name="a" * 48), b.role("evaluator-of-a-model")],
        ["metadata.name and the name of a role must be at most 57 characters together"],
    ),
    "too many pods of all roles": (
        [b.workers(8000), b.role("ps", 200)],
        ["spec.workers and spec.roles must be at most 8192 pods together"],
    ),
    "a rule for every failure": (
        [b.spec(restart={"rules": [{"action": "Fail"}]})],
        ["spec.restart.rules: a rule needs one of exitCodes, classes, reasons and contains"],
    ),
    "workers that nobody misses": (
        [b.spec(restart={"rules": [{"action": "Ignore", "exitCodes": [1], "roles": ["worker", "ps"]}]})],
        ["spec.restart.rules: Ignore needs roles, and no workers among them"],
    ),
    "an action that is none": (
        [b.spec(restart={"rules": [{"action": "Retry", "exitCodes": [1]}]})],
        ["spec.restart.rules[0].action: Unsupported value", "Retry", '"RestartUncounted"'],
    ),
    "model and entrypoint": (
        [b.spec(entrypoint={"command": ["python", "train.py"]})],
        ["spec takes exactly one of model, entrypoint and compression.parent"],
    ),
    "neither": (
        [lambda obj: obj["spec"].pop("model")],
        ["spec takes exactly one of model, entrypoint and compression.parent"],
    ),
    "model without data": ([lambda obj: obj["spec"].pop("dataset")], ["spec.dataset is required with spec.model"]),
    "unknown optimizer": (
        [b.spec(training={"optimizer": "adamax"})],
        ["spec.training.optimizer: Unsupported value", "adamax", '"gd", "sgd", "adam", "adamw"'],
    ),
    "unknown loss": ([b.spec(training={"loss": "hinge"})], ["spec.training.loss: Unsupported value", "hinge"]),
    "no epochs": ([b.spec(training={"epochs": 0})], ["spec.training.epochs: Invalid value: 0"]),
    "no learning": (
        [b.spec(training={"learningRate": 0})],
        ["spec.training.learningRate: Invalid value: 0", "greater than 0"],
    ),
    "text for a number": (
        [b.spec(training={"batchSize": "many"})],
        ["spec.training.batchSize: Invalid value", "string", "must be of type integer"],
    ),
    "bad quantity": (
        [b.resources(cpu="two")],
        ["spec.workers.resources.limits.cpu: Invalid value", "two", "should match"],
    ),
    "bad quantity in a template": (
        [b.template(spec={"containers": [{"name": "side", "resources": {"limits": {"cpu": "two"}}}]})],
        ["spec.workers.template.spec.containers[0].resources.limits.cpu: Invalid value", "two"],
    ),
    "template of text": (
        [b.template(spec="pod")],
        ["spec.workers.template.spec: Invalid value", "must be of type object"],
    ),
    "list for a selector": (
        [b.template(spec={"nodeSelector": ["gpu"]})],
        ["spec.workers.template.spec.nodeSelector: Invalid value", "must be of type object"],
    ),
    "two storages": (
        [b.spec(storage={"claimName": "a", "claimTemplate": {"size": "1Gi"}})],
        ["spec.storage takes exactly one of claimName and claimTemplate"],
    ),
    "empty storage": ([b.spec(storage={})], ["spec.storage takes exactly one of claimName and claimTemplate"]),
    "no queue": ([lambda obj: obj["spec"].pop("queue")], ["spec.queue: Required value"]),
    "queue with capitals": ([b.queue("Research")], ["spec.queue: Invalid value", "Research", "should match"]),
    "time to live before the end": ([b.ttl(-1)], ["spec.ttlSecondsAfterFinished: Invalid value: -1"]),
    "more at least than at most": (
        [b.spec(workers={"replicas": 2, "minReplicas": 3})],
        ["spec.workers: Invalid value", "spec.workers.minReplicas must be at most spec.workers.replicas"],
    ),
    "a flavor twice": ([b.spec(flavors=[{"name": "a"}, {"name": "a"}])], ["spec.flavors[1]: Duplicate value"]),
    "throughput of some": (
        [b.spec(flavors=[{"name": "a", "throughput": 1}, {"name": "b"}])],
        ["spec.flavors: give a throughput for each of them, or for none"],
    ),
    "no throughput at all": (
        [b.spec(flavors=[{"name": "a", "throughput": 0}])],
        ["spec.flavors[0].throughput: Invalid value: 0", "greater than 0"],
    ),
    "topology without level": ([b.spec(topology={"mode": "required"})], ["spec.topology.level: Required value"]),
    "topology that is no label": (
        [b.spec(topology={"level": "a rack"})],
        ["spec.topology.level: Invalid value", "a rack", "should match"],
    ),
    "unknown mode": (
        [b.spec(topology={"level": RACK, "mode": "strict"})],
        ["spec.topology.mode: Unsupported value", "strict", '"required", "preferred", "spread"'],
    ),
    "slices of nothing": (
        [b.workers(4), b.spec(topology={"level": RACK, "sliceSize": 2})],
        ["spec.topology.sliceLevel is required with spec.topology.sliceSize"],
    ),
    "slice level of single pods": (
        [b.spec(topology={"level": RACK, "sliceLevel": "kubernetes.io/hostname"})],
        ["spec.topology.sliceLevel needs a spec.topology.sliceSize of at least 2"],
    ),
    "a slice that is cut": (
        [b.workers(5), b.spec(topology=SLICES)],
        ["spec.workers.replicas must be a multiple of spec.topology.sliceSize: slices are never split"],
    ),
    "a slice that is cut at least": (
        [b.spec(workers={"replicas": 4, "minReplicas": 3}), b.spec(topology=SLICES)],
        ["spec.workers.minReplicas must be a multiple of spec.topology.sliceSize: slices are never split"],
    ),
    "longer than allowed": (
        [b.spec(expectedSeconds=7200, maxRunSeconds=3600)],
        ["spec.expectedSeconds must be at most spec.maxRunSeconds"],
    ),
    "spares of slices": (
        [b.workers(4), b.spares(1), b.spec(topology=SLICES)],
        ["spec.workers.spares: a spare cannot take over in a slice of others"],
    ),
    "spares of an elastic job": (
        [b.elastic(1, 2), b.spares(1)],
        ["spec.workers.spares: an elastic job shrinks rather than keep spares"],
    ),
    "a TensorBoard without logs": (
        [b.spec(tensorboard=True)],
        ["spec.tensorboard needs spec.storage: there the logs are kept"],
    ),
    "a gate without a name": ([b.spec(admissionGates=[""])], ["spec.admissionGates[0]: Invalid value"]),
    "a gate twice": (
        [b.spec(admissionGates=["example.com/a", "example.com/a"])],
        ["spec.admissionGates[1]: Duplicate value"],
    ),
}


@pytest.mark.fault(79)
@pytest.mark.parametrize("case", REFUSED)
def test_a_refusal_names_field_and_value(case: str, bare_yard: Yard) -> None:
    modifiers, words = REFUSED[case]
    with pytest.raises(ApiError) as refused:
        bare_yard.job("wrong", *modifiers, dry_run=True)
    assert [word for word in words if word not in str(refused.value)] == [], str(refused.value)


def test_a_name_of_51_characters_is_one_too_long(bare_yard: Yard) -> None:
    assert bare_yard.job("a" * 50, dry_run=True)
    with pytest.raises(ApiError, match=r"metadata\.name must be at most 50 characters: the hostnames of the workers"):
        bare_yard.job("a" * 51, dry_run=True)


def test_an_unknown_field_is_named(bare_yard: Yard) -> None:
    with pytest.raises(ApiError, match=r'unknown field "spec\.training\.epoch"'):
        bare_yard.job("typo", b.spec(training={"epoch": 3}), dry_run=True)
    job = b.training_job("typo", b.namespace(bare_yard.namespace), b.spec(gpus=3))
    with pytest.raises(CommandError, match=r'unknown field "spec\.gpus"'):
        bare_yard.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(job))


# What may change.

FROZEN: dict[str, dict[str, Any]] = {
    "queue": {"queue": "other"},
    "model": {"model": {"name": "mlp"}},
    "model parameters": {"model": {"parameters": {"width": 3}}},
    "dataset": {"dataset": {"name": "iris"}},
    "workers.replicas": {"workers": {"replicas": 2}},
    "workers.resources": {"workers": {"resources": {"limits": {"nvidia.com/gpu": "2"}}}},
    "workers.template": {"workers": {"template": {"spec": {"hostNetwork": True}}}},
    "training": {"training": {"epochs": 9}},
    "storage": {"storage": {"claimName": "elsewhere"}},
    "restart": {"restart": {"maxRestarts": 9}},
    "startDeadlineSeconds": {"startDeadlineSeconds": 60},
    "workers.minReplicas": {"workers": {"minReplicas": 1}},
    "workers.spares": {"workers": {"spares": 1}},
    "workers.dependsOn": {"workers": {"dependsOn": [{"role": "ps"}]}},
    "successPolicy": {"successPolicy": {"operator": "Any"}},
    "flavors": {"flavors": [{"name": "h200"}]},
    "topology": {"topology": {"level": RACK}},
    "preemptible": {"preemptible": False},
}


@pytest.fixture(scope="module")
def settled(installed: Cluster) -> Iterator[Yard]:
    """A job to be changed."""
    yard = Yard(installed).open()
    yard.job("settled")
    yield yard
    yard.close()


@pytest.mark.fault(73)
@pytest.mark.parametrize("case", FROZEN)
def test_what_is_immutable_says_so(case: str, settled: Yard) -> None:
    field = case.split(" ", maxsplit=1)[0]
    with pytest.raises(ApiError, match=rf"spec\.{field} is immutable: delete the job and create it anew"):
        settled.patch("TrainingJob", "settled", {"spec": FROZEN[case]})


def test_taking_the_template_away_is_a_change_too(settled: Yard) -> None:
    settled.job("templated", b.template(spec={"hostNetwork": True}))
    with pytest.raises(ApiError, match=r"spec\.workers\.template is immutable"):
        settled.patch("TrainingJob", "templated", {"spec": {"workers": {"template": None}}})


def test_suspend_priority_and_time_to_live_may_change(settled: Yard) -> None:
    changes = {"suspend": True, "priority": 7, "ttlSecondsAfterFinished": 60}
    changed = settled.patch("TrainingJob", "settled", {"spec": changes})
    assert {name: changed["spec"][name] for name in changes} == changes
    assert changed["metadata"]["generation"] == 2


def test_what_is_said_of_time_may_change(settled: Yard) -> None:
    changes = {"expectedSeconds": 60, "maxRunSeconds": 3600}
    changed = settled.patch("TrainingJob", "settled", {"spec": changes})
    assert {name: changed["spec"][name] for name in changes} == changes


def test_an_elastic_job_may_change_its_size_and_not_its_least(settled: Yard) -> None:
    settled.job("elastic", b.spec(workers={"replicas": 4, "minReplicas": 2}))
    changed = settled.patch("TrainingJob", "elastic", {"spec": {"workers": {"replicas": 8}}})
    assert changed["spec"]["workers"]["replicas"] == 8
    with pytest.raises(ApiError, match=r"spec\.workers\.minReplicas must be at most spec\.workers\.replicas"):
        settled.patch("TrainingJob", "elastic", {"spec": {"workers": {"replicas": 1}}})
    with pytest.raises(ApiError, match=r"spec\.workers\.minReplicas is immutable"):
        settled.patch("TrainingJob", "elastic", {"spec": {"workers": {"minReplicas": None}}})


def test_roles_stay_as_they_are(settled: Yard) -> None:
    settled.job("roles", b.role("ps", 2))
    for roles in ([], None, [{"name": "ps", "replicas": 3, "entrypoint": {"command": ["python", "ps.py"]}}]):
        with pytest.raises(ApiError, match=r"spec\.roles is immutable"):
            settled.patch("TrainingJob", "roles", {"spec": {"roles": roles}})


def test_gates_are_lifted_one_by_one_and_never_added(settled: Yard) -> None:
    settled.job("gated", b.spec(admissionGates=["example.com/a", "example.com/b"]))
    added = r"spec\.admissionGates: a gate can be taken away, none can be added"
    with pytest.raises(ApiError, match=added):
        settled.patch("TrainingJob", "gated", {"spec": {"admissionGates": ["example.com/a", "example.com/c"]}})
    left = settled.patch("TrainingJob", "gated", {"spec": {"admissionGates": ["example.com/b"]}})
    assert left["spec"]["admissionGates"] == ["example.com/b"]
    assert settled.patch("TrainingJob", "gated", {"spec": {"admissionGates": []}})["spec"]["admissionGates"] == []
    with pytest.raises(ApiError, match=added):
        settled.patch("TrainingJob", "gated", {"spec": {"admissionGates": ["example.com/b"]}})


def test_the_least_that_can_be_said_gets_a_status_too(bare_yard: Yard) -> None:
    """Rules about changes must hold when nothing was said of workers, resources or training."""
    least = {"queue": bare_yard.queue, "entrypoint": {"command": ["true"]}}
    made = bare_yard.create(
        {
            "apiVersion": "trainyard.dev/v1alpha1",
            "kind": "TrainingJob",
            "metadata": {"name": "least", "namespace": bare_yard.namespace},
            "spec": least,
        }
    )
    assert made["spec"]["workers"] == {"replicas": 1}
    assert made["spec"]["preemptible"] is True
    bare_yard.patch("TrainingJob", "least", {"status": {"phase": "Pending"}}, "/status")
    bare_yard.patch("TrainingJob", "least", {"spec": {"suspend": True}})


# The other kinds.

SERVICE_REFUSED: dict[str, tuple[list[b.Modifier], str]] = {
    "two models": (
        [b.spec(model={"trainingJob": "digits", "claimName": "c", "path": "p"})],
        "spec.model takes exactly one of trainingJob, claimName and graph",
    ),
    "claim without path": (
        [b.spec(model={"claimName": "c"})],
        "spec.model takes exactly one of path and repository with claimName",
    ),
    "a model and a folder of models": (
        [b.spec(model={"claimName": "c", "path": "p", "repository": "r"})],
        "spec.model takes exactly one of path and repository with claimName",
    ),
    "a repository of a job": (
        [b.spec(model={"trainingJob": "digits", "repository": "r"})],
        "spec.model takes exactly one of path and repository with claimName, and neither without it",
    ),
    "a digest of many models": (
        [b.spec(model={"claimName": "c", "repository": "r", "digest": b.DIGEST})],
        "spec.model.digest goes with path",
    ),
    "limits by model where there is one": (
        [b.spec(batching={"models": [{"name": "a"}]})],
        "spec.batching.models goes with spec.model.repository",
    ),
    "a step too small for those who run": (
        [b.spec(batching={"language": {"maxRunning": 100, "stepTokens": 64}})],
        "spec.batching.language.stepTokens must be at least maxRunning",
    ),
    "a batch of nothing": ([b.spec(batching={"maxBatch": 0})], "spec.batching.maxBatch: Invalid value: 0"),
    "absolute path": ([b.served_claim("c", "/etc")], "spec.model.path: Invalid value"),
    "bad digest": ([b.served_claim("c", "p", "sha256:1")], "spec.model.digest: Invalid value"),
    "digest of a job's model": (
        [b.spec(model={"trainingJob": "digits", "digest": b.DIGEST})],
        "spec.model.digest goes with path",
    ),
    "negative replicas": ([b.replicas(-1)], "spec.replicas: Invalid value: -1"),
    "a name that begins with a digit": (
        [b.meta(name="7s")],
        "metadata.name must be lower case letters, digits and dashes, and begin with a letter",
    ),
    "no gateway": ([b.spec(gateway={"replicas": 0})], "spec.gateway.replicas: Invalid value: 0"),
    "callers with keys and with tokens": (
        [b.spec(gateway={"auth": {"apiKeysSecret": "keys"}, "jwt": {"publicKeySecret": "login"}})],
        "spec.gateway takes at most one of auth and jwt",
    ),
    "an affinity to two things": (
        [b.spec(gateway={"affinity": {"header": "X-Session-Id", "prefixBytes": 64}})],
        "spec.gateway.affinity takes exactly one of header and prefixBytes",
    ),
    "a header's name with a blank": (
        [b.spec(gateway={"affinity": {"header": "X Y"}})],
        "spec.gateway.affinity.header: Invalid value",
    ),
}


@pytest.mark.parametrize("case", SERVICE_REFUSED)
def test_a_service_is_refused_with_field_and_value(case: str, bare_yard: Yard) -> None:
    modifiers, words = SERVICE_REFUSED[case]
    service = b.inference_service("wrong", b.namespace(bare_yard.namespace), *modifiers)
    with pytest.raises(ApiError) as refused:
        bare_yard.create(service, dry_run=True)
    assert words in str(refused.value)


def test_a_services_queue_is_immutable_and_its_replicas_are_not(bare_yard: Yard) -> None:
    bare_yard.create(b.inference_service("s", b.namespace(bare_yard.namespace), b.queue(bare_yard.queue)))
    with pytest.raises(ApiError, match=r"spec\.queue is immutable: create a second service and move the traffic"):
        bare_yard.patch("InferenceService", "s", {"spec": {"queue": "other"}})
    assert bare_yard.patch("InferenceService", "s", {"spec": {"replicas": 3}})["spec"]["replicas"] == 3


QUEUE_REFUSED: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "no quantity": (lambda quota: quota.update(guaranteed="lots"), "guaranteed: Invalid value"),
    "negative text": (lambda quota: quota.update(guaranteed="-1"), "guaranteed: Invalid value"),
    "negative number": (lambda quota: quota.update(limit=-1), "limit: Invalid value: -1"),
    "negative loan": (lambda quota: quota.update(lendable="-500m"), "lendable: Invalid value"),
    "no guarantee": (lambda quota: quota.pop("guaranteed"), "guaranteed: Required value"),
}


@pytest.mark.parametrize("case", QUEUE_REFUSED)
def test_a_quota_is_refused_with_field_and_value(case: str, bare_yard: Yard) -> None:
    modify, words = QUEUE_REFUSED[case]
    queue = b.a_queue("wrong")
    modify(queue["spec"]["flavors"][0]["resources"][0])
    with pytest.raises(ApiError) as refused:
        bare_yard.create(queue, dry_run=True)
    assert f"spec.flavors[0].resources[0].{words}" in str(refused.value)


def test_a_flavor_stands_once_in_a_queue(bare_yard: Yard) -> None:
    queue = b.a_queue("wrong")
    queue["spec"]["flavors"] *= 2
    with pytest.raises(ApiError, match=r"spec\.flavors\[1\]: Duplicate value"):
        bare_yard.create(queue, dry_run=True)


def test_a_queue_is_not_its_own_parent_and_may_leave_flavors_to_others(bare_yard: Yard) -> None:
    with pytest.raises(ApiError, match=r"spec\.parent must name another queue than this one"):
        bare_yard.create(b.a_queue("mine", b.spec(parent="mine")), dry_run=True)
    made = bare_yard.create({**b.a_queue("inner"), "spec": {}}, dry_run=True)
    assert "flavors" not in made["spec"]
    assert made["spec"]["preemption"] == {
        "reclaim": "Any",
        "withinQueue": "LowerPriority",
        "minRunSeconds": 0,
        "maxPreemptions": 10,
    }


def test_numbers_of_a_flavor_are_checked(bare_yard: Yard) -> None:
    made = bare_yard.create(b.a_flavor("f", b.spec(spot=True, pricePerHour=2.5, wattsPerUnit=700)), dry_run=True)
    assert (made["spec"]["spot"], made["spec"]["fractional"]) == (True, False)
    with pytest.raises(ApiError, match=r"spec\.pricePerHour: Invalid value"):
        bare_yard.create(b.a_flavor("f", b.spec(pricePerHour=-1)), dry_run=True)


# What kubectl explain says.


@pytest.mark.parametrize("path", CRDS, ids=[path.stem for path in CRDS])
def test_every_field_has_a_description(path: Any) -> None:
    schema = yaml.safe_load(path.read_text())["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert schema["description"]
    assert sorted(_undescribed(schema, "")) == []


def _undescribed(schema: dict[str, Any], path: str) -> Iterator[str]:
    """Fields without a word, leaving out what is core/v1's own."""
    for name, each in schema.get("properties", {}).items():
        here = f"{path}.{name}"
        if name == "template" or here == ".metadata":
            continue
        if not each.get("description"):
            yield here
        yield from _undescribed(each.get("items", each), here)


def test_kubectl_explains_the_workers(installed: Cluster) -> None:
    text = installed.kubectl("explain", "tyj.spec.workers")
    assert "The gang: number of pods and what each needs." in text
    for words in ("replicas\t<integer>", "Number of pods. All of them start, or none.", "template\t<Object>"):
        assert words in text
    assert "A whole number of" in installed.kubectl("explain", "trainingjob.spec.workers.resources")
    optimizer = installed.kubectl("explain", "tyj.spec.training.optimizer").split()
    assert optimizer[optimizer.index("ENUM:") + 1 :][:4] == ["gd", "sgd", "adam", "adamw"]
    assert "Empty admits nobody" in installed.kubectl("explain", "tyq.spec.namespaceSelector")


@pytest.mark.parametrize("build", [b.a_queue, b.a_flavor], ids=["queue", "flavor"])
def test_a_name_that_fits_into_no_label_of_a_pod_is_refused(build: Callable[[str], b.Object], bare_yard: Yard) -> None:
    assert bare_yard.create(build("q" * 63), dry_run=True)
    with pytest.raises(ApiError, match=r"metadata\.name must be at most 63 characters: pods carry it in a label"):
        bare_yard.create(build("q" * 64), dry_run=True)
