"""A small cluster in which every metric has something to say, as the API server would send it."""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from prometheus_client import CollectorRegistry

from trainyard.admission.vitals import FlavorVitals, Vitals
from trainyard.api.failure import FailureClass
from trainyard.api.incident import Incident
from trainyard.api.inference_service import InferenceService
from trainyard.api.invariants import Invariant
from trainyard.api.names import ATTEMPT_LABEL, FLAVOR_LABEL, GPU, QUEUE_LABEL, ROLE_LABEL
from trainyard.api.node_health import NodeState
from trainyard.api.sight import View
from trainyard.inference.observed import Observed as ServiceObserved
from trainyard.inference.workload import workloads as service_workloads
from trainyard.metrics.collector import WorldCollector
from trainyard.metrics.instruments import Metrics
from trainyard.scheduling.engine import Counters
from trainyard.scheduling.health import Health
from trainyard.scheduling.snapshot import Admit, Assignment, Standing, Workload, WorkloadKey
from trainyard.training.observed import Observed as JobObserved
from trainyard.training.observed import Report
from trainyard.training.workload import workload as job_workload
from trainyard.workloads.keys import Key
from trainyard.workloads.understood import KINDS
from trainyard.workloads.world import World

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
Object = dict[str, Any]
KEY = Key("TrainingJob", "team", "digits")


class FixedClock:
    """Stands still."""

    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return 1000.0


@dataclass
class Cache:
    synced: asyncio.Event = field(default_factory=asyncio.Event)
    last_activity: float = 997.0
    repaired: int = 2
    store: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {name: {"metadata": {}} for name in "abc"})


class Backlog:
    def waiting(self) -> Iterator[tuple[Key, float]]:
        for number in range(4):
            yield Key("TrainingJob", "team", f"job-{number}"), 1.5 - number / 10
        yield Key("Node", "", "node-1"), 0.5


@dataclass
class EventCounts:
    dropped: int = 7


def ago(**time: float) -> str:
    return (NOW - timedelta(**time)).strftime("%Y-%m-%dT%H:%M:%SZ")


def node(name: str, gpus: int, *, pool: str = "h200", ready: bool = True, **spec: Any) -> Object:
    condition = {"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": ago(minutes=1)}
    return {
        "metadata": {"name": name, "labels": {"pool": pool}},
        "spec": spec,
        "status": {"allocatable": {GPU: str(gpus), "cpu": "64", "pods": "110"}, "conditions": [condition]},
    }


def pod(
    name: str, owner: Object, at: str, role: str, *, gpus: int = 1, phase: str = "Running", **labels: str
) -> Object:
    meta = owner["metadata"]
    reference = {"kind": owner["kind"], "uid": meta["uid"], "name": meta["name"], "controller": True}
    container = {"worker": "trainer", "replica": "server", "gateway": "haproxy"}[role]
    return {
        "metadata": {
            "name": name,
            "namespace": meta["namespace"],
            "uid": f"uid-{name}",
            "creationTimestamp": ago(minutes=5),
            "labels": {
                ROLE_LABEL: role,
                ATTEMPT_LABEL: "2",
                QUEUE_LABEL: "research",
                FLAVOR_LABEL: "h200",
                **labels,
            },
            "ownerReferences": [reference],
        },
        "spec": {"nodeName": at, "containers": [{"name": container, "resources": {"limits": {GPU: str(gpus)}}}]},
        "status": {"phase": phase, "conditions": [{"type": "Ready", "status": "True"}], "containerStatuses": []},
    }


def foreign_pod(name: str, at: str, gpus: int) -> Object:
    return {
        "metadata": {"name": name, "namespace": "other", "uid": f"uid-{name}"},
        "spec": {"nodeName": at, "containers": [{"name": "x", "resources": {"limits": {GPU: str(gpus)}}}]},
        "status": {"phase": "Running"},
    }


def flavor(name: str = "h200", **selector: str) -> Object:
    return {"kind": "Flavor", "metadata": {"name": name}, "spec": {"nodeSelector": selector or {"pool": "h200"}}}


def queue(name: str = "research", gpus: int = 8) -> Object:
    quota = {"name": "h200", "resources": [{"name": GPU, "guaranteed": gpus, "limit": 2 * gpus}]}
    used = {"periodStart": ago(hours=12), "gpuHours": 2.0, "updatedAt": ago(minutes=1)}
    return {
        "kind": "Queue",
        "metadata": {"name": name, "generation": 2},
        "spec": {"flavors": [quota], "budget": {"gpuHours": 8, "periodSeconds": 86_400}},
        "status": {"observedGeneration": 1, "budget": used},
    }


def waiting(reason: str, **time: float) -> Object:
    return {
        "type": "Admitted",
        "status": "False",
        "reason": reason,
        "message": "because",
        "lastTransitionTime": ago(**time),
    }


