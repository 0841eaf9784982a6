"""Compression in the cluster: a job that ends with variants, one that waits for its parent, and services that serve a variant."""

import json
from typing import Any

import pytest

from tests import builders as b
from tests.simulation.operator_sim import Simulation, condition_of
from trainyard.cluster.resources import INFERENCE_SERVICES, TRAINING_JOBS

pytestmark = pytest.mark.looptime

HALF_DIGEST, THIRD_DIGEST = "sha256:" + "b" * 64, "sha256:" + "c" * 64
VARIANTS: list[dict[str, Any]] = [
    {
        "name": "half",
        "method": "Pruned",
        "verdict": "Published",
        "reason": "1.80 times as fast",
        "digest": HALF_DIGEST,
        "sizeBytes": 4096,
        "metrics": {"accuracy": 0.96},
        "latencies": [{"batchSize": 1, "seconds": 0.001, "parentSeconds": 0.0018}],
    },
    {"name": "third", "method": "Pruned", "verdict": "Published", "digest": THIRD_DIGEST},
    {"name": "bytes", "method": "Int8Weights", "verdict": "Refused", "reason": "slower than the parent"},
]


def exports(path: str, *variants: dict[str, Any], seconds: float = 60) -> b.Modifier:
    """The job ends with this result."""
    result: dict[str, Any] = {"path": path, "digest": b.DIGEST, "variants": list(variants)}
    return b.runs(seconds, message=json.dumps({"step": 9, "result": result}))


def digests(sim: Simulation) -> set[str]:
    return {each["digest"] for each in sim.served("s")["admission"]}


async def test_a_job_ends_with_its_variants_in_the_status() -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("a", b.compresses(), exports("a/model", *VARIANTS)))
        await sim.until(sim.is_("Complete", "a"), 120)
        half, third, refused = sim.status("a")["result"]["variants"]
        assert (half["path"], half["digest"], half["metrics"]) == (
            "a/model/variants/half",
            HALF_DIGEST,
            {"accuracy": 0.96},
        )
        assert third["verdict"] == "Published"
        assert (refused["verdict"], refused["reason"], refused["path"]) == ("Refused", "slower than the parent", "")


async def test_a_job_waits_for_its_parent_and_compresses_what_that_has_exported() -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("small", b.compresses("a"), exports("small/model", *VARIANTS)))
        await sim.until(lambda: sim.status("small")["reason"] == "ModelNotReady", 10)
        assert "there is no TrainingJob 'a' in namespace 'team'; create it" in sim.message("small")
        sim.create(b.training_job("a", b.storage("models"), exports("a/model")))
        await sim.until(sim.is_("Running", "a"), 10)
        await sim.until(lambda: "it is Running and has exported no model yet" in sim.message("small"), 40)
        assert sim.names("small") == []
        await sim.until(sim.is_("Complete", "a"), 90)
        await sim.until(lambda: sim.names("small"), 5)
        assert sim.status("small")["parent"] == {"claimName": "models", "path": "a/model", "digest": b.DIGEST}
        (pod,) = sim.pods("small")
        told = next(each["value"] for each in pod["spec"]["containers"][0]["env"] if each["name"] == "TRAINYARD_SPEC")
        assert json.loads(told)["compression"]["parent"] == {"path": "/trainyard/parent/a/model", "digest": b.DIGEST}
        await sim.until(sim.is_("Complete", "small"), 120)


async def test_what_is_compressed_stays_the_same_when_the_parent_goes_and_the_operator_dies() -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("a", b.storage("models"), exports("a/model", seconds=5)))
        await sim.until(sim.is_("Complete", "a"), 60)
        sim.create(b.training_job("small", b.compresses("a"), b.runs(60)))
        await sim.until(sim.is_("Running", "small"), 30)
        await sim.delete(TRAINING_JOBS, "a")
        await sim.restart()
        sim.change(TRAINING_JOBS, "small", suspend=True)
        await sim.until(sim.is_("Suspended", "small"), 60)
        sim.change(TRAINING_JOBS, "small", suspend=False)
        await sim.until(sim.is_("Running", "small"), 60)
        assert sim.status("small")["parent"]["digest"] == b.DIGEST


