"""What an XID of NVIDIA's driver means for a node, one row for each code.

Facts from NVIDIA's Xid catalog for Ampere and newer (docs.nvidia.com/deploy/xid-errors, "Analyzing Xid Errors with the Xid Catalog"): its
immediate action decides the class. A code that is not in the table is doubtful and nothing more: catalogs grow with drivers.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from trainyard.api.node_health import Remedy


class XidClass(StrEnum):
    """Whose matter a code is."""

    APPLICATION = "application"  # of the program, or of one that was hit alone: the node stays
    NOTED = "noted"  # of no consequence now; many of them foretell something
    DEVICE = "device"  # the GPU is of no use until it is reset
    NODE = "node"  # the node is of no use until it is rebooted
    UNKNOWN = "unknown"  # not in the table


@dataclass(frozen=True, slots=True)
class Xid:
    """A row."""

    code: int
    kind: XidClass
    remedy: Remedy
    words: str

    @property
    def fatal(self) -> bool:
        """Whether the node should be taken out of use."""
        return self.kind in (XidClass.DEVICE, XidClass.NODE)


_APPLICATION: dict[int, str] = {
    8: "a GPU engine stopped",
    11: "a broken command stream",
    13: "an exception in a graphics or compute kernel",
    31: "a page fault in GPU memory",
    32: "a corrupted command stream",
    43: "a program's channel was stopped",
    45: "channels were cleaned up after another fault or a kill",
    60: "the security engine reported an error",
    68: "the video decoder reported an error",
    69: "a kernel used an unknown class",
    80: "a command stream arrived damaged",
    94: "a memory error that hit one program alone",
}
_NOTED: dict[int, str] = {
    63: "a row of memory was marked to be remapped",
    66: "a program touched what it must not",
    67: "a check of the context switch failed",
    92: "many corrected memory errors",
    93: "the board's memory for records wears out",
    108: "an address of another GPU could not be translated",
    121: "a corrected error of the link to the CPU",
    137: "a program touched another GPU's memory without leave",
    141: "an error on the fast path",
    154: "the driver changed what it recommends, because of another XID",
    157: "a worn-out resource could not be retired",
    160: "a channel of memory was retired",
    161: "a channel of memory could not be retired",
}
_DEVICE: dict[int, str] = {
    46: "the GPU stopped processing",
    48: "a double-bit memory error",
    62: "the GPU's power controller halted",
    64: "a row of memory could not be remapped",
    95: "a memory error that hits all programs",
    109: "a context switch timed out",
    110: "a security fault",
    119: "the GPU's system processor does not answer",
    120: "the GPU's system processor failed",
    136: "an NVLink could not be trained",
    140: "an unrecovered memory error",
    143: "the GPU could not be initialised",
    155: "an NVLink went down",
    156: "a worn-out resource was retired",
    158: "the GPU ran into a fatal timeout",
}
_LINKS: dict[int, str] = {
    74: "an NVLink error",
    **dict.fromkeys((144, 145, 146, 147, 148, 149, 150), "an NVLink error"),
}
_NODE: dict[int, str] = {
    79: "the GPU has fallen off the bus",
    151: "keys of confidential computing could not be renewed",
}


def _rows(kind: XidClass, remedy: Remedy, words: dict[int, str]) -> Iterable[tuple[int, Xid]]:
    return ((code, Xid(code, kind, remedy, text)) for code, text in words.items())


XIDS: dict[int, Xid] = {
    **dict(_rows(XidClass.APPLICATION, Remedy.RESTART_JOB, _APPLICATION)),
    **dict(_rows(XidClass.NOTED, Remedy.WATCH, _NOTED)),
    **dict(_rows(XidClass.DEVICE, Remedy.RESET_GPU, _DEVICE)),
    **dict(_rows(XidClass.DEVICE, Remedy.CHECK_LINKS, _LINKS)),
    **dict(_rows(XidClass.NODE, Remedy.REBOOT, _NODE)),
    54: Xid(54, XidClass.NOTED, Remedy.CHECK_POWER, "a power cable is missing or loose"),
    78: Xid(78, XidClass.NOTED, Remedy.WATCH, "a virtual GPU could not be started"),
}


def xid(code: int) -> Xid:
    """The row of a code."""
    return XIDS.get(code) or Xid(code, XidClass.UNKNOWN, Remedy.WATCH, "not in Trainyard's table")
