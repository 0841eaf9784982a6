"""The life of InferenceServices, with the whole operator on a cluster in memory."""

from typing import Any

import pytest

from tests import builders as b
from tests.simulation.fake_nodes import Behaviour, annotated
from tests.simulation.operator_sim import CLOCK, Simulation, condition_of
from trainyard.cluster.resources import CLAIMS, DEPLOYMENTS, INFERENCE_SERVICES, PODS, QUEUES, SERVICES, TRAINING_JOBS

pytestmark = pytest.mark.looptime


async def ready(sim: Simulation, name: str = "s", limit: float = 30) -> None:
    await sim.until(lambda: sim.served(name)["phase"] == "Ready", limit)


async def test_a_service_gets_replicas_a_gateway_and_an_address() -> None:
    async with Simulation() as sim:
        sim.create(b.inference_service("s", b.replicas(2)))
        await ready(sim)
        assert sim.names("s") == ["s-1", "s-2"]
        assert {each["metadata"]["name"] for each in sim.api.all(SERVICES)} == {"s", "s-replicas"}
        deployment = sim.api.get(DEPLOYMENTS, "team", "s-gateway")
        assert deployment is not None
        assert deployment["spec"]["replicas"] == 2
        assert sim.served("s")["url"] == "http://s.team.svc"
        assert sim.served("s")["readyReplicas"] == 2


async def test_the_ports_of_an_address_follow_the_gateway_and_nothing_is_written_twice() -> None:
    async with Simulation() as sim:
        sim.create(b.inference_service("s"))
        await ready(sim)

        def ports() -> list[str]:
            there = sim.api.get(SERVICES, "team", "s")
            assert there is not None
            return [each["name"] for each in there["spec"]["ports"]]

        made = sim.api.get(SERVICES, "team", "s")
        assert made is not None
        assert ports() == ["http"]
        pods = sim.names("s")
        sim.change(INFERENCE_SERVICES, "s", gateway={"grpc": True})
        await sim.until(lambda: ports() == ["http", "grpc"], 10)
        await sim.until(lambda: sim.served("s")["grpcAddress"] == "s.team.svc:8001", 10)
        changed = sim.api.get(SERVICES, "team", "s")
        assert changed is not None
        assert changed["metadata"]["uid"] == made["metadata"]["uid"]
        assert sim.names("s") == pods
        await sim.rest(30)
        assert sim.api.get(SERVICES, "team", "s") == changed
        sim.change(INFERENCE_SERVICES, "s", gateway={"grpc": False})
        await sim.until(lambda: ports() == ["http"], 10)


async def test_replicas_are_admitted_one_by_one_as_far_as_the_quota_reaches() -> None:
    async with Simulation(nodes=1, gpus=3) as sim:
        sim.create(b.training_job("a", b.gpus(2)))
        await sim.until(sim.is_("Running", "a"), 10)
        sim.create(b.inference_service("s", b.replicas(3)))
        await sim.until(lambda: len(sim.names("s")) == 1, 10)
        await sim.rest(10)
        assert sim.served("s")["reason"] == "WaitingForQuota"
        assert "2 of 3 replicas wait" in condition_of(sim.served("s"), "Admitted")["message"]
        await sim.until(lambda: sim.served("s").get("remedies"), 60)
        assert [each["change"] for each in sim.served("s")["remedies"]] == ["end of TrainingJob team/a"]
        assert sim.served("s")["eta"]["likely"]
        await sim.delete(TRAINING_JOBS, "a")
        await ready(sim)
        assert len(sim.names("s")) == 3
        assert not sim.served("s").get("remedies")
        assert not sim.served("s").get("eta")


