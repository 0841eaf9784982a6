"""2,250 gangs of 4 pods that each want one rack, on 5,000 nodes in 50 racks: pods that the scheduler places per second.

All arrive at once in one queue; a pod asks for 4 of the 8 GPUs of a node, so that nine tenths of the fleet are taken in the end.
Timed is everything from the first arrival to the last admission, the engine being told of nodes and queue before.
`make bench NAME=core-gangs`.
"""

import json
import os
import time
from datetime import UTC, datetime

from tests.builders import EVERYBODY
from trainyard.api.flavor import FlavorSpec
from trainyard.api.names import GPU
from trainyard.api.queue import QueueSpec
from trainyard.scheduling.cycle import Cycle
from trainyard.scheduling.engine import Engine
from trainyard.scheduling.snapshot import NodeView, PodSet, Topology, Workload, WorkloadKey

NODES, RACKS, GANGS, PODS, GPUS = 5000, 50, 2250, 4, 4
RACK = "topology.trainyard.dev/rack"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
RUNS = 3


def engine() -> Engine:
    """The fleet and one queue for all of it."""
    made = Engine()
    made.set_nodes(
        [
            NodeView(f"node-{number:04}", {RACK: f"rack-{number % RACKS:02}"}, {GPU: 8000, "pods": 110_000})
            for number in range(NODES)
        ]
    )
    quota = {"name": "gpu", "resources": [{"name": GPU, "guaranteed": NODES * 8}]}
    queue = QueueSpec.model_validate({"namespaceSelector": EVERYBODY, "flavors": [quota]})
    names = {"bench": {"kubernetes.io/metadata.name": "bench"}}
    made.configure(queues={"all": queue}, flavors={"gpu": FlavorSpec()}, namespaces=names)
    return made


def run() -> float:
    """CPU seconds in which all are placed."""
    made = engine()
    gangs = [
        Workload(
            WorkloadKey("TrainingJob", "bench", f"gang-{number:04}"),
            f"uid-{number}",
            "all",
            NOW,
            (PodSet("worker", PODS, {GPU: GPUS * 1000}),),
            topology=Topology(RACK, "required"),
            duration=3600.0,
        )
        for number in range(GANGS)
    ]
    began = time.process_time()
    for each in gangs:
        made.arrive(each)
    admitted = Cycle(made, NOW.timestamp()).run()
    seconds = time.process_time() - began
    racks = {node.name: node.labels[RACK] for node in made.fleet.nodes}
    assert len(admitted) == GANGS, "somebody waits though there is room"
    assert all(len({racks[node] for node in each.assignment.nodes["worker"]}) == 1 for each in admitted)
    return seconds


def main() -> None:
    """Print a JSON line: the median of some runs."""
    seconds = sorted(run() for _ in range(RUNS))[RUNS // 2]
    shape = {"gangs": GANGS, "pods": PODS, "nodes": NODES, "racks": RACKS, "runs": RUNS, "cores": os.cpu_count()}
    rate = GANGS * PODS / seconds
    print(json.dumps({"name": "core-gangs/pods_per_second", "value": round(rate, 1), "unit": "pods/s", **shape}))
    print(json.dumps({"name": "core-gangs/cpu_seconds", "value": round(seconds, 3), "unit": "s", **shape}))


if __name__ == "__main__":
    main()
