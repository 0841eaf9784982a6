"""Benchmark `jobs`: 1,000 TrainingJobs of one pod beside 1,000 plain batch/v1 Jobs on one cluster. `gangs` is the same with more pods.

500 kwok nodes finish every pod at once, so what is measured is the control plane: submission of the first to completion of
the last. Runs of the two kinds alternate. The last line is the ratio of the medians; the line before it tells raw times,
writes per job (by the API server's own counters) and CPU seconds of the operator. `make bench NAME=jobs`.
"""

import argparse
import asyncio
import json
import os
import re
import statistics
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

from dev.cluster import Cluster, ClusterSpec, up
from dev.operator_process import OperatorProcess
from trainyard.cluster.client import ClusterClient
from trainyard.cluster.errors import AlreadyExists
from trainyard.cluster.informer import Informer
from trainyard.cluster.resources import PODS, TRAINING_JOBS, Resource
from trainyard.cluster.sight import Sight
from trainyard.cluster.transport import KubeTransport
from trainyard.runtime.clock import SystemClock

JOBS = Resource("batch", "v1", "jobs", "Job")
NAMESPACE = "bench"
ANNOTATIONS = {"trainyard.dev/kwok-complete-after": "0s"}
TOLERATIONS = [{"operator": "Exists"}]
GPU = {"nvidia.com/gpu": 1}
IN_FLIGHT = 50
_WRITES = re.compile(r"^apiserver_request_total\{(?P<labels>[^}]*)\} (?P<count>\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Run:
    """One run of one kind."""

    kind: str
    seconds: float
    writes_per_job: float
    writes_by: dict[str, float]
    operator_cpu_seconds: float
    cpu_seconds: dict[str, float]
    """Of every program of the cluster; empty where they are not processes of this machine."""


def plain(name: str, pods: int = 1) -> dict[str, Any]:
    """A batch/v1 Job of pods with one GPU each."""
    container = {"name": "trainer", "image": "none", "resources": {"limits": GPU}}
    template = {
        "metadata": {"annotations": ANNOTATIONS},
        "spec": {"restartPolicy": "Never", "tolerations": TOLERATIONS, "containers": [container]},
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"template": template, "backoffLimit": 0, "completions": pods, "parallelism": pods},
    }


def ours(name: str, pods: int = 1) -> dict[str, Any]:
    """A TrainingJob of workers with one GPU each."""
    template = {"metadata": {"annotations": ANNOTATIONS}, "spec": {"tolerations": TOLERATIONS}}
    workers = {"replicas": pods, "resources": {"limits": GPU}, "template": template}
    spec = {"queue": "bench", "model": {"name": "cnn"}, "dataset": {"name": "digits"}, "workers": workers}
    return {
        "apiVersion": "trainyard.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": spec,
    }


def base(gpus: int) -> str:
    """Namespace, flavor and queue, as JSON documents for kubectl."""
    group = {"apiVersion": "trainyard.dev/v1alpha1"}
    documents = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": {"team": "bench"}}},
        {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": "trainyard-gang"},
            "value": 1000,
            "preemptionPolicy": "Never",
        },
        {**group, "kind": "Flavor", "metadata": {"name": "kwok"}, "spec": {}},
        {
            **group,
            "kind": "Queue",
            "metadata": {"name": "bench"},
            "spec": {
                "namespaceSelector": {"matchLabels": {"team": "bench"}},
                "flavors": [{"name": "kwok", "resources": [{"name": "nvidia.com/gpu", "guaranteed": gpus}]}],
            },
        },
    ]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": documents})


def done(obj: dict[str, Any]) -> bool:
    """Complete, by the condition that `kubectl wait` reads."""
    return any(
        each["type"] == "Complete" and each["status"] == "True" for each in obj.get("status", {}).get("conditions", ())
    )


async def run(
    client: ClusterClient, cluster: Cluster, operator: OperatorProcess, kind: Resource, objects: list[dict[str, Any]]
) -> Run:
    """Submit all, wait for the last, clean up."""
    clock = SystemClock()
    informer = Informer(client, kind, clock, Random(), sight=Sight((NAMESPACE,)))
    finished, everything = set(), asyncio.Event()

    def look(_old: dict[str, Any] | None, new: dict[str, Any] | None) -> None:
        if new is not None and done(new):
            finished.add(new["metadata"]["name"])
            if len(finished) == len(objects):
                everything.set()

    informer.on_change(look)
    watching = asyncio.create_task(informer.run())
    await informer.synced.wait()
    writes_before, cpu_before, programs_before = writes(cluster), operator.cpu_seconds(), programs(cluster)
    began = time.monotonic()
    await submit(client, kind, objects)
    async with asyncio.timeout(600):
        await everything.wait()
    seconds = time.monotonic() - began
    cpu = operator.cpu_seconds() - cpu_before
    by_program = {name: round(used - programs_before.get(name, 0.0), 1) for name, used in programs(cluster).items()}
    await asyncio.sleep(3)  # writes that trail behind count too
    by = {
        name: (count - writes_before.get(name, 0)) / len(objects)
        for name, count in writes(cluster).items()
        if count > writes_before.get(name, 0)
    }
    watching.cancel()
    await clean(client, kind, objects)
    top = dict(sorted(by.items(), key=lambda each: -each[1])[:12])
    return Run(
        kind.kind,
        round(seconds, 2),
        round(sum(by.values()), 2),
        {name: round(each, 2) for name, each in top.items()},
        round(cpu, 2),
        by_program,
    )


