"""How long `trainyard why` and `plan` take when 10,000 jobs run or wait: from a snapshot to the answer, remedies included.

500 nodes of 8 GPUs in 25 racks, 10 trees of 4 queues, jobs of many shapes until every GPU is taken, the rest waits.
"""

import json
import os
import time
from datetime import UTC, datetime, timedelta
from random import Random
from statistics import median

from tests.builders import EVERYBODY
from trainyard.api.flavor import FlavorSpec
from trainyard.api.names import GPU
from trainyard.api.queue import QueueSpec
from trainyard.questions.hurry import in_a_hurry
from trainyard.questions.plan import plan
from trainyard.scheduling.remedies import remedies
from trainyard.scheduling.snapshot import NodeView, PodSet, Snapshot, Topology, Wait, Workload, WorkloadKey
from trainyard.scheduling.whatif import Settled, settle

JOBS, NODES, RACKS, TREES, LEAVES = 10_000, 500, 25, 10, 4
ASKED = 12
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def snapshot(random: Random) -> Snapshot:
    """The cluster, nothing placed yet."""
    nodes = tuple(
        NodeView(f"n{number:03}", {"rack": f"r{number % RACKS:02}"}, {GPU: 8000, "cpu": 192_000, "pods": 110_000})
        for number in range(NODES)
    )
    queues = {f"t{tree}": _queue(0, None) for tree in range(TREES)}
    share = NODES * 8 // (TREES * LEAVES)
    queues |= {f"t{tree}-q{leaf}": _queue(share, f"t{tree}") for tree in range(TREES) for leaf in range(LEAVES)}
    workloads = tuple(_job(random, number) for number in range(JOBS))
    names = {"team": {"kubernetes.io/metadata.name": "team"}}
    return Snapshot(nodes, (), {"h200": FlavorSpec()}, queues, names, workloads)


def _queue(guaranteed: int, parent: str | None) -> QueueSpec:
    quota = {"name": "h200", "resources": [{"name": GPU, "guaranteed": guaranteed}]}
    return QueueSpec.model_validate({"parent": parent, "namespaceSelector": EVERYBODY, "flavors": [quota]})


def _job(random: Random, number: int) -> Workload:
    count, gpus = random.choice([(1, 1), (1, 2), (1, 4), (1, 8), (2, 8), (4, 8), (16, 8)])
    requests = {GPU: gpus * 1000, "cpu": gpus * random.choice([4000, 8000, 16_000])}
    return Workload(
        WorkloadKey("TrainingJob", "team", f"job-{number:05}"),
        f"uid-{number}",
        f"t{random.randrange(TREES)}-q{random.randrange(LEAVES)}",
        NOW - timedelta(seconds=random.randrange(86_400)),
        (PodSet("worker", count, requests),),
        priority=random.choice([0, 0, 0, 10]),
        topology=Topology("rack", "required") if count > 1 and random.random() < 0.5 else None,
        duration=random.choice([None, 600.0, 3600.0, 36_000.0]),
    )


def main() -> None:
    """Print a JSON line for each figure."""
    random = Random(1)
    settled = settle(snapshot(random), NOW)
    stands = settled.snapshot
    waiting = [key for key, each in settled.decisions.items() if isinstance(each, Wait)]
    whys, plans, found = [], [], []
    for key in random.sample(waiting, ASKED):
        began = time.perf_counter()
        fixes = remedies(settle(stands, NOW), key, in_a_hurry())
        whys.append(time.perf_counter() - began)
        found.append(len(fixes))
    for number in range(ASKED):
        began = time.perf_counter()
        plan(settle(stands, NOW), [_job(random, JOBS + number)], in_a_hurry())
        plans.append(time.perf_counter() - began)
    _print("why", whys, settled)
    _print("plan", plans, settled)
    print(json.dumps({"name": "why/remedies", "value": median(found), "unit": "found"}))


def _print(name: str, seconds: list[float], settled: Settled) -> None:
    shape = f"{JOBS} jobs, {len(settled.engine.pending)} wait in {len(settled.engine.pending.classes)} classes, {NODES} nodes"
    about = {"unit": "s", "jobs": shape, "cores": os.cpu_count()}
    print(json.dumps({"name": f"{name}/seconds", "value": round(max(seconds), 3), **about}))
    print(json.dumps({"name": f"{name}/seconds/median", "value": round(median(seconds), 3), **about}))


if __name__ == "__main__":
    main()
