"""What DCGM's exporter says of a node's GPUs, and which errors are new since the last look. Pure; `dcgm_adapter` fetches and writes.

The exporter's gauge DCGM_FI_DEV_XID_ERRORS holds the last code for ever: it says nothing when the same comes twice, nor when it is over.
So an error is counted when something rises or another code appears, and what was there at the first look counts for nothing. Where the
exporter is told to count XIDs in a window (DCGM_EXP_XID_ERRORS_COUNT), each of them is seen. Neighbour: `errors` is what is written.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from trainyard.nodes.errors import ErrorKind, GpuError

_XID_GAUGE = "DCGM_FI_DEV_XID_ERRORS"
_XID_WINDOW = "DCGM_EXP_XID_ERRORS_COUNT"
_COUNTERS: Mapping[str, ErrorKind] = {
    "DCGM_FI_DEV_ECC_SBE_VOL_TOTAL": ErrorKind.CORRECTED,
    "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL": ErrorKind.UNCORRECTED,
    "DCGM_FI_DEV_CORRECTABLE_REMAPPED_ROWS": ErrorKind.REMAPPED,
    "DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS": ErrorKind.REMAPPED,
    "DCGM_FI_DEV_ROW_REMAP_FAILURE": ErrorKind.REMAP_FAILURE,
}
_SLOWED: Mapping[str, ErrorKind] = {
    "DCGM_FI_DEV_THERMAL_VIOLATION": ErrorKind.THERMAL,
    "DCGM_FI_DEV_POWER_VIOLATION": ErrorKind.POWER,
}
"""Time for which a GPU was slowed down: that it rises is the alarm."""
_LINE = re.compile(r"(DCGM_\w+)\{([^}]*)\}\s+(\S+)")
_LABEL = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Reading:
    """Of one GPU. totals: by series. xid: the last code, 0 for none. window: by code, XIDs within the exporter's window; None if it does not count."""

    totals: Mapping[str, float] = field(default_factory=dict)
    xid: int = 0
    window: Mapping[int, int] | None = None


def parse(text: str) -> dict[str, Reading]:
    """By index of the GPU, from the exporter's page. Lines that are none of ours, or damaged, are left out."""
    totals: dict[str, dict[str, float]] = {}
    xids: dict[str, int] = {}
    windows: dict[str, dict[int, int]] = {}
    for name, labels, value in _lines(text):
        gpu = labels["gpu"]
        seen = totals.setdefault(gpu, {})
        if name == _XID_GAUGE:
            xids[gpu] = int(value)
        elif name == _XID_WINDOW:
            window = windows.setdefault(gpu, {})
            if (code := labels.get("xid", "")).isdigit() and int(code):
                window[int(code)] = window.get(int(code), 0) + int(value)
        else:
            # A GPU that is divided has a line for each part, all with the same total.
            seen[name] = max(seen.get(name, 0.0), value)
    return {gpu: Reading(found, xids.get(gpu, 0), windows.get(gpu)) for gpu, found in totals.items()}


def _lines(text: str) -> Iterator[tuple[str, dict[str, str], float]]:
    wanted = {_XID_GAUGE, _XID_WINDOW, *_COUNTERS, *_SLOWED}
    for line in text.splitlines():
        found = _LINE.match(line) if line.startswith("DCGM_") else None
        if found is None or found[1] not in wanted:
            continue
        labels = dict(_LABEL.findall(found[2]))
        try:
            value = float(found[3])
        except ValueError:
            continue
        if "gpu" in labels and 0 <= value < float("inf"):
            yield found[1], labels, value


def new_errors(before: Reading | None, now: Reading) -> Iterator[tuple[ErrorKind, int | None, int]]:
    """Kind, code and number of what came since the reading before. Nothing at a first look."""
    if before is None:
        return
    for series, kind in _COUNTERS.items():
        if (risen := _risen(before.totals.get(series), now.totals.get(series))) >= 1:
            yield kind, None, int(risen)
    for series, kind in _SLOWED.items():
        if _risen(before.totals.get(series), now.totals.get(series)) > 0:
            yield kind, None, 1
    if now.window is None:
        if now.xid and now.xid != before.xid:
            yield ErrorKind.XID, now.xid, 1
        return
    for code, count in now.window.items():
        if (more := count - (before.window or {}).get(code, 0)) > 0:
            yield ErrorKind.XID, code, more


def _risen(before: float | None, now: float | None) -> float:
    """A total that is less than before began anew, as after a reboot."""
    if before is None or now is None:
        return 0.0
    return now - before if now >= before else now


def counted(
    known: Iterable[GpuError], before: Mapping[str, Reading], now: Mapping[str, Reading], time: datetime
) -> tuple[GpuError, ...]:
    """The errors of a node after a look."""
    found = {each.key: each for each in known}
    for gpu, reading in now.items():
        for kind, code, number in new_errors(before.get(gpu), reading):
            error = found.get((gpu, kind, code)) or GpuError(gpu, kind, 0, 0.0, time, code)
            found[error.key] = error.more(number, time)
    return tuple(found.values())
