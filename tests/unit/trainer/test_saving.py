"""Training goes on while a checkpoint is written, nothing counts before it is whole, and failing storage costs no training."""

import errno
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from trainer.checkpoint_state import Position, read_saved
from trainer.checkpoint_store import Checkpoint, CheckpointStore, FileDigest, verify
from trainer.errors import SupersededError
from trainer.fencing import claim_attempt
from trainer.group import WorkerGroup
from trainer.objective import Objective
from trainer.optimization import Loss
from trainer.parallel.layout import Layout, Parallelism
from trainer.parallel.together import Together
from trainer.progress import Progress, Reporter
from trainer.retention import Retention
from trainer.saving import Saver, keeping
from trainer.sharding import Sharding
from trainer.share_file import write_share
from trainer.shares import Piece

from tests.unit.trainer.gang import StartGang, specification

CPU = torch.device("cpu")
Write = Callable[[Path, Sequence[Piece]], FileDigest]


class Gate:
    """Lets the background write when it is opened; counts how many wait."""

    def __init__(self, write: Write) -> None:
        self.opened, self.waiting, self._write = threading.Event(), threading.Semaphore(0), write

    def __call__(self, path: Path, pieces: Sequence[Piece]) -> FileDigest:
        self.waiting.release()
        assert self.opened.wait(20)
        return self._write(path, pieces)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate(write_share)
    monkeypatch.setattr("trainer.saving.write_share", gate)
    yield gate
    gate.opened.set()


class Alone:
    """The saver of a worker alone, with what it saves and where it reports."""

    def __init__(self, directory: Path, *, asynchronous: bool = True, retention: Retention | None = None) -> None:
        claim_attempt(directory, 1)
        self.module = nn.Linear(2, 1)
        objective = Objective(self.module, Loss("mse", 0.0, 1.0))
        optimizer = torch.optim.SGD(self.module.parameters(), lr=0.1, momentum=0.9)
        shapes = {name: value.shape for name, value in self.module.state_dict().items()}
        strategy = Together(Layout(Parallelism(), 0, 1), self.module, optimizer, shapes, objective, CPU)
        self.reporter = Reporter(Progress("uid-1", 1), client=None, every=1, folder=None)
        self.store = CheckpointStore(directory, 1)
        self.saver = Saver(
            self.store,
            WorkerGroup(0, 1, CPU),
            strategy,
            Sharding(100, 10, 0, 0, 1),
            self.reporter,
            keep=keeping(retention or Retention(newest=3), "accuracy"),
            claim_path=str,
            asynchronous=asynchronous,
        )

    def begin(self, step: int, **more: Any) -> None:
        self.saver.begin(Position(step, at=1000.0 * step, **more))

    def boundaries(self) -> None:
        """Meet until nothing is under way."""
        for _ in range(2000):
            self.saver.hear(*map(int, self.saver.flags))
            if self.saver.committed == self.saver.begun:
                return
            threading.Event().wait(0.005)
        raise AssertionError("the save does not end")

    @property
    def steps(self) -> list[int]:
        return [checkpoint.step for checkpoint in self.store.committed()]

    @property
    def progress(self) -> Progress:
        return self.reporter.progress


@pytest.fixture
def alone(tmp_path: Path) -> Alone:
    return Alone(tmp_path)


def test_training_does_not_wait_for_the_write(alone: Alone, gate: Gate) -> None:
    alone.begin(10)
    assert gate.waiting.acquire(timeout=5)
    assert alone.saver.flags == (False, False)
    alone.saver.hear(0, 0)
    assert (alone.steps, alone.progress.checkpoint, alone.saver.committed) == ([], None, -1)
    gate.opened.set()
    alone.boundaries()
    assert (alone.steps, alone.progress.checkpoint) == ([10], {"step": 10, "path": str(alone.store.folder(10))})
    verify(alone.store.folder(10))


def test_what_is_written_is_the_model_at_the_boundary(alone: Alone, gate: Gate) -> None:
    before = alone.module.weight.detach().clone()
    alone.begin(10)
    with torch.no_grad():
        alone.module.weight.add_(1)  # the next step
    gate.opened.set()
    alone.boundaries()
    assert torch.equal(load_file(alone.store.folder(10) / "share-00000.safetensors")["model.weight"], before)


def test_a_checkpoint_that_comes_due_waits_for_the_one_before(alone: Alone, gate: Gate) -> None:
    alone.begin(10)
    threading.Timer(0.1, gate.opened.set).start()
    alone.begin(20)
    assert (alone.saver.committed, alone.saver.begun) == (10, 20)
    alone.boundaries()
    assert alone.steps == [20, 10]