async def test_scaling_down_drains_the_idlest_and_waits_for_the_gateways() -> None:
    async with Simulation() as sim:
        sim.create(b.inference_service("s", b.replicas(3), b.drain(300)))
        await ready(sim)
        sim.run_gateways("s")
        sim.requests_in_flight = {"s-1": 5, "s-2": 1, "s-3": 4}
        await sim.rest(5)
        sim.change(INFERENCE_SERVICES, "s", replicas=2)
        await sim.rest(30)
        leaving = [each["serial"] for each in sim.served("s")["admission"] if each["release"] == "drain"]
        assert leaving == [2]
        assert "s-2" in sim.names("s")  # a request is still in flight there
        sim.requests_in_flight = {"s-1": 5, "s-2": 0, "s-3": 4}
        await sim.until(lambda: sim.names("s") == ["s-1", "s-3"], 10)
        await sim.until(lambda: sim.served("s")["replicas"] == 2 and len(sim.served("s")["admission"]) == 2, 10)


async def test_a_drain_ends_when_its_time_is_up() -> None:
    async with Simulation() as sim:
        sim.create(b.inference_service("s", b.replicas(2), b.drain(40)))
        await ready(sim)
        sim.run_gateways("s")
        sim.requests_in_flight = {"s-1": 1, "s-2": 1}
        await sim.rest(2)
        sim.change(INFERENCE_SERVICES, "s", replicas=1)
        began = CLOCK.monotonic()
        await sim.until(lambda: len(sim.names("s")) == 1, 60)
        assert 39 < CLOCK.monotonic() - began < 45


async def test_scaling_up_and_to_zero() -> None:
    async with Simulation() as sim:
        sim.create(b.inference_service("s"))
        await ready(sim)
        sim.change(INFERENCE_SERVICES, "s", replicas=4)
        await sim.until(lambda: sim.served("s")["readyReplicas"] == 4, 20)
        sim.change(INFERENCE_SERVICES, "s", replicas=0)
        await sim.until(lambda: sim.names("s") == [] and sim.served("s")["phase"] == "ScaledToZero", 20)
        assert sim.served("s")["admission"] == []
        sim.change(INFERENCE_SERVICES, "s", replicas=1)
        await ready(sim)
        assert sim.names("s") == ["s-5"]  # a serial is never used twice


async def test_a_service_waits_for_the_job_that_trains_its_model() -> None:
    async with Simulation() as sim:
        sim.create(b.inference_service("s", b.served_job("a")))
        await sim.until(lambda: sim.served("s")["reason"] == "ModelNotReady", 10)
        assert "there is no TrainingJob 'a'" in condition_of(sim.served("s"), "Ready")["message"]
        words = f'{{"step": 9, "result": {{"path": "a/model", "digest": "{b.DIGEST}"}}}}'
        sim.create(b.training_job("a", b.storage(), b.runs(60, message=words)))
        await sim.until(sim.is_("Running", "a"), 10)
        await sim.rest(30)
        assert "has exported no model yet" in condition_of(sim.served("s"), "Ready")["message"]
        await ready(sim, limit=60)
        assert sim.served("s")["model"] == {
            "claimName": "results",
            "path": "a/model",
            "digest": b.DIGEST,
            "repository": False,
            "variant": "",
        }
        await sim.delete(TRAINING_JOBS, "a")
        await sim.rest(30)
        assert sim.served("s")["phase"] == "Ready"


async def test_a_service_waits_for_its_claim() -> None:
    async with Simulation() as sim:
        sim.create(b.inference_service("s", b.served_claim("later", "m")))
        await sim.until(lambda: sim.served("s")["reason"] == "ModelNotReady", 10)
        sim.api.put(CLAIMS, b.a_claim("later"))
        await ready(sim, limit=60)


async def test_a_refused_model_is_told_in_the_servers_words() -> None:
    async with Simulation() as sim:
        sim.kubelet.behave = lambda _pod: Behaviour(ready=False)
        sim.create(b.inference_service("s"))
        await sim.until(lambda: sim.nodes("s") not in ([], [""]), 20)
        await sim.rest(3)
        ended = {"exitCode": 65, "message": '{"cause": "digest is sha256:b, expected sha256:a"}'}

        def crash(pod: b.Object) -> None:
            pod["status"]["containerStatuses"][0] |= {"lastState": {"terminated": ended}, "restartCount": 1}

        sim.api.edit(PODS, "team", "s-1", crash)
        await sim.until(lambda: sim.served("s")["reason"] == "ModelRefused", 40)
        assert "digest is sha256:b" in condition_of(sim.served("s"), "Ready")["message"]


