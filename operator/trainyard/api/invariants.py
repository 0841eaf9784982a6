"""What must always hold, by the names under which metrics and events report that it does not."""

from enum import StrEnum


class Invariant(StrEnum):
    """A promise that only a fault of Trainyard breaks."""

    OVER_QUOTA = "OverQuota"
    """Use of a queue grew beyond its limit, or beyond what its tree has."""
    NODE_PROMISED_TWICE = "NodePromisedTwice"
    """More of a node's GPUs was given away than it has."""
    INCOMPLETE_GANG = "IncompleteGang"
    """A gang holds GPUs and stays incomplete."""
    GUARANTEE_BROKEN = "GuaranteeBroken"
    """A job within the guarantee of its queue makes way so that another queue may borrow."""
    TWO_OF_A_RANK = "TwoOfARank"
    """Two pods of one rank, or of two attempts, run together."""
    ORPHAN_PODS = "OrphanPods"
    """Pods run for an owner that is gone."""
    SILENT_WAIT = "SilentWait"
    """Something waits and its status does not say why."""
    STALE_STATUS = "StaleStatus"
    """A status tells of an earlier generation."""
