"""Benchmark `recovery`: faults on a real cluster, and what each costs a job of two workers, alone and with the operator killed in it.

Prints a line per fault (`recovery/worker-sigkill`, `recovery/worker-sigkill+operator`): seconds from the fault to the first new
step beside the bar, steps lost beyond the last durable checkpoint, seconds by category of the ledger until the job was productive
again, and restarts counted. The bars are multiples of what a bare torchrun of the same script takes to its first step in the same
pod, measured first. `make bench NAME=recovery`; names of faults as arguments choose some of them.
"""

import json
import os
import signal
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any

from dev.cluster import ClusterSpec, up
from dev.demo import install, operator_pod
from tests.e2e.faults import EVERY, Before, Rig, short_job, small_volume
from tests.e2e.platform import Platform, new_platform, quota

IN_PLACE, REPLACED = 2.0, 4.0
GRACE_SECONDS = 20.0
"""The controller-manager's node-monitor-grace-period on this cluster, half of its default."""
BLINK_SECONDS = 14.0
"""More than agents wait for each other, less than Kubernetes for a node."""
CALM_SECONDS = 20.0
"""In which a node that is back may not disturb anybody."""

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
from functools import partial
print(datetime.fromisoformat(first.replace("Z", "+00:00")).timestamp() - began)
"""


@dataclass(frozen=True)
class Fault:
    """What is done to the job `name`, and within what it is to make a step again: so many times the bare torchrun, and `more` seconds."""

    name: str
    strike: Callable[[Rig], None]
    times: float
    more: float = 0.0
    """In which Kubernetes notices it."""
    spoils: int = 0
    """Checkpoints that the fault destroys."""
    spec: Mapping[str, Any] = field(default_factory=dict)
    """Of the job."""
    after: Callable[[Rig], dict[str, Any]] = lambda rig: {}
    """What else is done when the job trains again, and what is to be said of it."""
    undo: Callable[[Rig], None] = lambda rig: None


Measure = Callable[[Platform, str, float, bool], dict[str, Any]]
"""Strikes a job of that name. The bare torchrun's seconds, and whether the operator is killed in it."""


def _comes_back(rig: Rig) -> dict[str, Any]:
    """The node that was lost is there again: nothing may follow from it."""
    before = rig.before()
    rig.plug()
    rig.node_is_ready()
    time.sleep(CALM_SECONDS)
    after = rig.before()
    assert after.step > before.step, "training stands still since the node is back"
    return {"restarts_since_return": after.restarts - before.restarts}


def _blinks(rig: Rig) -> None:
    rig.power_off()
    time.sleep(5)
    rig.hurt_node().revive()


FAULTS = (
    Fault("worker-sigkill", lambda rig: rig.signal(signal.SIGKILL), IN_PLACE),
    Fault("worker-sigstop", lambda rig: rig.signal(signal.SIGSTOP), IN_PLACE),
    Fault("checkpoint-truncated", Rig.truncate_and_kill, IN_PLACE, spoils=1),
    Fault("out-of-memory", Rig.exhaust_memory, IN_PLACE, spec={"memory": "1500Mi"}),
    Fault("pod-deleted", Rig.force_delete, REPLACED),
    Fault("pod-evicted", Rig.delete_pod, REPLACED),
    Fault("node-down", Rig.power_off, REPLACED, more=GRACE_SECONDS, undo=Rig.power_on),
    Fault("node-rebooted", _blinks, REPLACED, more=GRACE_SECONDS, undo=Rig.node_is_ready),
    Fault("node-unplugged", lambda rig: rig.unplug(BLINK_SECONDS), IN_PLACE, more=BLINK_SECONDS),
    Fault("node-back", Rig.unplug, REPLACED, more=GRACE_SECONDS, after=_comes_back),
)


def main() -> None:
    chosen = set(sys.argv[1:])
    with up(ClusterSpec(name=f"recovery-{os.getpid()}", nodes=3, gpus_per_node=1)) as cluster:
        install(cluster)
        Platform(cluster, "default").apply(*quota(3))
        platform = new_platform(cluster)
        bare = _bare_torchrun(platform)
        print(json.dumps({"name": "recovery/bare-torchrun", "value": round(bare, 2), "unit": "s"}), flush=True)
        missed = [line["name"] for line in _lines(platform, bare, chosen) if _short(line)]
    assert not missed, f"slower than the bar, or lost more than since the last checkpoint: {', '.join(missed)}"


