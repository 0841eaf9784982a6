"""Where checkpoints lie, and which of them may be believed; knows nothing of what is in them.

    <job's folder>/ATTEMPT
    <job's folder>/checkpoints/attempt-<a>/step-<s>/<any files>
                                                    MANIFEST.json   sha256 and size of each file
                                                    COMMITTED       sha256 of the manifest; written last

A folder without COMMITTED is unfinished. One whose files differ from its manifest is corrupt. Both are passed over
when training resumes, and the one before is taken.
"""

import errno
import json
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from trainer.durable import read_json, sha256_of, write_atomically, write_json
from trainer.fencing import require_current

FOLDER: Final = "checkpoints"
MANIFEST_FILE: Final = "MANIFEST.json"
COMMITTED_FILE: Final = "COMMITTED"
_ATTEMPT: Final = "attempt-"
_STEP: Final = "step-"


class CorruptCheckpointError(Exception):
    """A committed checkpoint is not what was committed; says what differs."""


@dataclass(frozen=True, order=True)
class Checkpoint:
    """A committed checkpoint; later attempts and later steps are greater."""

    attempt: int
    step: int
    folder: Path


@dataclass(frozen=True)
class FileDigest:
    """What a file has to hold. sha256: hex digest; size: in bytes."""

    sha256: str
    size: int


@dataclass(frozen=True)
class CheckpointStore:
    """The checkpoints of one job, as one attempt of it sees them."""

    directory: Path
    attempt: int

    def folder(self, step: int) -> Path:
        """Where this attempt keeps its checkpoint of the step."""
        return self.directory / FOLDER / f"{_ATTEMPT}{self.attempt}" / f"{_STEP}{step}"

    def begin(self, step: int) -> Path:
        """An empty folder for the step; what an interrupted save left there is removed. Raises SupersededError."""
        require_current(self.directory, self.attempt)
        folder = self.folder(step)
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        return folder

    def commit(self, step: int, digests: Mapping[str, FileDigest] | None = None) -> Checkpoint:
        """Make what lies in the step's folder count. Raises SupersededError and leaves it unfinished when fenced off.

        digests: of files, by name, whose writers have told them; these are not read again.
        """
        folder = self.folder(step)
        commit_folder(folder, self.directory, self.attempt, step, digests)
        return Checkpoint(self.attempt, step, folder)

    def abandon(self, step: int) -> None:
        """Give back the space of a checkpoint that could not be finished, and of what older attempts left unfinished."""
        shutil.rmtree(self.folder(step), ignore_errors=True)
        self._remove_unfinished(self.attempt - 1)

    def committed(self) -> list[Checkpoint]:
        """All committed checkpoints, newest first; a checkpoint of a newer attempt than this one is none of ours."""
        found = []
        for folder in (self.directory / FOLDER).glob(f"{_ATTEMPT}*/{_STEP}*"):
            attempt, step = _number(folder.parent.name, _ATTEMPT), _number(folder.name, _STEP)
            if attempt is not None and step is not None and (folder / COMMITTED_FILE).is_file():
                found.append(Checkpoint(attempt, step, folder))
        return sorted((one for one in found if one.attempt <= self.attempt), reverse=True)

    def newest_verified(self, on_corrupt: Callable[[str], None]) -> Checkpoint | None:
        """The newest checkpoint that is what was committed; says of each one passed over why."""
        for checkpoint in self.committed():
            try:
                verify(checkpoint.folder)
            except CorruptCheckpointError as error:
                on_corrupt(
                    f"checkpoint attempt {checkpoint.attempt} step {checkpoint.step} is corrupt, skipped: {error}"
                )
            else:
                return checkpoint
        return None

    def prune(
        self,
        choose: Callable[[Sequence[Checkpoint]], Collection[Checkpoint]],
        *,
        verified: Checkpoint | None = None,
    ) -> list[Checkpoint]:
        """Remove all that `choose` does not keep, and return those removed, newest first.

        The newest that is whole stays whatever is chosen, and where none is, all stay: the only good checkpoint is never
        deleted to make room for bad ones. verified: one that is known to be whole. What older attempts left unfinished
        goes too.
        """
        every = self.committed()
        kept = set(choose(every))
        surplus = [checkpoint for checkpoint in every if checkpoint not in kept]
        if surplus:
            whole = next((one for one in every if one == verified or _is_whole(one.folder)), None)
            surplus = [checkpoint for checkpoint in surplus if whole and checkpoint != whole]
        for checkpoint in surplus:
            # The marker first: a half-removed folder must not look committed.
            (checkpoint.folder / COMMITTED_FILE).unlink(missing_ok=True)
            shutil.rmtree(checkpoint.folder, ignore_errors=True)
        self._remove_unfinished(self.attempt - 1)
        return surplus

    def tidy(self) -> None:
        """Remove what an earlier start of this attempt, or an older one, left unfinished; before the first `begin`."""
        self._remove_unfinished(self.attempt)

    def _remove_unfinished(self, newest: int) -> None:
        for folder in (self.directory / FOLDER).glob(f"{_ATTEMPT}*/{_STEP}*"):
            attempt = _number(folder.parent.name, _ATTEMPT)
            if attempt is not None and attempt <= newest and not (folder / COMMITTED_FILE).exists():
                shutil.rmtree(folder, ignore_errors=True)


