"""The bundle: a tar with a file for each thing, and MANIFEST.json, which says what is in it and what was left out. Bounded in size."""

import gzip
import io
import tarfile
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import orjson

from trainyard import __version__
from trainyard.cli.bundle.pseudonyms import Pseudonyms
from trainyard.cli.bundle.redaction import Redactor

MOST_BYTES = 64 << 20
"""Of all files together, before they are compressed."""
MOST_OF_ONE = 16 << 20
_FORMAT = "trainyard.dev/bundle"


class Bundle:
    """Everything that goes in passes here, and is redacted here: there is no other way in."""

    def __init__(self, taken: datetime, names: Pseudonyms | None = None) -> None:
        """names: by which names are replaced; None keeps them."""
        self._taken, self._names, self._redactor = taken, names, Redactor()
        self._files: dict[str, bytes] = {}
        self._left_out: dict[str, str] = {}

    def meet(self, named: Iterable[tuple[str, str]]) -> None:
        """Kinds and names of objects that are gone, before anything is added that tells of them."""
        if self._names is not None:
            self._names.meet(named)

    def add(self, path: str, value: Any) -> None:
        """Something that JSON can say."""
        found = self._redactor.object(value)
        if self._names is not None:
            found = self._names.object(found)
        self._keep(path, orjson.dumps(found, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS))

    def add_text(self, path: str, text: str) -> None:
        """A log, or series: its end, if it is too long."""
        if len(text) > MOST_OF_ONE:
            self._left_out[f"{path}: beginning"] = f"longer than {MOST_OF_ONE >> 20} MiB"
            text = text[-MOST_OF_ONE:].partition("\n")[2]
        found = self._redactor.text(text)
        if self._names is not None:
            found = self._names.text(found)
        self._keep(path, found.encode(errors="replace"))

    def leave_out(self, what: str, why: str) -> None:
        """Said in the manifest."""
        self._left_out[self._said(what)] = self._said(why)

    def _said(self, text: str) -> str:
        found = self._redactor.text(text)
        return self._names.text(found) if self._names is not None else found

    def _keep(self, path: str, content: bytes) -> None:
        path = self._said(path)
        held = sum(map(len, self._files.values()))
        if len(content) > MOST_OF_ONE:
            self._left_out[path] = f"larger than {MOST_OF_ONE >> 20} MiB"
        elif held + len(content) > MOST_BYTES:
            self._left_out[path] = f"the bundle holds {MOST_BYTES >> 20} MiB at most"
        else:
            self._files[path] = content

    @property
    def manifest(self) -> dict[str, Any]:
        """What is in it, and what is not."""
        return {
            "format": _FORMAT,
            "version": 1,
            "product": __version__,
            "taken": self._taken.isoformat(timespec="seconds"),
            "names": "replaced" if self._names is not None else "kept",
            "files": {path: len(content) for path, content in sorted(self._files.items())},
            "redacted": dict(sorted((+self._redactor.taken).items())),
            "leftOut": dict(sorted(self._left_out.items())),
        }

    def packed(self) -> bytes:
        """As a tar, compressed with gzip."""
        folder = f"trainyard-bundle-{self._taken:%Y%m%d-%H%M%S}"
        manifest = orjson.dumps(self.manifest, option=orjson.OPT_INDENT_2)
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            for path, content in sorted({**self._files, "MANIFEST.json": manifest}.items()):
                entry = tarfile.TarInfo(f"{folder}/{path}")
                entry.size, entry.mtime, entry.mode = len(content), int(self._taken.timestamp()), 0o600
                tar.addfile(entry, io.BytesIO(content))
        return gzip.compress(buffer.getvalue(), mtime=0)
