"""Benchmark `scale`: what the operator needs when a cluster is large: memory, CPU at rest, and the time until it admits again.

A real API server with 1,000 kwok nodes of 8 GPUs, 20 queues, and in each of these 500 TrainingJobs (100 run, 200 wait, 200 are
complete) and 25 InferenceServices. Then nothing changes for some minutes, in which CPU is measured; two complete lists that repair
the caches fall into them. Last the operator is stopped and started, and a leader beside a standby is killed with SIGKILL; each time a
small job that fits waits already, and what is measured ends when its status says that it is admitted. `make bench NAME=scale`.
"""

import argparse
import asyncio
import json
import os
import re
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any, Self

from dev.cluster import Cluster
from dev.operator_process import OperatorProcess
from tests.bench.jobs import NAMESPACE, kwok_cluster, ours, submit
from trainyard.api.names import API_VERSION, GPU
from trainyard.cluster.client import ClusterClient
from trainyard.cluster.informer import Informer
from trainyard.cluster.resources import INFERENCE_SERVICES, TRAINING_JOBS, Resource
from trainyard.cluster.sight import Sight
from trainyard.cluster.transport import KubeTransport
from trainyard.runtime.clock import SystemClock

QUEUES = 20
NODES, RUNNING, WAITING, COMPLETE, SERVICES = 50, 100, 200, 200, 25
"""In each queue."""
SHAPES = ((1, 1), (1, 2), (4, 1), (1, 4))
"""Pods and GPUs of each of those that run, in turns."""
HELD = RUNNING // len(SHAPES) * sum(pods * gpus for pods, gpus in SHAPES) + SERVICES
"""GPUs of a queue that are in use."""
FREE_QUEUE = "free"
FREE = 8
SILENCE_SECONDS = 400
"""Nodes live on so long without a heartbeat: two cores that take in 10,000 jobs let simulated ones wait for minutes."""
PATIENCE_SECONDS = 3600.0
SCRAPE_SECONDS = 30.0
"""As the chart's ServiceMonitor asks for it."""
QUIET_SECONDS = 45.0
"""Numbers of queues and flavors, and events, follow within half a minute."""
QUIET_WRITES = 0.5
"""A second. Estimates for those that wait go on: by its length so far a job that runs tells more and more about its end."""
_WRITES = re.compile(r'^trainyard_kube_requests_total\{([^}]*verb="(?!get|list|watch)[^}]*)\} (\S+)$', re.MULTILINE)
_MEGABYTE = 1e6


