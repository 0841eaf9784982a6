"""What a real API server says of a TrainingJob: names, numbers at and beyond their limits, lists, and what may change later.

Each refusal names the field and what was expected. What depends on several objects is in `test_bad_input`.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from dev.cluster import Cluster
from dev.cluster.api import ApiError
from tests import builders as b
from tests.apiserver.yard import Yard, completes_after

pytestmark = pytest.mark.apiserver

LARGEST = 2_147_483_647
HOSTNAMES = "metadata.name must be lower case letters, digits and dashes, and begin with a letter"


def restart(**fields: Any) -> b.Modifier:
    return b.spec(restart=fields)


def rule(**fields: Any) -> b.Modifier:
    return b.spec(restart={"rules": [{"action": "Fail", **fields}]})


def workers(**fields: Any) -> b.Modifier:
    return lambda obj: obj["spec"]["workers"].update(fields)


def program(**fields: Any) -> b.Modifier:
    """The user's own program in place of a model."""

    def modify(obj: dict[str, Any]) -> None:
        del obj["spec"]["model"], obj["spec"]["dataset"]
        obj["spec"]["entrypoint"] = {"command": ["true"], **fields}

    return modify


def roles(*found: dict[str, Any]) -> b.Modifier:
    return b.spec(roles=[{"entrypoint": {"command": ["true"]}, **each} for each in found])


def waits(*roles_: str, **fields: Any) -> b.Modifier:
    return workers(dependsOn=[{"role": each, **fields} for each in roles_])


def both(first: b.Modifier, second: b.Modifier) -> b.Modifier:
    def modify(obj: dict[str, Any]) -> None:
        first(obj)
        second(obj)

    return modify


def compression(**fields: Any) -> b.Modifier:
    return lambda obj: obj["spec"]["compression"].update(fields)


def variants(*found: dict[str, Any]) -> b.Modifier:
    return b.compresses(variants=list(found))


def distilled(**parameters: Any) -> dict[str, Any]:
    return {"name": "small", "method": "Distilled", "parameters": parameters}


def _twice(obj: dict[str, Any]) -> None:
    roles({"name": "ps"})(obj)
    workers(dependsOn=[{"role": "ps"}, {"role": "ps", "status": "Complete"}])(obj)


def refusal(yard: Yard, *modifiers: b.Modifier) -> str:
    with pytest.raises(ApiError) as refused:
        yard.job("job", *modifiers, dry_run=True)
    return str(refused.value)


@pytest.mark.parametrize("name", ["a", "training-7", "a" * 50, "a--b"])
def test_a_good_name_is_taken(name: str, bare_yard: Yard) -> None:
    assert bare_yard.job(name, b.workers(2), dry_run=True)["metadata"]["name"] == name


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a" * 51, "metadata.name must be at most 50 characters"),
        ("a" * 64, "metadata.name must be at most 50 characters"),
        ("Digits", 'Invalid value: "Digits"'),
        ("digits-", 'Invalid value: "digits-"'),
        ("-digits", 'Invalid value: "-digits"'),
        ("my_digits", 'Invalid value: "my_digits"'),
        ("7digits", HOSTNAMES),
        ("digits.v2", HOSTNAMES),
    ],
)
def test_a_name_of_which_no_hostname_can_be_made_is_refused(name: str, words: str, bare_yard: Yard) -> None:
    said = refusal(bare_yard, b.meta(name=name))
    assert "metadata.name" in said
    assert words in said


def test_a_generated_name_counts_with_what_is_generated(bare_yard: Yard) -> None:
    def generated(length: int) -> b.Modifier:
        def modify(obj: dict[str, Any]) -> None:
            del obj["metadata"]["name"]
            obj["metadata"]["generateName"] = "a" * length

        return modify

    made = bare_yard.job("", generated(45), dry_run=True)
    assert len(made["metadata"]["name"]) == 50
    assert "metadata.name must be at most 50 characters" in refusal(bare_yard, generated(46))