async def submit(client: ClusterClient, kind: Resource, objects: Iterable[dict[str, Any]]) -> None:
    """Create all, so many at a time."""
    gate = asyncio.Semaphore(IN_FLIGHT)

    async def one(obj: dict[str, Any]) -> None:
        async with gate:
            with suppress(AlreadyExists):  # the answer to the first attempt was lost
                await client.create(kind, obj)

    await asyncio.gather(*(one(obj) for obj in objects))


async def clean(client: ClusterClient, kind: Resource, objects: Iterable[dict[str, Any]]) -> None:
    """Delete all and wait until their pods are gone."""
    gate = asyncio.Semaphore(IN_FLIGHT)

    async def one(obj: dict[str, Any]) -> None:
        async with gate:
            await client.delete(kind, NAMESPACE, obj["metadata"]["name"])

    await asyncio.gather(*(one(obj) for obj in objects))
    while (await client.list(PODS, NAMESPACE)).items:
        await asyncio.sleep(1)
    await asyncio.sleep(3)


def writes(cluster: Cluster) -> dict[str, float]:
    """Writes that the API server has answered so far, by verb and resource; Leases are not work."""
    found: dict[str, float] = {}
    for match in _WRITES.finditer(cluster.kubectl("get", "--raw", "/metrics")):
        labels = dict(re.findall(r'(\w+)="([^"]*)"', match["labels"]))
        if labels.get("verb") in ("POST", "PUT", "PATCH", "APPLY", "DELETE") and labels.get("resource") != "leases":
            name = "/".join(filter(None, (labels["verb"], labels.get("resource"), labels.get("subresource"))))
            found[name] = found.get(name, 0) + float(match["count"])
    return found


def programs(cluster: Cluster) -> dict[str, float]:
    """CPU seconds so far of the programs whose command names the cluster's folder."""
    folder, tick = str(cluster.kubeconfig.parent), os.sysconf("SC_CLK_TCK")
    found: dict[str, float] = {}
    for each in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = each.joinpath("cmdline").read_text().split("\0")
            if folder in " ".join(command):
                fields = each.joinpath("stat").read_text().rpartition(")")[2].split()
                name = Path(command[0]).name
                found[name] = found.get(name, 0.0) + (int(fields[11]) + int(fields[12])) / tick
    return found


async def bench(cluster: Cluster, count: int, pods: int, runs: int) -> list[Run]:
    """Interleaved runs."""
    results = []
    with OperatorProcess(cluster) as operator:
        operator.wait_ready()
        client = ClusterClient(await KubeTransport.connect(cluster.kubeconfig), SystemClock(), Random())
        for number in range(runs):
            for kind, make in ((JOBS, plain), (TRAINING_JOBS, ours)):
                objects = [make(f"job-{number}-{index}", pods) for index in range(count)]
                result = await run(client, cluster, operator, kind, objects)
                print(json.dumps(asdict(result)), flush=True)
                results.append(result)
        await client.close()
    return results


@contextmanager
def kwok_cluster(
    nodes: int, provider: str | None = None, *, audit: bool = False, not_ready_seconds: int = 20
) -> Iterator[Cluster]:
    """So many nodes of 8 GPUs, our kinds, and a queue for all of them."""
    crds = Path(__file__).parents[2] / "crds"
    spec = ClusterSpec(
        name=f"bench-{os.getpid()}",
        kwok_nodes=nodes,
        kwok_gpus=8,
        provider=provider,
        audit=audit,
        not_ready_seconds=not_ready_seconds,
    )
    with up(spec) as cluster:
        cluster.kubectl("apply", "-f", str(crds))
        cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        cluster.kubectl("apply", "-f", "-", input=base(nodes * 8))
        yield cluster


def main(name: str = "jobs", count: int = 1000, pods: int = 1) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=count)
    parser.add_argument("--nodes", type=int, default=500)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    with kwok_cluster(arguments.nodes) as cluster:
        results = asyncio.run(bench(cluster, arguments.count, pods, arguments.runs))
    plain_median, our_median = (
        statistics.median(each.seconds for each in results if each.kind == kind) for kind in ("Job", "TrainingJob")
    )
    shape = {"jobs": arguments.count, "pods": pods, "nodes": arguments.nodes, "runs": arguments.runs}
    print(
        json.dumps(
            {"plain_seconds": plain_median, "training_job_seconds": our_median, **shape, "cores": os.cpu_count()}
        )
    )
    print(json.dumps({"name": name, "value": round(our_median / plain_median, 3), "unit": "x plain jobs"}))


if __name__ == "__main__":
    main()