async def test_a_new_model_rolls_without_a_gap() -> None:
    async with Simulation() as sim:
        sim.create(b.inference_service("s", b.replicas(2)))
        await ready(sim)
        sim.run_gateways("s")
        low = [2]
        new = "sha256:" + "b" * 64

        def look() -> bool:
            low.append(sum(pod["status"].get("phase") == "Running" for pod in sim.pods("s")))
            return {each["digest"] for each in sim.served("s")["admission"]} == {new} and len(sim.names("s")) == 2

        sim.change(INFERENCE_SERVICES, "s", model={"claimName": "models", "path": "new", "digest": new})
        await sim.until(look, 60)
        assert min(low) == 2
        await ready(sim)


async def test_a_new_model_rolls_in_a_full_queue_one_replica_at_a_time() -> None:
    async with Simulation() as sim:
        quota = {"name": "h200", "resources": [{"name": "nvidia.com/gpu", "guaranteed": "2"}]}
        sim.change(QUEUES, "research", None, flavors=[quota])
        sim.create(b.inference_service("s", b.replicas(2)))
        await ready(sim)
        sim.run_gateways("s")
        low = [2]
        new = "sha256:" + "b" * 64

        def look() -> bool:
            low.append(sum(pod["status"].get("phase") == "Running" for pod in sim.pods("s")))
            return {each["digest"] for each in sim.served("s")["admission"]} == {new} and len(sim.names("s")) == 2

        sim.change(INFERENCE_SERVICES, "s", model={"claimName": "models", "path": "new", "digest": new})
        await sim.until(look, 120)
        assert min(low) >= 1
        await ready(sim)