TAKEN: dict[str, b.Modifier] = {
    "the most restarts": restart(maxRestarts=1000),
    "no restart": restart(maxRestarts=0),
    "the most restarts in a window": restart(maxRestarts=64, windowSeconds=1),
    "the longest window": restart(maxRestarts=1, windowSeconds=31_536_000),
    "no judgement of hangs": restart(hangSeconds=0),
    "the largest command": program(command=["x" * 4096] * 256),
    "the most variables": program(env={f"V{number}": "x" for number in range(256)}),
    "torchrun's own settings": program(env={"PET_NPROC_PER_NODE": "2", "PET_RDZV_BACKEND": "c10d", "HOME": "/x"}),
    "a job that goes at once": b.ttl(0),
    "a job that stays for 68 years": b.ttl(LARGEST),
    "the least time to run": b.spec(maxRunSeconds=1, expectedSeconds=1),
    "the most time to run": b.spec(maxRunSeconds=LARGEST, expectedSeconds=LARGEST),
    "the least time to start": b.spec(startDeadlineSeconds=30),
    "the most time to start": b.spec(startDeadlineSeconds=86_400),
    "the smallest budget": b.spec(budget={"maxGPUHours": 0.001}),
    "the lowest priority": b.priority(-1_000_000),
    "the most spares": b.spares(64),
    "an elastic job without spares": workers(replicas=4, minReplicas=4, spares=0),
    "the most roles": roles(*({"name": f"r{number}"} for number in range(8))),
    "the longest role": roles({"name": "r" * 20}),
    "one role waits twice for another": _twice,
    "signal 127": rule(exitCodes=[1, 255]),
    "a priority of its own": b.priority(1_000_000),
    "checkpoints at each step": b.spec(training={"checkpointEverySteps": 1}),
    "checkpoints that the trainer times": b.spec(training={"checkpointEverySteps": "auto"}),
    "variants of what it trains": b.compresses(),
    "variants of a job's model": b.compresses("digits"),
    "variants of a model on a claim": b.compresses(claimName="models", path="digits", digest=b.DIGEST),
    "the most variants": variants(*({"name": f"v{number}", "method": "Float16"} for number in range(16))),
    "the longest name of a variant": variants({"name": "v" * 40, "method": "Float16"}),
    "a student with parameters": variants(distilled(epochs=1, student={"name": "mlp", "parameters": {"hidden": [8]}})),
}


@pytest.mark.parametrize("case", TAKEN)
def test_what_is_just_within_its_limits_is_taken(case: str, bare_yard: Yard) -> None:
    assert bare_yard.job("job", TAKEN[case], dry_run=True)


