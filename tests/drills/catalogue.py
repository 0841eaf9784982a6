"""All drills by the tier on which they are played, the alerts that have none, and what the page of runbooks says of it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from dev.alerting.catalogue import ALERTS
from dev.alerting.rule import Alert
from tests.drills import of_nodes, of_operator, of_operator_alone, of_queues, of_security, of_services, of_training_jobs
from tests.drills.drill import Drill


class Tier(StrEnum):
    """Where an alert is brought about."""

    API_SERVER = "API server"
    PROMTOOL = "promtool only"


MEANING = {
    Tier.API_SERVER: "a real API server, the real operator and a real Prometheus; nodes, and what trainers and gateways report, are simulated: `tests/apiserver/test_drills.py`",
    Tier.PROMTOOL: "series that were written for it: `tests/unit/alerting`",
}
API_SERVER: tuple[Drill, ...] = (
    *of_training_jobs.DRILLS,
    *of_nodes.DRILLS,
    *of_services.DRILLS,
    *of_operator.DRILLS,
    *of_security.DRILLS,
    *of_queues.DRILLS,
)
"""Played beside each other, those that take longest first."""
ALONE: tuple[Drill, ...] = of_operator_alone.DRILLS
"""On the same tier, one after the other."""
CANNOT: Mapping[Tier, Mapping[str, str]] = {
    Tier.API_SERVER: {
        "kubectl top": "there is nothing to measure",
        "kubectl logs -n NAMESPACE": "simulated pods write nothing",
        "trainyard logs": "simulated pods write nothing",
        "kubectl exec": "simulated pods run nothing",
    },
}
"""By tier and the beginning of a command that cannot be run there, why."""
_GATEWAY = "it takes gateways that carry requests, which no simulated pod does"
_SERVER = "it takes model servers that answer requests, which no simulated pod does"
PROMTOOL_ONLY: Mapping[str, str] = {
    "TrainyardLeaderChangesOften": "four terms of leadership take longer than a quarter of a minute, which an hour of the rules becomes",
    "TrainyardWatchStale": "a healthy API server is silent for longer than the seconds that ten minutes become",
    "TrainyardNamespaceUnseen": "it takes an operator that is confined to some namespaces, and that of the drills looks after all: `tests/simulation/test_confined.py` and `tests/apiserver/test_confined.py` have one",
    "TrainyardReconcileLate": "objects wait for a worker only where thousands of them change at once",
    "TrainyardKeptPlaceBroken": "a place is kept for hours before pods of others can stand in it: `tests/unit/scheduling/test_kept_places.py` has each cause",
    "TrainyardAdmissionSlow": "a cycle stops deciding after half a second, so only a starved machine makes one of five",
    "TrainyardSeriesLeftOut": "it takes 50,000 series of one family",
    "TrainyardNodeLemon": "what fails on a node within five minutes is one failure, and several are needed",
    "TrainyardAuditIncomplete": "the file misses nothing until thousands of records wait for it",
    "TrainyardSloBurnsFast": _GATEWAY,
    "TrainyardSloBurnsSlowly": _GATEWAY,
    "TrainyardGatewayWithoutOperator": _GATEWAY,
    "TrainyardReplicasEjected": _GATEWAY,
    "TrainyardReplicaSlow": _GATEWAY,
    "TrainyardHeldRequestsRefused": _GATEWAY,
    "TrainyardQueueSaturated": _GATEWAY,
    "TrainyardGatewayRestartsHaproxy": _GATEWAY,
    "TrainyardServerErrors": _SERVER,
    "TrainyardServerQueueSlow": _SERVER,
    "TrainyardTokenCacheFull": _SERVER,
}
"""By alert, why no cluster of the tests is brought to it."""


@dataclass(frozen=True)
class Exercise:
    """How an alert is exercised. not_run: commands of its runbook with what keeps the drill from running them."""

    tier: Tier
    why: str = ""
    not_run: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        told = f"{self.tier}, because {self.why}" if self.why else str(self.tier)
        left = "; ".join(f"`{command}`, since {why}" for command, why in self.not_run)
        return f"{told}. Not run there: {left}." if left else f"{told}."


def exercise(alert: Alert) -> Exercise:
    """Of one alert. Raises KeyError if nobody thought of it."""
    if alert.name not in DRILLED:
        return Exercise(Tier.PROMTOOL, PROMTOOL_ONLY[alert.name])
    tier = DRILLED[alert.name]
    answers = ((command, why_not(tier, command)) for command in alert.diagnosis)
    return Exercise(tier, not_run=tuple((command, why) for command, why in answers if why is not None))


def why_not(tier: Tier, command: str) -> str | None:
    """Why a command of a runbook cannot be run there, None if it can."""
    return next((why for beginning, why in CANNOT[tier].items() if command.startswith(beginning)), None)


DRILLED: Mapping[str, Tier] = {each.alert: Tier.API_SERVER for each in (*API_SERVER, *ALONE)}


def summary() -> str:
    """How many there are of each, as a table in Markdown."""
    counts = Counter(exercise(alert).tier for alert in ALERTS)
    rows = "".join(f"| {tier}: {MEANING[tier]} | {counts[tier]} |\n" for tier in Tier)
    return f"| {len(ALERTS)} alerts are exercised on | |\n|---|---|\n{rows}"
