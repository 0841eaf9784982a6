"""The three calls of a user's own script, in a real process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

from trainer.checkpoint_store import CheckpointStore, verify
from trainer.fencing import claim_attempt

from tests.unit.trainer.listening import Operator

SOURCES = Path(__file__).parents[3] / "images" / "trainer"


def run_script(script: str, **variables: str) -> str:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCES), **variables}
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        check=False,
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_importing_the_calls_imports_neither_torch_nor_numpy() -> None:
    assert run_script("import trainer, sys; print('torch' in sys.modules, 'numpy' in sys.modules)") == "False False\n"


def test_the_calls_do_nothing_without_an_operator() -> None:
    script = "import trainer; trainer.report(step=1, loss=0.5); print(trainer.checkpoint_requested())"
    assert run_script(script) == "False\n"


def test_a_broken_environment_does_not_reach_the_script() -> None:
    assert run_script("import trainer; trainer.report(step=1); print('on')", TRAINYARD_ATTEMPT="x") == "on\n"


def test_a_script_reports_hears_and_commits(operator: Operator, tmp_path: Path) -> None:
    directory = tmp_path / "job"
    claim_attempt(directory, 1)
    operator.commands = [{"checkpoint": True}]
    script = f"""
import pathlib, time, trainer
trainer.report(step=7, loss=0.25, total_steps=10)
while not trainer.checkpoint_requested():
    time.sleep(0.01)
folder = pathlib.Path({str(directory)!r}) / "checkpoints" / "attempt-1" / "step-7"
folder.mkdir(parents=True)
(folder / "weights").write_bytes(b"weights")
print(trainer.checkpoint_saved(folder, step=7))
"""
    variables = operator.variables() | {"TRAINYARD_DIR": str(directory), "TRAINYARD_PROGRESS_SECONDS": "0.05"}
    assert run_script(script, TRAINYARD_JOB_UID="uid-1", **variables) == "True\n"
    last = operator.received[-1]
    assert (last["phase"], last["step"], last["loss"], last["totalSteps"]) == ("training", 7, 0.25, 10)
    assert last["checkpoint"] == {"step": 7, "path": "job/checkpoints/attempt-1/step-7"}
    verify(CheckpointStore(directory, 1).committed()[0].folder)


def test_a_superseded_script_does_not_commit(tmp_path: Path) -> None:
    directory = tmp_path / "job"
    claim_attempt(directory, 2)
    (directory / "mine").mkdir()
    script = f"import trainer; print(trainer.checkpoint_saved({str(directory / 'mine')!r}, step=7))"
    assert run_script(script, TRAINYARD_DIR=str(directory), TRAINYARD_ATTEMPT="1") == "False\n"
    assert list((directory / "mine").glob("COMMITTED")) == []


def test_only_rank_0_reports(operator: Operator) -> None:
    run_script("import trainer; trainer.report(step=1)", RANK="1", **operator.variables())
    assert operator.received == []


def test_a_script_says_what_it_does_and_what_its_time_goes_to(operator: Operator) -> None:
    script = """
import trainer
trainer.report(step=3)
trainer.report(step=3, phase="evaluating", spent={"productive": 4.5}, step_seconds={"p50": 0.1, "slowest": 0.4, "slowestRank": 2})
"""
    run_script(script, **operator.variables())
    last = operator.received[-1]
    assert (last["phase"], last["spent"]) == ("evaluating", {"productive": 4.5})
    assert last["stepSeconds"] == {"p50": 0.1, "slowest": 0.4, "slowestRank": 2}


def test_a_checkpoint_of_a_script_that_is_not_committed_is_counted(operator: Operator, tmp_path: Path) -> None:
    (tmp_path / "job" / "mine").mkdir(parents=True)
    (tmp_path / "job" / "mine" / "MANIFEST.json").mkdir()  # where a file has to be
    script = f"import trainer; print(trainer.checkpoint_saved({str(tmp_path / 'job' / 'mine')!r}, step=7))"
    assert run_script(script, TRAINYARD_DIR=str(tmp_path / "job"), **operator.variables()) == "False\n"
    assert operator.received[-1]["checkpointFailures"] == 1


def test_the_agent_finds_what_a_script_reported(tmp_path: Path) -> None:
    run_script("import trainer; trainer.report(step=3, metrics={'f1': 0.5})", TRAINYARD_RUN_DIR=str(tmp_path))
    assert json.loads((tmp_path / "progress.json").read_bytes())["metrics"] == {"f1": 0.5}
