"""How a rollout goes on: a pure function of its status, what is seen now and the time.

A canary's replicas come on top of the stable ones, which shrink only after the promotion: a rollback then costs nothing but a
weight. The stable model stays the service's model until then, so everything that replaces lost replicas goes on as ever.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from trainyard.api.inference_service import ServedModel
from trainyard.api.reasons import Reason
from trainyard.api.rollout import Revision, RevisionCounts, Rollout, RolloutStatus, Setback
from trainyard.inference.rollout.contract import Contract, differences
from trainyard.inference.rollout.counting import NOTHING, Counted, answers, minus, tally
from trainyard.inference.rollout.latency import allowed, limit_of
from trainyard.inference.rollout.routing import has_traffic
from trainyard.inference.rollout.stages import canaries, stages
from trainyard.inference.rollout.verdict import Comparison, Margins, Outcome, Verdict, judge
from trainyard.workloads.plan import Note

COUNT_SECONDS = 10.0
"""Between writes of counts that nothing followed from."""
SETTLE_SECONDS = 5.0
"""After a promotion, before old replicas go: gateways move the new ones among those that share the requests."""
CONTRACT_SECONDS = 60.0
"""For gateways to read what both models take and give, beyond readySeconds."""


@dataclass(frozen=True, slots=True)
class Look:
    """What is seen of a service whose model may have changed."""

    spec: Rollout
    stable: ServedModel
    wanted: ServedModel
    target: int
    ready: Mapping[str, int]
    """Replicas that answer, by digest of the model they serve."""
    refused: str
    """Why a replica of the new model does not serve it, if it said so."""
    counted: Counted
    contracts: Mapping[str, Contract]
    """What each model takes and gives, by digest, as far as it is known."""


@dataclass(frozen=True, slots=True)
class Step:
    """The status after this look, whether the new model takes over, and what is to be told."""

    status: RolloutStatus | None
    promoted: bool = False
    notes: tuple[Note, ...] = ()


def differs(look: Look) -> bool:
    """Whether there is another model to be rolled out with care."""
    return look.spec.strategy != "Replace" and look.wanted.digest != look.stable.digest


def advance(status: RolloutStatus | None, look: Look, now: datetime) -> Step:
    """The rollout one look later."""
    if not differs(look):
        return Step(status if status is not None and status.phase == "Promoted" else None)
    if look.target == 0:
        return Step(None, promoted=True)
    if status is None or status.canary.digest != look.wanted.digest or status.phase == "Promoted":
        return _start(look, now)
    if status.phase == "RolledBack":
        forgiven = status.reason == "ContractChanged" and look.spec.contract == "Ignore"
        return _start(look, now) if forgiven else Step(status)
    return _Round(status, look, now).step()


def _start(look: Look, now: datetime) -> Step:
    strategy = look.spec.strategy
    status = RolloutStatus(
        phase="Progressing",
        strategy=strategy,
        stable=_revision(look.stable),
        canary=_revision(look.wanted),
        started_at=now,
        since=now,
        counted_at=now,
        limit=limit_of(look.counted.of(look.stable.digest).times),
        counter=look.counted.counter,
        message="replicas of the new model start",
    )
    note = Note(Reason.ROLLOUT_STARTED, f"{strategy}: {look.wanted.path} beside {look.stable.path}")
    return Step(_rebased(status, look, now), notes=(note,))


def _revision(model: ServedModel) -> Revision:
    return Revision(claim_name=model.claim_name, path=model.path, digest=model.digest, variant=model.variant)


_SETBACKS: Mapping[str, Setback] = {"errors": "MoreErrors", "latency": "Slower", "answers": "OtherAnswers"}


class _Round:
    """One look at a rollout that goes on."""

    def __init__(self, status: RolloutStatus, look: Look, now: datetime) -> None:
        if status.counter != look.counted.counter:  # another operator counts from nothing: what is known goes on
            status = _carried(status, look)
        self.status, self.look, self.now = status, look, now
        self.stages = stages(look.spec, status.strategy)
        self.index = min(status.step, len(self.stages) - 1)
        self.stage = self.stages[self.index]
        self.waited = (now - status.since).total_seconds()

    def step(self) -> Step:
        status, look, spec = self.status, self.look, self.look.spec
        if look.refused:
            return self._back("ModelRefused", f"a replica does not serve it: {look.refused}")
        if not has_traffic(status) and (stop := self._contract()):
            return stop
        if status.limit is None and (limit := self._limit()) is not None:
            # From here on everything counts anew, so that the limit favours nobody.
            return Step(_rebased(status.model_copy(update={"limit": limit}), look, self.now))
        verdict = self._verdict()
        if has_traffic(status) and verdict.outcome is Outcome.ROLL_BACK:
            return self._back(_SETBACKS[verdict.reason], verdict.words(), verdict)
        if status.weight < self.stage.weight or status.shadow != self.stage.shadow:
            return self._replicas()
        if status.strategy == "BlueGreen" and status.weight:
            over = self.waited >= spec.keep_seconds
        else:
            over = verdict.outcome is Outcome.PROMOTE and self.waited >= spec.step_seconds
            late = self.waited >= spec.deadline_seconds and verdict.outcome is not Outcome.PROMOTE
            if late and spec.on_not_enough_traffic == "Pause":
                return self._pause(verdict, f"no verdict within {spec.deadline_seconds} s: {verdict.words()}")
            over = over or late
        if not over:
            return Step(self._counted(verdict, "Progressing", verdict.words()))
        return self._onward(verdict)

    def _contract(self) -> Step | None:
        """Before its first request: the new model must take and give what callers of the old one rely on. None to go on."""
        status, look = self.status, self.look
        if look.spec.contract == "Ignore" or not look.ready.get(status.canary.digest):
            return None
        old, new = look.contracts.get(status.stable.digest), look.contracts.get(status.canary.digest)
        if old is None or new is None:
            unread = " and ".join(
                each.path for each, known in ((status.stable, old), (status.canary, new)) if known is None
            )
            if self.waited >= look.spec.ready_seconds + CONTRACT_SECONDS:
                return self._back("NotReady", f"no gateway could read the inputs and outputs of {unread}")
            return Step(status.model_copy(update={"message": f"gateways read the inputs and outputs of {unread}"}))
        if not (found := differences(old, new)):
            return None
        hint = "spec.rollout.contract: Ignore rolls it out all the same"
        return self._back(
            "ContractChanged", f"callers of {status.stable.path} cannot use it ({hint}): {'; '.join(found)}"
        )

    def _limit(self) -> int | None:
        """Of time; once the old model gets nothing any more there is nothing to take it from."""
        if self.status.strategy == "BlueGreen" and self.status.weight:
            return None
        return limit_of(self.look.counted.of(self.status.stable.digest).times)

    def _replicas(self) -> Step:
        """Wait for the replicas that the step needs; then its share of the requests goes to them."""
        status, look, stage = self.status, self.look, self.stage
        needed = canaries(status, look.spec, look.target)
        ready = look.ready.get(status.canary.digest, 0)
        if ready < needed:
            if self.waited >= look.spec.ready_seconds and not has_traffic(status):
                return self._back("NotReady", f"{ready} of {needed} replicas are ready after {self.waited:.0f} s")
            return Step(
                status.model_copy(update={"message": f"{ready} of {needed} replicas of the new model are ready"})
            )
        given = {"weight": stage.weight, "shadow": stage.shadow, "since": self.now}
        switched = _rebased(status.model_copy(update=given), look, self.now)
        if (
            status.strategy == "BlueGreen" and stage.weight
        ):  # the old model gets nothing from now on: what it did before is compared
            switched = switched.model_copy(update={"stable_base": status.stable_base})
        text = stage.words(status.canary.path)
        return Step(switched.model_copy(update={"message": text}), notes=(Note(Reason.ROLLOUT_STEP, text),))

    def _onward(self, verdict: Verdict) -> Step:
        """The next step, or the end of the last."""
        status, text = self.status, verdict.words()
        if self.index + 1 < len(self.stages):
            following = {"phase": "Progressing", "step": self.index + 1, "since": self.now}
            return Step(self._counted(verdict, "Progressing", text).model_copy(update=following))
        if not self.look.spec.auto_promote:
            return self._pause(verdict, f"spec.rollout.autoPromote is false: {text}")
        note = Note(Reason.ROLLOUT_PROMOTED, f"{status.canary.path} replaces {status.stable.path}: {text}"[:1000])
        done = self._counted(verdict, "Promoted", text).model_copy(update={"weight": 0, "shadow": 0, "since": self.now})
        return Step(done, promoted=True, notes=(note,))

    def _pause(self, verdict: Verdict, why: str) -> Step:
        notes = () if self.status.phase == "Paused" else (Note(Reason.ROLLOUT_PAUSED, why[:1000], warning=True),)
        return Step(self._counted(verdict, "Paused", why), notes=notes)

    def _back(self, reason: Setback, why: str, verdict: Verdict | None = None) -> Step:
        gone = {
            "phase": "RolledBack",
            "reason": reason,
            "weight": 0,
            "shadow": 0,
            "since": self.now,
            "outcome": Outcome.ROLL_BACK.value,
        }
        counted = self._counted(verdict, "RolledBack", why) if verdict else self.status
        note = Note(Reason.ROLLED_BACK, f"{self.status.canary.path} is given up: {why}"[:1000], warning=True)
        return Step(counted.model_copy(update={**gone, "message": why[:1000]}), notes=(note,))

    def _seen(self) -> tuple[RevisionCounts, RevisionCounts]:
        """What both did since the step began."""
        stable, canary = _totals(self.status, self.look)
        return minus(stable, self.status.stable_base), minus(canary, self.status.canary_base)

    def _verdict(self) -> Verdict:
        stable, canary = self._seen()
        spec, status = self.look.spec, self.status
        seen = Comparison(
            tally(stable),
            tally(canary),
            answers(canary),
            shadowed=status.shadow > 0,
            shared=status.weight > 0 or not status.shadow,
        )
        margins = Margins(spec.margins.error_rate, spec.margins.disagreement)
        return judge(seen, margins, spec.minimum_requests, len(self.stages))

    def _counted(self, verdict: Verdict, phase: str, message: str) -> RolloutStatus:
        """The status with its numbers, or as it was while these alone have changed and were written a moment ago."""
        same = (phase, verdict.outcome.value) == (self.status.phase, self.status.outcome)
        if same and (self.now - self.status.counted_at).total_seconds() < COUNT_SECONDS:
            return self.status
        stable, canary = self._seen()
        if same and (stable, canary) == (self.status.stable_counts, self.status.canary_counts):
            return self.status
        news = {"stable_counts": stable, "canary_counts": canary, "counted_at": self.now}
        said = {"phase": phase, "outcome": verdict.outcome.value, "message": message[:1000]}
        return self.status.model_copy(update={**news, **said})


def _totals(status: RolloutStatus, look: Look) -> tuple[RevisionCounts, RevisionCounts]:
    limit = status.limit
    beyond = None if limit is None else allowed(limit, look.spec.margins.latency_ratio)
    counted = look.counted
    return counted.of(status.stable.digest).beyond(limit), counted.of(status.canary.digest).beyond(beyond)


def _rebased(status: RolloutStatus, look: Look, now: datetime) -> RolloutStatus:
    """Counting begins again."""
    stable, canary = _totals(status, look)
    bases = {"stable_base": stable, "canary_base": canary, "counted_at": now, "outcome": ""}
    return status.model_copy(update={**bases, "stable_counts": NOTHING, "canary_counts": NOTHING})


def _carried(status: RolloutStatus, look: Look) -> RolloutStatus:
    """All that the new counter has counted comes on top of what the old one told."""
    bases = {"stable_base": minus(NOTHING, status.stable_counts), "canary_base": minus(NOTHING, status.canary_counts)}
    return status.model_copy(update={**bases, "counter": look.counted.counter})
