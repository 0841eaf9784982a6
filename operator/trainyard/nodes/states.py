"""How a node stands, and what follows from what is seen of it now: one pure step from record to record.

    healthy <-> suspect -> quarantined -> draining -> validating -> healthy
                               ^-------------------------'  (another fault)

A person has the last word: a refusal, or an uncordon while the node is drained or validated, brings it back, and what had happened until
then is settled: it is not held against the node again, however long a monitor repeats it. Something new is. What lasts has to end for a
while before the node is trusted again, so that a flickering sign changes nothing twice.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from trainyard.api.node_health import NodeState, Remedy
from trainyard.nodes import errors
from trainyard.nodes.signs import Grade, Sign

CLEAR_SECONDS = 600.0
"""So long nothing must speak against a node before it counts as well again."""
VALIDATE_SECONDS = 600.0
"""And so long after a repair."""
PATIENCE_SECONDS = 30.0
"""Before the operator takes a node out of use by itself: a common cause shows in others by then, and opens the breaker."""
RELAPSE = timedelta(days=7)
"""A fault so soon after a repair asks for a stronger remedy."""
MOST_SETTLED = errors.MOST
"""Events that are kept; what is told now is kept however much it is, as one fault of a switch is told of every link."""
_STRONGER = {
    Remedy.RESET_GPU: Remedy.REBOOT,
    Remedy.CHECK_LINKS: Remedy.REBOOT,
    Remedy.REBOOT: Remedy.REPLACE,
}


@dataclass(frozen=True, slots=True)
class Record:
    """How a node stands since when, and why."""

    state: NodeState = NodeState.HEALTHY
    since: datetime | None = None
    event: str = ""
    """What it stands so for, as a sign names it."""
    words: str = ""
    remedy: Remedy = Remedy.NONE
    cordoned: bool = False
    """By us; who else did that lifts it, too."""
    boot: str = ""
    """Boot of the node when it was quarantined: another one shows that it was rebooted."""
    quiet_since: datetime | None = None
    """Since when nothing speaks against it any more."""
    settled: tuple[str, ...] = ()
    """What is over although a monitor may repeat it; the latest last."""
    repaired: datetime | None = None
    """When it was last found well after a repair."""

    @property
    def taken_out(self) -> bool:
        return self.state in (NodeState.QUARANTINED, NodeState.DRAINING, NodeState.VALIDATING)


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of a node now. noticed: when this process first saw each sign, for those that do not say since when they last."""

    signs: tuple[Sign, ...] = ()
    cordoned: bool = False
    boot: str = ""
    approved: str = ""
    refused: frozenset[str] = frozenset()
    occupied: bool = False
    """Pods of ours are there."""
    noticed: tuple[tuple[str, datetime], ...] = ()

    def overruled(self) -> frozenset[str]:
        """What a person said no to: by a refusal, or by an uncordon after an approval."""
        lifted = {self.approved} if self.approved and not self.cordoned else set()
        return self.refused.union(lifted)


def step(record: Record, seen: Seen, *, may_drain: bool, now: datetime) -> Record:
    """The next record; the same one if nothing follows. may_drain: the operator may take the node out of use without a person's leave."""
    overruled = seen.overruled()
    record = _settle(record, overruled, seen)
    if record.state in (NodeState.DRAINING, NodeState.VALIDATING) and not seen.cordoned:
        return _healthy(_settle(record, [record.event, *_told(seen)], seen), now, "uncordoned by a person")
    if record.state is not NodeState.HEALTHY and record.event in overruled:
        return _healthy(record, now, "left in use by a person")
    counting = counting_signs(record, seen, now)
    worst = counting[0] if counting and counting[0].grade is Grade.BROKEN else None
    match record.state:
        case NodeState.HEALTHY | NodeState.SUSPECT:
            return _from_use(record, seen, counting, now)
        case NodeState.QUARANTINED:
            return _from_quarantine(record, seen, counting, may_drain, now)
        case NodeState.DRAINING if seen.occupied:
            return record
        case NodeState.DRAINING:
            return replace(record, state=NodeState.VALIDATING, since=now, quiet_since=None)
        case _:
            return _from_validation(record, seen, worst, now)


def counting_signs(record: Record, seen: Seen, now: datetime) -> tuple[Sign, ...]:
    """Signs that speak against the node, the worst first: not settled, not refused, and for long enough."""
    noticed = dict(seen.noticed)
    over = seen.overruled().union(record.settled)

    def lasted(sign: Sign) -> bool:
        since = sign.since or noticed.get(sign.event, now)
        return not sign.settles or (now - since).total_seconds() >= sign.settles

    return tuple(each for each in seen.signs if each.grade > Grade.NOTED and each.event not in over and lasted(each))


