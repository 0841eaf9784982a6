"""What each revision did, added up over gateways. In memory: the status of a rollout keeps what its verdict rests on.

A gateway counts from its start and says under which boot; the differences are added here, so that neither a gateway nor an operator
that starts anew counts anything twice. The first report of a gateway only says where it stands.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import uuid4

from pydantic import Field

from trainyard.api.meta import Model
from trainyard.api.rollout import RevisionCounts
from trainyard.inference.rollout.latency import BUCKETS, slower
from trainyard.inference.rollout.verdict import Answers, Tally

NOTHING = RevisionCounts()
MOST_REVISIONS = 8


class RevisionReport(Model):
    """What a gateway counted of one revision since its boot."""

    requests: int = Field(default=0, ge=0)
    errors: int = Field(default=0, ge=0)
    times: dict[int, int] = Field(default_factory=dict, max_length=BUCKETS)
    """Answers by bucket of time."""
    compared: int = Field(default=0, ge=0)
    """Answers to copies that were compared with the stable revision's."""
    differed: int = Field(default=0, ge=0)


class TrafficReport(Model):
    """What a gateway counted since its boot, by digest of the model."""

    boot: str = Field(default="", max_length=64)
    number: int = Field(default=0, ge=0)
    """Higher with each report of the boot."""
    revisions: dict[str, RevisionReport] = Field(default_factory=dict, max_length=MOST_REVISIONS)


@dataclass(frozen=True, slots=True)
class Totals:
    """What one revision did since this operator counts."""

    requests: int = 0
    errors: int = 0
    times: Mapping[int, int] = field(default_factory=dict)
    compared: int = 0
    differed: int = 0

    def beyond(self, limit: int | None) -> RevisionCounts:
        """With the answers slower than a bucket; without a limit no time counts."""
        return RevisionCounts(
            requests=self.requests,
            errors=self.errors,
            answered=sum(self.times.values()) if limit is not None else 0,
            slow=slower(self.times, limit) if limit is not None else 0,
            compared=self.compared,
            differed=self.differed,
        )


@dataclass(frozen=True, slots=True)
class Counted:
    """What all revisions of a service did, and the counter that says so."""

    counter: str = ""
    totals: Mapping[str, Totals] = field(default_factory=dict)

    def of(self, digest: str) -> Totals:
        return self.totals.get(digest, Totals())


class Counter:
    """Totals by service uid."""

    def __init__(self, name: str = "") -> None:
        self._name = name or uuid4().hex
        self._last: dict[str, dict[str, TrafficReport]] = {}
        self._totals: dict[str, dict[str, Totals]] = {}

    def of(self, uid: str) -> Counted:
        return Counted(self._name, dict(self._totals.get(uid, {})))

    def put(self, uid: str, pod: str, report: TrafficReport) -> None:
        """Add what is new in a gateway's report."""
        known = self._last.setdefault(uid, {})
        before = known.get(pod)
        same = before is not None and before.boot == report.boot
        if before is not None and same and report.number <= before.number:
            return  # overtaken by a newer one
        known[pod] = report
        if before is None:
            return  # how much of it another operator has counted cannot be said
        totals = self._totals.setdefault(uid, {})
        for digest, now in report.revisions.items():
            old = before.revisions.get(digest, RevisionReport()) if same else RevisionReport()
            if now.requests < old.requests or now.compared < old.compared:  # the gateway had forgotten it meanwhile
                old = RevisionReport()
            totals[digest] = _added(totals.get(digest, Totals()), now, old)
        for digest in list(totals):
            if len(totals) > MOST_REVISIONS and digest not in report.revisions:
                del totals[digest]

    def keep_only(self, uid: str, pods: set[str]) -> None:
        """Forget gateway pods that are gone; what they counted stays."""
        if uid in self._last:
            self._last[uid] = {pod: report for pod, report in self._last[uid].items() if pod in pods}

    def forget(self, uid: str) -> None:
        self._last.pop(uid, None)
        self._totals.pop(uid, None)


def _added(total: Totals, now: RevisionReport, old: RevisionReport) -> Totals:
    times = dict(total.times)
    for index, count in now.times.items():
        if (more := count - old.times.get(index, 0)) > 0:
            times[index] = times.get(index, 0) + more
    return Totals(
        requests=total.requests + max(0, now.requests - old.requests),
        errors=total.errors + max(0, now.errors - old.errors),
        times=times,
        compared=total.compared + max(0, now.compared - old.compared),
        differed=total.differed + max(0, now.differed - old.differed),
    )


def minus(one: RevisionCounts, other: RevisionCounts) -> RevisionCounts:
    """What `one` has more."""
    return RevisionCounts(
        requests=one.requests - other.requests,
        errors=one.errors - other.errors,
        answered=one.answered - other.answered,
        slow=one.slow - other.slow,
        compared=one.compared - other.compared,
        differed=one.differed - other.differed,
    )


def tally(counts: RevisionCounts) -> Tally:
    """The same for a verdict, whatever a gateway may have told: never fewer than none, never more failures than requests."""
    requests, answered = max(0, counts.requests), max(0, counts.answered)
    return Tally(requests, min(max(0, counts.errors), requests), answered, min(max(0, counts.slow), answered))


def answers(counts: RevisionCounts) -> Answers:
    """The same of answers to copies."""
    compared = max(0, counts.compared)
    return Answers(compared, min(max(0, counts.differed), compared))
