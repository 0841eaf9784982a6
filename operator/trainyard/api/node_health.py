"""Health of nodes in the words that people read: states, remedies, and how far the operator may go by itself."""

from enum import StrEnum


class NodeState(StrEnum):
    """How a node stands."""

    HEALTHY = "healthy"  # takes pods
    SUSPECT = "suspect"  # takes pods where no other node has room
    QUARANTINED = "quarantined"  # takes no new pods; a remedy is proposed
    DRAINING = "draining"  # cordoned; jobs leave it after a checkpoint
    VALIDATING = "validating"  # empty; until the remedy shows, and then for a while without a new sign


class Remedy(StrEnum):
    """What helps, from the mildest to the strongest. Those beyond a drain are for people, or a janitor of theirs."""

    NONE = "none"
    RESTART_JOB = "restart-job"
    WATCH = "watch"
    CHECK_PLUGIN = "check-device-plugin"
    CHECK_COOLING = "check-cooling"
    CHECK_POWER = "check-power"
    CHECK_LINKS = "check-links"
    RESET_GPU = "reset-gpu"
    REBOOT = "reboot"
    REPLACE = "replace"


WORDS: dict[Remedy, str] = {
    Remedy.NONE: "nothing",
    Remedy.RESTART_JOB: "nothing for the node: the job starts again, or its program is to be mended",
    Remedy.WATCH: "nothing yet: see whether it comes again",
    Remedy.CHECK_PLUGIN: "read the log of the device plugin on the node and the kernel's log of its GPUs",
    Remedy.CHECK_COOLING: "look after fans, air and coolant",
    Remedy.CHECK_POWER: "look after power cables and supplies",
    Remedy.CHECK_LINKS: "look after cables and switches of NVLink, then reset the GPUs",
    Remedy.RESET_GPU: "reset the GPU once nothing runs on it (nvidia-smi --gpu-reset), or reboot the node",
    Remedy.REBOOT: "reboot the node",
    Remedy.REPLACE: "have the GPU or the node replaced by its vendor",
}


class HealthLevel(StrEnum):
    """How far the operator goes with a node that should be taken out of use."""

    OBSERVE = "observe"  # says what it sees; places no new pods on broken nodes
    PROPOSE = "propose"  # proposes a remedy, which a person approves or refuses
    ACT = "act"  # cordons and drains by itself, within the breaker