REFUSED: dict[str, tuple[b.Modifier, list[str]]] = {
    # Numbers.
    "restarts below none": (restart(maxRestarts=-1), ["spec.restart.maxRestarts: Invalid value: -1", "or equal to 0"]),
    "too many restarts": (restart(maxRestarts=1001), ["spec.restart.maxRestarts: Invalid value: 1001", "to 1000"]),
    "no window": (restart(windowSeconds=0), ["spec.restart.windowSeconds: Invalid value: 0", "or equal to 1"]),
    "a window of years": (restart(windowSeconds=31_536_001), ["spec.restart.windowSeconds: Invalid value: 31536001"]),
    "a negative window": (restart(windowSeconds=-60), ["spec.restart.windowSeconds: Invalid value: -60"]),
    "more restarts than a window remembers": (
        restart(maxRestarts=65, windowSeconds=60),
        ["spec.restart", "spec.restart.maxRestarts must be at most 64 with spec.restart.windowSeconds"],
    ),
    "a hang before it begins": (restart(hangSeconds=-1), ["spec.restart.hangSeconds: Invalid value: -1"]),
    "no time to run": (b.spec(maxRunSeconds=0), ["spec.maxRunSeconds: Invalid value: 0", "or equal to 1"]),
    "negative time to run": (b.spec(maxRunSeconds=-1), ["spec.maxRunSeconds: Invalid value: -1"]),
    "half a second": (b.spec(maxRunSeconds=0.5), ["spec.maxRunSeconds: Invalid value", "type integer"]),
    "nothing expected": (b.spec(expectedSeconds=0), ["spec.expectedSeconds: Invalid value: 0", "or equal to 1"]),
    "less time than pods need": (b.spec(startDeadlineSeconds=29), ["spec.startDeadlineSeconds: Invalid value: 29"]),
    "no time to start": (b.spec(startDeadlineSeconds=0), ["spec.startDeadlineSeconds: Invalid value: 0", "to 30"]),
    "a day and a second to start": (b.spec(startDeadlineSeconds=86_401), ["spec.startDeadlineSeconds: Invalid value"]),
    "a time to live beyond the calendar": (b.ttl(LARGEST + 1), ["spec.ttlSecondsAfterFinished: Invalid value"]),
    "no budget": (b.spec(budget={"maxGPUHours": 0}), ["spec.budget.maxGPUHours: Invalid value: 0", "greater than 0"]),
    "a negative budget": (b.spec(budget={"maxGPUHours": -1}), ["spec.budget.maxGPUHours: Invalid value: -1"]),
    "a budget of text": (b.spec(budget={"maxGPUHours": "9"}), ["spec.budget.maxGPUHours: Invalid value", "number"]),
    "a budget of nothing": (b.spec(budget={}), ["spec.budget.maxGPUHours: Required value"]),
    "a priority beyond all": (b.priority(1_000_001), ["spec.priority: Invalid value: 1000001", "to 1000000"]),
    **{
        f"checkpoints every {every!r} steps": (
            b.spec(training={"checkpointEverySteps": every}),
            ["spec.training.checkpointEverySteps: Invalid value", words],
        )
        for every, words in (
            (0, "must be a whole number of at least 1, or auto"),
            (-5, "must be a whole number of at least 1, or auto"),
            ("often", "must be a whole number of at least 1, or auto"),
            ("500", "must be a whole number of at least 1, or auto"),
            ("", "must be a whole number of at least 1, or auto"),
            (2.5, "integer,string"),
            (True, "integer,string"),
        )
    },
    # Spares.
    "spares below none": (b.spares(-1), ["spec.workers.spares: Invalid value: -1", "or equal to 0"]),
    "too many spares": (b.spares(65), ["spec.workers.spares: Invalid value: 65", "or equal to 64"]),
    "spares of an elastic job": (
        workers(replicas=4, minReplicas=2, spares=1),
        ["spec.workers", "spec.workers.spares: an elastic job shrinks rather than keep spares"],
    ),
    "at least none": (workers(replicas=4, minReplicas=0), ["spec.workers.minReplicas: Invalid value: 0"]),
    # Roles.
    "a role called spare": (b.role("spare"), ["spec.roles", "spare that of its spares; choose another name"]),
    "a role without a name": (roles({}), ["spec.roles[0].name: Required value"]),
    "a role with capitals": (b.role("PS"), ["spec.roles[0].name: Invalid value", "PS", "should match"]),
    "a role with a trailing dash": (b.role("ps-"), ["spec.roles[0].name: Invalid value", "should match"]),
    "a role that begins with a digit": (b.role("2nd"), ["spec.roles[0].name: Invalid value", "should match"]),
    "a role of 21 characters": (b.role("r" * 21), ["spec.roles[0].name", "may not be more than 20"]),
    "a role without pods": (b.role("ps", 0), ["spec.roles[0].replicas: Invalid value: 0", "or equal to 1"]),
    "nine roles": (roles(*({"name": f"r{number}"} for number in range(9))), ["spec.roles", "at most 8 items"]),
    # Who waits for whom, and whose end counts.
    "waiting for no one": (workers(dependsOn=[{}]), ["spec.workers.dependsOn[0].role: Required value"]),
    "waiting for a start": (
        waits("ps", status="Started"),
        ["spec.workers.dependsOn[0].status: Unsupported value", "Started", '"Ready", "Complete"'],
    ),
    "waiting for nine": (waits(*"abcdefghi"), ["spec.workers.dependsOn", "at most 8 items"]),
    "some of them": (
        b.spec(successPolicy={"operator": "Most"}),
        ["spec.successPolicy.operator: Unsupported value", "Most", '"All", "Any"'],
    ),
    "nobody's end": (b.spec(successPolicy={"roles": []}), ["spec.successPolicy.roles", "at least 1 items"]),
    "one's end twice": (
        b.spec(successPolicy={"roles": ["worker", "worker"]}),
        ["spec.successPolicy.roles[1]: Duplicate value", "worker"],
    ),
    "pods that go on": (
        b.spec(cleanPodPolicy="None"),
        ["spec.cleanPodPolicy: Unsupported value", "None", '"Running", "All"'],
    ),
    # Variants.
    "a model of its own and a parent": (
        both(b.compresses(), compression(parent={"trainingJob": "a"})),
        ["spec takes exactly one of model, entrypoint and compression.parent"],
    ),
    "nothing to compress": (
        both(b.compresses("a"), lambda obj: obj["spec"]["compression"].pop("parent")),
        ["spec takes exactly one of model, entrypoint and compression.parent"],
    ),
    "its own parent": (b.compresses("job"), ["spec.compression.parent.trainingJob must be another job"]),
    "two parents": (
        b.compresses(trainingJob="a", claimName="models", path="digits"),
        ["spec.compression.parent takes exactly one of trainingJob and claimName"],
    ),
    "a claim without a path": (
        b.compresses(claimName="models"),
        ["spec.compression.parent.path is required with claimName, and only with it"],
    ),
    "a digest of a job's model": (
        b.compresses(trainingJob="a", digest=b.DIGEST),
        ["spec.compression.parent.digest goes with claimName"],
    ),
    "variants of a program": (
        both(b.compresses(), program()),
        ["spec.compression compresses what spec.model trains, or its parent: it takes no spec.entrypoint"],
    ),
    "variants kept nowhere": (
        both(b.compresses(), lambda obj: obj["spec"].pop("storage")),
        ["spec.compression needs spec.storage: there the variants are kept"],
    ),
    "variants by two": (
        both(b.compresses(), b.workers(2)),
        ["spec.workers.replicas must be 1 with spec.compression"],
    ),
    "a variant twice": (
        variants({"name": "a", "method": "Float16"}, {"name": "a", "method": "BFloat16"}),
        ["spec.compression.variants[1]: Duplicate value"],
    ),
    "a variant with a slash": (
        variants({"name": "a/b", "method": "Float16"}),
        ["spec.compression.variants[0].name: Invalid value", "should match"],
    ),
    "a variant of 41 characters": (
        variants({"name": "a" * 41, "method": "Float16"}),
        ["spec.compression.variants[0].name", "more than 40"],
    ),
    "a method that is none": (
        variants({"name": "a", "method": "Zip"}),
        ["spec.compression.variants[0].method: Unsupported value", "Zip"],
    ),
    "parameters of a method without": (
        variants({"name": "a", "method": "Int8Dynamic", "parameters": {"epochs": 1}}),
        ["parameters go with Pruned and Distilled; the other methods take none"],
    ),
    "no student": (
        variants({"name": "a", "method": "Distilled"}),
        ["parameters.student is required with Distilled, and only with it"],
    ),
    "a student that is not taught": (
        variants(distilled(epochs=0, student={"name": "mlp"})),
        ["parameters.epochs must be at least 1 with Distilled"],
    ),
    "a part of a student": (
        variants(distilled(fraction=0.5, student={"name": "mlp"})),
        ["parameters.fraction goes with Pruned"],
    ),
    "no variants": (variants(), ["spec.compression.variants", "at least 1 items"]),
    "a loss below none": (
        both(b.compresses(), compression(maximumLoss=-0.1)),
        ["spec.compression.maximumLoss: Invalid value"],
    ),
    # Rules for failures.
    "a rule for success": (rule(exitCodes=[0]), ["spec.restart.rules[0].exitCodes[0]: Invalid value: 0", "equal to 1"]),
    "a signal that is none": (rule(exitCodes=[-9]), ["spec.restart.rules[0].exitCodes[0]: Invalid value: -9"]),
    "a code beyond a byte": (rule(exitCodes=[256]), ["spec.restart.rules[0].exitCodes[0]: Invalid value: 256"]),
    "a rule for no code": (rule(exitCodes=[]), ["spec.restart.rules[0].exitCodes", "at least 1 items"]),
    "a class that is none": (rule(classes=["Oom"]), ["spec.restart.rules[0].classes[0]: Unsupported value", "Oom"]),
    "a rule for every word": (rule(contains=""), ["spec.restart.rules[0].contains", "at least 1 chars"]),
    "a rule without an action": (
        b.spec(restart={"rules": [{"exitCodes": [1]}]}),
        ["spec.restart.rules[0].action: Req"],
    ),
    "17 rules": (b.spec(restart={"rules": [{"action": "Fail", "exitCodes": [1]}] * 17}), ["at most 16 items"]),
    # Programs.
    "no command": (program(command=[]), ["spec.entrypoint.command", "at least 1 items"]),
    "a command of 257 words": (program(command=["x"] * 257), ["spec.entrypoint.command", "at most 256 items"]),
    "a command in one line": (
        program(command="torchrun train.py"),
        ["spec.entrypoint.command: Invalid value", "array"],
    ),
    "a variable that is a number": (program(env={"A": 5}), ["spec.entrypoint.env.A: Invalid value", "type string"]),
    "257 variables": (program(env={f"V{each}": "" for each in range(257)}), ["spec.entrypoint.env", "at most 256"]),
    "variables that are ours": (
        program(env={"PET_NODE_RANK": "0", "TRAINYARD_JOB_UID": "x", "MINE": "1"}),
        ["spec.entrypoint.env: Invalid value", "TRAINYARD_*", "PET_NODE_RANK", "are set by Trainyard"],
    ),
    "variables of a role that are ours": (
        roles({"name": "ps", "entrypoint": {"command": ["true"], "env": {"PET_MASTER_ADDR": "localhost"}}}),
        ["spec.roles[0].entrypoint.env: Invalid value", "PET_MASTER_ADDR", "are set by Trainyard"],
    ),
    "a name of a model that is empty": (b.spec(model={"name": ""}), ["spec.model.name", "at least 1 chars"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refusal_names_the_field_and_what_was_expected(case: str, bare_yard: Yard) -> None:
    modifier, words = REFUSED[case]
    said = refusal(bare_yard, modifier)
    assert [word for word in words if word not in said] == [], said


def test_several_mistakes_are_told_at_once(bare_yard: Yard) -> None:
    said = refusal(bare_yard, b.priority(2_000_000), b.workers(0), b.ttl(-1), restart(maxRestarts=-1))
    for field in ("priority", "workers.replicas", "ttlSecondsAfterFinished", "restart.maxRestarts"):
        assert f"spec.{field}: Invalid value" in said


def test_what_is_left_out_is_filled_in(bare_yard: Yard) -> None:
    spec = bare_yard.job("job", b.role("ps"), waits("ps"), b.spec(successPolicy={}), dry_run=True)["spec"]
    told = {
        name: spec[name] for name in ("suspend", "priority", "preemptible", "cleanPodPolicy", "startDeadlineSeconds")
    }
    assert told == {
        "suspend": False,
        "priority": 0,
        "preemptible": True,
        "cleanPodPolicy": "Running",
        "startDeadlineSeconds": 600,
    }
    assert spec["workers"]["dependsOn"] == [{"role": "ps", "status": "Ready"}]
    assert spec["successPolicy"] == {"operator": "All"}
    assert (
        not {"restart", "training", "ttlSecondsAfterFinished", "maxRunSeconds", "expectedSeconds", "budget"}
        & spec.keys()
    )


# What may change.


@pytest.fixture(scope="module")
def settled(installed: Cluster) -> Iterator[Yard]:
    """A job of everything that may be said, and a plain one."""
    yard = Yard(installed).open()
    everything = (
        b.role("ps"),
        b.spares(1),
        waits("ps"),
        b.spec(
            successPolicy={"roles": ["worker"]},
            restart={"windowSeconds": 60},
            budget={"maxGPUHours": 5},
            topology={"level": "topology.trainyard.dev/rack"},
            flavors=[{"name": "h200"}],
            storage={"claimName": "c"},
        ),
    )
    yard.job("full", *everything)
    yard.job("program", program())
    yard.job("plain")
    yield yard
    yard.close()


FROZEN: dict[str, tuple[str, str, dict[str, Any]]] = {
    "spares change": ("full", "workers.spares", {"workers": {"spares": 2}}),
    "spares go": ("full", "workers.spares", {"workers": {"spares": None}}),
    "spares come": ("plain", "workers.spares", {"workers": {"spares": 1}}),
    "an order changes": (
        "full",
        "workers.dependsOn",
        {"workers": {"dependsOn": [{"role": "ps", "status": "Complete"}]}},
    ),
    "an order goes": ("full", "workers.dependsOn", {"workers": {"dependsOn": None}}),
    "an order comes": ("plain", "workers.dependsOn", {"workers": {"dependsOn": [{"role": "ps"}]}}),
    "a policy changes": ("full", "successPolicy", {"successPolicy": {"operator": "Any"}}),
    "a policy goes": ("full", "successPolicy", {"successPolicy": None}),
    "a policy comes": ("plain", "successPolicy", {"successPolicy": {"operator": "Any"}}),
    "a window changes": ("full", "restart", {"restart": {"windowSeconds": 61}}),
    "a window goes": ("full", "restart", {"restart": {"windowSeconds": None}}),
    "a window comes": ("plain", "restart", {"restart": {"windowSeconds": 60}}),
    "restarts in place come": ("plain", "restart", {"restart": {"inPlace": False}}),
    "a judgement of hangs comes": ("plain", "restart", {"restart": {"hangSeconds": 5}}),
    "a topology goes": ("full", "topology", {"topology": None}),
    "flavors go": ("full", "flavors", {"flavors": None}),
    "storage goes": ("full", "storage", {"storage": None}),
    "storage comes": ("plain", "storage", {"storage": {"claimName": "c"}}),
    "a command changes": ("program", "entrypoint", {"entrypoint": {"command": ["false"]}}),
    "an image comes": ("program", "entrypoint", {"entrypoint": {"image": "mine"}}),
    "a program becomes a model": (
        "program",
        "model",
        {"entrypoint": None, "model": {"name": "cnn"}, "dataset": {"name": "digits"}},
    ),
}


@pytest.mark.fault(73)
@pytest.mark.parametrize("case", FROZEN)
def test_a_change_of_what_a_job_is_is_refused_with_its_field(case: str, settled: Yard) -> None:
    name, field, change = FROZEN[case]
    with pytest.raises(ApiError) as refused:
        settled.patch("TrainingJob", name, {"spec": change})
    assert f"spec.{field}" in str(refused.value)
    assert "immutable: delete the job and create it anew" in str(refused.value)


CHANGES: list[dict[str, Any]] = [
    {"suspend": True},
    {"priority": -5},
    {"ttlSecondsAfterFinished": 0},
    {"ttlSecondsAfterFinished": None},
    {"maxRunSeconds": 60},
    {"maxRunSeconds": None},
    {"expectedSeconds": 30},
    {"cleanPodPolicy": "All"},
    {"budget": {"maxGPUHours": 9}},
    {"budget": None},
    {"tensorboard": True},
]


@pytest.mark.fault(73)
@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_how_a_job_is_treated_may_change(change: dict[str, Any], settled: Yard) -> None:
    spec = settled.patch("TrainingJob", "full", {"spec": change})["spec"]
    assert {name: spec.get(name) for name in change} == change


def test_the_same_manifest_applied_again_is_no_change(settled: Yard) -> None:
    job = b.training_job("again", b.namespace(settled.namespace), b.queue(settled.queue), b.role("ps"), waits("ps"))
    assert "created" in settled.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(job))
    before = settled.get("TrainingJob", "again") or {}
    settled.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(job))
    after = settled.get("TrainingJob", "again") or {}
    # An operator may have written the status meanwhile.
    assert (after["metadata"]["generation"], after["spec"]) == (1, before["spec"])


# What only the operator can see.

NONSENSE: dict[str, tuple[tuple[b.Modifier, ...], str]] = {
    "an-unknown-role": ((waits("ps"),), "spec.workers.dependsOn: there is no role 'ps'; there are: worker"),
    "a-spare-to-wait-for": ((b.spares(1), waits("spare")), "there is no role 'spare'"),
    "a-ring": (
        (roles({"name": "ps", "dependsOn": [{"role": "worker"}]}), waits("ps")),
        "dependsOn: worker waits for ps waits for worker",
    ),
    "oneself": ((waits("worker"),), "worker waits for worker"),
    "an-end-of-nobody": (
        (b.spec(successPolicy={"roles": ["eval"]}),),
        "spec.successPolicy.roles: there is no role 'ev",
    ),
    "a-rule-for-nobody": ((rule(exitCodes=[1], roles=["ps"]),), "spec.restart.rules[0].roles: there is no role 'ps'"),
    "a-sidecar-without-image": ((b.template(spec={"containers": [{"name": "side"}]}),), "image"),
    "a-volume-twice": (
        (b.template(spec={"volumes": [{"name": "v", "emptyDir": {}}, {"name": "v", "emptyDir": {}}]}),),
        'Duplicate value: "v"',
    ),
    "a-volume-of-ours": (
        (b.template(spec={"volumes": [{"name": "trainyard-shm", "emptyDir": {}}]}),),
        'Duplicate value: "trainyard-shm"',
    ),
    "a-mount-of-nothing": (
        (b.template(spec={"containers": [{"name": "trainer", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]}),),
        'Not found: "v"',
    ),
}


@pytest.mark.fault(20)
def test_what_fits_no_other_part_of_the_cluster_is_told_in_the_status(yard: Yard) -> None:
    for name, (modifiers, _) in NONSENSE.items():
        yard.job(name, b.workers(2), *modifiers)
    yard.job("sane", b.workers(2), completes_after("0s"), b.template(spec={"terminationGracePeriodSeconds": 0}))
    yard.until_phase("sane", "Complete")
    for name, (_, words) in NONSENSE.items():
        assert words in yard.waits(name, "Misconfigured"), name
        assert yard.pods(name) == []


def test_a_service_that_somebody_else_made_is_left_alone_and_named(yard: Yard) -> None:
    taken = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "job-workers"}}
    before = yard.create({**taken, "spec": {"ports": [{"port": 80}]}})
    yard.job("job", b.workers(2))
    words = "metadata.name: Service 'job-workers' exists and belongs to somebody else; delete or rename it"
    assert words in yard.waits("job", "Misconfigured")
    yard.job("twin", b.workers(2))
    yard.until_phase("twin", "Running")
    after = yard.get("Service", "job-workers") or {}
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    assert yard.pods("job") == []
