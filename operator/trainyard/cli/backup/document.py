"""The file of a backup: a line of JSON for each object, between a line that says what it is and one with the digest of all before.

Compressed with gzip as a rule; one that somebody has unpacked can be read too. docs/backup.md describes it for readers.
"""

import gzip
import hashlib
import io
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
from pydantic import Field, ValidationError

from trainyard import __version__
from trainyard.api.flavor import Flavor
from trainyard.api.inference_service import InferenceService
from trainyard.api.meta import Model, Time, problems
from trainyard.api.names import INCIDENTS, INCIDENTS_KEY, LEARNED, LEARNED_KEY, OUTCOMES, OUTCOMES_KEY
from trainyard.api.queue import Queue
from trainyard.api.training_job import TrainingJob
from trainyard.cli.errors import CliError
from trainyard.cluster.resources import Object
from trainyard.workloads.understood import KINDS, Ours

MEMORY: Mapping[str, str] = {LEARNED: LEARNED_KEY, INCIDENTS: INCIDENTS_KEY, OUTCOMES: OUTCOMES_KEY}
"""ConfigMaps of the operator, and the key in each."""
FORMAT = "trainyard.dev/backup"
VERSION = 1
_GZIP = b"\x1f\x8b"
_MOST_BYTES = 4 << 30
"""Unpacked: a hundred thousand jobs have room in it."""
_CHUNK = 1 << 20


class Head(Model):
    """The first line."""

    format: str
    version: int
    product: str = ""
    taken: Time
    cluster: str = ""
    counts: dict[str, int] = Field(default_factory=dict)
    memory: dict[str, str] = Field(default_factory=dict)


class _End(Model):
    """The last line."""

    digest: str
    objects: int


@dataclass(frozen=True, slots=True)
class Saved:
    """One object of ours as it was."""

    raw: Object
    thing: Ours

    @property
    def kind(self) -> str:
        return self.thing.kind

    @property
    def key(self) -> tuple[str, str, str]:
        """Kind, namespace (empty for those of the whole cluster), name."""
        meta = self.thing.metadata
        return self.kind, meta.namespace, meta.name

    def __str__(self) -> str:
        kind, namespace, name = self.key
        return f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"


@dataclass(frozen=True, slots=True)
class Backup:
    """A yard at one moment."""

    taken: datetime
    saved: tuple[Saved, ...]
    memory: Mapping[str, str] = field(default_factory=dict)
    """What the operator keeps beyond what objects say, by ConfigMap: what it learned, and incidents of jobs that are gone."""
    cluster: str = ""
    """Uid of namespace kube-system, by which clusters are told apart."""
    digest: str = ""
    """Of one that was read."""
    product: str = field(default=__version__)

    def counts(self) -> dict[str, int]:
        return dict(Counter(each.kind for each in self.saved))


def packed(backup: Backup) -> bytes:
    """The file's content."""
    head = Head(
        format=FORMAT,
        version=VERSION,
        product=backup.product,
        taken=backup.taken,
        cluster=backup.cluster,
        counts=backup.counts(),
        memory=dict(backup.memory),
    )
    lines = [head.model_dump(by_alias=True, mode="json"), *(each.raw for each in backup.saved)]
    body = b"".join(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in lines)
    end = {"digest": _digest(body), "objects": len(backup.saved)}
    return gzip.compress(body + orjson.dumps(end, option=orjson.OPT_APPEND_NEWLINE), mtime=0)


def read(path: Path) -> Backup:
    """Raises CliError for a file that is no whole backup, before anything is done with it."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise CliError(f"{path}: cannot be read: {error.strerror}") from None
    return unpacked(raw, str(path))


def unpacked(raw: bytes, source: str) -> Backup:
    """The inverse of `packed`. Raises CliError that names source, line and field."""
    body = _inflated(raw, source)
    lines = body.splitlines(keepends=True)
    head = _head(lines[0] if lines else b"", source)
    wanted = sum(head.counts.values())
    # The digest comes before the objects: what is damaged is not looked into.
    end = _end(lines[-1]) if len(lines) > 1 else None
    if end is None:
        raise CliError(f"{source}: ends after {len(lines) - 1} of {wanted} objects: it is cut off. Nothing was applied")
    found = _digest(b"".join(lines[:-1]))
    if end.digest != found or end.objects != len(lines) - 2:
        raise CliError(
            f"{source}: was changed or damaged: its digest is {found}, and it says {end.digest}. Nothing was applied"
        )
    saved = tuple(_saved(line, f"{source}: line {number}") for number, line in enumerate(lines[1:-1], start=2))
    return Backup(head.taken, saved, head.memory, head.cluster, end.digest, head.product)


def _inflated(raw: bytes, source: str) -> bytes:
    if not raw.startswith(_GZIP):
        return raw
    found, size = [], 0
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(raw)) as stream:
            for chunk in iter(lambda: stream.read(_CHUNK), b""):
                found.append(chunk)
                size += len(chunk)
                if size > _MOST_BYTES:
                    raise CliError(f"{source}: holds more than {_MOST_BYTES >> 30} GiB; no yard is so large")
    except (OSError, EOFError, zlib.error) as error:
        raise CliError(f"{source}: is damaged or cut off: {error}. Nothing was applied") from None
    return b"".join(found)


def _head(line: bytes, source: str) -> Head:
    try:
        head = Head.model_validate(orjson.loads(line))
    except (orjson.JSONDecodeError, ValidationError):
        raise CliError(
            f"{source}: is no backup of Trainyard: expected one that `trainyard backup` has written"
        ) from None
    if head.format != FORMAT:
        raise CliError(f"{source}: is of format {head.format!r}; expected {FORMAT}")
    if head.version > VERSION:
        raise CliError(
            f"{source}: is of version {head.version}, written by Trainyard {head.product}; this command reads up to {VERSION}: take one of that version"
        )
    return head


def _end(line: bytes) -> _End | None:
    try:
        return _End.model_validate(orjson.loads(line))
    except (orjson.JSONDecodeError, ValidationError):
        return None


def _saved(line: bytes, where: str) -> Saved:
    raw: Any = orjson.loads(line)
    kind = KINDS.get(str(raw.get("kind"))) if isinstance(raw, Mapping) else None
    if kind is None:
        raise CliError(f"{where}: expected one of {', '.join(KINDS)}, and nothing else. Nothing was applied")
    try:
        return Saved(raw, kind.model_validate(raw))
    except ValidationError as error:
        raise CliError(f"{where}: {raw['kind']}: {problems(error)}. Nothing was applied") from None


def _digest(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


_ORDER: Sequence[type[Ours]] = (Flavor, Queue, TrainingJob, InferenceService)


def in_order(saved: Iterator[Saved]) -> tuple[Saved, ...]:
    """By kind, in which a restore goes, and name: two backups of the same yard can be compared line by line."""
    return tuple(sorted(saved, key=lambda each: (_ORDER.index(type(each.thing)), each.key)))
