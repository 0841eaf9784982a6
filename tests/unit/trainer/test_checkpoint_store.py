"""Which checkpoints are believed, which are removed, and who may commit."""

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from trainer.checkpoint_store import Checkpoint, CheckpointStore, verify
from trainer.errors import SupersededError
from trainer.fencing import claim_attempt, current_attempt, require_current


@pytest.fixture
def store(tmp_path: Path) -> CheckpointStore:
    claim_attempt(tmp_path, 1)
    return CheckpointStore(tmp_path, 1)


def save(store: CheckpointStore, step: int) -> Checkpoint:
    folder = store.begin(step)
    (folder / "part-1").write_bytes(b"first" * step)
    (folder / "part-2").write_bytes(b"second" * step)
    return store.commit(step)


def ignore(_: str) -> None:
    pass


def test_the_newest_committed_checkpoint_is_chosen(store: CheckpointStore) -> None:
    save(store, 10)
    newest = save(store, 9000)
    assert store.newest_verified(pytest.fail) == newest


def test_an_uncommitted_checkpoint_is_ignored(store: CheckpointStore) -> None:
    committed = save(store, 10)
    (store.begin(20) / "part-1").write_bytes(b"half")
    assert store.newest_verified(pytest.fail) == committed


def test_a_job_without_checkpoints_has_none(tmp_path: Path) -> None:
    assert CheckpointStore(tmp_path, 1).newest_verified(pytest.fail) is None


def flip_a_byte(folder: Path) -> None:
    content = bytearray((folder / "part-1").read_bytes())
    content[3] ^= 1
    (folder / "part-1").write_bytes(content)


def truncate(folder: Path) -> None:
    (folder / "part-2").write_bytes(b"")


def remove_a_file(folder: Path) -> None:
    (folder / "part-2").unlink()


def add_a_file(folder: Path) -> None:
    (folder / "part-3.safetensors").write_bytes(b"foreign")


def change_the_manifest(folder: Path) -> None:
    manifest = folder / "MANIFEST.json"
    manifest.write_text(manifest.read_text().replace("part-1", "part-7"))


def empty_the_marker(folder: Path) -> None:
    (folder / "COMMITTED").write_text("")


@pytest.mark.parametrize(
    "damage", [flip_a_byte, truncate, remove_a_file, add_a_file, change_the_manifest, empty_the_marker]
)
def test_a_damaged_checkpoint_is_passed_over_and_said(store: CheckpointStore, damage: Callable[[Path], None]) -> None:
    good = save(store, 10)
    damage(save(store, 20).folder)
    said: list[str] = []
    assert store.newest_verified(said.append) == good
    assert len(said) == 1
    assert "step 20 is corrupt" in said[0]


def test_a_later_attempt_counts_as_newer_than_a_later_step(store: CheckpointStore) -> None:
    save(store, 100)
    claim_attempt(store.directory, 2)
    second = CheckpointStore(store.directory, 2)
    newest = save(second, 50)
    assert second.newest_verified(pytest.fail) == newest


def test_an_old_attempt_does_not_see_a_newer_ones_checkpoints(store: CheckpointStore) -> None:
    own = save(store, 10)
    claim_attempt(store.directory, 2)
    save(CheckpointStore(store.directory, 2), 20)
    assert store.newest_verified(pytest.fail) == own


def test_an_attempt_that_is_overtaken_while_writing_cannot_commit(store: CheckpointStore) -> None:
    folder = store.begin(10)
    (folder / "part-1").write_bytes(b"data")
    claim_attempt(store.directory, 2)
    with pytest.raises(SupersededError, match="attempt 2 owns"):
        store.commit(10)
    assert not (folder / "COMMITTED").exists()
    with pytest.raises(SupersededError):
        store.begin(11)


def test_the_newest_are_kept_and_the_rest_removed(store: CheckpointStore) -> None:
    for step in (1, 2, 3, 4, 5):
        save(store, step)
    assert [checkpoint.step for checkpoint in store.prune(3)] == [2, 1]
    assert [checkpoint.step for checkpoint in store.committed()] == [5, 4, 3]


def test_the_only_verified_checkpoint_is_never_removed(store: CheckpointStore) -> None:
    for step in (1, 2, 3):
        save(store, step)
    flip_a_byte(store.folder(2))
    flip_a_byte(store.folder(3))
    assert store.prune(2) == []
    left = store.newest_verified(ignore)
    assert left is not None
    assert left.step == 1


def test_what_an_older_attempt_left_unfinished_is_removed(store: CheckpointStore) -> None:
    leftover = store.begin(7)
    claim_attempt(store.directory, 2)
    second = CheckpointStore(store.directory, 2)
    save(second, 8)
    own_unfinished = second.begin(9)
    second.prune(3)
    assert not leftover.exists()
    assert own_unfinished.exists()


def test_saving_a_step_again_starts_from_an_empty_folder(store: CheckpointStore) -> None:
    (store.begin(3) / "part-9").write_bytes(b"from an interrupted save")
    verify(save(store, 3).folder)
    assert not (store.folder(3) / "part-9").exists()


def test_the_attempt_file_never_goes_back(tmp_path: Path) -> None:
    claim_attempt(tmp_path / "job", 3)
    with pytest.raises(SupersededError):
        claim_attempt(tmp_path / "job", 2)
    claim_attempt(tmp_path / "job", 3)
    assert current_attempt(tmp_path / "job") == 3
    require_current(tmp_path / "job", 3)


def test_of_agents_that_start_together_the_newest_owns_the_storage(tmp_path: Path) -> None:
    def claim(attempt: int) -> None:
        with contextlib.suppress(SupersededError):
            claim_attempt(tmp_path, attempt)

    threads = [threading.Thread(target=claim, args=(attempt,)) for attempt in range(1, 21)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert current_attempt(tmp_path) == 20
