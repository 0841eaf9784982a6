"""What a Node object says of the health of its hardware, as a list of signs. Every monitor is read here, and nowhere else.

Conditions of GPUs have no standard: Amazon's agent says AcceleratedHardwareReady=False with a reason such as NvidiaXID79Error,
Microsoft's GPUMissing=True, Nebius' NebiusGPUError=True, NVSentinel Gpu...Watch=True with "ErrorCode:79 ... Recommended Action=NODE_REBOOT"
in the message; node-problem-detector says KernelDeadlock=True. Kubelet offers fewer GPUs than it has where a device plugin calls some
of them sick, and our adapter of DCGM's exporter counts errors in an annotation (`errors`).
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Any

from trainyard.api.names import GPU, GPU_ERRORS
from trainyard.api.node_health import Remedy
from trainyard.nodes.errors import HALF_LIFE, ErrorKind, GpuError, boot_of, read
from trainyard.nodes.times import parse
from trainyard.nodes.xid import XidClass, xid

Object = Mapping[str, Any]
SETTLE_SECONDS = 60.0
"""What a restart of a device plugin or a moment of heat shows is over by then."""
ALARM_SECONDS = 600.0
"""An alarm of heat or power that did not come again for so long is over."""
_HARDWARE = re.compile(
    r"gpu|xid|nvlink|nvswitch|acceleratedhardware|^kerneldeadlock$|^readonlyfilesystem$", re.IGNORECASE
)
_GOOD_IF_TRUE = re.compile(r"(ready|healthy|available|ok)$", re.IGNORECASE)
# What stands between is bounded: the message of a node that somebody took over is to hold up nothing.
_XID = re.compile(r"(?<!s)xid[a-z ]{0,32}(?:\([^)]{0,64}\))?[:\s]{0,8}(\d{1,3})(?!\d)", re.IGNORECASE)
_CODE = re.compile(r"ErrorCode:\[?(\d{1,3})(?!\d)")
_ACTION = re.compile(r"Recommended ?Action[=:]\s*\[?(\w+)", re.IGNORECASE)
GPU_COUNT = "nvidia.com/gpu.count"
"""Label of NVIDIA's feature discovery: GPUs that the node has."""


class Grade(IntEnum):
    """How bad a sign is."""

    NOTED = 0  # told, and nothing follows
    DOUBTFUL = 1  # the node is the last choice
    BROKEN = 2  # the node takes no new pods, and should be repaired


@dataclass(frozen=True, slots=True)
class Sign:
    """event: names what happened, so that the same that is still said is told from the same that happened again.

    since: None if the node does not say. settles: seconds for which it has to last before it counts. device: index of the GPU, if it is one.
    """

    event: str
    grade: Grade
    words: str
    remedy: Remedy
    since: datetime | None = None
    settles: float = 0.0
    code: int | None = None
    device: str = ""


_ACTIONS: Mapping[str, tuple[Grade, Remedy]] = {
    "NONE": (Grade.NOTED, Remedy.NONE),
    "RESTART_APP": (Grade.NOTED, Remedy.RESTART_JOB),
    "APPLICATION_RESTART": (Grade.NOTED, Remedy.RESTART_JOB),
    "IGNORE": (Grade.NOTED, Remedy.NONE),
    "COMPONENT_RESET": (Grade.BROKEN, Remedy.RESET_GPU),
    "RESET_GPU": (Grade.BROKEN, Remedy.RESET_GPU),
    "NODE_REBOOT": (Grade.BROKEN, Remedy.REBOOT),
    "RESTART_VM": (Grade.BROKEN, Remedy.REBOOT),
    "RESTART_BM": (Grade.BROKEN, Remedy.REBOOT),
    "REPLACE_VM": (Grade.BROKEN, Remedy.REPLACE),
    "COMPONENT_REPLACEMENT": (Grade.BROKEN, Remedy.REPLACE),
    "CHECK_THERMALS": (Grade.BROKEN, Remedy.CHECK_COOLING),
    "CHECK_MECHANICALS": (Grade.BROKEN, Remedy.CHECK_POWER),
}
"""Actions that NVSentinel recommends. One that is not here leaves it to the code."""


def signs(node: Object, now: datetime) -> tuple[Sign, ...]:
    """The worst first. What is unknown says nothing."""
    status = node.get("status", {})
    found = [
        *conditions(status.get("conditions", ())),
        *_of_devices(node),
        *_of_errors(read(node.get("metadata", {}).get("annotations", {}).get(GPU_ERRORS, "")), boot_of(node), now),
    ]
    return tuple(sorted(found, key=lambda each: (-each.grade, each.event)))