def training_job(name: str, *, status: Object | None = None, workers: int = 2, **spec: Any) -> Object:
    return {
        "kind": "TrainingJob",
        "metadata": {
            "name": name,
            "namespace": "team",
            "uid": f"uid-{name}",
            "generation": 1,
            "creationTimestamp": ago(hours=1),
        },
        "spec": {
            "queue": "research",
            "model": {"name": "cnn"},
            "dataset": {"name": "digits"},
            "workers": {"replicas": workers, "resources": {"limits": {GPU: 1}}},
            **spec,
        },
        "status": status or {},
    }


def running_job() -> Object:
    runs = [{"node": "1", "count": 2}]
    return training_job(
        "digits",
        training={"epochs": 4},
        storage={"claimName": "results"},
        budget={"maxGPUHours": 10},
        status={
            "phase": "Running",
            "attempt": 2,
            "restarts": 3,
            "disruptions": 1,
            "admission": {
                "epoch": 1,
                "queue": "research",
                "flavor": "h200",
                "time": ago(minutes=50),
                "roles": [{"name": "worker", "prefix": "node-", "runs": runs}],
            },
            "firstStepTime": ago(minutes=49),
            "ledger": {
                "current": "productive",
                "since": ago(minutes=1),
                "seconds": {"queued": 600, "starting": 60, "productive": 2640, "lostWork": 240},
                "gpuHours": 5880 / 3600,
                "causes": [
                    {"cause": "WaitingForQuota", "seconds": 600},
                    {"cause": "PodsStarting", "seconds": 60, "gpuHours": 120 / 3600},
                    {"cause": "Node", "seconds": 240, "gpuHours": 480 / 3600},
                ],
            },
            "stragglers": [
                {
                    "rank": 0,
                    "pod": "digits-1-0",
                    "node": "gone",
                    "attempt": 1,
                    "factor": 9.0,
                    "since": ago(hours=99),
                    "until": ago(hours=98),
                },
                {
                    "rank": 1,
                    "pod": "digits-2-1",
                    "node": "node-1",
                    "attempt": 2,
                    "factor": 1.6,
                    "since": ago(minutes=9),
                },
            ],
            "checkpoint": {"step": 90, "path": "x", "time": ago(minutes=3)},
            "result": {"claimName": "results", "path": "p", "digest": "sha256:ab"},
            "progress": {
                "phase": "training",
                "step": 100,
                "totalSteps": 1000,
                "loss": 0.5,
                "metrics": {"accuracy": 0.9, **{f"recall-at-{number}": 0.5 for number in range(16)}},
                "throughput": 640.0,
                "eta": "3m20s",
                "checkpointing": {
                    "everySteps": 420,
                    "seconds": 661.0,
                    "stallSeconds": 1.3,
                    "writeSeconds": 41.0,
                    "interruptionSeconds": 32_760.0,
                },
                "updatedAt": ago(seconds=20),
            },
        },
    )


def inference_service() -> Object:
    ready = {"type": "Ready", "status": "True", "reason": "Serving", "lastTransitionTime": ago(minutes=1)}
    place = {"serial": 1, "node": "node-1", "flavor": "h200", "digest": "sha256:ab", "admittedAt": ago(minutes=2)}
    return {
        "kind": "InferenceService",
        "metadata": {
            "name": "digits",
            "namespace": "team",
            "uid": "uid-service",
            "generation": 1,
            "creationTimestamp": ago(minutes=3),
        },
        "spec": {
            "queue": "research",
            "model": {"trainingJob": "digits"},
            "replicas": 2,
            "resources": {"limits": {GPU: 1}},
            "gateway": {"replicas": 3},
            "slo": {"latencyMs": 250},
        },
        "status": {
            "conditions": [ready, waiting("WaitingForQuota", minutes=1)],
            "admission": [place],
            "gateways": 2,
            "model": {"claimName": "results", "path": "p", "digest": "sha256:ab"},
            "readyTime": ago(minutes=1),
            "nextSerial": 2,
            "rollout": rollout("RolledBack"),
        },
    }


def rollout(phase: str) -> Object:
    stable, canary = ({"claimName": "results", "path": "p", "digest": f"sha256:{each}"} for each in ("ab", "cd"))
    times = dict.fromkeys(("startedAt", "since", "countedAt"), ago(minutes=2))
    return {"phase": phase, "strategy": "Canary", "stable": stable, "canary": canary, **times}


def scripted_world() -> World:
    """Four nodes in four states, one job that runs and one that waits, one service."""
    world = World(now=lambda: NOW)
    job, service = running_job(), inference_service()
    for kind, thing in (
        ("Flavor", flavor()),
        ("Queue", queue()),
        ("Node", node("node-1", 8)),
        ("Node", node("node-2", 8, unschedulable=True)),
        ("Node", node("node-3", 8, ready=False)),
        ("Node", node("node-4", 4, pool="a100", taints=[{"key": "broken", "effect": "NoSchedule"}])),
        ("TrainingJob", job),
        ("TrainingJob", training_job("waits", status={"conditions": [waiting("WaitingForQuota", minutes=30)]})),
        ("InferenceService", service),
        ("Pod", pod("digits-2-0", job, "node-1", "worker")),
        ("Pod", pod("digits-2-1", job, "node-1", "worker", phase="Pending")),
        ("Pod", pod("digits-replica-1", service, "node-1", "replica")),
        ("Pod", pod("digits-gateway-1", service, "node-1", "gateway", gpus=0)),
        ("Pod", foreign_pod("notebook", "node-1", 2)),
    ):
        world.observe(kind, None, thing)
    since = NOW - timedelta(minutes=20)
    world.stand("node-2", Standing(NodeState.SUSPECT, since, "offers 7 of 8 GPUs", risk=2, lemon=3.2))
    return world


