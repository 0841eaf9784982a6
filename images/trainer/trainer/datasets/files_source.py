"""Files at one address, found in a fixed order and read whole, within bounds; with files_web all that knows fsspec.

Options of a file system come from its own environment, AWS_ENDPOINT_URL or FSSPEC_S3_KEY say: a job's parameters can
be read by everybody who may see the job, so they are no place for a key.

What can never work (a missing file, no permission) is a DataError. What may work later (a server that is down) is a
plain TrainerError, so that the job's policy starts it again.
"""

import logging
import posixpath
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import fsspec  # type: ignore[import-untyped]

from trainer.datasets.file_parameters import is_pattern, is_web, protocol, public_form
from trainer.errors import DataError, TrainerError
from trainer.extensions import load_target

MOST_FILES: Final = 100_000
MOST_FILE_BYTES: Final = 2**31 - 1
MOST_BYTES: Final = 8 * 2**30
_PIECE: Final = 8 * 2**20
_PERMANENT: Final[dict[type[OSError], str]] = {
    FileNotFoundError: "is not there",
    PermissionError: "may not be read",
    IsADirectoryError: "is a folder",
    NotADirectoryError: "lies in something that is no folder",
}
_TEMPORARY: Final = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}

log = logging.getLogger("trainer")


@dataclass(frozen=True)
class SourceFile:
    """name: path below the address's folder, as checksums and messages have it. path: as the file system has it."""

    name: str
    path: str


@dataclass(frozen=True)
class Content:
    """A file that was read."""

    name: str
    data: bytes


class FileSource:
    """What lies at an address: one file, a folder's files, or those that a pattern finds."""

    def __init__(self, url: str) -> None:
        self._shown = public_form(url)
        self._web = is_web(url)
        self._signed = self._web and "?" in url
        self._pattern = is_pattern(url)
        self._path = url if self._web else _place(url)
        self._files: Any = (
            load_target("trainer.datasets.files_web:WebFiles")()
            if self._web
            else fsspec.filesystem(protocol(url), use_listings_cache=False)
        )
        self._bytes = 0

    def find(self, suffixes: Collection[str], *, deep: bool = False) -> list[SourceFile]:
        """The files, sorted by name. Of a folder, those with one of the suffixes; with those below it when deep.

        Raises DataError when there are none or too many.
        """
        if self._web:
            return [self.only()]
        try:
            found = self._find(suffixes, deep=deep)
        except Exception as error:  # each file system has exceptions of its own
            raise self._explained(self._shown, error) from error
        if not found:
            wanted = "" if self._pattern else f" that ends in {' or '.join(sorted(suffixes))}"
            raise DataError(f"{self._shown}: there is no file{wanted}")
        if len(found) > MOST_FILES:
            raise DataError(f"{self._shown}: there are {len(found)} files, more than {MOST_FILES}")
        return sorted(found, key=lambda file: file.name)

    def only(self) -> SourceFile:
        """The one file that the address stands for, whether it is there or not."""
        path = unquote(urlsplit(self._path).path) if self._web else self._path
        return SourceFile(posixpath.basename(path) or self._shown, self._path)

    def read(self, file: SourceFile) -> Content:
        """The whole file. Raises DataError when it is too large, alone or with those read before."""
        parts: list[bytes] = []
        size = 0
        try:
            with self._files.open(file.path, "rb") as stream:
                while piece := stream.read(_PIECE):
                    size += len(piece)
                    parts.append(piece)
                    self._check_size(file.name, size)
        except TrainerError:
            raise
        except Exception as error:  # each file system has exceptions of its own
            raise self._explained(file.name, error) from error
        self._bytes += size
        return Content(file.name, b"".join(parts))

    def _find(self, suffixes: Collection[str], *, deep: bool) -> list[SourceFile]:
        path = self._path
        if self._files.isfile(path):
            return [self.only()]
        if self._files.isdir(path):
            below = self._files.find(path, maxdepth=None if deep else 1)
            names = fitting(self._shown, [name[len(path) :].lstrip("/") for name in below], suffixes)
            return [SourceFile(name, f"{path.rstrip('/')}/{name}") for name in names]
        if not self._pattern:
            raise FileNotFoundError(path)
        base = path[: min(path.find(sign) for sign in "*?[" if sign in path)].rpartition("/")[0]
        return [
            SourceFile(name[len(base) :].lstrip("/"), name)
            for name, about in self._files.glob(path, detail=True).items()
            if about["type"] != "directory"
        ]

    def _check_size(self, name: str, size: int) -> None:
        if size > MOST_FILE_BYTES:
            raise DataError(f"{name}: larger than {MOST_FILE_BYTES} bytes, the most for one file: cut it into several")
        if self._bytes + size > MOST_BYTES:
            raise DataError(f"{name}: with the files before it larger than {MOST_BYTES} bytes, the most for a data set")

    def _explained(self, name: str, error: Exception) -> TrainerError:
        """The failure with the name of the file, and without a signed address, which an exception's text may hold."""
        for kind, reason in _PERMANENT.items():
            if isinstance(error, kind):
                return DataError(f"{name}: the file {reason}")
        status = getattr(error, "status", None)
        if isinstance(status, int) and status:
            answer = f"{name}: the server answered {status} {getattr(error, 'message', '')}".rstrip()
            if HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR and status not in _TEMPORARY:
                return DataError(answer)
            return TrainerError(f"{answer}; starting again may help")
        reason = type(error).__name__ + (f": {error}" if str(error) and not self._signed else "")
        return TrainerError(f"{name}: cannot be read now ({reason}); starting again may help")


def fitting(place: str, names: Iterable[str], suffixes: Collection[str]) -> list[str]:
    """The names with one of the suffixes, sorted; hidden ones left out.

    Warns of the others: a misspelt suffix must not lose data in silence.
    """
    visible = [name for name in names if not any(part.startswith((".", "__MACOSX")) for part in name.split("/"))]
    others = sorted(name for name in visible if not has_suffix(name, suffixes))
    if others:
        some = ", ".join(others[:3]) + ", ..." * (len(others) > 3)  # noqa: PLR2004 - enough to recognise them
        log.warning("%s: %d other files are not read: %s", place, len(others), some)
    return sorted(name for name in visible if has_suffix(name, suffixes))


def has_suffix(name: str, suffixes: Collection[str]) -> bool:
    """Whether the name ends in one of the suffixes, in capitals or not."""
    return posixpath.splitext(name)[1].lower() in suffixes


def _place(url: str) -> str:
    """The address as its file system has it."""
    path = url.partition("://")[2] if "://" in url else url
    return posixpath.normpath(path) if protocol(url) == "file" else path.rstrip("/")
