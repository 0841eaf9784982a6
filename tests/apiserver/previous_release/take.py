"""Writes what this folder holds of a release: `python -m tests.apiserver.previous_release.take TREE`, with the release's sources.

Its chart as helm packs it, and what its operator made of `work.yaml`, read back from the API server when nothing moves any more.
README.md says when to do that.
"""

import gzip
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from dev.cluster import Cluster, ClusterSpec, up
from dev.operator_process import OperatorProcess

SYSTEM = "trainyard-system"
SETTINGS = ("--namespace", SYSTEM, "--set", "defaultQueue.create=true")
WORK = Path(__file__).with_name("work.yaml")
KINDS = "flavors,queues,persistentvolumeclaims,trainingjobs,inferenceservices,services,deployments,poddisruptionbudgets,configmaps,pods"
PHASES = {"tyj/runs": "Running", "tyj/waits": "Pending", "tyj/over": "Complete", "tyi/answers": "Ready"}


def take(tree: Path, folder: Path) -> None:
    """Of the sources in `tree`."""
    env = {"PYTHONPATH": str(tree / "operator")}
    with up(ClusterSpec(name=f"previous-{os.getpid()}", kwok_nodes=2, provider="local")) as cluster:
        (folder / "chart.tgz").unlink(missing_ok=True)
        cluster.helm("package", str(tree / "helm" / "trainyard"), "--destination", str(folder))
        next(folder.glob("trainyard-*.tgz")).rename(folder / "chart.tgz")
        cluster.helm("install", "trainyard", str(folder / "chart.tgz"), "--create-namespace", *SETTINGS)
        with OperatorProcess(cluster, env=env) as operator:
            operator.wait_ready(120)
            cluster.kubectl("apply", "-f", str(WORK))
            _settle(cluster)
            text = cluster.kubectl("get", KINDS, "-n", "team", "-o", "json")
    found: list[dict[str, Any]] = [_bare(each) for each in json.loads(text)["items"] if _is_of_a_yard(each)]
    (folder / "objects.json.gz").write_bytes(gzip.compress(json.dumps(found, indent=1).encode(), mtime=0))


def _settle(cluster: Cluster) -> None:
    deadline, before = time.monotonic() + 180, ""
    while True:
        time.sleep(3)
        seen = {name: cluster.kubectl("get", name, "-n", "team", "-o", "jsonpath={.status.phase}") for name in PHASES}
        now = cluster.kubectl("get", "pods", "-n", "team", "-o", "name")
        if seen == PHASES and now == before:
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"{seen}, pods {now}; expected {PHASES}")
        before = now


def _is_of_a_yard(found: dict[str, Any]) -> bool:
    return bool(found["metadata"]["name"] != "kube-root-ca.crt")


def _bare(found: dict[str, Any]) -> dict[str, Any]:
    """Without what the API server alone says."""
    for each in ("managedFields", "resourceVersion", "generation", "selfLink"):
        found["metadata"].pop(each, None)
    return found


if __name__ == "__main__":
    take(Path(sys.argv[1]).resolve(), WORK.parent)
