"""Whether a file is the one that was meant: SHA-256 digests from the job itself or from a manifest."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from trainer.datasets.file_parameters import FileParameters, public_form
from trainer.datasets.files_source import Content, FileSource
from trainer.errors import ConfigurationError, DataError

_LINE: Final = re.compile(r"([0-9a-fA-F]{64}) [ *](?:\./)?(.+)")


@dataclass(frozen=True)
class Checksums:
    """Expected digests by name of file; None when nothing was said."""

    expected: Mapping[str, str] | None

    def verified(self, content: Content) -> Content:
        """The content itself. Raises DataError when it has another digest than expected."""
        if self.expected is None:
            return content
        found = hashlib.sha256(content.data).hexdigest()
        expected = self.expected[content.name].lower()
        if found != expected:
            raise DataError(
                f"{content.name}: the SHA-256 is {found}, expected {expected}: the file is damaged or another one"
            )
        return content


def checksums_for(wanted: FileParameters, names: Sequence[str]) -> Checksums:
    """Digests for exactly these files.

    Raises DataError for a file without a digest, and for a digest whose file is missing, unless it stands in a
    manifest: one may cover more than the data set. Raises ConfigurationError for one digest for several files.
    """
    if wanted.manifest is not None:
        place = public_form(wanted.manifest)
        known = read_manifest(wanted.manifest)
    elif isinstance(wanted.sha256, str):
        if len(names) != 1:
            expected = f"an object with one checksum for each of the {len(names)} files"
            raise ConfigurationError("dataset.parameters.sha256", wanted.sha256, expected)
        return Checksums({names[0]: wanted.sha256})
    elif wanted.sha256 is not None:
        place = "dataset.parameters.sha256"
        known = dict(wanted.sha256)
        absent = sorted(set(known) - set(names))
        if absent:
            raise DataError(f"{absent[0]}: has a checksum but is not there; there is: {_some(names)}")
    else:
        return Checksums(None)
    for name in names:
        if name not in known:
            raise DataError(f"{name}: no checksum in {place}, which has: {_some(sorted(known))}")
    return Checksums(known)


def read_manifest(url: str) -> dict[str, str]:
    """Digests by name of file, from lines as `sha256sum` writes them. Raises DataError for any other line."""
    source = FileSource(url)
    content = source.read(source.only())
    known: dict[str, str] = {}
    for number, line in enumerate(content.data.decode(errors="replace").splitlines(), start=1):
        if not line.strip():
            continue
        match = _LINE.fullmatch(line.rstrip())
        if match is None:
            raise DataError(f"{content.name}: line {number} is not a SHA-256, two spaces and a file's name")
        known[match[2]] = match[1]
    return known


def _some(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + ", ..." * (len(names) > most)
