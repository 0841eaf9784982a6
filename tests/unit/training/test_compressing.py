"""What pods of a job that compresses are given, and that the trainer takes it: the two know each other by this alone."""

import json
from datetime import UTC, datetime
from typing import Any, get_args

import pytest
from trainer.compression.specification import METHODS, Source, parse_compression
from trainer.parameters import Kind
from trainer.specification import parse_specification

from tests import builders as b
from trainyard.api.compression import Method, VariantParameters
from trainyard.api.training_job import TrainingJob
from trainyard.training import pods
from trainyard.training.observed import Observed
from trainyard.workloads.pod_template import Surroundings

NOW = datetime(2026, 11, 23, tzinfo=UTC)
ROLES = [{"name": "worker", "prefix": "n", "runs": [{"node": "0", "count": 1}]}]
ADMISSION = {"epoch": 1, "queue": "research", "flavor": "h200", "time": NOW.isoformat(), "roles": ROLES}
TUNED = {"name": "half", "method": "Pruned", "parameters": {"fraction": 0.25, "epochs": 0, "learningRate": 1}}
TAUGHT = {
    "name": "small",
    "method": "Distilled",
    "parameters": {"student": {"name": "mlp", "parameters": {"hidden": [8]}}, "softWeight": 0.5},
}


def pinned(claim: str, digest: str = b.DIGEST) -> b.Modifier:
    return b.status(parent={"claimName": claim, "path": "p/model/attempt-1", "digest": digest})


def a_pod(*modifiers: b.Modifier) -> dict[str, Any]:
    stamp = b.meta(uid="01234567-89", generation=1, creationTimestamp=NOW.isoformat())
    job = TrainingJob.model_validate(b.training_job("a", stamp, b.status(admission=ADMISSION), *modifiers))
    (pod,) = pods.pods_of(Observed(job, surroundings=Surroundings("trainer", "server", "gateway")), "worker", [0])
    return pod


def recipe(pod: dict[str, Any]) -> str:
    found: str = next(each["value"] for each in pod["spec"]["containers"][0]["env"] if each["name"] == "TRAINYARD_SPEC")
    return found


def mounts(pod: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["mountPath"]: each for each in pod["spec"]["containers"][0]["volumeMounts"]}


def claims(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return [each["persistentVolumeClaim"] for each in pod["spec"]["volumes"] if "persistentVolumeClaim" in each]


def test_the_trainer_takes_what_it_is_told_of_a_parent() -> None:
    found = parse_compression(recipe(a_pod(b.compresses("p", [TUNED, TAUGHT]), pinned("models"))), workers=1)
    assert found is not None
    assert found.parent == Source("/trainyard/parent/p/model/attempt-1", b.DIGEST)
    assert (found.maximum_loss, found.batch_sizes) == (0.01, (1, 32))
    half, small = found.variants
    assert (half.parameters["fraction"], half.parameters["epochs"], half.parameters["temperature"]) == (0.25, 0, 4.0)
    assert (small.student, small.parameters["softWeight"]) == (
        {"name": "mlp", "parameters": {"hidden": [8]}},
        0.5,
    )


def test_a_parent_whose_digest_nobody_knows_is_checked_by_its_card() -> None:
    spec = recipe(a_pod(b.compresses(claimName="models", path="p/model/attempt-1"), pinned("models", "")))
    found = parse_compression(spec)
    assert found is not None
    assert found.parent == Source("/trainyard/parent/p/model/attempt-1", None)


def test_the_trainer_takes_what_it_is_told_of_a_model_that_it_trains_first() -> None:
    spec = recipe(a_pod(b.compresses()))
    found = parse_compression(spec, workers=1)
    assert found is not None
    assert found.parent is None
    assert parse_specification(spec, workers=1).model.name == "cnn"


def test_one_that_only_compresses_is_told_of_no_training() -> None:
    assert json.loads(recipe(a_pod(b.compresses("p"), pinned("models")))).keys() == {"compression"}


def test_the_parents_claim_is_mounted_and_cannot_be_written() -> None:
    pod = a_pod(b.compresses("p"), pinned("models"))
    assert mounts(pod)["/trainyard/parent"]["readOnly"]
    assert claims(pod) == [{"claimName": "results"}, {"claimName": "models", "readOnly": True}]


def test_one_claim_for_both_is_one_volume() -> None:
    pod = a_pod(b.compresses("p"), pinned("results"))
    assert claims(pod) == [{"claimName": "results"}]
    found = mounts(pod)
    assert found["/trainyard/parent"]["name"] == found["/trainyard/storage"]["name"]
    assert found["/trainyard/parent"]["readOnly"]
    assert "readOnly" not in found["/trainyard/storage"]


def test_a_job_that_compresses_nothing_mounts_no_parent() -> None:
    pod = a_pod(b.storage())
    assert "/trainyard/parent" not in mounts(pod)
    assert "compression" not in json.loads(recipe(pod))


def test_the_api_knows_the_methods_of_the_trainer() -> None:
    assert set(get_args(Method)) == METHODS.keys()


@pytest.mark.parametrize("method", ["Pruned", "Distilled"])
def test_the_api_has_the_trainers_bounds(method: str) -> None:
    schema = VariantParameters.model_json_schema(by_alias=True)["properties"]
    assert schema.keys() == METHODS["Pruned"].keys() | {"student"}
    for name, known in METHODS[method].items():
        stated = schema[name]["anyOf"][0]
        assert stated["type"] == ("integer" if known.kind is Kind.WHOLE else "number")
        assert stated["maximum"] == known.most
        if (method, name) != ("Distilled", "epochs"):  # the least of these is said by a rule
            assert stated["minimum"] == known.least
