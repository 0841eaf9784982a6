"""Saving while training goes on: the weights are copied in memory, and written while the next steps are made.

    begin     all workers, at a boundary: rank 0 makes the folder; each copies its share (see shares.py)
    write     each worker, in a thread: the share goes into a file of its own, synced, with its digest
    exchange  all workers, at the first boundary at which all have written, or failed: digests and error numbers
    commit    rank 0, in a thread: position, manifest, COMMITTED; then it is reported, and old ones are removed
    conclude  all workers, at the next boundary: they hear how the commit went

The threads use files only. All that workers say to each other they say at boundaries, on the training thread, where
`agree` has just told all of them the same: so no collective operation of a save can come between those of a step, and
none needs a process group of its own. One save is under way at most. Storage that fails costs the checkpoint, not the
training: it is counted and said, and tried again when the next one is due.
"""

import errno
import logging
import os
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from trainer.background import Background
from trainer.checkpoint_state import Position, read_saved, save_position, tensors_of
from trainer.checkpoint_store import Checkpoint, CheckpointStore, FileDigest
from trainer.group import WorkerGroup
from trainer.parallel.strategy import Strategy
from trainer.progress import Reporter
from trainer.retention import Retention
from trainer.sharding import Sharding
from trainer.share_file import Buffers, Told, exchange, write_share
from trainer.shares import Division, Piece, pieces_of

log = logging.getLogger(__name__)

_LAST_WAIT_SECONDS: Final = 60.0
_CAUSES: Final = {
    errno.ENOSPC: "the volume is full",
    errno.EDQUOT: "the volume is full: its quota is used up",
    errno.EROFS: "the volume is read-only",
}


@dataclass
class _Save:
    """One that is under way. stood_still: seconds; committing: whether all have written; commit: rank 0's part of it."""

    position: Position
    began: float
    write: Background[FileDigest | None]
    stood_still: float
    committing: bool = False
    commit: Background[None] | None = None

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Count the time for which training waits."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.stood_still += time.monotonic() - began

    def taken(self, *, durable: bool) -> "Taken":
        return Taken(self.position.step, durable, self.stood_still, time.monotonic() - self.began)


@dataclass(frozen=True)
class Taken:
    """A checkpoint that came to its end. Seconds that this worker stood still for it, and from its beginning to here."""

    step: int
    durable: bool
    stood_still: float
    took: float


