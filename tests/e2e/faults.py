"""A job on a real cluster, and ways to hurt it: what benchmark `recovery` measures and test_faults.py checks.

A fault strikes a job that trains and has checkpoints; what it cost is read from what rank 0 says afterwards and from the status.
"""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dev.cluster import Cluster, ClusterError
from dev.cluster.real_node import RealNode
from dev.demo import operator_pod
from tests.e2e.platform import Platform
from trainyard.api.ledger import Ledger

EVERY = 40
"""Steps between checkpoints."""
AWAY = (ClusterError, subprocess.SubprocessError, StopIteration, ValueError)
"""What asking a pod ends with that is not there."""
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
"""
_EXHAUST = """
import os, pathlib, signal, time
pid = next(pathlib.Path('/tmp/trainyard').glob('worker-*.pid')).read_text()
pathlib.Path(f'/proc/{pid}/oom_score_adj').write_text('1000')
eaters = []
def lives():
    try:
        return pathlib.Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] not in 'ZX'
    except OSError:
        return False
while lives():
    if not (eater := os.fork()):
        taken = b'x' * 2**26
        time.sleep(60)
    eaters.append(eater)
    time.sleep(0.05)
for eater in eaters:
    os.kill(eater, signal.SIGKILL)
"""
"""Takes all that is left of the container's memory, in pieces smaller than the worker: the kernel kills the largest."""
_FILL = """
import errno, os, pathlib, time
folder = pathlib.Path(os.environ['TRAINYARD_DIR'])
while [p for p in folder.glob('checkpoints/*/step-*') if not (p / 'COMMITTED').exists()]:
    time.sleep(0.002)
with (folder.parent / 'ballast').open('wb', buffering=0) as file:
    try:
        while file.write(bytes(2**12)):
            pass
    except OSError as error:
        assert error.errno == errno.ENOSPC
"""
"""Between two checkpoints: one that is written but not yet committed would be taken back, and leave room for the next."""
_EMPTY = """
import os, pathlib
(pathlib.Path(os.environ['TRAINYARD_DIR']).parent / 'ballast').unlink()
"""
_COMMITTED = """
import os, pathlib
for p in pathlib.Path(os.environ['TRAINYARD_DIR']).glob('checkpoints/attempt-*/step-*/COMMITTED'):
    print(*(each.rpartition('-')[2] for each in p.parts[-3:-1]))
"""
_UNTIL_SAVING = """
import os, pathlib, time
folder = pathlib.Path(os.environ['TRAINYARD_DIR'])
while not [p for p in folder.glob('checkpoints/*/step-*') if not (p / 'COMMITTED').exists()]:
    time.sleep(0.002)
"""


@dataclass(frozen=True)
class Before:
    """How the job stood when a fault struck.

    run: attempt, and which start of the program in it. checkpoint: step of the last that was durable. ledger: seconds by
    category.
    """

    at: float
    step: int
    checkpoint: int
    run: tuple[int, int]
    restarts: int
    disruptions: int
    ledger: dict[str, float]