def test_a_checkpoint_that_somebody_waits_for_is_durable_when_training_goes_on(alone: Alone) -> None:
    alone.begin(10)
    alone.saver.finish()
    assert (alone.steps, alone.saver.committed, alone.progress.phase) == ([10], 10, "training")
    alone.saver.finish()  # nothing is under way: nothing to do


def test_checkpoints_can_be_written_while_training_stands_still(tmp_path: Path) -> None:
    alone = Alone(tmp_path, asynchronous=False)
    alone.begin(10)
    assert alone.steps == [10]


def failing(number: int, times: int = 1) -> Write:
    """A write that fails with the system's error, so many times."""
    left = [number] * times

    def write(path: Path, pieces: Sequence[Piece]) -> FileDigest:
        if left:
            path.write_bytes(b"a part")
            raise OSError(left.pop(), "as the system says it", str(path))
        return write_share(path, pieces)

    return write


@pytest.mark.fault(64)
@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "the volume is full"),
        (errno.EDQUOT, "the volume is full: its quota is used up"),
        (errno.EROFS, "the volume is read-only"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_a_write_that_fails_is_counted_and_said_and_the_next_one_tried(
    alone: Alone, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    monkeypatch.setattr("trainer.saving.write_share", failing(number))
    alone.begin(10)
    alone.saver.finish()
    assert alone.progress.checkpoint_failures == 1
    share = alone.store.folder(10) / "share-00000.safetensors"
    assert alone.progress.warning == f"checkpoint of step 10 failed: {share}: {words}; in 1 of 1 workers"
    assert not alone.store.folder(10).exists(), "a full volume needs the space"
    alone.begin(20)
    alone.boundaries()
    assert (alone.steps, alone.progress.checkpoint_failures) == ([20], 1)


@pytest.mark.parametrize(("number", "words"), [(errno.ENOSPC, "full"), (errno.EROFS, "read-only")])
@pytest.mark.parametrize("where", ["trainer.checkpoint_store.CheckpointStore.begin", "trainer.saving.save_position"])
def test_a_folder_or_a_commit_that_fails_is_said_likewise(
    alone: Alone, monkeypatch: pytest.MonkeyPatch, where: str, number: int, words: str
) -> None:
    def refuse(*_: object) -> Path:
        raise OSError(number, os.strerror(number), "/claim/digits/file")

    with monkeypatch.context() as patched:
        patched.setattr(where, refuse)
        alone.begin(10)
        alone.saver.finish()
    assert alone.progress.checkpoint_failures == 1
    warning = f"checkpoint of step 10 failed: /claim/digits/file: the volume is {words}"
    assert alone.progress.warning == warning
    alone.begin(20)
    alone.saver.finish()
    assert alone.steps == [20]


def test_old_checkpoints_that_cannot_be_removed_do_not_cost_the_new_one(
    alone: Alone, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> list[Checkpoint]:
        raise OSError(errno.EROFS, "read-only")

    monkeypatch.setattr(CheckpointStore, "prune", refuse)
    alone.begin(10)
    alone.saver.finish()
    assert (alone.saver.committed, alone.progress.checkpoint_failures) == (10, 0)


def test_a_share_that_the_storage_lost_a_part_of_is_not_committed(
    alone: Alone, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(path: Path, pieces: Sequence[Piece]) -> FileDigest:
        digest = write_share(path, pieces)
        path.write_bytes(path.read_bytes()[:-1])
        return digest

    monkeypatch.setattr("trainer.saving.write_share", lose)
    alone.begin(10)
    alone.saver.finish()
    assert (alone.steps, alone.progress.checkpoint_failures) == ([], 1)


def test_an_overtaken_attempt_hears_it_at_the_boundary(alone: Alone, gate: Gate) -> None:
    alone.begin(10)
    claim_attempt(alone.store.directory, 2)
    gate.opened.set()
    with pytest.raises(SupersededError, match="attempt 2 owns"):
        alone.boundaries()
    assert alone.steps == []


def test_a_mistake_in_the_background_is_not_lost(alone: Alone, monkeypatch: pytest.MonkeyPatch) -> None:
    def mistaken(*_: object) -> FileDigest:
        raise KeyError("mistake")

    monkeypatch.setattr("trainer.saving.write_share", mistaken)
    alone.begin(10)
    with pytest.raises(KeyError):
        alone.saver.finish()


def test_a_commit_that_has_begun_ends_though_training_does_not_go_on(
    alone: Alone, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone.begin(10)
    while not alone.saver.flags[0]:
        threading.Event().wait(0.005)
    alone.saver.hear(1, 0)
    alone.saver.close()  # as when another worker is lost now
    assert alone.steps == [10]


def test_metric_and_time_are_kept_for_the_choice_of_those_that_stay(tmp_path: Path) -> None:
    alone = Alone(tmp_path, asynchronous=False, retention=Retention(newest=1, best=1, every_seconds=25_000))
    accuracies = {10: 0.7, 20: 0.9, 30: 0.8, 40: float("nan"), 50: 0.6}
    for step, accuracy in accuracies.items():
        alone.begin(step, metrics={"accuracy": accuracy, "loss": 0.1}, evaluated=step)
    # the newest, the best, and the first of each 25,000 s, which are 25 steps
    assert alone.steps == [50, 30, 20, 10]
    saved = read_saved(alone.store.committed()[2], "accuracy")
    assert (saved.step, saved.at, saved.metric, saved.evaluated) == (20, 20_000.0, 0.9, 20)
    assert read_saved(alone.store.committed()[0], "loss").metric == 0.1


def test_a_checkpoint_of_an_older_trainer_has_the_time_of_its_folder(alone: Alone) -> None:
    (alone.store.begin(10) / "state.json").write_text('{"step": 10}')
    saved = read_saved(alone.store.commit(10), "accuracy")
    assert saved.at == alone.store.folder(10).stat().st_mtime
    assert saved.metric is None


def slow_in(rank: int, seconds: float, error: int = 0) -> Write:
    """A write that takes its time in one worker, and fails there if there is an error."""

    def write(path: Path, pieces: Sequence[Piece]) -> FileDigest:
        if os.environ["RANK"] == str(rank):
            threading.Event().wait(seconds)
            if error:
                raise OSError(error, os.strerror(error), str(path))
        return write_share(path, pieces)

    return write


def test_workers_train_on_while_one_of_them_still_writes(
    start_gang: StartGang, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.saving.write_share", slow_in(1, 1.0))
    spec = specification(epochs=100_000, checkpointEverySteps=200)
    gang = start_gang(spec, workers=2, directory=tmp_path / "job")
    beyond = gang.wait_for(lambda progress: progress["step"] > 220)
    assert beyond["checkpoint"] is None
    saved = gang.wait_for(lambda progress: progress["checkpoint"] is not None)
    assert saved["checkpoint"]["step"] == 200
    assert saved["step"] > 220
    gang.terminate(1)
    assert gang.exit_codes() == [75, 75]
    newest = CheckpointStore(tmp_path / "job", 1).newest_verified(on_corrupt=pytest.fail)
    assert newest is not None
    assert f"checkpoint of step {newest.step} is committed" in gang.outcome()["cause"]


@pytest.mark.fault(64)
def test_one_workers_full_volume_costs_the_checkpoint_of_all_and_no_training(
    start_gang: StartGang, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.saving.write_share", slow_in(1, 0.0, errno.ENOSPC))
    gang = start_gang(specification(checkpointEverySteps=4), workers=2, directory=tmp_path / "job")
    assert gang.exit_codes() == [0, 0]
    progress = gang.progress()
    assert (progress["checkpointFailures"], progress["checkpoint"]) == (4, None)
    assert "share-00001.safetensors: the volume is full; in 1 of 2 workers" in progress["warning"]
    assert progress["result"] is not None


def test_best_checkpoints_go_by_a_metric_that_there_is(start_gang: StartGang, tmp_path: Path) -> None:
    asked: dict[str, Any] = {"keepBest": 1, "bestMetric": "accurracy"}
    gang = start_gang(specification(**asked), directory=tmp_path / "job")
    assert gang.exit_codes() == [64]
    assert "there is: accuracy, loss" in gang.outcome()["cause"]


def test_a_job_keeps_its_best_checkpoint(start_gang: StartGang, tmp_path: Path) -> None:
    asked: dict[str, Any] = {
        "keepBest": 1,
        "keepCheckpoints": 1,
        "bestMetric": "loss",
        "learningRate": 0.05,
        "epochs": 8,
    }
    gang = start_gang(specification(**asked), workers=2, directory=tmp_path / "job")
    assert gang.exit_codes() == [0, 0]
    store = CheckpointStore(tmp_path / "job", 1)
    kept = {checkpoint.step: read_saved(checkpoint, "loss") for checkpoint in store.committed()}
    assert 64 in kept
    assert len(kept) <= 2
    assert kept[min(kept)].metric is not None
