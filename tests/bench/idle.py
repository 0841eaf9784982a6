"""Benchmark `idle`: 50 finished and 50 running jobs that report nothing; what is written in 60 s?

Counts every write in the API server's audit log by user agent and resource; Leases do not count. Only the operator's count:
simulated nodes and Kubernetes' own controllers write as they do without us. The last line is the operator's writes; the
bar is 0. `make bench NAME=idle`.
"""

import argparse
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

from dev.cluster import Cluster
from dev.operator_process import OperatorProcess
from tests.bench.jobs import kwok_cluster, ours

_WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})
_OPERATOR = ("trainyard", "kopf", "Python")
"""Beginnings of the user agents of the operator's client and of kopf."""


def job(name: str, *, finishes: bool) -> dict[str, Any]:
    """A job whose pod kwok finishes at once, or never."""
    made = ours(name)
    if not finishes:
        made["spec"]["workers"]["template"]["metadata"]["annotations"] = {"trainyard.dev/kwok-complete-after": "24h"}
    return made


def writes(log: Path, offset: int) -> Counter[str]:
    """Writes since `offset` in the audit log, by who and what."""
    found: Counter[str] = Counter()
    with log.open() as lines:
        lines.seek(offset)
        for line in lines:
            entry = json.loads(line)
            what = entry.get("objectRef", {})
            if entry["verb"] in _WRITES:
                agent = entry.get("userAgent", "?").split("/")[0]
                found[f"{agent} {entry['verb']} {what.get('resource')}/{what.get('subresource', '')}"] += 1
    return found


def wait(cluster: Cluster, phase: str, count: int, seconds: float = 120) -> None:
    """Until so many jobs have the phase."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        jobs = json.loads(cluster.kubectl("get", "tyj", "-n", "bench", "-o", "json"))["items"]
        if sum(each.get("status", {}).get("phase") == phase for each in jobs) == count:
            return
        time.sleep(1)
    raise RuntimeError(f"there are not {count} jobs {phase} after {seconds:.0f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--each", type=int, default=50)
    parser.add_argument("--seconds", type=int, default=60)
    arguments = parser.parse_args()
    with kwok_cluster(20, provider="local", audit=True) as cluster, OperatorProcess(cluster) as operator:
        operator.wait_ready()
        jobs = [job(f"done-{index}", finishes=True) for index in range(arguments.each)]
        jobs += [job(f"runs-{index}", finishes=False) for index in range(arguments.each)]
        cluster.kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": jobs}))
        wait(cluster, "Complete", arguments.each)
        wait(cluster, "Running", arguments.each)
        time.sleep(40)  # numbers of queues and flavors, and events, follow within half a minute
        offset = cluster.audit_log.stat().st_size
        time.sleep(arguments.seconds)
        found = writes(cluster.audit_log, offset)
    leases = {name: count for name, count in found.items() if " leases/" in name}
    if not leases:
        raise RuntimeError("not even a Lease was written: the audit log was not read")
    by_operator = sum(count for name, count in found.items() if name not in leases and name.startswith(_OPERATOR))
    print(
        json.dumps(
            {"writes": found, "finished": arguments.each, "running": arguments.each, "seconds": arguments.seconds}
        )
    )
    print(json.dumps({"name": "idle", "value": by_operator, "unit": "writes"}))


if __name__ == "__main__":
    main()
