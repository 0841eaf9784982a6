"""The real agent as a process: what it refuses, passes on, reaps and says at the end."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from trainer.checkpoint_store import CheckpointStore
from trainer.fencing import claim_attempt, current_attempt

from tests.unit.trainer.gang import specification
from tests.unit.trainer.listening import Operator

SOURCES = Path(__file__).parents[3] / "images" / "trainer"


@dataclasses.dataclass
class Pod:
    """An agent, with what a kubelet would see of it."""

    process: subprocess.Popen[str]
    termination_log: Path
    run_directory: Path

    def end(self, timeout: float = 90) -> tuple[int, dict[str, Any], str]:
        """Exit code, termination message and log."""
        output, _ = self.process.communicate(timeout=timeout)
        content = self.termination_log.read_bytes()
        assert len(content) <= 4096
        return self.process.returncode, json.loads(content), output

    def wait_for_step(self, step: int, timeout: float = 90) -> None:
        file = self.run_directory / "progress.json"
        limit = time.monotonic() + timeout
        while not file.exists() or json.loads(file.read_bytes())["step"] < step:
            assert time.monotonic() < limit, "training did not begin"
            assert self.process.poll() is None, "the agent has ended"
            time.sleep(0.05)


StartPod = Callable[..., Pod]


@pytest.fixture
def start_pod(tmp_path: Path) -> StartPod:
    def start(*arguments: str, spec: dict[str, Any] | None = None, **variables: str) -> Pod:
        temporary = tmp_path / "tmp"
        temporary.mkdir(exist_ok=True)
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(SOURCES),
            "TMPDIR": str(temporary),
            "TRAINYARD_TERMINATION_LOG": str(tmp_path / "termination-log"),
            "TRAINYARD_SPEC": json.dumps(spec or specification()),
            **variables,
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "trainer.agent", *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=tmp_path,
        )
        return Pod(process, tmp_path / "termination-log", temporary / "trainyard")

    return start


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (
            specification("diffusion"),
            ["model.name", "'diffusion'", "cnn, gan, gru, linear, llama, lstm, mlp, resnet, transformer"],
        ),
        (
            specification("mlp", "imagenet"),
            ["dataset.name", "'imagenet'", "diabetes, digits, docs, files, iris, order, series"],
        ),
        (specification(optimizer="lion"), ["training.optimizer", "'lion'", "adam, adamw, gd, sgd"]),
        (specification(loss="hinge"), ["training.loss", "'hinge'", "cross-entropy, mse"]),
        (specification(learningRate=-1), ["training.learningRate", "-1", "a number above 0"]),
    ],
)
def test_what_restarting_cannot_repair_ends_with_64_and_says_what_there_is(
    start_pod: StartPod, spec: dict[str, Any], words: list[str], tmp_path: Path
) -> None:
    pod = start_pod(spec=spec, TRAINYARD_DIR=str(tmp_path / "job"))
    code, message, log = pod.end(timeout=60)
    assert (code, message["exitCode"]) == (64, 64)
    for word in words:
        assert word in message["cause"]
        assert word in log
    assert not (tmp_path / "job").exists(), "nothing is claimed for a job that cannot run"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("TRAINYARD_ATTEMPT", "first"),
        ("PET_NNODES", "0"),
        ("PET_NPROC_PER_NODE", "-1"),
        ("PET_NODE_RANK", "7"),
        ("TRAINYARD_PROGRESS_SECONDS", "nan"),
    ],
)
def test_a_broken_environment_is_named(start_pod: StartPod, variable: str, value: str) -> None:
    code, message, _ = start_pod(**{variable: value}).end(timeout=60)
    assert code == 64
    assert variable in message["cause"]


def test_several_pods_need_the_name_of_the_first(start_pod: StartPod) -> None:
    code, message, _ = start_pod(PET_NNODES="2").end(timeout=60)
    assert code == 64
    assert "PET_MASTER_ADDR" in message["cause"]


@pytest.mark.fault(68)
def test_a_name_that_never_resolves_is_given_up_with_advice(start_pod: StartPod) -> None:
    pod = start_pod(*("--", "true"), PET_NNODES="2", PET_MASTER_ADDR="nobody.invalid", TRAINYARD_DNS_WAIT_SECONDS="0.5")
    code, message, _ = pod.end(timeout=60)
    assert code == 1
    assert "nobody.invalid did not resolve" in message["cause"]
    assert "headless Service" in message["cause"]


@pytest.mark.parametrize(
    ("script", "code", "cause"),
    [
        ("exit 0", 0, "finished"),
        ("exit 3", 3, "ended with exit code 3"),
        ("kill -9 $$", 137, "signal 9 (Killed)"),
        ("exit 64", 64, "ended with exit code 64"),
    ],
)
def test_a_users_commands_exit_code_is_the_pods(start_pod: StartPod, script: str, code: int, cause: str) -> None:
    found, message, _ = start_pod("--", "sh", "-c", script).end(timeout=60)
    assert (found, message["exitCode"]) == (code, code)
    assert cause in message["cause"]


def test_a_command_that_is_not_there_is_said(start_pod: StartPod) -> None:
    code, message, _ = start_pod("--", "no-such-program").end(timeout=60)
    assert code == 127
    assert "no-such-program: no such command" in message["cause"]


def test_a_users_command_does_not_need_a_specification(start_pod: StartPod) -> None:
    assert start_pod("--", "true", TRAINYARD_SPEC="nonsense").end(timeout=60)[0] == 0


def test_a_stop_reaches_a_command_behind_a_shell(start_pod: StartPod, tmp_path: Path) -> None:
    script = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(7)); open('up', 'w'); time.sleep(60)"
    pod = start_pod("--", "sh", "-c", f'{sys.executable} -c "{script}"; exit $?')
    limit = time.monotonic() + 20
    while not (tmp_path / "up").exists() and time.monotonic() < limit:
        time.sleep(0.02)
    pod.process.send_signal(signal.SIGTERM)
    code, _, _ = pod.end(timeout=60)
    assert code in {7, 143}  # the shell dies of the signal or hands on the program's answer


def test_orphans_are_reaped_and_ended_with_the_command(start_pod: StartPod, tmp_path: Path) -> None:
    # the inner shell ends at once and leaves two orphans: one that ends itself, and one that never would
    script = "sh -c 'sleep 0.1 & echo $! >short; sleep 600 & echo $! >long'; sleep 1; cat /proc/$(cat short)/stat; true"
    code, _, log = start_pod("--", "sh", "-c", script).end(timeout=60)
    assert code == 0
    assert "No such file" in log, "the orphan that ended was left a zombie"
    assert not Path(f"/proc/{(tmp_path / 'long').read_text().strip()}").exists()


def test_the_first_pod_claims_the_storage_for_its_attempt(start_pod: StartPod, tmp_path: Path) -> None:
    directory = tmp_path / "claim" / "job"
    assert start_pod("--", "true", TRAINYARD_DIR=str(directory), TRAINYARD_ATTEMPT="4").end()[0] == 0
    assert current_attempt(directory) == 4


def test_other_pods_claim_nothing(start_pod: StartPod, tmp_path: Path) -> None:
    directory = tmp_path / "claim" / "job"
    pod = start_pod(
        *("--", "true"), TRAINYARD_DIR=str(directory), PET_NNODES="2", PET_NODE_RANK="1", PET_MASTER_ADDR="localhost"
    )
    assert pod.end()[0] == 0
    assert not directory.exists()


def test_a_pod_of_an_old_attempt_ends_before_it_starts_anything(start_pod: StartPod, tmp_path: Path) -> None:
    claim_attempt(tmp_path / "job", 5)
    code, message, _ = start_pod(
        *("--", "touch", "started"), TRAINYARD_DIR=str(tmp_path / "job"), TRAINYARD_ATTEMPT="4"
    ).end()
    assert code == 76
    assert "attempt 5 owns" in message["cause"]
    assert not (tmp_path / "started").exists()


def test_storage_that_cannot_be_written_is_said(start_pod: StartPod, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, message, _ = start_pod("--", "true", TRAINYARD_DIR=str(tmp_path / "file" / "job")).end()
    assert code == 1
    assert "Not a directory" in message["cause"]


def test_a_whole_pod_trains_reports_and_stops_in_order(start_pod: StartPod, operator: Operator, tmp_path: Path) -> None:
    """Agent, torchrun and two workers, as in a cluster; then the kubelet's SIGTERM."""
    directory = tmp_path / "claim" / "job"
    pod = start_pod(
        spec=specification("cnn", "digits", epochs=100_000, batchSize=64, checkpointEverySteps=10**9),
        PET_NPROC_PER_NODE="2",
        TRAINYARD_DIR=str(directory),
        **operator.variables(),
    )
    pod.wait_for_step(1)
    pod.process.send_signal(signal.SIGTERM)
    code, message, log = pod.end(timeout=40)
    assert code == 75, log
    newest = CheckpointStore(directory, 1).newest_verified(pytest.fail)
    assert newest is not None
    assert message["checkpoint"] == {"step": newest.step, "path": f"job/checkpoints/attempt-1/step-{newest.step}"}
    assert f"checkpoint of step {newest.step} is committed" in message["cause"]
    assert operator.wait_for(lambda report: report["checkpoint"] is not None)["worldSize"] == 2
    written = {path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*") if path.is_file()}
    assert written <= {"claim", "tmp", "termination-log", "tls.crt", "tls.key", "token"}, "the root is read-only"
