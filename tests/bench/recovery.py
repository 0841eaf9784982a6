"""Benchmark `recovery`: faults on a real cluster, and what each costs a job of two workers.

Prints a line per fault (`recovery/worker-sigkill`): seconds from the fault to the first new step, steps lost beyond the last
durable checkpoint, and where the ledger puts the time. The bars are multiples of what a bare torchrun of the same script takes
to its first step in the same pod, measured first. `make bench NAME=recovery`.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dev.cluster import Cluster, ClusterSpec, up
from dev.demo import install, operator_pod
from tests.e2e.platform import Platform, new_platform, quota

IN_PLACE, REPLACED = 2.0, 4.0
GRACE_SECONDS = 20.0
"""The controller-manager's node-monitor-grace-period on this cluster, half of its default."""
EVERY = 40
"""Steps between checkpoints."""

_BARE = """
import json, os, pathlib, subprocess, sys, time
folder = pathlib.Path(f"/tmp/bare-{time.time()}"); folder.mkdir()
gone = [n for n in os.environ if n.startswith(("PET_", "TRAINYARD_"))]
spec = json.dumps({"model": {"name": "cnn"}, "dataset": {"name": "digits"}, "training": {"batchSize": 64}})
environment = {n: v for n, v in os.environ.items() if n not in gone}
environment |= {"TRAINYARD_SPEC": spec, "TRAINYARD_RUN_DIR": str(folder), "TRAINYARD_PROGRESS_SECONDS": "0.1"}
began = time.time()
command = ["torchrun", "--nnodes=1", "--nproc-per-node=2", "--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0", "-m", "trainer.train"]
run = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
while True:
    time.sleep(0.05)
    try: first = json.loads((folder / "progress.json").read_text())["firstStepAt"]
    except (OSError, ValueError): continue
    if first: break
os.killpg(run.pid, 9)
for file in pathlib.Path("/proc").glob("[0-9]*/environ"):
    try:
        if str(folder).encode() in file.read_bytes(): os.kill(int(file.parent.name), 9)
    except OSError: pass
from datetime import datetime
print(datetime.fromisoformat(first.replace("Z", "+00:00")).timestamp() - began)
"""
_PROGRESS = "print(open('/tmp/trainyard/progress.json').read())"
_SIGNAL = """
import os, pathlib
pid = int(next(pathlib.Path('/tmp/trainyard').glob('worker-*.pid')).read_text())
os.kill(pid, {number})
"""
_TRUNCATE = """
import os, pathlib
folders = [p.parent for p in pathlib.Path(os.environ['TRAINYARD_DIR']).glob('checkpoints/*/*/COMMITTED')]
newest = max(folders, key=lambda p: int(p.name.partition('-')[2]))
file = max(newest.glob('*.safetensors'), key=lambda p: p.stat().st_size)
os.truncate(file, file.stat().st_size // 2)
print(newest.name.partition('-')[2])
"""


@dataclass(frozen=True)
class Fault:
    """What is done to the job `name`, how it is to recover, and what is undone afterwards. Returns the step that it can restore at best."""

    name: str
    strike: Callable[["Rig"], None]
    times: float
    more: float = 0.0
    """Seconds that are added to the bar, where the fault is noticed only after them."""
    undo: Callable[["Rig"], None] = lambda rig: None
    spoils: int = 0
    """Checkpoints that the fault destroys."""


class Rig:
    """A job that runs, and ways to hurt it."""

    def __init__(self, platform: Platform, name: str) -> None:
        self.platform, self.name = platform, name
        self.node = ""

    @property
    def cluster(self) -> Cluster:
        return self.platform.cluster

    def pod(self, index: int) -> dict[str, Any]:
        found = self.platform.pods(f"trainyard.dev/job={self.name},trainyard.dev/index={index}")
        return next(each for each in found if each["status"]["phase"] == "Running")

    def run(self, index: int, script: str) -> str:
        return self.platform.in_worker(self.pod(index)["metadata"]["name"], script)

    def progress(self) -> dict[str, Any]:
        """What rank 0 says; nothing while it cannot be asked."""
        try:
            found: dict[str, Any] = json.loads(self.run(0, _PROGRESS))
        except Exception:  # noqa: BLE001 - the pod may be anything, which is the point
            return {}
        return found

    def signal(self, number: int) -> None:
        self.run(1, _SIGNAL.format(number=number))

    def truncate_and_kill(self) -> None:
        self.run(0, _TRUNCATE)
        self.signal(9)

    def kill_with_operator(self) -> None:
        pod = operator_pod(self.cluster)["metadata"]["name"]
        self.cluster.kubectl("delete", "pod", pod, "-n", "trainyard-system", "--grace-period=0", "--force")
        self.signal(9)

    def force_delete(self) -> None:
        name = self.pod(1)["metadata"]["name"]
        self.cluster.kubectl("delete", "pod", name, "-n", self.platform.namespace, "--grace-period=0", "--force")

    def power_off(self) -> None:
        self.node = self.pod(1)["spec"]["nodeName"]
        next(each for each in self.cluster.nodes if each.name == self.node).kill()

    def power_on(self) -> None:
        next(each for each in self.cluster.nodes if each.name == self.node).revive()