class Rig:
    """A job, and ways to hurt it."""

    def __init__(self, platform: Platform, name: str) -> None:
        self.platform, self.name = platform, name
        self.node = ""
        """The one that is hurt."""

    @property
    def cluster(self) -> Cluster:
        return self.platform.cluster

    def start(self, *, workers: int = 2, every: int = EVERY, memory: str = "", **spec: Any) -> "Rig":
        """Create the job away from the operator, so that its nodes can be hurt alone, and wait until it has checkpoints."""
        training = {"epochs": 100_000, "batchSize": 64, "checkpointEverySteps": every}
        job = self.platform.job(self.name, workers=workers, **{"training": training, **spec})
        if memory:
            job["spec"]["workers"]["resources"]["limits"]["memory"] = memory
        with self._without(operator_pod(self.cluster)["spec"]["nodeName"]):
            self.platform.apply(job)
            self.platform.until("a checkpoint", lambda: self.checkpoint() >= 2 * every, 400)
        return self

    def delete(self) -> None:
        namespace = self.platform.namespace
        self.cluster.kubectl("delete", "tyj", self.name, "-n", namespace, "--wait=true", "--timeout=90s")

    @contextlib.contextmanager
    def _without(self, node: str) -> Iterator[None]:
        self.cluster.kubectl("cordon", node)
        try:
            yield
        finally:
            self.cluster.kubectl("uncordon", node)

    # What it does.

    def pod(self, index: int) -> dict[str, Any]:
        found = self.platform.pods(f"trainyard.dev/job={self.name},trainyard.dev/index={index}")
        return next(each for each in found if each["status"]["phase"] == "Running")

    def run(self, index: int, script: str, seconds: float = 300) -> str:
        """Run Python in a worker's pod."""
        pod = self.pod(index)["metadata"]["name"]
        python = ("exec", "-n", self.platform.namespace, pod, "--", "python", "-c", script)
        return self.cluster.kubectl(*python, timeout=seconds)

    def status(self) -> dict[str, Any]:
        return self.platform.status("tyj", self.name)

    def progress(self) -> dict[str, Any]:
        """What rank 0 says; nothing while it cannot be asked."""
        try:
            found: dict[str, Any] = json.loads(self.run(0, _PROGRESS, 15))
        except AWAY:
            return {}
        return found

    def checkpoint(self) -> int:
        """Step of the last that rank 0 knows to be durable."""
        return int((self.progress().get("checkpoint") or {}).get("step", 0))

    def committed(self) -> set[tuple[int, int]]:
        """Attempt and step of each checkpoint on the volume that counts."""
        return {(int(attempt), int(step)) for attempt, step in map(str.split, self.run(0, _COMMITTED).splitlines())}

    def before(self) -> Before:
        said, status = self.progress(), self.status()
        own, now = status["ledger"].get("attempt") or {"attempt": status["attempt"], "round": 0}, time.time()
        return Before(
            at=now,
            step=said["step"],
            checkpoint=said["checkpoint"]["step"],
            run=(own["attempt"], own["round"]),
            restarts=status.get("restarts", 0),
            disruptions=status.get("disruptions", 0),
            ledger=Ledger.model_validate(status["ledger"]).until(datetime.fromtimestamp(now, UTC)),
        )

    def trains_again(self, before: Before, seconds: float = 240) -> dict[str, Any]:
        """What rank 0 says once its program has been started anew and has made a step."""

        def look() -> dict[str, Any] | None:
            said = self.progress()
            first = said.get("firstStepAt")
            return said if first and datetime.fromisoformat(first).timestamp() > before.at else None

        found: dict[str, Any] = self.platform.until("a step after the fault", look, seconds)
        return found

    def productive(self, after: tuple[int, int] = (0, 0), seconds: float = 60) -> Ledger:
        """The ledger once it knows that a run later than `after` makes steps."""

        def look() -> Ledger | None:
            found = Ledger.model_validate(self.status()["ledger"])
            own = found.attempt
            works = found.current == "productive" and own is not None and own.stepped
            return found if works and own and (own.attempt, own.round) > after else None

        ledger: Ledger = self.platform.until("the ledger being told of it", look, seconds)
        return ledger

    def accounted(self, before: Before) -> dict[str, float]:
        """Seconds since the fault in which the job was not productive, by category, as its ledger has them once it makes steps."""
        ledger = self.productive(before.run)
        after = ledger.until(ledger.since)
        grown = {name: round(after[name] - before.ledger[name], 1) for name in after if name != "productive"}
        return {name: each for name, each in grown.items() if each}

    # Faults.

    def signal(self, number: int, index: int = 1) -> None:
        self.run(index, _SIGNAL.format(number=number))

    def truncate_and_kill(self) -> None:
        self.run(0, _TRUNCATE)
        self.signal(signal.SIGKILL)

    def exhaust_memory(self) -> None:
        """Until the kernel kills the worker of pod 1, which is asked to be the first."""
        with contextlib.suppress(ClusterError):  # the container may end with it
            self.run(1, _EXHAUST)

    def delete_pod(self, *options: str, index: int = 1) -> None:
        name = self.pod(index)["metadata"]["name"]
        self.cluster.kubectl("delete", "pod", name, "-n", self.platform.namespace, "--wait=false", *options)

    def force_delete(self) -> None:
        self.delete_pod("--grace-period=0", "--force")

    def kill_operator(self) -> None:
        """SIGKILL, as the kernel sends it: its container is found by its pod's control group."""
        found = processes_of(operator_pod(self.cluster), b"trainyard")
        assert found, "no process of the operator is seen from here: the cluster has to run on this machine"
        for pid in found:
            os.kill(pid, signal.SIGKILL)

    def renew_operator(self) -> None:
        """A pod without a kubelet's memory of crashes, which would let each next one wait longer."""
        namespace = "trainyard-system"
        self.cluster.kubectl("delete", "pod", "-n", namespace, "-l", "app.kubernetes.io/name=trainyard", "--wait=true")
        self.cluster.kubectl("rollout", "status", "-n", namespace, "deployment/trainyard", "--timeout=90s")

    def hurt(self, index: int = 1) -> RealNode:
        """The node of that pod, from now on the one that is hurt."""
        self.node = self.pod(index)["spec"]["nodeName"]
        return self.hurt_node()

    def hurt_node(self) -> RealNode:
        found = next(each for each in self.cluster.nodes if each.name == self.node)
        assert isinstance(found, RealNode), "only nodes of the local provider can be hurt so"
        return found

    def power_off(self) -> None:
        self.hurt().kill()

    def power_on(self) -> None:
        self.hurt_node().revive()
        self.node_is_ready()

    def unplug(self, seconds: float = 0, index: int = 1) -> None:
        """Pull the network cable, and plug it in again after so many seconds if that is asked for."""
        self.hurt(index).cut_network()
        if seconds:
            time.sleep(seconds)
            self.plug()

    def plug(self) -> None:
        self.hurt_node().restore_network()

    def node_is_ready(self, seconds: float = 60) -> None:
        self.cluster.kubectl("wait", f"node/{self.node}", "--for=condition=Ready", f"--timeout={seconds:.0f}s")

    def fill_volume(self) -> None:
        self.run(0, _FILL)

    def empty_volume(self) -> None:
        self.run(0, _EMPTY)

    def make_way_while_saving(self, other: dict[str, Any]) -> Before:
        """Let another job ask for the place while a checkpoint is being written."""
        before = self.before()
        self.run(0, _UNTIL_SAVING)
        self.platform.apply(other)
        return before


