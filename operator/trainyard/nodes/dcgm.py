"""What DCGM's exporter says of a node's GPUs, and which errors are new since the last look. Pure; `dcgm_adapter` fetches and writes.

The exporter's gauge DCGM_FI_DEV_XID_ERRORS holds the last code for ever: it says nothing when the same comes twice, nor when it is over.
So an error is counted when something rises or another code appears, and what was there at the first look counts for nothing. Where the
exporter is told to count XIDs in a window (DCGM_EXP_XID_ERRORS_COUNT), each of them is seen. A line that is missing from a page says
nothing: what was known before stays what the next page is compared with. Neighbour: `errors` is what is written.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

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
"""Time for which a GPU was slowed down, in ns as NVML counts it; the exporter's own list of counters long said us."""
SLOWED_SHARE = 0.1
"""An alarm is as much of the time: under full load the power limit slows every GPU down a little."""
SLOWED_EVERY = timedelta(minutes=5)
"""Over so long that share is taken, so that a hot GPU has its node written no more often."""
_NANOSECONDS = 1e9
_LINE = re.compile(r"(DCGM_\w+)\{([^}]*)\}\s+(\S+)")
_LABEL = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Reading:
    """Of one GPU. totals: by series. slowed: the same of time for which it was slowed down, and since when that is compared.

    xid: the last code, 0 for none, None if nothing is said. window: by code, XIDs within the exporter's window; None if it does not count.
    """

    totals: Mapping[str, float] = field(default_factory=dict)
    slowed: Mapping[str, tuple[float, datetime]] = field(default_factory=dict)
    xid: int | None = None
    window: Mapping[int, int] | None = None


def parse(text: str, now: datetime) -> dict[str, Reading]:
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
    return {gpu: _reading(found, xids.get(gpu), windows.get(gpu), now) for gpu, found in totals.items()}


def _reading(totals: Mapping[str, float], xid: int | None, window: Mapping[int, int] | None, now: datetime) -> Reading:
    return Reading(
        {series: total for series, total in totals.items() if series in _COUNTERS},
        {series: (total, now) for series, total in totals.items() if series in _SLOWED},
        xid,
        window,
    )


def remembered(before: Mapping[str, Reading], now: Mapping[str, Reading]) -> dict[str, Reading]:
    """What the next page is compared with."""
    return {**before, **{gpu: _remembered(before.get(gpu, Reading()), reading) for gpu, reading in now.items()}}


def _remembered(before: Reading, now: Reading) -> Reading:
    slowed = {
        series: then if (then := before.slowed.get(series)) is not None and not _due(then, found) else found
        for series, found in now.slowed.items()
    }
    return replace(
        now,
        totals={**before.totals, **now.totals},
        slowed={**before.slowed, **slowed},
        xid=before.xid if now.xid is None else now.xid,
    )


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
        if _slowed(before.slowed.get(series), now.slowed.get(series)):
            yield kind, None, 1
    if now.window is None:
        if now.xid and before.xid is not None and now.xid != before.xid:
            yield ErrorKind.XID, now.xid, 1
        return
    for code, count in now.window.items():
        if (more := count - (before.window or {}).get(code, 0)) > 0:
            yield ErrorKind.XID, code, more


def _slowed(before: tuple[float, datetime] | None, now: tuple[float, datetime] | None) -> bool:
    """Whether the GPU was slowed down for a good part of the time between."""
    if before is None or now is None or not _due(before, now):
        return False
    seconds = (now[1] - before[1]).total_seconds()
    return _risen(before[0], now[0]) / _NANOSECONDS >= SLOWED_SHARE * seconds


def _due(before: tuple[float, datetime], now: tuple[float, datetime]) -> bool:
    return now[1] - before[1] >= SLOWED_EVERY


def _risen(before: float | None, now: float | None) -> float:
    """A total that is less than before began anew, as after a reboot."""
    if before is None or now is None:
        return 0.0
    return now - before if now >= before else now


def counted(
    known: Iterable[GpuError], before: Mapping[str, Reading], now: Mapping[str, Reading], time: datetime, boot: str
) -> tuple[GpuError, ...]:
    """The errors of a node after a look. boot: the one that it runs."""
    found = {each.key: each for each in known}
    for gpu, reading in now.items():
        for kind, code, number in new_errors(before.get(gpu), reading):
            error = found.get((gpu, kind, code)) or GpuError(gpu, kind, 0, 0.0, time, code)
            found[error.key] = error.more(number, time, boot)
    return tuple(found.values())