def _lines(platform: Platform, bare: float, chosen: set[str]) -> Iterator[dict[str, Any]]:
    """Each is printed as soon as it is known."""
    cases: dict[str, Measure] = {each.name: partial(_measured, each) for each in FAULTS}
    cases |= {"preempted-while-saving": _preempted, "volume-full": _volume_full, "nan-loss": _diverges}
    for case, measure in cases.items():
        for killed in (False, True):
            full = f"{case}+operator" if killed else case
            if chosen and full not in chosen:
                continue
            line = {"name": f"recovery/{full}", **measure(platform, full.replace("+", "-"), bare, killed)}
            print(json.dumps(line | {"cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1)}), flush=True)
            if killed:
                Rig(platform, "").renew_operator()
            yield line


def _short(line: Mapping[str, Any]) -> bool:
    return bool(line["value"] > line.get("bar", line["value"]) or line.get("steps_lost", 0) > 0)


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


def _measured(fault: Fault, platform: Platform, name: str, bare: float, killed: bool) -> dict[str, Any]:
    """One fault, from the moment it strikes to the first step after it."""
    rig = Rig(platform, name).start(restart={"hangSeconds": 10}, **fault.spec)
    rig.productive()
    before = rig.before()
    if killed:
        rig.kill_operator()
        before = replace(before, at=time.time())
    fault.strike(rig)
    said = rig.trains_again(before)
    line = _line(rig, before, said, fault.times * bare + fault.more, spoiled=fault.spoils * EVERY) | fault.after(rig)
    rig.delete()
    fault.undo(rig)
    return line


def _line(rig: Rig, before: Before, said: Mapping[str, Any], bar: float, *, spoiled: int = 0) -> dict[str, Any]:
    """What is told of a job that trains again. spoiled: steps of checkpoints that the fault destroyed."""
    ledger, after = rig.accounted(before), rig.status()
    failure = after.get("lastFailure") or {}
    return {
        "value": round(datetime.fromisoformat(said["firstStepAt"]).timestamp() - before.at, 2),
        "unit": "s from the fault to the first step after it",
        "bar": round(bar, 2),
        "steps_lost": max(0, before.checkpoint - spoiled - said["restoredStep"]),
        "steps_again": max(0, before.step - said["restoredStep"]),
        "ledger": ledger,
        "restarts": after.get("restarts", 0) - before.restarts,
        "disruptions": after.get("disruptions", 0) - before.disruptions,
        "attempt": after["attempt"],
        "class": failure.get("class"),
        "cause": (after.get("lastRestart") or {}).get("cause", "")[:160],
    }


def _preempted(platform: Platform, name: str, bare: float, killed: bool) -> dict[str, Any]:
    """Twice a job that matters more takes the place while a checkpoint is being written; measured from its end."""
    rig = Rig(platform, name).start(every=2, model={"name": "mlp", "parameters": {"hidden": [1024, 1024]}})
    rig.productive()
    seconds, lost, first = [], [], rig.before()
    for turn in (1, 2):
        other = f"{name}-{turn}"
        before = rig.make_way_while_saving(short_job(platform, other, workers=3))
        if killed:
            rig.kill_operator()
        ended = platform.phase("tyj", other, "Complete", 180)["completionTime"]
        free = datetime.fromisoformat(ended).timestamp()
        said = rig.trains_again(replace(before, at=free))
        seconds.append(datetime.fromisoformat(said["firstStepAt"]).timestamp() - free)
        lost.append(before.checkpoint - said["restoredStep"])
    line = _line(rig, first, said, REPLACED * bare)
    line |= {
        "value": round(max(seconds), 2),
        "unit": "s from the end of the other to the first step, the longer of two",
    }
    line |= {"steps_lost": max(0, *lost), "preemptions": rig.status().get("preemptions", 0)}
    rig.delete()
    return line


def _volume_full(platform: Platform, name: str, bare: float, killed: bool) -> dict[str, Any]:
    """No room for a checkpoint: training goes on, it is told and counted, and the next is made when there is room again."""
    small_volume(platform, name, 64)
    rig = Rig(platform, name).start(workers=1, storage=name)
    rig.fill_volume()
    before = rig.before()
    if killed:
        rig.kill_operator()
    platform.until("a step", lambda: rig.progress().get("step", 0) > before.step, 60)
    stepped = time.time()
    status = platform.until("the alarm", lambda: _alarmed(rig), 90)
    told = time.time()
    counted = platform.until("the metric", lambda: _failures_counted(rig), 30)
    rig.empty_volume()
    room = time.time()
    full = rig.progress()
    platform.until("a checkpoint again", lambda: rig.checkpoint() > full["step"], 60)
    made = time.time()
    after = rig.before()
    rig.delete()
    return {
        "value": round(stepped - before.at, 2),
        "unit": "s until a step was seen while the volume was full",
        "bar": round(IN_PLACE * bare, 2),
        "steps_lost": 0,
        "restarts": after.restarts - before.restarts,
        "told_after": round(told - before.at, 1),
        "warning": status["progress"]["warning"][:120],
        "failures_counted": counted,
        "checkpoint_again_after": round(made - room, 1),
    }


def _alarmed(rig: Rig) -> dict[str, Any] | None:
    status = rig.status()
    return status if "volume is full" in status["progress"].get("warning", "") else None


def _failures_counted(rig: Rig) -> int:
    """As /metrics has it."""
    url = f"http://{operator_pod(rig.cluster)['status']['podIP']}:8080/metrics"
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            lines = answer.read().decode().splitlines()
    except OSError:
        return 0
    found = [line for line in lines if "job_checkpoint_failures_total{" in line and f'"{rig.name}"' in line]
    return int(float(found[0].split()[-1])) if found else 0


def _diverges(platform: Platform, name: str, _bare: float, killed: bool) -> dict[str, Any]:
    """A loss that is not a number ends the job, after it has come again at the same step, and says so."""
    training = {"epochs": 5, "optimizer": "sgd", "learningRate": 900.0, "schedule": "constant", "warmupSteps": 0}
    rig = Rig(platform, name)
    platform.apply(platform.job(name, workers=1, model={"name": "mlp"}, training=training))
    began = time.monotonic()
    if killed:
        platform.until("a restart", lambda: rig.status().get("restarts"), 120)
        rig.kill_operator()
    status = platform.phase("tyj", name, "Failed", 180)
    failure = status.get("lastFailure") or {}
    return {
        "value": round(time.monotonic() - began, 1),
        "unit": "s until the job is given up",
        "reason": status["reason"],
        "class": failure.get("class"),
        "times": failure.get("times"),
        "restarts": status["restarts"],
    }


if __name__ == "__main__":
    main()
