"""What a drill is: a fault that is really injected, the alert that must follow, and what the runbook's commands must then show.

    Drill("TrainyardNeverAdmissible", too_large, {"queue": "neveradmissible"}, shows=("can hold at most",))

`too_large` gets a ground of its own: a namespace, a queue and a flavor that are called like the alert. The commands are run as they
are printed, with the words in capitals replaced by the alert's labels, or by `found` where the alert has no such label: then a
command before must have shown it.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from dev.alerting.rule import Alert
from tests.drills.ground import Ground

WORDS = {
    "NAMESPACE": "namespace",
    "JOB": "training_job",
    "SERVICE": "inference_service",
    "QUEUE": "queue",
    "FLAVOR": "flavor",
    "NODE": "node",
    "INVARIANT": "invariant",
}
"""By a word in a command, the alert's label that it stands for."""
_WORD = re.compile(rf"\b({'|'.join(WORDS)})\b")
Inject = Callable[[Ground], None]


@dataclass(frozen=True)
class Drill:
    """One alert, exercised.

    inject: returns once the fault is there; whatever has to go on ends with the ground. labels: some of the alert's, as it must
    have them. shows: text that the output of the commands must contain, each somewhere, with single spaces. found: values of words that are no label.
    """

    alert: str
    inject: Inject
    labels: Mapping[str, str] = field(default_factory=dict)
    shows: tuple[str, ...] = ()
    found: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of its namespace, queue, flavor and nodes."""
        return name_of(self.alert)


def name_of(alert: str) -> str:
    return alert.removeprefix("Trainyard").lower()


@dataclass(frozen=True)
class Command:
    """A command of a runbook. printed: as it stands there. looked_up: values in it that no label of the alert has."""

    printed: str
    text: str
    looked_up: frozenset[str]


def commands(alert: Alert, labels: Mapping[str, str], found: Mapping[str, str]) -> list[Command]:
    """The runbook's diagnosis for one firing alert. Raises KeyError for a word that nobody explains."""
    return [_command(text, labels, found) for text in alert.diagnosis]


def _command(text: str, labels: Mapping[str, str], found: Mapping[str, str]) -> Command:
    looked_up = set()

    def value(match: re.Match[str]) -> str:
        word = match[1]
        if (told := labels.get(WORDS[word])) is not None:
            return told
        looked_up.add(found[word])
        return found[word]

    return Command(text, _WORD.sub(value, text), frozenset(looked_up))
