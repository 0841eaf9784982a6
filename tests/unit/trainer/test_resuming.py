"""A checkpoint does not depend on how the work was shared: what one layout wrote another continues from."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from trainer.checkpoint_store import CheckpointStore

from tests.unit.trainer.gang import Gang, StartGang
from tests.unit.trainer.layouts import LAYOUTS, few_documents, language_job

TOLERANCE = 1e-4
EVERY = 3

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:FSDP2-wrapped module"),  # of its output, which nothing changes in place
]


@pytest.fixture(autouse=True)
def _few_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    few_documents(monkeypatch)


def job(layout: str, **more: Any) -> dict[str, Any]:
    return language_job(LAYOUTS[layout][1], checkpointEverySteps=EVERY, keepCheckpoints=9, clipNorm=1.0, **more)


def finished(gang: Gang) -> dict[str, Any]:
    codes = gang.exit_codes()
    assert set(codes) == {0}, "\n".join(log.read_text() for log in gang.run_directory.glob("log-*"))
    return gang.progress()


def weights(directory: Path, attempt: int) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = load_file(directory / "model" / f"attempt-{attempt}" / "model.safetensors")
    return found


def forget_all_after(directory: Path, step: int) -> None:
    """As if the attempts so far had ended soon after the step."""
    for checkpoint in CheckpointStore(directory, 99).committed():
        if checkpoint.step > step:
            (checkpoint.folder / "COMMITTED").unlink()


def furthest(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> float:
    assert left.keys() == right.keys()
    return max(float((left[name] - right[name]).abs().max()) for name in left)


def go_on(start_gang: StartGang, directory: Path, *layouts: str) -> dict[str, Any]:
    """Train with the first layout to the end; with each other one again from a checkpoint of the one before, further on."""
    for attempt, layout in enumerate(layouts, 1):
        gang = start_gang(job(layout), workers=LAYOUTS[layout][0], attempt=attempt, directory=directory)
        progress = finished(gang)
        assert progress["restoredStep"] == ((attempt - 1) * EVERY or None)
        forget_all_after(directory, attempt * EVERY)
    return progress


@pytest.mark.parametrize(
    ("first", "second"),
    [
        *((layout, "single") for layout in LAYOUTS if layout != "single"),
        ("single", "fsdp2"),
        ("single", "pp"),
        ("fsdp2", "tp"),
    ],
)
def test_another_layout_goes_on_to_the_same_weights(
    start_gang: StartGang, tmp_path: Path, first: str, second: str
) -> None:
    go_on(start_gang, tmp_path / "job", first, second)
    assert furthest(weights(tmp_path / "job", 1), weights(tmp_path / "job", 2)) < TOLERANCE


def test_of_what_several_hold_the_state_of_who_uses_it_is_saved(start_gang: StartGang, tmp_path: Path) -> None:
    # a worker that once read the optimizer's state from a checkpoint must not save that instead of the server's
    go_on(start_gang, tmp_path / "job", "ps", "ps", "single")
    assert furthest(weights(tmp_path / "job", 1), weights(tmp_path / "job", 3)) < TOLERANCE
