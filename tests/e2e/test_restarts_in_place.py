"""Real agents, two pods of one job on this machine: what failed is started again in its pod, and nothing is lost."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.trainer.gang import specification

pytestmark = pytest.mark.e2e
SOURCES = Path(__file__).parents[2] / "images" / "trainer"
ENDLESS = specification(epochs=100_000, checkpointEverySteps=20)


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


class Pods:
    """Agents of the pods of one attempt."""

    def __init__(self, folder: Path, count: int, spec: dict[str, Any], left: int) -> None:
        self.folder = folder
        self.common = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(SOURCES),
            "TRAINYARD_SPEC": json.dumps(spec),
            "TRAINYARD_DIR": str(folder / "job"),
            "TRAINYARD_RESTARTS_LEFT": str(left),
            "TRAINYARD_CONTROL_PORT": free_port(),
            "TRAINYARD_JOB_UID": "of-this-test",
            "TRAINYARD_HANG_SECONDS": "3",
            "TRAINYARD_PROGRESS_SECONDS": "0.1",
            "PET_NNODES": str(count),
            "PET_NPROC_PER_NODE": "1",
            "PET_MASTER_ADDR": "127.0.0.1",
            "PET_MASTER_PORT": free_port(),
            "PET_MAX_RESTARTS": "0",
        }
        self.processes = [self.start(index) for index in range(count)]

    def start(self, index: int) -> subprocess.Popen[bytes]:
        own = self.folder / f"pod-{index}"
        own.mkdir(exist_ok=True)
        variables = {
            "PET_NODE_RANK": str(index),
            "TRAINYARD_RUN_DIR": str(own / "run"),
            "TRAINYARD_TERMINATION_LOG": str(own / "last-words"),
        }
        with (own / "log").open("ab") as log:
            command = [sys.executable, "-m", "trainer.agent"]
            return subprocess.Popen(command, env=self.common | variables, stdout=log, stderr=log, cwd=own)

    def progress(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads((self.folder / "pod-0" / "run" / "progress.json").read_bytes())
        except (OSError, ValueError):
            return {}
        return found

    def wait(self, round_: int, step: int, timeout: float = 90) -> dict[str, Any]:
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
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture
def pods(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Pods]:
    count, left = request.param
    found = Pods(tmp_path, count, ENDLESS, left)
    yield found
    found.end()


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


@pytest.mark.parametrize("pods", [(2, 3)], indirect=True)
def test_a_pod_in_anothers_stead_joins_the_next_round(pods: Pods) -> None:
    before = pods.wait(1, 50)
    pods.processes[1].kill()
    pods.processes[1].wait()
    pods.processes[1] = pods.start(1)
    after = pods.wait(2, before["step"] + 1)
    assert after["worldSize"] == 2


@pytest.mark.parametrize("pods", [(1, 3), (2, 3)], indirect=True)
def test_a_worker_that_is_stopped_is_found_and_started_again(pods: Pods) -> None:
    before = pods.wait(1, 100)
    time.sleep(3)  # in which the agent learns how long a step takes
    last = len(pods.processes) - 1
    os.kill(pods.worker(last), signal.SIGSTOP)
    after = pods.wait(2, before["step"])
    assert (after["restarted"]["exitCode"], after["restarted"]["index"]) == (77, last)
    assert f"the process of rank {last} is stopped by a signal" in after["restarted"]["cause"]
    kept = pods.folder / "job" / "stacks" / "attempt-1-round-1"
    assert {file.name for file in kept.iterdir()} == {f"rank-{rank}.txt" for rank in range(last + 1)}


@pytest.mark.parametrize("pods", [(2, 0)], indirect=True)
def test_without_restarts_left_the_pods_end(pods: Pods) -> None:
    pods.wait(1, 5)
    os.kill(pods.worker(1), signal.SIGKILL)
    assert pods.processes[1].wait(30) == 137
    assert pods.processes[0].wait(30) == 1


@pytest.mark.parametrize("pods", [(2, 1)], indirect=True)
def test_a_second_failure_is_one_too_many(pods: Pods) -> None:
    pods.wait(1, 5)
    os.kill(pods.worker(1), signal.SIGKILL)
    pods.wait(2, 5)
    os.kill(pods.worker(1), signal.SIGKILL)
    assert pods.processes[1].wait(30) == 137
    words = json.loads((pods.folder / "pod-1" / "last-words").read_bytes())
    assert words["restarted"]["round"] == 2


@pytest.mark.parametrize("pods", [(2, 3)], indirect=True)
def test_a_stop_between_two_rounds_is_obeyed(pods: Pods) -> None:
    pods.wait(1, 5)
    pods.processes[1].kill()
    pods.processes[1].wait()
    time.sleep(1)
    pods.processes[0].terminate()
    assert pods.processes[0].wait(45) in (1, 75)