def conditions(said: Iterable[Object]) -> Iterator[Sign]:
    """Of a node's conditions alone."""
    for each in said:
        kind = str(each.get("type", ""))
        bad = "False" if _GOOD_IF_TRUE.search(kind) else "True"
        if not _HARDWARE.search(kind) or each.get("status") != bad:
            continue
        words = f"{each.get('reason', '')} {each.get('message', '')}"
        grade, remedy, code = _judged(kind, words)
        yield Sign(
            f"{kind}@{each.get('lastTransitionTime', '')}",
            grade,
            f"{kind} (XID {code}: {xid(code).words})" if code is not None else kind,
            remedy,
            parse(each.get("lastTransitionTime")),
            code=code,
        )


def _judged(kind: str, said: str) -> tuple[Grade, Remedy, int | None]:
    """Of several codes in one condition the worst decides. Without any the monitor is believed."""
    named = {int(code) for code in _XID.findall(said)}
    if "xid" in kind.lower():
        named |= {int(code) for code in _CODE.findall(said)}
    rows = sorted((xid(code) for code in named), key=lambda row: (row.fatal, row.kind is XidClass.UNKNOWN, row.code))
    actions = [_ACTIONS[action.upper()] for action in _ACTION.findall(said) if action.upper() in _ACTIONS]
    if rows:
        worst = rows[-1]
        return _grade(worst.kind), worst.remedy, worst.code
    if actions:
        grade, remedy = max(actions, key=lambda each: each[0])
        return grade, remedy, None
    return Grade.BROKEN, _by_name(kind), None


def _grade(kind: XidClass) -> Grade:
    if kind in (XidClass.DEVICE, XidClass.NODE):
        return Grade.BROKEN
    return Grade.DOUBTFUL if kind is XidClass.UNKNOWN else Grade.NOTED


def _by_name(kind: str) -> Remedy:
    """What usually helps against what the condition is called after."""
    low = kind.lower()
    named = {
        "therm": Remedy.CHECK_COOLING,
        "power": Remedy.CHECK_POWER,
        "nvlink": Remedy.CHECK_LINKS,
        "nvswitch": Remedy.CHECK_LINKS,
        "mem": Remedy.RESET_GPU,
    }
    return next((remedy for part, remedy in named.items() if part in low), Remedy.REBOOT)


def _of_devices(node: Object) -> Iterator[Sign]:
    """GPUs that kubelet does not offer although the node has them. Nobody says since when, and a plugin that restarts shows it too."""
    status, labels = node.get("status", {}), node.get("metadata", {}).get("labels", {})
    try:
        offered = int(status.get("allocatable", {}).get(GPU, 0))
        there = max(int(status.get("capacity", {}).get(GPU, 0)), int(labels.get(GPU_COUNT, 0)))
    except ValueError:
        return
    if offered < there:
        words = f"offers {offered} of {there} GPUs"
        yield Sign(
            f"devices:{offered}/{there}",
            Grade.DOUBTFUL,
            words,
            Remedy.CHECK_PLUGIN,
            settles=SETTLE_SECONDS,
        )


def _of_errors(errors: Iterable[GpuError], boot: str, now: datetime) -> Iterator[Sign]:
    """What a reboot has ended is not told any more; nor is, after a day, what did no harm."""
    for each in errors:
        if each.ended_by(boot):
            continue
        where = f"GPU {each.gpu}"
        event = f"{each.kind.value}{each.code or ''}/{each.gpu}#{each.count}"
        match each.kind:
            case ErrorKind.XID:
                row = xid(each.code or 0)
                words = f"XID {row.code} on {where}: {row.words}" + (f" ({each.count} times)" if each.count > 1 else "")
                grade = _grade(row.kind)
                if grade < Grade.BROKEN and now - each.last > HALF_LIFE:
                    continue
                yield Sign(event, grade, words, row.remedy, each.last, code=row.code, device=each.gpu)
            case ErrorKind.UNCORRECTED:
                words = f"{each.count} uncorrected memory errors of {where}"
                yield Sign(
                    event,
                    Grade.BROKEN,
                    words,
                    Remedy.RESET_GPU,
                    each.last,
                    device=each.gpu,
                )
            case ErrorKind.REMAP_FAILURE:
                words = f"a row of {where}'s memory could not be remapped"
                yield Sign(event, Grade.BROKEN, words, Remedy.REPLACE, each.last, device=each.gpu)
            case ErrorKind.THERMAL | ErrorKind.POWER if now - each.last < timedelta(seconds=ALARM_SECONDS):
                hot = each.kind is ErrorKind.THERMAL
                words = f"{where} is slowed down by {'heat' if hot else 'its power limit'}"
                remedy = Remedy.CHECK_COOLING if hot else Remedy.NONE
                # Not by its count, which rises for as long as it is so.
                yield Sign(
                    f"{each.kind.value}/{each.gpu}",
                    Grade.DOUBTFUL if hot else Grade.NOTED,
                    words,
                    remedy,
                    settles=SETTLE_SECONDS if hot else 0.0,
                    device=each.gpu,
                )
