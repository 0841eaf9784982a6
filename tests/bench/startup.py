"""Benchmark `startup`: from submitting a job to its first step, on a warm node of a real cluster, split by stage.

Twenty runs of a job of one worker; p50 and p95 of the whole and of each stage. The operator's own share is what passes before
the pod exists. `make bench NAME=startup`.
"""

import contextlib
import json
import os
import threading
import time
from datetime import datetime
from statistics import quantiles
from typing import Any

from dev.cluster import Cluster, ClusterSpec, up
from dev.demo import install
from tests.e2e.platform import Platform, new_platform, quota

RUNS = 20
OPERATOR_BAR = 0.5
STAGES = ("operator", "scheduler and kubelet", "imports, data and model", "whole")


class Seen:
    """When each pod was first seen, and first seen running, by a watch."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.created: dict[str, float] = {}
        self.running: dict[str, float] = {}
        self._api, self._path = cluster.api, f"/api/v1/namespaces/{namespace}/pods"
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        with contextlib.suppress(OSError):  # the cluster is gone: nobody asks any more
            for change in self._api.changes(self._path, seconds=3600):
                pod = change["object"]
                job = pod["metadata"].get("labels", {}).get("trainyard.dev/job", "")
                self.created.setdefault(job, time.time())
                if pod["status"].get("phase") == "Running":
                    self.running.setdefault(job, time.time())


def main() -> None:
    with up(ClusterSpec(name=f"startup-{os.getpid()}", nodes=1, gpus_per_node=1)) as cluster:
        install(cluster)
        Platform(cluster, "default").apply(*quota(1))
        platform = new_platform(cluster)
        seen = Seen(cluster, platform.namespace)
        runs = [_run(platform, seen, f"run-{number}") for number in range(RUNS + 1)][1:]  # the first warms caches
    for stage in STAGES:
        values = sorted(run[stage] for run in runs)
        p95 = quantiles(values, n=20, method="inclusive")[-1]
        line: dict[str, Any] = {
            "name": f"startup/{stage}",
            "value": round(values[len(values) // 2], 3),
            "p95": round(p95, 3),
        }
        line |= {"unit": "s, p50", "runs": RUNS, "cores": os.cpu_count()}
        if stage == "operator":
            line["bar_p95"] = OPERATOR_BAR
        print(json.dumps(line), flush=True)


def _run(platform: Platform, seen: Seen, name: str) -> dict[str, float]:
    manifest = platform.job(name, epochs=1, storage=None)
    path = f"/apis/trainyard.dev/v1alpha1/namespaces/{platform.namespace}/trainingjobs"
    submitted = time.time()
    platform.cluster.api.create(path, manifest)
    status = platform.phase("tyj", name, "Complete", 120)
    first = datetime.fromisoformat(status["firstStepTime"]).timestamp()
    platform.cluster.api.delete(f"{path}/{name}")
    created, running = seen.created[name], seen.running[name]
    return {
        "operator": created - submitted,
        "scheduler and kubelet": running - created,
        "imports, data and model": first - running,
        "whole": first - submitted,
    }


if __name__ == "__main__":
    main()
