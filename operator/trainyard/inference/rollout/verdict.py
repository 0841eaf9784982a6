"""What the traffic says of a canary: a comparison with the stable revision that may be made every second.

Each finding asks one question twice: is the canary worse by more than the margin, and is it not. Either needs evidence; as long as
there is neither, the answer is to go on. The chance that a canary within all margins is ever rolled back is at most RISK_OF_ALARM.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from math import ceil, exp, log

from trainyard.inference.rollout.evidence import Stream, divergence, log_above, log_against, log_below

RISK_OF_ALARM = 0.01
"""Chance that a canary no worse than its margins is rolled back, over all findings and all looks."""
RISK_OF_MISS = 0.05
"""Chance, at each finding, that a canary worse than its margin is taken for one that is not."""
_FINDINGS = 3
_SLOW_MARGIN = 0.01  # added to the stable share of slow answers, which is 0 where every answer takes the same time


class Outcome(StrEnum):
    """What follows."""

    CONTINUE = "Continue"  # the evidence is not enough either way
    PROMOTE = "Promote"  # no finding is worse by more than its margin, and each has shown it
    ROLL_BACK = "RollBack"  # one finding is worse by more than its margin
    NOT_ENOUGH_TRAFFIC = "NotEnoughTraffic"  # fewer requests than the least number


@dataclass(frozen=True, slots=True)
class Margins:
    """By how much a canary may be worse."""

    error_rate: float = 0.01
    """Added to the stable revision's share of failed requests."""
    disagreement: float = 0.02
    """Share of compared answers that may differ."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What a revision did in the time that is compared."""

    requests: int = 0
    errors: int = 0
    answered: int = 0
    """Requests with an answer, whose time counts."""
    slow: int = 0
    """Of these, those slower than the limit: for a canary that of the stable revision times the ratio allowed."""


@dataclass(frozen=True, slots=True)
class Answers:
    """Pairs of answers of both revisions to the same request."""

    compared: int = 0
    differed: int = 0


@dataclass(frozen=True, slots=True)
class Finding:
    """One question, its numbers, and the chance at most that they would come about if the opposite were true."""

    name: str
    canary: float
    stable: float
    margin: float
    worse: float
    """Natural logarithm of the evidence that the canary is worse by more than the margin."""
    fine: float
    """The same that it is not."""
    seen: int
    """Requests of the canary behind it."""

    @property
    def needed(self) -> int:
        """Requests of the canary at which it would have shown that it is fine, if things go on as they are; 0 while that cannot be said."""
        each = divergence(self.canary, min(self.stable + self.margin, 1.0 - 1e-9))
        if not self.seen or each <= 0.0 or self.canary >= self.stable + self.margin:
            return 0
        return self.seen + ceil(max(0.0, -log(RISK_OF_MISS) - self.fine) / each)

    def words(self) -> str:
        limit = f"{self.stable:.2%} + {self.margin:.2%}" if self.name != "answers" else f"{self.margin:.2%}"
        return f"{_NAMES[self.name]}: {self.canary:.2%} of {self.seen}, allowed {limit}"


_NAMES = {
    "errors": "failed requests",
    "latency": "slow requests",
    "answers": "different answers",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """Outcome and the findings behind it."""

    outcome: Outcome
    reason: str = ""
    """The finding that decided it: errors, latency or answers."""
    findings: tuple[Finding, ...] = ()
    seen: int = 0
    needed: int = 0
    """Requests of the canary before it can be promoted, as far as can be said; 0 where it cannot."""

    def words(self) -> str:
        """The numbers in a sentence for people."""
        counted = "compared answers" if [each.name for each in self.findings] == ["answers"] else "requests"
        if self.outcome is Outcome.NOT_ENOUGH_TRAFFIC:
            return f"{self.seen} {counted} of at least {self.needed}"
        told = [each for each in self.findings if each.name == self.reason] or list(self.findings)
        text = "; ".join(each.words() for each in told)
        if self.outcome is Outcome.ROLL_BACK:
            return f"{text}; the chance of this from a canary within the margin is below {_chance(told[0].worse)}"
        return text + (
            f"; about {self.needed} {counted} needed" if self.outcome is Outcome.CONTINUE and self.needed else ""
        )


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both sides."""

    stable: Tally
    canary: Tally
    answers: Answers = field(default_factory=Answers)
    shadowed: bool = False
    """Whether answers are compared at all: then they must agree before it is promoted."""
    shared: bool = True
    """Whether the canary has requests of its own; if not, the compared answers are all there is to judge by."""

    @property
    def seen(self) -> int:
        """Requests of the canary, or compared answers, that the least number is about."""
        return self.canary.requests if self.shared else self.answers.compared


def judge(seen: Comparison, margins: Margins, minimum: int, looks_apart: int = 1) -> Verdict:
    """The verdict on what was seen.

    minimum: least number of canary requests (compared answers where it has none) before it may be promoted; it is rolled back with any number.
    looks_apart: how many comparisons with fresh counts share the risk of a false alarm: the steps of a rollout.
    """
    findings = _findings(seen, margins)
    alarm = -log(RISK_OF_ALARM / (_FINDINGS * looks_apart))
    worst = max(findings, key=lambda each: each.worse)
    requests = seen.seen
    if worst.worse >= alarm:
        return Verdict(Outcome.ROLL_BACK, worst.name, findings, requests)
    if requests < minimum:
        return Verdict(Outcome.NOT_ENOUGH_TRAFFIC, "", findings, requests, minimum)
    if all(each.fine >= -log(RISK_OF_MISS) for each in findings):
        return Verdict(Outcome.PROMOTE, "", findings, requests)
    needed = [each.needed for each in findings]
    return Verdict(Outcome.CONTINUE, "", findings, requests, max(needed) if all(needed) else 0)


def _findings(seen: Comparison, margins: Margins) -> tuple[Finding, ...]:
    stable, canary, answers = seen.stable, seen.canary, seen.answers
    found = []
    if seen.shared:
        found += [
            _two(
                "errors",
                Stream(canary.errors, canary.requests),
                Stream(stable.errors, stable.requests),
                margins.error_rate,
            ),
            _two("latency", Stream(canary.slow, canary.answered), Stream(stable.slow, stable.answered), _SLOW_MARGIN),
        ]
    if seen.shadowed:
        pairs = Stream(answers.differed, answers.compared)
        strength = log_against(pairs, margins.disagreement)
        above = pairs.rate > margins.disagreement
        found.append(
            Finding(
                "answers",
                pairs.rate,
                0.0,
                margins.disagreement,
                strength if above else 0.0,
                0.0 if above else strength,
                pairs.seen,
            )
        )
    return tuple(found)


def _two(name: str, canary: Stream, stable: Stream, margin: float) -> Finding:
    return Finding(
        name,
        canary.rate,
        stable.rate,
        margin,
        log_above(canary, stable, margin),
        log_below(canary, stable, margin),
        canary.seen,
    )


def _chance(strength: float) -> str:
    return f"{max(exp(-strength), 1e-12):.0e}"
