"""Benchmark `depth`: does a deep queue slow small jobs down that fit?

One job holds most of a queue, and 20 or 2,000 jobs too large for the rest wait in the same queue. Then small jobs come one
after the other; each would end before anything else does, and says so. Measured is the time from its creation until its status
says that it is admitted, as a watcher sees it. The last line is the p50 at the larger depth as a multiple of that at the
smaller; both depths alternate. `make bench NAME=depth`.
"""

import argparse
import asyncio
import json
import os
import statistics
import time
from random import Random
from typing import Any, Self

from dev.cluster import Cluster
from dev.operator_process import OperatorProcess
from tests.bench.jobs import NAMESPACE, clean, kwok_cluster, ours, submit
from trainyard.cluster.client import ClusterClient
from trainyard.cluster.informer import Informer
from trainyard.cluster.resources import TRAINING_JOBS
from trainyard.cluster.sight import Sight
from trainyard.cluster.transport import KubeTransport
from trainyard.runtime.clock import SystemClock

NODES = 500
HELD, LARGE = 400, 200
"""Nodes that one job holds, and that each of those that wait asks for."""
PACE_SECONDS = 0.2
SETTLE_SECONDS = 10.0
"""Until what the deep queue itself caused is over: statuses of those that wait."""


def large(name: str, nodes: int) -> dict[str, Any]:
    """A job of whole nodes that does not end by itself, of which nobody knows how long it takes."""
    made = ours(name, nodes)
    made["spec"]["workers"]["resources"] = {"limits": {"nvidia.com/gpu": 8}}
    made["spec"]["workers"]["template"]["metadata"]["annotations"] = {"trainyard.dev/kwok-complete-after": "24h"}
    return made


def small(name: str) -> dict[str, Any]:
    """A job of one GPU that ends at once and says that it is short."""
    made = ours(name)
    made["spec"]["expectedSeconds"] = 60
    return made


def admitted(obj: dict[str, Any]) -> bool:
    return any(
        each["type"] == "Admitted" and each["status"] == "True" for each in obj.get("status", {}).get("conditions", ())
    )


class Watcher:
    """When each job was first seen waiting, and admitted."""

    def __init__(self, client: ClusterClient) -> None:
        self._informer = Informer(client, TRAINING_JOBS, SystemClock(), Random(), sight=Sight((NAMESPACE,)))
        self._informer.on_change(self._look)
        self.admitted: dict[str, float] = {}
        self.waiting: set[str] = set()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._informer.run())
        await self._informer.synced.wait()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()

    def _look(self, _old: dict[str, Any] | None, new: dict[str, Any] | None) -> None:
        if new is None:
            return
        name = new["metadata"]["name"]
        if admitted(new):
            self.admitted.setdefault(name, time.monotonic())
        elif new.get("status", {}).get("conditions"):
            self.waiting.add(name)

    async def until(self, what: dict[str, float] | set[str], names: set[str]) -> None:
        """All of these are there."""
        async with asyncio.timeout(300):
            while not names <= set(what):
                await asyncio.sleep(0.05)


async def run(client: ClusterClient, depth: int, count: int) -> list[float]:
    """Seconds that each of `count` small jobs waited."""
    holder = large("holder", HELD)
    queue = [large(f"large-{number:04}", LARGE) for number in range(depth)]
    jobs = [small(f"small-{number:03}") for number in range(count)]
    async with Watcher(client) as seen:
        await submit(client, TRAINING_JOBS, [holder])
        await seen.until(seen.admitted, {"holder"})
        await submit(client, TRAINING_JOBS, queue)
        await seen.until(seen.waiting, {each["metadata"]["name"] for each in queue})
        await asyncio.sleep(SETTLE_SECONDS)
        created: dict[str, float] = {}
        for job in jobs:
            created[job["metadata"]["name"]] = time.monotonic()
            await submit(client, TRAINING_JOBS, [job])
            await asyncio.sleep(PACE_SECONDS)
        await seen.until(seen.admitted, set(created))
    await clean(client, TRAINING_JOBS, [*jobs, *queue, holder])
    return [seen.admitted[name] - began for name, began in created.items()]


async def bench(cluster: Cluster, depths: tuple[int, int], count: int, runs: int) -> dict[int, list[float]]:
    """Waits by depth."""
    found: dict[int, list[float]] = {depth: [] for depth in depths}
    with OperatorProcess(cluster) as operator:
        operator.wait_ready()
        client = ClusterClient(await KubeTransport.connect(cluster.kubeconfig), SystemClock(), Random())
        for _ in range(runs):
            for depth in depths:
                waits = await run(client, depth, count)
                found[depth] += waits
                print(json.dumps({"depth": depth, **_figures(waits)}), flush=True)
        await client.close()
    return found


def _figures(waits: list[float]) -> dict[str, float]:
    tenths = statistics.quantiles(waits, n=10)
    return {"p50_seconds": round(statistics.median(waits), 3), "p90_seconds": round(tenths[-1], 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shallow", type=int, default=20)
    parser.add_argument("--deep", type=int, default=2000)
    parser.add_argument("--count", type=int, default=100, help="small jobs in each run")
    parser.add_argument("--runs", type=int, default=2)
    arguments = parser.parse_args()
    depths = (arguments.shallow, arguments.deep)
    with kwok_cluster(NODES) as cluster:
        found = asyncio.run(bench(cluster, depths, arguments.count, arguments.runs))
    shape = {"small_jobs": arguments.count, "nodes": NODES, "runs": arguments.runs, "cores": os.cpu_count()}
    for depth in depths:
        print(
            json.dumps(
                {"name": f"depth/{depth}/p50", "value": _figures(found[depth])["p50_seconds"], "unit": "s", **shape}
            )
        )
    ratio = statistics.median(found[arguments.deep]) / statistics.median(found[arguments.shallow])
    print(json.dumps({"name": "depth", "value": round(ratio, 3), "unit": f"x the wait at depth {arguments.shallow}"}))


if __name__ == "__main__":
    main()