async def test_a_service_serves_the_variant_that_is_named_and_rolls_to_another() -> None:
    async with Simulation() as sim:
        sim.create(b.inference_service("s", b.served_job("a", "half"), b.replicas(2)))
        sim.create(b.training_job("a", b.compresses(), exports("a/model", *VARIANTS)))
        await sim.until(sim.is_("Running", "a"), 30)
        await sim.until(lambda: sim.served("s")["phase"] == "Ready", 120)
        assert sim.served("s")["model"] == {
            "claimName": "results",
            "path": "a/model/variants/half",
            "digest": HALF_DIGEST,
            "repository": False,
            "variant": "half",
        }
        (first, _) = sim.pods("s")
        env = {each["name"]: each["value"] for each in first["spec"]["containers"][0]["env"]}
        assert env["TRAINYARD_MODEL_PATH"] == "/trainyard/storage/a/model/variants/half"
        assert env["TRAINYARD_MODEL_DIGEST"] == HALF_DIGEST
        sim.run_gateways("s")
        sim.change(INFERENCE_SERVICES, "s", model={"trainingJob": "a", "variant": "third"})
        await sim.until(lambda: digests(sim) == {THIRD_DIGEST} and len(sim.names("s")) == 2, 60)


async def test_another_variant_is_rolled_out_beside_the_one_that_is_served() -> None:
    async with Simulation() as sim:
        canary = b.spec(rollout={"strategy": "Canary", "stepSeconds": 1})
        sim.create(b.training_job("a", b.compresses(), exports("a/model", *VARIANTS, seconds=5)))
        sim.create(b.inference_service("s", b.served_job("a", "half"), b.replicas(2), canary))
        await sim.until(lambda: sim.served("s")["phase"] == "Ready", 120)
        sim.change(INFERENCE_SERVICES, "s", model={"trainingJob": "a", "variant": "third"})
        await sim.until(lambda: sim.served("s")["rollout"], 10)
        rollout = sim.served("s")["rollout"]
        assert (rollout["stable"]["variant"], rollout["canary"]["variant"]) == ("half", "third")
        await sim.until(lambda: digests(sim) == {HALF_DIGEST, THIRD_DIGEST}, 10)
        assert sim.served("s")["model"]["variant"] == "half"


async def test_a_service_keeps_serving_while_a_refused_variant_is_named() -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("a", b.compresses(), exports("a/model", *VARIANTS, seconds=5)))
        sim.create(b.inference_service("s", b.served_job("a", "half")))
        await sim.until(lambda: sim.served("s")["phase"] == "Ready", 120)
        sim.change(INFERENCE_SERVICES, "s", model={"trainingJob": "a", "variant": "bytes"})
        said = "refused variant 'bytes': slower than the parent; published are: half, third"
        await sim.until(lambda: said in condition_of(sim.served("s"), "Ready")["message"], 40)
        sim.change(INFERENCE_SERVICES, "s", replicas=2)
        await sim.until(lambda: sim.served("s")["readyReplicas"] == 2, 30)
        assert digests(sim) == {HALF_DIGEST}


async def test_a_service_of_a_refused_variant_alone_waits_and_says_why() -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("a", b.compresses(), exports("a/model", *VARIANTS, seconds=5)))
        sim.create(b.inference_service("s", b.served_job("a", "bytes")))
        await sim.until(lambda: sim.served("s").get("reason") == "ModelNotReady", 10)
        said = "refused variant 'bytes': slower than the parent"
        await sim.until(lambda: said in condition_of(sim.served("s"), "Ready")["message"], 40)
        assert sim.names("s") == []
