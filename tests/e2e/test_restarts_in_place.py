"""Real agents, two pods of one job on this machine: what failed is started again in its pod, and nothing is lost."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dev.ports import HeldPort
from tests.unit.trainer.gang import specification

pytestmark = pytest.mark.e2e
SOURCES = Path(__file__).parents[2] / "images" / "trainer"
ENDLESS = specification(epochs=100_000, checkpointEverySteps=20)


HOLD = """
import ctypes, os, sys
pid, library = int(sys.argv[1]), ctypes.CDLL(None, use_errno=True)
for request in (0x4206, 0x4207):  # PTRACE_SEIZE, PTRACE_INTERRUPT
    assert library.ptrace(request, pid, None, None) == 0, os.strerror(ctypes.get_errno())
while not os.WIFSIGNALED(os.waitpid(pid, 0x40000000)[1]):
    pass
"""
"""Holds a process as a debugger does until it is killed."""


def freeze(process: subprocess.Popen[bytes], number: int) -> None:
    """Stop an agent and all that it started, or let them go on: as if its machine were away."""
    ours = {process.pid}
    tree = [each.name for each in Path("/proc").iterdir() if each.name.isdecimal()]
    for _ in range(3):  # agent, launcher, workers
        ours |= {int(pid) for pid in tree if parent(pid) in ours}
    for pid in ours:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def parent(pid: str) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


class Pods:
    """Agents of the pods of one attempt."""

    def __init__(self, folder: Path, count: int, spec: dict[str, Any], left: int, *, elastic: bool) -> None:
        self.folder, self._held = folder, [HeldPort(), HeldPort()]
        control, master = map(str, self._held)
        self.common = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(SOURCES),
            "TRAINYARD_SPEC": json.dumps(spec),
            "TRAINYARD_DIR": str(folder / "job"),
            "TRAINYARD_RESTARTS_LEFT": str(left),
            "TRAINYARD_CONTROL_PORT": control,
            "TRAINYARD_JOB_UID": "of-this-test",
            "TRAINYARD_HANG_SECONDS": "3",
            "TRAINYARD_PROGRESS_SECONDS": "0.1",
            "PET_NNODES": str(count),
            "PET_NPROC_PER_NODE": "1",
            "PET_MASTER_ADDR": "127.0.0.1",
            "PET_MASTER_PORT": master,
            "PET_MAX_RESTARTS": "0",
            "TRAINYARD_ELASTIC": str(int(elastic)),
        }
        self.processes = [self.start(index) for index in range(count)]

    def start(self, index: int, folder: str = "", **more: str) -> subprocess.Popen[bytes]:
        own = self.folder / (folder or f"pod-{index}")
        own.mkdir(exist_ok=True)
        variables = {
            "PET_NODE_RANK": str(index),
            "TRAINYARD_RUN_DIR": str(own / "run"),
            "TRAINYARD_TERMINATION_LOG": str(own / "last-words"),
        }
        with (own / "log").open("ab") as log:
            command = [sys.executable, "-m", "trainer.agent"]
            return subprocess.Popen(command, env=self.common | variables | more, stdout=log, stderr=log, cwd=own)

    def resize(self, count: int) -> None:
        """As pod 0's reporter does when the operator wants so many pods."""
        (self.folder / "pod-0" / "run" / "size.json").write_text(json.dumps({"workers": count}))

    def progress(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads((self.folder / "pod-0" / "run" / "progress.json").read_bytes())
        except (OSError, ValueError):
            return {}
        return found

    def wait(self, round_: int, step: int, timeout: float = 240) -> dict[str, Any]:
        """Wait until the program, started for the so many-th time, has made the step."""
        limit = time.monotonic() + timeout
        while True:
            found = self.progress()
            if ((found.get("restarted") or {}).get("round", 1), found.get("step", 0)) >= (round_, step):
                return found
            assert time.monotonic() < limit, (
                found,
                *((each / "log").read_text() for each in self.folder.glob("pod-*")),
            )
            time.sleep(0.05)

    def worker(self, index: int) -> int:
        """Process id of the pod's worker, as it left it for its agent."""
        return int((self.folder / f"pod-{index}" / "run" / f"worker-{index}.pid").read_text())

    def end(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            try:
                process.wait(90)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture
def pods(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Pods]:
    count, left, *more = request.param
    found = Pods(tmp_path, count, ENDLESS, left, elastic="elastic" in more)
    yield found
    found.end()


@pytest.mark.fault(55)
@pytest.mark.parametrize("pods", [(1, 3), (2, 3)], indirect=True)
def test_a_killed_worker_starts_again_in_its_pod_from_the_last_checkpoint(pods: Pods) -> None:
    before = pods.wait(1, 50)
    os.kill(pods.worker(len(pods.processes) - 1), signal.SIGKILL)
    after = pods.wait(2, before["step"] + 1)
    assert after["restarted"]["exitCode"] == 137
    assert after["restarted"]["index"] == len(pods.processes) - 1
    assert after["restoredStep"] is not None
    assert after["restoredStep"] % 20 == 0
    assert all(process.poll() is None for process in pods.processes)


@pytest.mark.fault(68)
@pytest.mark.parametrize("pods", [(2, 3)], indirect=True)
def test_a_pod_in_anothers_stead_joins_the_next_round(pods: Pods) -> None:
    before = pods.wait(1, 50)
    pods.processes[1].kill()
    pods.processes[1].wait()
    pods.processes[1] = pods.start(1)
    after = pods.wait(2, before["step"] + 1)
    assert after["worldSize"] == 2


@pytest.mark.fault(61)
@pytest.mark.parametrize("pods", [(2, 3)], indirect=True)
def test_when_one_pod_is_asked_to_end_the_others_stop_in_order_and_wait_for_another(pods: Pods) -> None:
    pods.wait(1, 50)
    pods.processes[1].terminate()
    assert pods.processes[1].wait(90) == 75
    stopped_at = pods.progress()["step"]
    pods.processes[1] = pods.start(1)
    after = pods.wait(2, stopped_at + 1)
    assert after["restoredStep"] == stopped_at
    assert (after["restarted"]["exitCode"], after["restarted"]["index"]) == (75, 1)
    assert after["restarted"]["counts"] is False
    assert pods.processes[0].poll() is None


@pytest.mark.parametrize("pods", [(1, 0, "elastic")], indirect=True)
def test_a_gang_grows_and_shrinks_in_its_pods_after_a_checkpoint_of_the_last_step(pods: Pods) -> None:
    before = pods.wait(1, 50)
    pods.resize(2)
    pods.processes.append(pods.start(1, PET_NNODES="2", TRAINYARD_JOINS="1"))
    grown = pods.wait(2, before["step"] + 1)
    assert (grown["worldSize"], grown["restarted"]["counts"]) == (2, False)
    assert grown["restoredStep"] >= before["step"]
    at = pods.wait(2, grown["restoredStep"] + 20)["step"]
    pods.resize(1)
    pods.processes[1].terminate()
    assert pods.processes[1].wait(90) == 75
    shrunk = pods.wait(3, at + 1)
    assert (shrunk["worldSize"], shrunk["restarted"]["counts"]) == (1, False)
    assert shrunk["restoredStep"] >= at
    assert pods.processes[0].poll() is None


@pytest.mark.parametrize("pods", [(2, 3)], indirect=True)
def test_when_all_pods_are_asked_to_end_they_do_one_after_the_other(pods: Pods) -> None:
    pods.wait(1, 50)
    pods.processes[1].terminate()
    time.sleep(1)
    pods.processes[0].terminate()
    assert [process.wait(90) for process in pods.processes] == [75, 75]
    words = json.loads((pods.folder / "pod-0" / "last-words").read_bytes())
    assert "committed" in words["cause"]


@pytest.mark.fault(68)
@pytest.mark.parametrize("pods", [(2, 3)], indirect=True)
def test_a_pod_that_is_back_when_another_has_come_in_its_stead_ends_and_disturbs_nobody(pods: Pods) -> None:
    before, old = pods.wait(1, 50), pods.processes[1]
    freeze(old, signal.SIGSTOP)
    pods.processes[1] = pods.start(1, "pod-1-anew")
    try:
        pods.wait(2, before["step"] + 1)
        at_return = pods.progress()["step"]
        freeze(old, signal.SIGCONT)
        assert old.wait(90) == 76
        assert pods.wait(2, at_return + 20)["restarted"]["round"] == 2
    finally:
        freeze(old, signal.SIGCONT)
        pods.processes.append(old)


@pytest.mark.fault(56)
@pytest.mark.parametrize("pods", [(1, 3), (2, 3)], indirect=True)
def test_a_worker_that_is_stopped_is_found_and_started_again(pods: Pods) -> None:
    before = pods.wait(1, 50)
    last = len(pods.processes) - 1
    os.kill(pods.worker(last), signal.SIGSTOP)
    after = pods.wait(2, before["step"])
    assert (after["restarted"]["exitCode"], after["restarted"]["index"]) == (77, last)
    assert f"the process of rank {last} is stopped by a signal" in after["restarted"]["cause"]
    kept = pods.folder / "job" / "stacks" / "attempt-1-round-1"
    assert {file.name for file in kept.iterdir()} == {f"rank-{rank}.txt" for rank in range(last + 1)}


@pytest.mark.fault(56)
@pytest.mark.parametrize("pods", [(2, 3)], indirect=True)
def test_a_worker_that_makes_no_step_is_found_by_its_silence(pods: Pods) -> None:
    before = pods.wait(1, 100)
    time.sleep(3)  # in which the agent learns how long a step takes
    with subprocess.Popen([sys.executable, "-c", HOLD, str(pods.worker(1))]) as debugger:
        after = pods.wait(2, before["step"])
        debugger.kill()
    assert (after["restarted"]["exitCode"], after["restarted"]["index"]) == (77, 1)
    assert "hang: no step for 3 s" in after["restarted"]["cause"]
    assert "the process of rank 1 is held by a debugger" in after["restarted"]["cause"]


@pytest.mark.parametrize("pods", [(2, 0)], indirect=True)
def test_without_restarts_left_the_pods_end(pods: Pods) -> None:
    pods.wait(1, 5)
    os.kill(pods.worker(1), signal.SIGKILL)
    assert pods.processes[1].wait(90) == 137
    assert pods.processes[0].wait(90) == 1


@pytest.mark.parametrize("pods", [(2, 1)], indirect=True)
def test_a_second_failure_is_one_too_many(pods: Pods) -> None:
    pods.wait(1, 5)
    os.kill(pods.worker(1), signal.SIGKILL)
    pods.wait(2, 5)
    os.kill(pods.worker(1), signal.SIGKILL)
    assert pods.processes[1].wait(90) == 137
    words = json.loads((pods.folder / "pod-1" / "last-words").read_bytes())
    assert words["restarted"]["round"] == 2


@pytest.mark.parametrize("pods", [(2, 3)], indirect=True)
def test_a_stop_between_two_rounds_is_obeyed(pods: Pods) -> None:
    pods.wait(1, 5)
    pods.processes[1].kill()
    pods.processes[1].wait()
    time.sleep(1)
    pods.processes[0].terminate()
    assert pods.processes[0].wait(90) in (1, 75)