class Seen:
    """The phase of each object of a kind, by a watch."""

    def __init__(self, client: ClusterClient, kind: Resource) -> None:
        self._informer = Informer(client, kind, SystemClock(), Random(), sight=Sight((NAMESPACE,)), strip=_status_only)
        self._informer.on_change(self._look)
        self.status: dict[str, dict[str, Any]] = {}

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._informer.run())
        await self._informer.synced.wait()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()

    def _look(self, _old: dict[str, Any] | None, new: dict[str, Any] | None) -> None:
        if new is not None:
            self.status[new["metadata"]["name"]] = new.get("status", {})

    async def until(self, count: int, true: Callable[[dict[str, Any]], bool], operator: OperatorProcess) -> None:
        """So many of them are so. Raises RuntimeError if the operator ends: on a machine that is too busy it loses its Lease."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while sum(map(true, self.status.values())) < count:
                if not operator.running:
                    raise RuntimeError(f"the operator has ended, see {operator.log}")
                await asyncio.sleep(1)

    async def admitted(self, name: str) -> None:
        async with asyncio.timeout(120):
            while not self.status.get(name, {}).get("admission"):
                await asyncio.sleep(0.02)


def _status_only(obj: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": obj["metadata"] | {"managedFields": None}, "status": obj.get("status", {})}


def queues(count: int) -> str:
    """Queues that are full with what runs in them, and one that is empty; as a JSON document for kubectl."""
    items = [_queue(f"queue-{number:02}", HELD) for number in range(count)] + [_queue(FREE_QUEUE, FREE)]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


def _queue(name: str, gpus: int) -> dict[str, Any]:
    quota = {"name": "kwok", "resources": [{"name": GPU, "guaranteed": gpus, "limit": gpus}]}
    spec = {"namespaceSelector": {"matchLabels": {"team": "bench"}}, "flavors": [quota]}
    return {"apiVersion": API_VERSION, "kind": "Queue", "metadata": {"name": name}, "spec": spec}


def job(name: str, queue: str, shape: tuple[int, int], after: str = "24h") -> dict[str, Any]:
    """A job of (pods, GPUs of each) that ends so long after its start."""
    made = ours(name, shape[0])
    made["spec"]["queue"] = queue
    made["spec"]["workers"]["resources"] = {"requests": {"cpu": "4", "memory": "32Gi"}, "limits": {GPU: shape[1]}}
    made["spec"]["workers"]["template"]["metadata"]["annotations"] = {"trainyard.dev/kwok-complete-after": after}
    return made


def service(name: str, queue: str) -> dict[str, Any]:
    """One replica with a GPU."""
    return {
        "apiVersion": API_VERSION,
        "kind": "InferenceService",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "queue": queue,
            "replicas": 1,
            "model": {"claimName": "models", "path": "digits", "digest": "sha256:" + "a" * 64},
            "resources": {"limits": {GPU: 1}},
        },
    }


def claim() -> str:
    spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    made = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "models"}, "spec": spec}
    return json.dumps(made)


def writes(operator: OperatorProcess) -> float:
    """That the operator asked for so far, its Lease left out."""
    found = _WRITES.findall(operator.metrics())
    return sum(float(count) for labels, count in found if 'resource="leases.' not in labels)


def memory(operator: OperatorProcess, field: str) -> float:
    """Megabytes: VmRSS now, VmHWM at most until now."""
    line = next(
        each for each in Path(f"/proc/{operator.pid}/status").read_text().splitlines() if each.startswith(field)
    )
    return float(line.split()[1]) * 1024 / _MEGABYTE


async def until_quiet(operator: OperatorProcess) -> None:
    """Hardly anything was written for a while."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        written = [await asyncio.to_thread(writes, operator)]
        while len(written) < 2 or written[-1] - written[-2] > QUIET_WRITES * QUIET_SECONDS:
            await asyncio.sleep(QUIET_SECONDS)
            written.append(await asyncio.to_thread(writes, operator))
            tell("settling", operator, writes=written[-1] - written[-2])


def tell(stage: str, operator: OperatorProcess, **more: float) -> None:
    """Where the benchmark is."""
    figures = {
        "rss_mb": round(memory(operator, "VmRSS"), 1),
        "peak_mb": round(memory(operator, "VmHWM"), 1),
        "cpu_seconds": round(operator.cpu_seconds(), 1),
        "load": round(os.getloadavg()[0], 1),
    }
    print(json.dumps({"stage": stage, **figures, **more}), flush=True)


async def fill(client: ClusterClient, jobs: Seen, services: Seen, operator: OperatorProcess, count: int) -> None:
    """Everything that there is to be, until nothing changes any more."""
    names = [f"queue-{number:02}" for number in range(count)]
    finite = [job(f"{queue}-done-{n:03}", queue, (1, 1), "0s") for n in range(COMPLETE) for queue in names]
    await submit(client, TRAINING_JOBS, finite)
    await jobs.until(count * COMPLETE, lambda status: status.get("phase") == "Complete", operator)
    tell("complete", operator)
    running = [job(f"{queue}-runs-{n:03}", queue, SHAPES[n % len(SHAPES)]) for n in range(RUNNING) for queue in names]
    await submit(client, TRAINING_JOBS, running)
    await submit(
        client, INFERENCE_SERVICES, [service(f"{queue}-{n:02}", queue) for n in range(SERVICES) for queue in names]
    )
    await jobs.until(count * RUNNING, lambda status: status.get("phase") == "Running", operator)
    await services.until(count * SERVICES, lambda status: bool(status.get("admission")), operator)
    tell("running", operator)
    waiting = [job(f"{queue}-waits-{n:03}", queue, SHAPES[n % len(SHAPES)]) for n in range(WAITING) for queue in names]
    await submit(client, TRAINING_JOBS, waiting)
    await jobs.until(count * WAITING, lambda status: status.get("reason") == "WaitingForQuota", operator)
    tell("waiting", operator)
    await until_quiet(operator)
    tell("quiet", operator)


