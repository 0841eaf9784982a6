"""Which checkpoints are believed, which are removed, and who may commit."""

import contextlib
import hashlib
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from trainer.checkpoint_store import Checkpoint, CheckpointStore, CorruptCheckpointError, FileDigest, verify
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


def newest_of(count: int) -> Callable[[Sequence[Checkpoint]], Sequence[Checkpoint]]:
    """Keeps so many."""
    return lambda committed: committed[:count]


def test_the_newest_committed_checkpoint_is_chosen(store: CheckpointStore) -> None:
    save(store, 10)
    newest = save(store, 9000)
    assert store.newest_verified(pytest.fail) == newest


@pytest.mark.fault(62)
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


@pytest.mark.fault(63)
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
    assert [checkpoint.step for checkpoint in store.prune(newest_of(3))] == [2, 1]
    assert [checkpoint.step for checkpoint in store.committed()] == [5, 4, 3]


def test_the_only_verified_checkpoint_is_never_removed(store: CheckpointStore) -> None:
    for step in (1, 2, 3):
        save(store, step)
    flip_a_byte(store.folder(2))
    flip_a_byte(store.folder(3))
    assert store.prune(newest_of(2)) == []
    left = store.newest_verified(ignore)
    assert left is not None
    assert left.step == 1


def test_the_only_verified_checkpoint_stays_and_the_rest_of_what_was_not_chosen_goes(store: CheckpointStore) -> None:
    for step in (1, 2, 3, 4):
        save(store, step)
    flip_a_byte(store.folder(4))
    assert [checkpoint.step for checkpoint in store.prune(newest_of(1))] == [2, 1]
    assert [checkpoint.step for checkpoint in store.committed()] == [4, 3]


def test_where_no_checkpoint_is_whole_all_stay(store: CheckpointStore) -> None:
    for step in (1, 2):
        save(store, step)
        flip_a_byte(store.folder(step))
    assert store.prune(newest_of(1)) == []
    assert len(store.committed()) == 2


def test_a_checkpoint_that_was_just_committed_is_not_read_again(store: CheckpointStore) -> None:
    save(store, 1)
    newest = save(store, 2)
    flip_a_byte(newest.folder)  # as if: what is known to be whole is not looked at
    assert [checkpoint.step for checkpoint in store.prune(newest_of(1), verified=newest)] == [1]


def test_a_file_whose_digest_its_writer_told_is_not_read_again(store: CheckpointStore) -> None:
    folder = store.begin(1)
    (folder / "part-1").write_bytes(b"what the storage made of it")
    told = FileDigest(hashlib.sha256(b"what was written, as long..").hexdigest(), 27)
    store.commit(1, {"part-1": told})
    with pytest.raises(CorruptCheckpointError, match="part-1 was changed"):
        verify(folder)


@pytest.mark.parametrize("content", [b"short", None])
def test_a_file_that_is_not_there_as_it_was_written_is_not_committed(
    store: CheckpointStore, content: bytes | None
) -> None:
    folder = store.begin(1)
    if content is not None:
        (folder / "part-1").write_bytes(content)
    with pytest.raises(OSError, match="27 bytes were written"):
        store.commit(1, {"part-1": FileDigest("0" * 64, 27)})
    assert store.committed() == []


def test_what_an_earlier_start_of_the_same_attempt_left_unfinished_is_removed_at_the_start(
    store: CheckpointStore,
) -> None:
    committed, unfinished = save(store, 7), store.begin(8)
    claim_attempt(store.directory, 2)
    newer = CheckpointStore(store.directory, 2).begin(9)
    store.tidy()
    assert (committed.folder.exists(), unfinished.exists(), newer.exists()) == (True, False, True)


def test_a_checkpoint_that_is_given_up_takes_no_space(store: CheckpointStore) -> None:
    committed, unfinished = save(store, 7), store.begin(8)
    store.abandon(8)
    assert (committed.folder.exists(), unfinished.exists()) == (True, False)


def test_what_an_older_attempt_left_unfinished_is_removed(store: CheckpointStore) -> None:
    leftover = store.begin(7)
    claim_attempt(store.directory, 2)
    second = CheckpointStore(store.directory, 2)
    save(second, 8)
    own_unfinished = second.begin(9)
    second.prune(newest_of(3))
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
