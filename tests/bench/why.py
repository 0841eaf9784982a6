"""Benchmark `why`: how long `trainyard why` and `plan` take when 10,000 jobs run or wait on a real API server.

500 kwok nodes of 8 GPUs in racks of 8, 10 trees of 4 queues, jobs of many shapes until every GPU is taken, the rest waits. Somebody
without rights over the cluster asks the operator. `why/seconds` is the slowest answer to a request, TLS and reviews of token and access
included; `why/command` the whole command, from its process to the last line. `make bench NAME=why`.
"""

import argparse
import asyncio
import json
import os
import ssl
import tempfile
import time
import urllib.request
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

from dev.cluster import Cluster
from dev.operator_process import OperatorProcess
from tests.asker import Asker
from tests.bench.jobs import NAMESPACE, kwok_cluster, ours, submit
from trainyard.cluster.client import ClusterClient
from trainyard.cluster.resources import TRAINING_JOBS
from trainyard.cluster.transport import KubeTransport
from trainyard.runtime.clock import SystemClock

NODES, TREES, LEAVES = 500, 10, 4
ASKED = 20
SETTLE_SECONDS = 30.0
"""After the last was created. Verdicts of those that wait are written all the time; that takes minutes, and people ask meanwhile."""


def queues() -> str:
    """The quota trees, as a JSON document for kubectl."""
    share = NODES * 8 // (TREES * LEAVES)
    items = [_queue(f"t{tree}", 0, None) for tree in range(TREES)]
    items += [_queue(f"t{tree}-q{leaf}", share, f"t{tree}") for tree in range(TREES) for leaf in range(LEAVES)]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


def _queue(name: str, guaranteed: int, parent: str | None) -> dict[str, Any]:
    quota = {"name": "kwok", "resources": [{"name": "nvidia.com/gpu", "guaranteed": guaranteed}]}
    spec = {"namespaceSelector": {"matchLabels": {"team": "bench"}}, "flavors": [quota]}
    if parent:
        spec["parent"] = parent
    return {"apiVersion": "trainyard.dev/v1alpha1", "kind": "Queue", "metadata": {"name": name}, "spec": spec}


def job(random: Random, number: int) -> dict[str, Any]:
    """One of many shapes, which does not end by itself."""
    count, gpus = random.choice([(1, 1), (1, 2), (1, 4), (1, 8), (2, 8), (4, 8), (16, 8)])
    made = ours(f"job-{number:05}", count)
    spec = made["spec"]
    spec["queue"] = f"t{random.randrange(TREES)}-q{random.randrange(LEAVES)}"
    spec["priority"] = random.choice([0, 0, 0, 10])
    spec["workers"]["resources"] = {
        "requests": {"cpu": gpus * random.choice([4, 8, 16])},
        "limits": {"nvidia.com/gpu": gpus},
    }
    spec["workers"]["template"]["metadata"]["annotations"] = {"trainyard.dev/kwok-complete-after": "24h"}
    if 1 < count <= 4 and random.random() < 0.5:
        spec["topology"] = {"level": "topology.trainyard.dev/rack", "mode": "required"}
    seconds = random.choice([None, 600, 3600, 36_000])
    if seconds:
        spec["expectedSeconds"] = seconds
    return made


async def fill(client: ClusterClient, random: Random, jobs: int) -> list[str]:
    """Create them; returns the names of those that wait."""
    await submit(client, TRAINING_JOBS, [job(random, number) for number in range(jobs)])
    await asyncio.sleep(SETTLE_SECONDS)
    items = (await client.list(TRAINING_JOBS, NAMESPACE)).items
    return [each["metadata"]["name"] for each in items if not each.get("status", {}).get("admission")]


def ask(asker: Asker, path: str, body: object | None = None) -> float:
    """Seconds until the operator has answered."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{asker.server}{path}", data)
    request.add_header("Authorization", f"Bearer {asker.token}")
    context = ssl.create_default_context(cafile=asker.authority)
    began = time.perf_counter()
    with urllib.request.urlopen(request, context=context, timeout=60) as response:
        response.read()
    return time.perf_counter() - began


def measure(asker: Asker, random: Random, waiting: list[str], jobs: int, folder: Path) -> dict[str, list[float]]:
    """Seconds of every question, by what was asked."""
    found: dict[str, list[float]] = {name: [] for name in ("why", "plan", "why/command", "plan/command")}
    for number, name in enumerate(random.sample(waiting, ASKED)):
        new = job(random, jobs + number)
        found["why"].append(ask(asker, f"/v1/why/{NAMESPACE}/{name}"))
        found["plan"].append(ask(asker, "/v1/plan", {"namespace": NAMESPACE, "manifests": [new]}))
        file = folder / "job.json"
        file.write_text(json.dumps(new))
        for question, words in (("why", ("why", name)), ("plan", ("plan", "-f", str(file)))):
            began = time.perf_counter()
            done = asker.asks(*words)
            assert done.returncode == 0, done.stderr
            found[f"{question}/command"].append(time.perf_counter() - began)
    return found


async def bench(cluster: Cluster, jobs: int) -> tuple[dict[str, list[float]], int]:
    """Seconds of every question, and how many jobs waited."""
    random = Random(1)
    cluster.kubectl("apply", "-f", "-", input=queues())
    with OperatorProcess(cluster) as operator, tempfile.TemporaryDirectory() as folder:
        operator.wait_ready()
        client = ClusterClient(await KubeTransport.connect(cluster.kubeconfig), SystemClock(), Random())
        waiting = await fill(client, random, jobs)
        asker = Asker(cluster, NAMESPACE, operator, Path(folder))
        found = await asyncio.to_thread(measure, asker, random, waiting, jobs, Path(folder))
        await client.close()
    return found, len(waiting)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    arguments = parser.parse_args()
    with kwok_cluster(NODES) as cluster:
        found, waiting = asyncio.run(bench(cluster, arguments.jobs))
    shape = {"unit": "s", "jobs": arguments.jobs, "waiting": waiting, "nodes": NODES, "cores": os.cpu_count()}
    for name, seconds in found.items():
        print(json.dumps({"name": f"{name}/seconds", "value": round(max(seconds), 3), **shape}))
        print(json.dumps({"name": f"{name}/seconds/median", "value": round(median(seconds), 3), **shape}))


if __name__ == "__main__":
    main()