def processes_of(pod: dict[str, Any], program: bytes) -> list[int]:
    """Ids on this machine of a pod's processes whose command line has that word."""
    found, uid = [], pod["metadata"]["uid"]
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if uid in (folder / "cgroup").read_text() and program in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found


def small_volume(platform: Platform, name: str, mebibytes: int) -> None:
    """A claim on which there is so much room and no more, for a job of one pod.

    Its folder becomes a file system in memory on every node. It goes with the node.
    """
    platform.apply(platform.claim(name))
    volume = platform.until("a volume", lambda: platform.get("pvc", name)["spec"].get("volumeName"), 30)
    path = json.loads(platform.cluster.kubectl("get", "pv", volume, "-o", "json"))["spec"]["hostPath"]["path"]
    for node in platform.cluster.nodes:
        assert isinstance(node, RealNode), "only nodes of the local provider have volumes that can be made small"
        node.run("mount", "-t", "tmpfs", "-o", f"size={mebibytes}m,mode=777", "tmpfs", path)


def short_job(platform: Platform, name: str, *, workers: int, gpus: int = 1, seconds: int = 3) -> dict[str, Any]:
    """A job that matters more than others, and is soon over."""
    idle: dict[str, Any] = {"model": None, "dataset": None, "training": None}
    command = {"command": ["sleep", str(seconds)]}
    return platform.job(name, workers=workers, gpus=gpus, storage=None, priority=10, entrypoint=command, **idle)
