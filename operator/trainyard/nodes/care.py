"""What is to be done about a node: from how it stands and what is seen of it, the patch and the words that follow. Pure.

Below the level `act` nothing is written to a node: people cordon it, by `trainyard approve` or otherwise, and the record is kept in
memory; it follows from what the node says. What jobs are to leave, they leave by the same way as a node that announces its end.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from trainyard.api.names import GPU, GPU_ERRORS, NODE_HEALTH, REMEDY_APPROVED, REMEDY_REFUSED
from trainyard.api.node_health import WORDS, HealthLevel, NodeState
from trainyard.api.reasons import Reason
from trainyard.nodes import errors, risk
from trainyard.nodes import record as records
from trainyard.nodes.lemons import LEAST_FAILURES, Lemon
from trainyard.nodes.signs import Grade, conditions, signs
from trainyard.nodes.states import Record, Seen, step
from trainyard.scheduling.snapshot import Standing

Object = Mapping[str, Any]
NOTES = (GPU_ERRORS, NODE_HEALTH, REMEDY_APPROVED, REMEDY_REFUSED)
"""Annotations of a node that matter here."""


@dataclass(frozen=True, slots=True)
class Change:
    """What follows a step. patch: a merge patch of the node, or nothing. reason and message: of an event; no event if empty."""

    patch: dict[str, Any] | None = None
    reason: Reason | None = None
    message: str = ""
    warning: bool = False


def seen(node: Object, *, occupied: bool, noticed: Mapping[str, datetime], now: datetime) -> Seen:
    """What the node says now."""
    notes = node["metadata"].get("annotations", {})
    found = signs(node, now)
    return Seen(
        signs=found,
        cordoned=bool(node.get("spec", {}).get("unschedulable")),
        boot=errors.boot_of(node),
        approved=notes.get(REMEDY_APPROVED, ""),
        refused=frozenset(notes.get(REMEDY_REFUSED, "").split()),
        occupied=occupied,
        noticed=tuple((each.event, noticed[each.event]) for each in found if each.event in noticed),
    )


def recorded(node: Object) -> Record:
    """The record that the node itself holds."""
    return records.read(node["metadata"].get("annotations", {}).get(NODE_HEALTH, ""))


def standing(record: Record, looked: Seen, lemon: Lemon | None, risky: int) -> Standing:
    """What others need to know of a node. lemon: what outcomes of jobs say of it. risky: its risk level."""
    sour = lemon is not None and lemon.sour
    remarkable = lemon is not None and lemon.failures >= LEAST_FAILURES and lemon.ratio >= 1
    return Standing(
        state=record.state,
        since=record.since if record.state is not NodeState.HEALTHY else None,
        words=record.words if record.state is not NodeState.HEALTHY else "",
        remedy=record.remedy,
        doubt=record.words if record.state is NodeState.SUSPECT else (lemon.words() if lemon and sour else ""),
        settled=looked.overruled().union(record.settled),
        risk=risky,
        lemon=round(lemon.ratio, 1) if lemon and remarkable else 0.0,
    )


def first_look(node: Object, now: datetime) -> Standing:
    """How a node stands as far as itself tells."""
    looked = seen(node, occupied=True, noticed={}, now=now)
    return standing(step(recorded(node), looked, may_drain=False, now=now), looked, None, risk_of(node, now))


def risk_of(node: Object, now: datetime) -> int:
    """Its risk level."""
    return risk.level(errors.read(node["metadata"].get("annotations", {}).get(GPU_ERRORS, "")), now)


def gist(node: Object) -> object:
    """What of a node matters here: the rest of what kubelet writes is no reason to look."""
    notes, status = node["metadata"].get("annotations", {}), node.get("status", {})
    return (
        [notes.get(each) for each in NOTES],
        [(each.event, each.words) for each in conditions(status.get("conditions", ()))],
        status.get("capacity", {}).get(GPU),
        errors.boot_of(node),
    )


def broken(node: Object, settled: frozenset[str]) -> str:
    """What a monitor calls broken now, beyond what is settled; empty if nothing is."""
    found = conditions(node.get("status", {}).get("conditions", ()))
    return next((each.words for each in found if each.grade is Grade.BROKEN and each.event not in settled), "")


def leaving(standing: Standing) -> str:
    """Why jobs are to leave the node; empty if they may stay."""
    return f"it is taken out of use ({standing.words})" if standing.state is NodeState.DRAINING else ""


def change(name: str, before: Record, after: Record, looked: Seen, level: HealthLevel) -> Change:
    """From one record to the next."""
    if before == after:
        return Change()
    reason, message, warning = (
        _told(name, before, after, looked, level) if before.state is not after.state else (None, "", False)
    )
    return Change(_patch(before, after, looked) if level is HealthLevel.ACT else None, reason, message, warning)


def _patch(before: Record, after: Record, looked: Seen) -> dict[str, Any]:
    patch: dict[str, Any] = {"metadata": {"annotations": {NODE_HEALTH: records.write(after)}}}
    if after.cordoned and not before.cordoned:
        patch["spec"] = {"unschedulable": True}
    elif before.cordoned and not after.cordoned and looked.cordoned:
        patch["spec"] = {"unschedulable": None}
    return patch


def _told(name: str, before: Record, after: Record, looked: Seen, level: HealthLevel) -> tuple[Reason, str, bool]:
    why, remedy = after.words, WORDS[after.remedy]
    match after.state:
        case NodeState.SUSPECT:
            return Reason.NODE_SUSPECT, f"{why}; it takes pods where no other node has room. {_sentence(remedy)}", True
        case NodeState.QUARANTINED:
            then = {
                HealthLevel.OBSERVE: "",
                HealthLevel.PROPOSE: f" `trainyard approve {name}` cordons it and lets its jobs move; `trainyard refuse {name}` leaves it in use.",
                HealthLevel.ACT: "",
            }[level]
            return Reason.NODE_QUARANTINED, f"{why}; it takes no new pods. Then: {remedy}.{then}", True
        case NodeState.DRAINING:
            who = "a person" if looked.approved == after.event else "Trainyard"
            return Reason.NODE_DRAINING, f"{why}; {who} takes it out of use, and jobs leave it after a checkpoint", True
        case NodeState.VALIDATING:
            return Reason.NODE_DRAINED, f"no pod of Trainyard is left there. Now: {remedy}", False
        case NodeState.HEALTHY:
            by_hand = looked.cordoned and not before.cordoned
            uncordon = f"; it is still cordoned: kubectl uncordon {name}" if by_hand else ""
            return Reason.NODE_HEALTHY, f"{why or 'nothing speaks against it any more'}{uncordon}", False


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."