FAULTS = (
    Fault("worker-sigkill", lambda rig: rig.signal(9), IN_PLACE),
    # Ten silent seconds are not judged, and answers of a stopped process are waited for.
    Fault("worker-sigstop", lambda rig: rig.signal(19), IN_PLACE, more=10 + 6),
    Fault("checkpoint-truncated", Rig.truncate_and_kill, IN_PLACE, spoils=1),
    Fault("operator-sigkill", Rig.kill_with_operator, IN_PLACE),
    Fault("pod-deleted", Rig.force_delete, REPLACED),
    Fault("node-down", Rig.power_off, REPLACED, more=GRACE_SECONDS, undo=Rig.power_on),
)


def main() -> None:
    chosen, missed = set(sys.argv[1:]), []
    with up(ClusterSpec(name=f"recovery-{os.getpid()}", nodes=3, gpus_per_node=1)) as cluster:
        install(cluster)
        Platform(cluster, "default").apply(*quota(3))
        platform = new_platform(cluster)
        bare = _bare_torchrun(platform)
        print(json.dumps({"name": "recovery/bare-torchrun", "value": round(bare, 2), "unit": "s"}), flush=True)
        for fault in FAULTS:
            if chosen and fault.name not in chosen:
                continue
            line = measured(_running(platform, fault.name), fault, bare)
            print(json.dumps(line), flush=True)
            if line["value"] > line["bar"] or line["steps_lost"] > 0:
                missed.append(fault.name)
        _diverges(platform)
    assert not missed, f"slower than the bar, or lost more than since the last checkpoint: {', '.join(missed)}"


def _bare_torchrun(platform: Platform) -> float:
    """Seconds from `torchrun` with two workers to their first step, the median of three, in a pod that does nothing else."""
    idle: dict[str, Any] = {
        "model": None,
        "dataset": None,
        "training": None,
        "entrypoint": {"command": ["sleep", "3600"]},
    }
    platform.apply(platform.job("bare", storage=None, **idle))
    rig = Rig(platform, "bare")
    platform.phase("tyj", "bare", "Running", 120)
    seconds = sorted(float(rig.run(0, _BARE)) for _ in range(3))
    platform.cluster.kubectl("delete", "tyj", "bare", "-n", platform.namespace, "--wait=true", "--timeout=90s")
    return seconds[1]


def _running(platform: Platform, name: str) -> Rig:
    """A job of two workers on two nodes that has a checkpoint."""
    training = {"epochs": 100_000, "batchSize": 64, "checkpointEverySteps": EVERY}
    platform.apply(platform.job(name, workers=2, training=training, restart={"hangSeconds": 10}))
    rig = Rig(platform, name)
    platform.until("a checkpoint", lambda: (rig.progress().get("checkpoint") or {}).get("step", 0) >= 2 * EVERY, 180)
    time.sleep(2)
    return rig


def measured(rig: Rig, fault: Fault, bare: float) -> dict[str, Any]:
    """One fault, from the moment it strikes until a step is made that was not made before the restart."""
    before = rig.progress()
    struck = time.time()
    fault.strike(rig)
    after = rig.platform.until("a first new step", lambda: _restarted(rig, struck), 240)
    first = datetime.fromisoformat(after["firstStepAt"]).timestamp()
    # Steps that were made and neither saved nor restored, beyond those since the last checkpoint that was known when it struck.
    durable = before["checkpoint"]["step"] - fault.spoils * EVERY
    time.sleep(3)
    status = rig.platform.status("tyj", rig.name)
    line = {
        "name": f"recovery/{fault.name}",
        "value": round(first - struck, 2),
        "unit": "s from the fault to the first new step",
        "bar": round(fault.times * bare + fault.more, 2),
        "steps_lost": max(0, durable - after["restoredStep"]),
        "attempt": status["attempt"],
        "restarts": status.get("restarts", 0),
        "disruptions": status.get("disruptions", 0),
        "ledger": (status.get("ledger") or {}).get("current"),
        "cause": (status.get("lastRestart") or {}).get("cause", "")[:160],
        "cores": os.cpu_count(),
    }
    rig.cluster.kubectl("delete", "tyj", rig.name, "-n", rig.platform.namespace, "--wait=true", "--timeout=90s")
    fault.undo(rig)
    return line


def _restarted(rig: Rig, since: float) -> dict[str, Any] | None:
    found = rig.progress()
    first = found.get("firstStepAt")
    if first and datetime.fromisoformat(first).timestamp() > since:
        return found
    return None


def _diverges(platform: Platform) -> None:
    """A loss that is not a number ends the job, after it has come again at the same step, and says so."""
    training = {"epochs": 5, "optimizer": "sgd", "learningRate": 900.0, "schedule": "constant", "warmupSteps": 0}
    platform.apply(platform.job("nan", workers=1, model={"name": "mlp"}, training=training))
    began = time.monotonic()
    status = platform.phase("tyj", "nan", "Failed", 180)
    line = {
        "name": "recovery/nan-loss",
        "value": round(time.monotonic() - began, 1),
        "unit": "s until the job is given up",
    }
    failure = status.get("lastFailure") or {}
    print(json.dumps(line | {"reason": status["reason"], "class": failure.get("class"), "times": failure.get("times")}))


if __name__ == "__main__":
    main()
