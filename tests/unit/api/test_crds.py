"""The CRDs: what is committed is what the models say, and the API server takes it."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from tests import builders as b
from trainyard.api.admission import JobAdmission, compact
from trainyard.api.crds import KINDS, crd, write
from trainyard.api.inference_service import InferenceService
from trainyard.api.names import MAX_PODS
from trainyard.api.preemption import MAX_VICTIMS, WorkloadReference
from trainyard.api.reasons import ConditionType
from trainyard.api.schema import structural_schema
from trainyard.api.training_job import TrainingJob

FOLDER = Path(__file__).parents[3] / "crds"


def test_the_committed_files_are_the_generated_ones(tmp_path: Path) -> None:
    write(tmp_path)
    assert {each.name for each in tmp_path.iterdir()} == {each.name for each in FOLDER.glob("*.yaml")}
    for each in tmp_path.iterdir():
        assert (FOLDER / each.name).read_text() == each.read_text(), f"run `make generate`: {each.name} is old"


@pytest.mark.parametrize("model", KINDS, ids=lambda model: model.__name__)
def test_a_crd_is_small_and_survives_an_uninstall(model: Any) -> None:
    made = crd(model)
    assert len(json.dumps(made)) < 100_000, (
        "kubectl apply keeps a copy in an annotation, and none may pass 262,144 bytes"
    )
    assert made["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert made["spec"]["versions"][0]["subresources"]["status"] == {}


def _nodes(schema: Any) -> list[dict[str, Any]]:
    found = [schema] if isinstance(schema, dict) else []
    for value in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        found += _nodes(value)
    return found


@pytest.mark.parametrize("model", KINDS, ids=lambda model: model.__name__)
def test_a_schema_is_structural(model: Any) -> None:
    schema = crd(model)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for node in _nodes(schema):
        assert not {"$ref", "$defs", "const", "prefixItems"} & node.keys()
        if node.get("x-kubernetes-list-type") == "map":
            for key in node["x-kubernetes-list-map-keys"]:
                assert key in node["items"]["properties"]
    for part in ("spec", "status"):
        assert schema["properties"][part]["description"]


@pytest.mark.parametrize("part", ["spec", "status"])
@pytest.mark.parametrize("model", KINDS, ids=lambda model: model.__name__)
def test_every_field_is_described(model: Any, part: str) -> None:
    properties = crd(model)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"][part]["properties"]
    assert [name for name, field in properties.items() if not field.get("description")] == []


def test_what_a_crd_cannot_say_is_refused_at_generation() -> None:
    class Pair(BaseModel):
        both: tuple[int, str]

    with pytest.raises(TypeError, match="prefixItems"):
        structural_schema(Pair)


NODES = [f"gpu-node-{number * 7919 % 10_000:05d}.dc1.example.internal" for number in range(MAX_PODS)]
"""Neighbours in rank order on different nodes: the longest record."""
DECIDED = {"epoch": 1, "queue": "q", "flavor": "f", "time": "2026-11-23T00:00:00Z"}


def test_the_admission_of_the_largest_gang_stays_small() -> None:
    admission = JobAdmission.model_validate({**DECIDED, "roles": [compact("worker", NODES)]})
    text = admission.model_dump_json(by_alias=True)
    assert len(text) < 512 * 1024
    assert JobAdmission.model_validate_json(text).roles[0].nodes() == NODES


def test_the_largest_gang_with_the_most_victims_stays_small() -> None:
    victim = {"kind": "TrainingJob", "namespace": "team-of-research", "name": "n" * 50, "uid": "u" * 36}
    nomination = {
        **DECIDED,
        "deadline": "2026-11-23T00:01:00Z",
        "victims": [victim] * MAX_VICTIMS,
        "roles": [compact("worker", NODES)],
    }
    job = TrainingJob.model_validate(
        b.training_job(
            "n" * 50,
            b.workers(MAX_PODS),
            b.status(
                nomination=nomination,
                eta=dict.fromkeys(("earliest", "likely", "latest"), "2026-11-23T00:00:00Z"),
                remedies=[{"change": "c" * 256, "message": "m" * 1024}] * 8,
                avoid=[{"name": node, "until": "2026-11-23T00:00:00Z"} for node in NODES[:64]],
                conditions=[
                    {"type": kind, "status": "False", "reason": "r", "message": "m" * 4096, "lastTransitionTime": 0}
                    for kind in ConditionType
                ],
            ),
        )
    )
    assert len(job.model_dump_json(by_alias=True)) < 512 * 1024


def test_a_service_of_1024_replicas_that_is_short_of_places_stays_small() -> None:
    victim = {"kind": "TrainingJob", "namespace": "team-of-research", "name": "n" * 50, "uid": "u" * 36}
    place = {"flavor": "f", "digest": b.DIGEST, "epoch": 1, "admittedAt": "2026-11-23T00:00:00Z"}
    going = {"by": victim, "requestedAt": "2026-11-23T00:00:00Z", "deadline": "2026-11-23T00:01:00Z"}
    nomination = {**DECIDED, "deadline": "2026-11-23T00:01:00Z", "victims": [victim] * 32}
    status = b.status(
        admission=[
            {**place, "serial": serial, "node": NODES[serial], **({"preemption": going} if serial < 256 else {})}
            for serial in range(1024)
        ],
        nominations=[{**nomination, "serial": 2000 + number} for number in range(16)],
    )
    service = InferenceService.model_validate(b.inference_service("s", status))
    assert len(service.model_dump_json(by_alias=True)) < 512 * 1024


def test_the_smallest_manifest_is_enough() -> None:
    job = TrainingJob.model_validate(b.training_job("digits"))
    assert (job.spec.training.optimizer, job.spec.restart.max_restarts, job.gpus()) == ("adamw", 3, 1)


@pytest.mark.parametrize(("amount", "count"), [("2", 2), ("500m", 0), ("1k", 1000), ("many", 0), ("-1", 0)])
def test_counting_gpus_never_complains(amount: str, count: int) -> None:
    job = b.training_job("a", b.resources(**{"nvidia.com/gpu": amount}))
    assert TrainingJob.model_validate(job).gpus() == count


def test_parts_of_gpus_count_together() -> None:
    job = b.training_job("a", b.resources(**{"nvidia.com/gpu": "500m"}), b.workers(5))
    assert TrainingJob.model_validate(job).gpus() == 2


def test_an_elastic_gang_is_as_large_as_its_place() -> None:
    elastic = b.spec(workers={"replicas": 8, "minReplicas": 2, "resources": {"limits": {"nvidia.com/gpu": 4}}})
    waiting = TrainingJob.model_validate(b.training_job("a", elastic))
    assert (waiting.size(), waiting.gpus()) == (8, 32)
    place = {**DECIDED, "roles": [compact("worker", NODES[:3])]}
    admitted = TrainingJob.model_validate(b.training_job("a", elastic, b.status(admission=place)))
    assert (admitted.size(), admitted.gpus()) == (3, 12)


def test_a_workload_is_named_as_people_would() -> None:
    job = WorkloadReference(kind="TrainingJob", namespace="team", name="a", uid="u")
    replica = WorkloadReference(kind="InferenceService", namespace="team", name="s", uid="u", serial=3)
    assert [str(job), str(replica)] == ["TrainingJob team/a", "InferenceService team/s replica 3"]