def commit_folder(
    folder: Path, directory: Path, attempt: int, step: int, digests: Mapping[str, FileDigest] | None = None
) -> None:
    """Write the manifest of what lies in the folder, then the marker, if the attempt still owns the directory.

    The attempt is read as late as possible, after all the slow work. digests: see CheckpointStore.commit. Raises OSError
    when one of those files is not there with the size that was written.
    """
    told = digests or {}
    found = {str(path.relative_to(folder)): path for path in _content(folder)}
    files: dict[str, dict[str, str | int]] = {}
    for name in sorted(found.keys() | told.keys()):
        size = found[name].stat().st_size if name in found else -1
        digest = told[name] if name in told else FileDigest(sha256_of(found[name]), size)
        if size != digest.size:
            raise OSError(errno.EIO, f"{digest.size} bytes were written, but the storage has {max(size, 0)}", name)
        files[name] = {"sha256": digest.sha256, "bytes": digest.size}
    write_json(folder / MANIFEST_FILE, {"format": 1, "attempt": attempt, "step": step, "files": files})
    marker = {"attempt": attempt, "step": step, "manifest": sha256_of(folder / MANIFEST_FILE)}
    require_current(directory, attempt)
    write_atomically(folder / COMMITTED_FILE, json.dumps(marker).encode() + b"\n")


def verify(folder: Path) -> None:
    """Raise CorruptCheckpointError unless the folder holds exactly what was committed."""
    marker, manifest = read_json(folder / COMMITTED_FILE), read_json(folder / MANIFEST_FILE)
    if marker is None or manifest is None:
        raise CorruptCheckpointError(f"{COMMITTED_FILE} or {MANIFEST_FILE} cannot be read")
    if marker.get("manifest") != sha256_of(folder / MANIFEST_FILE):
        raise CorruptCheckpointError(f"{MANIFEST_FILE} was changed after the commit")
    files = _listed(manifest)
    found = {str(path.relative_to(folder)): path for path in _content(folder)}
    if found.keys() != files.keys():
        raise CorruptCheckpointError(
            f"files differ from the manifest: {', '.join(sorted(found.keys() ^ files.keys()))}"
        )
    for name, path in found.items():
        if path.stat().st_size != files[name].size:
            raise CorruptCheckpointError(f"{name} has {path.stat().st_size} bytes, {files[name].size} were committed")
        if sha256_of(path) != files[name].sha256:
            raise CorruptCheckpointError(f"{name} was changed after the commit")


def _listed(manifest: Mapping[str, Any]) -> dict[str, FileDigest]:
    """Files of a manifest. Raises CorruptCheckpointError if it is none."""
    try:
        return {name: FileDigest(each["sha256"], each["bytes"]) for name, each in manifest["files"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise CorruptCheckpointError(f"{MANIFEST_FILE} is no list of files with sha256 and bytes: {error!r}") from None


def _is_whole(folder: Path) -> bool:
    try:
        verify(folder)
    except CorruptCheckpointError:
        return False
    return True


def _content(folder: Path) -> list[Path]:
    ours = {folder / MANIFEST_FILE, folder / COMMITTED_FILE}
    return sorted(path for path in folder.rglob("*") if path.is_file() and path not in ours)


def _number(name: str, prefix: str) -> int | None:
    digits = name.removeprefix(prefix)
    return int(digits) if name.startswith(prefix) and digits.isdecimal() else None