@pytest.mark.parametrize(
    "change",
    [
        {"batching": {"maxBatch": 8}},
        {"requestLimits": {"seconds": 30}},
        {"telemetry": {"otlpEndpoint": "http://collector:4318"}},
        {"template": {"metadata": {"annotations": {"a": "b"}}}},
        {"resources": {"requests": {"cpu": "2"}, "limits": {"nvidia.com/gpu": "1"}}},
        {"model": {"claimName": "models", "path": "another"}},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_what_shapes_the_pods_takes_their_place_one_after_the_other_without_a_gap(change: dict[str, Any]) -> None:
    async with Simulation() as sim:
        sim.create(b.inference_service("s", b.replicas(2), b.spec(model={"claimName": "models", "path": "one"})))
        await ready(sim)
        sim.run_gateways("s")
        low = [2]

        def look() -> bool:
            low.append(sum(pod["status"].get("phase") == "Running" for pod in sim.pods("s")))
            return sim.names("s") == ["s-3", "s-4"]

        sim.change(INFERENCE_SERVICES, "s", **change)
        await sim.until(look, 60)
        assert min(low) == 2
        await ready(sim)
        await sim.rest(30)
        assert sim.names("s") == ["s-3", "s-4"]


async def test_what_does_not_shape_the_pods_leaves_them_alone() -> None:
    async with Simulation() as sim:
        sim.create(b.inference_service("s", b.replicas(2)))
        await ready(sim)
        sim.run_gateways("s")
        sim.change(INFERENCE_SERVICES, "s", drainSeconds=7, priority=3, batching={"maxBatch": 64})
        await sim.rest(30)
        assert sim.names("s") == ["s-1", "s-2"]


async def test_in_a_full_queue_a_changed_spec_that_never_gets_ready_costs_one_replica_and_no_more() -> None:
    async with Simulation() as sim:
        quota = {"name": "h200", "resources": [{"name": "nvidia.com/gpu", "guaranteed": "2"}]}
        sim.change(QUEUES, "research", None, flavors=[quota])
        sim.create(b.inference_service("s", b.replicas(2)))
        await ready(sim)
        sim.run_gateways("s")
        sim.kubelet.behave = lambda _pod: Behaviour(ready=False)
        sim.change(INFERENCE_SERVICES, "s", batching={"maxBatch": 8})
        await sim.rest(120)
        assert len(sim.names("s")) == 2
        old = [pod for pod in sim.pods("s") if pod["metadata"]["name"] in ("s-1", "s-2")]
        assert len(old) == 1, "one of the old ones answers on"


async def test_a_queue_on_hold_keeps_what_serves_and_adds_nothing() -> None:
    async with Simulation() as sim:
        sim.create(b.inference_service("s"))
        await ready(sim)
        sim.change(QUEUES, "research", None, stopPolicy="Hold")
        await sim.rest(1)
        sim.change(INFERENCE_SERVICES, "s", replicas=2)
        await sim.rest(20)
        assert len(sim.names("s")) == 1
        assert sim.served("s")["reason"] == "OnHold"


async def test_a_replica_on_a_lost_node_is_replaced_elsewhere() -> None:
    async with Simulation(nodes=6, gpus=1) as sim:
        sim.create(b.inference_service("s", b.replicas(2)))
        await ready(sim)
        lost = sim.nodes("s")[0]
        sim.stop_node(lost)
        await sim.until(lambda: lost not in sim.nodes("s") and sim.served("s")["readyReplicas"] == 2, 60)


@pytest.mark.fault(14)
async def test_a_deleted_replica_comes_back() -> None:
    async with Simulation() as sim:
        sim.create(b.inference_service("s"))
        await ready(sim)
        uid = sim.pods("s")[0]["metadata"]["uid"]
        await sim.delete(PODS, "s-1")
        await sim.until(lambda: sim.pods("s") != [] and sim.pods("s")[0]["metadata"]["uid"] != uid, 20)
        await ready(sim)


async def test_a_replica_that_is_not_bound_is_placed_elsewhere() -> None:
    async with Simulation(nodes=2, gpus=1) as sim:
        sim.binder.paused = True
        sim.create(b.inference_service("s"))
        await sim.until(lambda: sim.names("s") == ["s-1"], 10)
        first = sim.served("s")["admission"][0]["node"]
        await sim.until(lambda: "s-1" not in sim.names("s"), 45)
        sim.binder.paused = False
        sim.binder.bind_all()
        await ready(sim)
        assert sim.nodes("s") != [first]


async def test_a_deleted_service_leaves_nothing() -> None:
    async with Simulation() as sim:
        sim.create(b.inference_service("s", b.replicas(2)))
        await ready(sim)
        await sim.delete(INFERENCE_SERVICES, "s")
        await sim.rest(10)
        assert sim.api.all(PODS) == []
        assert sim.api.all(DEPLOYMENTS) == []
        assert sim.api.all(SERVICES) == []


async def test_a_service_whose_pods_are_refused_says_why() -> None:
    async with Simulation() as sim:
        refusing = sim.refuse_pods("violates PodSecurity")
        sim.create(b.inference_service("s"))
        await sim.until(lambda: "violates PodSecurity" in str(sim.served("s")["conditions"]), 60)
        refusing.clear()
        await ready(sim, limit=150)


async def test_two_replicas_share_a_node_and_annotations_reach_the_pods() -> None:
    async with Simulation(nodes=1, gpus=2) as sim:
        sim.kubelet.behave = annotated
        sim.create(b.inference_service("s", b.replicas(2), b.annotated(team="vision")))
        await ready(sim)
        assert {pod["metadata"]["annotations"]["team"] for pod in sim.pods("s")} == {"vision"}
        assert sim.nodes("s") == ["n0", "n0"]