class Saver:
    """The checkpoints of a job, in one worker of it. All workers call the same methods at the same boundaries.

    keep: which of the committed checkpoints stay. claim_path: a folder's path as it is reported. begun, committed: step
    of the newest checkpoint that was begun, and of the newest that all workers know to be durable; -1 before the first.
    last: the newest that came to its end, however.
    """

    def __init__(
        self,
        store: CheckpointStore,
        group: WorkerGroup,
        strategy: Strategy,
        sharding: Sharding,
        reporter: Reporter | None,
        *,
        keep: Callable[[Sequence[Checkpoint]], Collection[Checkpoint]],
        claim_path: Callable[[Path], str],
        asynchronous: bool,
    ) -> None:
        self.store = store
        self.begun = self.committed = -1
        self.last: Taken | None = None
        self._group, self._strategy, self._sharding, self._reporter = group, strategy, sharding, reporter
        self._keep, self._claim_path, self._asynchronous = keep, claim_path, asynchronous
        self._division, self._buffers = Division(group), Buffers()
        self._save: _Save | None = None
        self._failures = 0

    @property
    def under_way(self) -> bool:
        """Whether a checkpoint was begun that has not come to its end."""
        return self._save is not None

    @property
    def flags(self) -> tuple[bool, bool]:
        """For `agree`: whether this worker has written its share, and whether rank 0 is done with the commit."""
        save = self._save
        if save is None:
            return False, False
        return not save.committing and save.write.ended, save.commit is not None and save.commit.ended

    def hear(self, written: int, committed: int) -> None:
        """Go on with the save under way, knowing how many workers raised each flag. Raises SupersededError."""
        if self._save is None:
            return
        if not self._save.committing and written == self._group.world_size:
            with self._save.standing_still():
                self._exchange(self._save)
        elif self._save.committing and committed:
            self._conclude(self._save)

    def begin(self, position: Position) -> None:
        """Begin a checkpoint, when the one before is finished. Raises SupersededError."""
        self.finish()
        began, step = time.monotonic(), position.step
        self.begun = step
        try:
            self._group.on_first(lambda: self._opened(step))
        except OSError as error:
            self._failed(step, str(error))
            self.last = Taken(step, durable=False, stood_still=0.0, took=time.monotonic() - began)
            return
        pieces = self._division.own(pieces_of(tensors_of(self._strategy)))
        path, copies = self._path(step, self._group.rank), self._buffers.copy(pieces)
        write = Background(lambda: _write(path, copies), "checkpoint")
        self._save = _Save(position, began, write, time.monotonic() - began)
        if not self._asynchronous:
            self.finish()

    def finish(self) -> None:
        """Finish the save under way, if there is one, before anything else is done. Raises SupersededError."""
        if self._save is None:
            return
        self._report(phase="checkpointing")
        if not self._save.committing:
            with self._save.standing_still():
                self._save.write.wait()
                self._exchange(self._save)
        if self._save is not None:
            self._conclude(self._save)
        self._report(phase="training")

    def close(self) -> None:
        """Let a commit that has begun come to its end, when training ends for another reason. Of no consequence to others."""
        if self._save is not None and self._save.commit is not None:
            self._save.commit.wait(_LAST_WAIT_SECONDS)

    def _exchange(self, save: _Save) -> None:
        try:
            own = Told(digest=save.write.result())
        except OSError as error:
            own = Told(error.errno or errno.EIO)
        every = exchange(self._group, own)
        failed = [rank for rank, told in enumerate(every) if told.error]
        if failed:
            where = self._path(save.position.step, failed[0])
            self._give_up(save, f"{where}: {_cause(every[failed[0]].error)}; in {len(failed)} of {len(every)} workers")
            return
        save.committing = True
        if self._group.is_first:
            save.commit = Background(lambda: self._commit(save, every), "commit")

    def _commit(self, save: _Save, every: Sequence[Told]) -> None:
        step = save.position.step
        folder = self.store.folder(step)
        names = [self._path(step, rank).name for rank in range(len(every))]
        try:
            save_position(folder, self._sharding, save.position)
            done = self.store.commit(
                step, {name: told.digest for name, told in zip(names, every, strict=True) if told.digest}
            )
        except OSError as error:
            raise _told(error, folder) from error
        log.info(
            "checkpoint of step %d committed after %.2f s, training stood still %.3f s for it",
            step,
            time.monotonic() - save.began,
            save.stood_still,
        )
        self._report(checkpoint={"step": step, "path": self._claim_path(folder)})
        try:
            self.store.prune(self._keep, verified=done)
        except OSError as error:
            log.warning("old checkpoints cannot be removed: %s", error)

    def _conclude(self, save: _Save) -> None:
        def outcome() -> str:
            if save.commit is not None:
                save.commit.result()
            return ""

        self._save = None
        try:
            with save.standing_still():
                self._group.on_first(outcome)
        except OSError as error:
            self._give_up(save, str(error))
        else:
            self.committed = save.position.step
            self.last = save.taken(durable=True)

    def _give_up(self, save: _Save, cause: str) -> None:
        self._save = None
        self.last = save.taken(durable=False)
        if self._group.is_first:
            self.store.abandon(save.position.step)
        self._failed(save.position.step, cause)

    def _failed(self, step: int, cause: str) -> None:
        self._failures += 1
        if self._group.is_first:
            log.warning("no checkpoint of step %d: %s", step, cause)
        self._report(warning=f"checkpoint of step {step} failed: {cause}", checkpoint_failures=self._failures)

    def _opened(self, step: int) -> str:
        try:
            return str(self.store.begin(step))
        except OSError as error:
            raise _told(error, self.store.folder(step)) from error

    def _path(self, step: int, rank: int) -> Path:
        return self.store.folder(step) / f"share-{rank:05}.safetensors"

    def _report(self, **changes: object) -> None:
        if self._reporter is not None:
            self._reporter.update(**changes)


def keeping(retention: Retention, metric: str) -> Callable[[Sequence[Checkpoint]], Collection[Checkpoint]]:
    """The choice of those that stay, from what lies in their folders. metric: the one by which some are best."""

    def keep(committed: Sequence[Checkpoint]) -> Collection[Checkpoint]:
        saved = {read_saved(checkpoint, metric): checkpoint for checkpoint in committed}
        return [saved[one] for one in retention.kept(saved)]

    return keep


def _write(path: Path, pieces: Sequence[Piece]) -> FileDigest | None:
    """This worker's share; one that has nothing to write makes no file."""
    return write_share(path, pieces) if pieces else None


def _told(error: OSError, folder: Path) -> OSError:
    """The error with words that say what is wrong with the storage, and where."""
    words = _CAUSES.get(error.errno or 0) or error.strerror or str(error)
    return OSError(f"{error.filename or folder}: {words}")


def _cause(number: int) -> str:
    return _CAUSES.get(number) or os.strerror(number)
