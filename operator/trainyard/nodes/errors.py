"""Errors of a node's GPUs as they are counted in an annotation: by device and kind, how often in all, how often lately, and when last.

Written by the adapter of DCGM's exporter (`dcgm`), read by `signs` and `risk`. "Lately" is a count that halves in a day, so that a rate
needs no history. An annotation that cannot be read says nothing: another program may have written it.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from trainyard.nodes.times import parse, written

HALF_LIFE = timedelta(days=1)
MOST = 128
"""Errors that are kept: 16 GPUs with eight kinds each."""


class ErrorKind(StrEnum):
    """What is counted."""

    XID = "xid"
    CORRECTED = "corrected"  # memory errors that harmed nobody
    UNCORRECTED = "uncorrected"  # memory errors that did
    REMAPPED = "remapped"  # rows of memory that were replaced by spare ones
    REMAP_FAILURE = "remap-failure"  # no spare row was left
    THERMAL = "thermal"  # five minutes of which heat had slowed the GPU down for a tenth
    POWER = "power"  # the same by its power limit, as happens to every GPU that works hard


@dataclass(frozen=True, slots=True)
class GpuError:
    """recent: the count in which those of a day ago weigh half, as of `last`."""

    gpu: str
    kind: ErrorKind
    count: int
    recent: float
    last: datetime
    code: int | None = None
    boot: str = ""
    """Boot of the node in which it was last counted; empty if that is not known."""

    @property
    def key(self) -> tuple[str, ErrorKind, int | None]:
        return self.gpu, self.kind, self.code

    def lately(self, now: datetime) -> float:
        """The recent count as of now."""
        return self.recent * math.exp2(-(max(timedelta(0), now - self.last) / HALF_LIFE))

    def more(self, count: int, now: datetime, boot: str) -> "GpuError":
        """After so many more, in that boot of the node."""
        return GpuError(self.gpu, self.kind, self.count + count, self.lately(now) + count, now, self.code, boot)

    def ended_by(self, boot: str) -> bool:
        """Whether the node was started again since, if it runs that boot now."""
        return bool(self.boot and boot) and self.boot != boot


def boot_of(node: Mapping[str, Any]) -> str:
    """Which boot the node runs, as kubelet says; empty if it does not."""
    return str(node.get("status", {}).get("nodeInfo", {}).get("bootID") or "")


def read(text: str) -> tuple[GpuError, ...]:
    """Of an annotation."""
    try:
        found = json.loads(text) if text else []
        return tuple(_error(each) for each in found[:MOST])
    except (ValueError, TypeError, KeyError, AttributeError):
        return ()


def write(errors: Iterable[GpuError]) -> str:
    """As an annotation holds it; the latest first, as many as are kept."""
    latest = sorted(errors, key=lambda each: (each.last, each.count), reverse=True)[:MOST]
    found = [_entry(each) for each in sorted(latest, key=lambda each: (each.gpu, each.kind.value, each.code or 0))]
    return json.dumps(found, separators=(",", ":"))


def _error(entry: Mapping[str, Any]) -> GpuError:
    last, code, count = parse(entry["last"]), entry.get("code"), int(entry["count"])
    recent = float(entry["recent"])
    if last is None or count < 0 or not 0 <= recent <= count:
        raise ValueError(f"expected a time and counts, got {entry}")
    whole = None if code is None else int(code)
    return GpuError(str(entry["gpu"]), ErrorKind(entry["kind"]), count, recent, last, whole, str(entry.get("boot", "")))


def _entry(error: GpuError) -> dict[str, Any]:
    entry = {"gpu": error.gpu, "kind": error.kind.value, "count": error.count}
    if error.code is not None:
        entry["code"] = error.code
    if error.boot:
        entry["boot"] = error.boot
    return entry | {"recent": round(error.recent, 3), "last": written(error.last)}