def incident() -> Incident:
    """A node was lost: noticed after 25 s, overcome after a minute and a half."""
    began = NOW - timedelta(minutes=10)
    noticed, again = began + timedelta(seconds=25), began + timedelta(seconds=90)
    moments = {"fault_at": began, "detected_at": noticed, "recovered_at": again, "ended_at": again}
    return Incident(number=1, attempt=1, cause=FailureClass.NODE.value, lost_gpu_seconds=1440.0, **moments)


def used_metrics(registry: CollectorRegistry) -> Metrics:
    """Instruments of which each was told something."""
    metrics = Metrics(registry, revision="abc")
    metrics.kube_call("list", "pods", 200, 0.01, 2000)
    metrics.kube_call("watch", "pods", 200, 0.0, 0)
    metrics.reconciled(KEY, waited=0.1, worked=0.2, failed=False)
    metrics.reconciled(KEY, waited=0.1, worked=0.2, failed=True)
    metrics.certificate("authority", NOW - timedelta(days=10), NOW + timedelta(days=3640))
    metrics.certificate("serving", NOW - timedelta(days=10), NOW + timedelta(days=20))
    metrics.cycle(0.02, [Admit(WorkloadKey("TrainingJob", "team", "digits"), "uid", Assignment("h200", {}))])
    metrics.admitted("research", 12.0)
    metrics.completed("research", "complete")
    metrics.failed("research", FailureClass.OUT_OF_MEMORY)
    metrics.interrupted(incident())
    metrics.straggler("research")
    metrics.drew("research", "team", 8.4e6, 4.2, 900.0)
    metrics.measured("research", "team", 7.9e6)
    metrics.event("Normal", "Admitted")
    metrics.loop_lag(0.004)
    metrics.missed("research", 40.0)
    metrics.started("load", 12.0)
    metrics.preempting("research", "production")
    metrics.preempted("research", 7200.0)
    metrics.violated(Invariant.OVER_QUOTA)
    metrics.node_became(NodeState.SUSPECT)
    metrics.xid(79)
    metrics.node_breaker(False)
    return metrics


def seen_vitals() -> Vitals:
    """What a cycle saw: one broken node of two, and half a GPU that nobody can use."""
    vitals = Vitals(FixedClock())
    vitals.counters = Counters(made=3, moved_later=1)
    vitals.flavors = {"h200": FlavorVitals(Health({"node-9": "GPUMissing"}, {}, 0, 2), 0.5)}
    return vitals


def workloads(world: World) -> Iterator[Workload]:
    """As the controllers tell the scheduler of them."""
    jobs = {job.metadata.name: job for job in world.training_jobs()}
    for job in jobs.values():
        if found := job_workload(JobObserved(job), NOW):
            yield found
    for service in world.of_kind("InferenceService"):
        assert isinstance(service, InferenceService)
        source = jobs.get(service.spec.model.training_job or "")
        yield from service_workloads(ServiceObserved(service, source=source), NOW)


def collector_of(world: World, *, report: Report | None = None, **options: Any) -> WorldCollector:
    cache = Cache()
    cache.synced.set()
    return WorldCollector(
        world,
        FixedClock(),
        lambda: True,
        pod="trainyard-0",
        backlog=Backlog(),
        caches={"pods": cache, "nodes": Cache()},
        ours={
            kind: Cache(
                store={each.metadata.name: each.model_dump(by_alias=True, mode="json") for each in world.of_kind(kind)}
            )
            for kind in KINDS
        },
        events=EventCounts(),
        reports=lambda uid: report if uid == "uid-digits" else None,
        vitals=seen_vitals(),
        views=lambda: {"team": View.SEEN, "left": View.REFUSED},
        workloads=lambda: workloads(world),
        **options,
    )


def full_registry(world: World | None = None, **options: Any) -> CollectorRegistry:
    """All that an operator would register."""
    registry = CollectorRegistry()
    used_metrics(registry)
    registry.register(collector_of(world or scripted_world(), **options))
    return registry


def values(registry: CollectorRegistry) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every series with its value."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in registry.collect()
        for sample in family.samples
    }


def value(registry: CollectorRegistry, name: str, /, **labels: str) -> float | None:
    """Value of one series; None when it is not there."""
    return values(registry).get((name, frozenset(labels.items())))