async def idle(operator: OperatorProcess, seconds: float, scrape_seconds: float | None = None) -> float:
    """CPU that the operator takes while nothing changes, in percent of a core; scraped so often, or not at all."""
    before, began, written = operator.cpu_seconds(), time.monotonic(), writes(operator)
    for _ in range(round(seconds / (scrape_seconds or seconds))):
        await asyncio.sleep(scrape_seconds or seconds)
        if scrape_seconds is not None:
            await asyncio.to_thread(operator.metrics)
    used = 100 * (operator.cpu_seconds() - before) / (time.monotonic() - began)
    tell("idle", operator, writes=writes(operator) - written)
    return used


async def first_admission(client: ClusterClient, jobs: Seen, operator: OperatorProcess) -> float:
    """Seconds from the start of the process to the admission of a job that waits."""
    await submit(client, TRAINING_JOBS, [job("after-start", FREE_QUEUE, (1, 1))])
    began = time.monotonic()
    operator.start()
    await jobs.admitted("after-start")
    seconds = time.monotonic() - began
    tell("started", operator)
    return seconds


async def leadership(
    client: ClusterClient,
    jobs: Seen,
    leader: OperatorProcess,
    standby: OperatorProcess,
    name: str,
    end: Callable[[], None],
) -> float:
    """Seconds from the end of the leader to the admission of a job that was created in that moment."""
    await until_quiet(leader)
    await asyncio.to_thread(end)
    began = time.monotonic()
    await submit(client, TRAINING_JOBS, [job(name, FREE_QUEUE, (1, 1))])
    await jobs.admitted(name)
    seconds = time.monotonic() - began
    tell(name, standby)
    return seconds


async def bench(cluster: Cluster, count: int, idle_seconds: float) -> dict[str, float]:
    """Every figure by its name."""
    cluster.kubectl("delete", "queue", "bench")  # it would have room for everybody
    cluster.kubectl("apply", "-f", "-", input=queues(count))
    cluster.kubectl("apply", "-n", NAMESPACE, "-f", "-", input=claim())
    found: dict[str, float] = {}
    peaks = []
    client = ClusterClient(await KubeTransport.connect(cluster.kubeconfig), SystemClock(), Random())
    with ExitStack() as ends:
        first, second, third = (
            ends.enter_context(_Stopped(cluster, env={"TRAINYARD_IDENTITY": name}))
            for name in ("first", "second", "third")
        )
        first.start()
        first.wait_ready()
        async with Seen(client, TRAINING_JOBS) as jobs, Seen(client, INFERENCE_SERVICES) as services:
            await fill(client, jobs, services, first, count)
            found["idle_cpu_percent"] = await idle(first, idle_seconds)
            found["scraped_cpu_percent"] = await idle(first, idle_seconds, SCRAPE_SECONDS)
            peaks.append(memory(first, "VmHWM"))
            await asyncio.to_thread(first.stop)
            found["first_admission_seconds"] = await first_admission(client, jobs, second)
            third.start()
            found["leadership_seconds"] = await leadership(client, jobs, second, third, "after-kill", second.kill)
            first.start()
            found["handover_seconds"] = await leadership(client, jobs, third, first, "after-stop", third.stop)
            await until_quiet(first)
            tell("end", first)
            peaks += [memory(first, "VmHWM")]
        await client.close()
    found["memory_mb"] = max(peaks)
    return found


class _Stopped(OperatorProcess):
    """Not started yet; stopped at the end if it runs."""

    def __enter__(self) -> Self:
        return self


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queues", type=int, default=QUEUES, help=f"each has {NODES} nodes; by default %(default)s")
    parser.add_argument("--idle-seconds", type=float, default=300)
    arguments = parser.parse_args()
    count = arguments.queues
    with kwok_cluster(count * NODES, provider="local", not_ready_seconds=SILENCE_SECONDS) as cluster:
        found = asyncio.run(bench(cluster, count, arguments.idle_seconds))
    shape = {
        "nodes": count * NODES,
        "training_jobs": count * (RUNNING + WAITING + COMPLETE),
        "running": count * RUNNING,
        "services": count * SERVICES,
        "cores": os.cpu_count(),
    }
    units = {"memory_mb": "MB", "idle_cpu_percent": "% of a core", "scraped_cpu_percent": "% of a core"}
    for name, value in sorted(found.items()):
        print(json.dumps({"name": f"scale/{name}", "value": round(value, 2), "unit": units.get(name, "s"), **shape}))


if __name__ == "__main__":
    main()
