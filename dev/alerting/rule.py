"""What a rule is: an alert with its runbook, or a series that other rules read."""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How soon somebody should look; `MEANING` says it in words."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


MEANING = {
    Severity.CRITICAL: "look now: jobs or requests suffer, or nobody looks after them",
    Severity.WARNING: "look today: it gets worse, or costs GPU time",
    Severity.INFO: "worth knowing; nobody needs to be woken",
}


@dataclass(frozen=True, slots=True)
class Recording:
    """A series that is computed once and read by several rules. name: level:metric:operation."""

    name: str
    expr: str


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert and its runbook.

    after: how long `expr` must have series, as Prometheus writes times. summary: one line, which may have $labels and $value.
    description, impact, remedy: plain text, both in the alert and in the runbook. diagnosis: commands, in the order in which
    they help; words in capitals are to be replaced by what the alert's labels say.
    """

    name: str
    severity: Severity
    expr: str
    after: str
    summary: str
    description: str
    impact: str
    diagnosis: tuple[str, ...]
    remedy: str

    @property
    def anchor(self) -> str:
        """Of its section on the page of runbooks."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Group:
    """Rules that are evaluated one after the other. name: also the chapter of the runbooks."""

    name: str
    recordings: tuple[Recording, ...]
    alerts: tuple[Alert, ...]