def look_again(record: Record, seen: Seen, now: datetime) -> float | None:
    """Seconds until time alone may change the record; None if it cannot."""
    noticed = dict(seen.noticed)
    waits = [
        each.settles - (now - (each.since or noticed.get(each.event, now))).total_seconds()
        for each in seen.signs
        if each.settles
    ]
    if record.quiet_since is not None:
        seconds = VALIDATE_SECONDS if record.state is NodeState.VALIDATING else CLEAR_SECONDS
        waits.append(seconds - (now - record.quiet_since).total_seconds())
    if record.state is NodeState.QUARANTINED and record.since is not None:
        waits.append(PATIENCE_SECONDS - (now - record.since).total_seconds())
    return min((each + 0.1 for each in waits if each > 0), default=None)


def _from_use(record: Record, seen: Seen, counting: tuple[Sign, ...], now: datetime) -> Record:
    if not counting:
        if record.state is NodeState.HEALTHY:
            return record
        return _quiet(record, now, CLEAR_SECONDS) or _healthy(record, now, "")
    worst = counting[0]
    if worst.grade is Grade.BROKEN:
        return _quarantine(record, seen, worst, now)
    if record.state is NodeState.SUSPECT and any(each.event == record.event for each in counting):
        return replace(record, quiet_since=None) if record.quiet_since else record
    return replace(
        record,
        state=NodeState.SUSPECT,
        since=record.since if record.state is NodeState.SUSPECT else now,
        event=worst.event,
        words=worst.words,
        remedy=worst.remedy,
        quiet_since=None,
    )


def _quarantine(record: Record, seen: Seen, worst: Sign, now: datetime) -> Record:
    relapsed = record.repaired is not None and now - record.repaired < RELAPSE
    return replace(
        record,
        state=NodeState.QUARANTINED,
        since=now,
        event=worst.event,
        words=worst.words + (", again soon after a repair" if relapsed else ""),
        remedy=_STRONGER.get(worst.remedy, worst.remedy) if relapsed else worst.remedy,
        boot=seen.boot,
        quiet_since=None,
    )


def _from_quarantine(record: Record, seen: Seen, counting: tuple[Sign, ...], may_drain: bool, now: datetime) -> Record:
    broken = [each for each in counting if each.grade is Grade.BROKEN]
    worst = broken[0] if broken else None
    patient = record.since is not None and (now - record.since).total_seconds() >= PATIENCE_SECONDS
    other = next((each for each in broken if each.event == seen.approved != record.event), None)
    if other is not None:  # of several faults a person may approve another than the first
        record = _quarantine(record, seen, other, now)
    if seen.approved == record.event or (may_drain and patient and worst is not None):
        return replace(record, state=NodeState.DRAINING, since=now, cordoned=not seen.cordoned, quiet_since=None)
    if _rebooted(record, seen) or worst is None:
        cured = _settle(record, _told(seen), seen) if _rebooted(record, seen) else record
        return _quiet(cured, now, CLEAR_SECONDS) or _healthy(replace(cured, repaired=now), now, "")
    if all(each.event != record.event for each in seen.signs):  # the same came again, or something else is left
        return replace(record, event=worst.event, words=worst.words, remedy=worst.remedy, quiet_since=None)
    return replace(record, quiet_since=None) if record.quiet_since else record


def _from_validation(record: Record, seen: Seen, worst: Sign | None, now: datetime) -> Record:
    """The repair shows in the end of what lasted, or in a reboot; what is still said after a reboot is an old story."""
    if _rebooted(record, seen) and record.event not in record.settled:
        return replace(_settle(record, [record.event, *_told(seen)], seen), quiet_since=now)
    if worst is not None and worst.event != record.event and record.quiet_since is not None:
        return _quarantine(replace(record, repaired=record.since), seen, worst, now)
    ended = all(each.event != record.event for each in seen.signs) or record.event in record.settled
    if worst is not None or not ended:
        return replace(record, quiet_since=None) if record.quiet_since else record
    return _quiet(record, now, VALIDATE_SECONDS) or _healthy(replace(record, repaired=now), now, "")


def _quiet(record: Record, now: datetime, seconds: float) -> Record | None:
    """The record while the quiet is too short; None when it was long enough."""
    if record.quiet_since is None:
        return replace(record, quiet_since=now)
    return record if (now - record.quiet_since).total_seconds() < seconds else None


def _healthy(record: Record, now: datetime, words: str) -> Record:
    return Record(since=now, words=words, settled=record.settled, repaired=record.repaired)


def _rebooted(record: Record, seen: Seen) -> bool:
    return bool(record.boot and seen.boot and record.boot != seen.boot)


def _told(seen: Seen) -> list[str]:
    return [each.event for each in seen.signs]


def _settle(record: Record, events: Iterable[str], seen: Seen) -> Record:
    new = sorted({each for each in events if each and each not in record.settled})
    if not new:
        return record
    settled = (*record.settled, *new)
    told = set(_told(seen))
    silent = [each for each in settled if each not in told]
    forgotten = set(silent[: max(0, len(settled) - MOST_SETTLED)])
    return replace(record, settled=tuple(each for each in settled if each not in forgotten))
