"""When the pods of an attempt start their programs anew: a pure state machine that pod 0's agent drives.

A round is one start of the program in all pods. When it fails in one of them, all are stopped, and when nobody runs any
more the next round begins: so no two rounds ever run side by side, and a pod that was replaced joins the next one. Pods
are kept, with their place, their image and their volumes, so that what a restart costs is the program's start alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from trainer.errors import ExitCode

FINAL: Final = frozenset(
    {ExitCode.OK, ExitCode.CONFIGURATION, ExitCode.DATA, ExitCode.STOPPED, ExitCode.SUPERSEDED, 126, 127}
)
"""Exit codes after which starting again is of no use, or was not wanted."""


class Member(Enum):
    """What a pod's agent does."""

    RUNNING = "running"
    IDLE = "idle"
    GONE = "gone"
    DONE = "done"


@dataclass(frozen=True)
class Failure:
    """How a program ended.

    consequence: it failed since another did, or was stopped for it. counts: as one of the restarts that are allowed; the
    loss of a pod is not the program's fault.
    """

    index: int
    exit_code: int
    cause: str
    consequence: bool = False
    at: float = 0.0
    counts: bool = True

    def as_json(self) -> dict[str, Any]:
        return {"index": self.index, "exitCode": self.exit_code, "cause": self.cause[:1000], "at": self.at}


@dataclass(frozen=True)
class Stop:
    """To one pod: end the program of this round."""

    index: int


@dataclass(frozen=True)
class Start:
    """To all pods: start the program as this round. failure: what ended the round before."""

    round: int
    failure: Failure


@dataclass(frozen=True)
class Leave:
    """To all pods: there is no next round; end with what there is."""

    why: str


Order = Stop | Start | Leave


@dataclass
class Rounds:
    """The rounds of one attempt.

    pods: how many there are. left: how often they may start anew. patience: seconds in which all must be ready for that.
    """

    pods: int
    left: int
    patience: float
    round: int = 1
    members: dict[int, Member] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    ending_since: float | None = None
    over: bool = False

    def joined(self, index: int, *, running: bool, anew: bool, now: float) -> Sequence[Order]:
        """A pod's agent is there, for the first time or again. anew: in another's stead, so the round cannot go on."""
        self.members[index] = Member.RUNNING if running else Member.IDLE
        if anew and self.ending_since is None:
            return self._ended(
                Failure(index, ExitCode.FAILURE, f"pod {index} was started anew", at=now, counts=False), now
            )
        return (*self._stops(), *self._next())

    def failed(self, index: int, failure: Failure, now: float) -> Sequence[Order]:
        """The program of a pod ended otherwise than well; a hang may be another pod's fault."""
        self.members[index] = Member.IDLE
        return self._ended(failure, now)

    def gone(self, index: int, now: float) -> Sequence[Order]:
        """A pod's agent does not answer any more."""
        if self.members.get(index) in (Member.DONE, Member.GONE):
            return ()
        self.members[index] = Member.GONE
        return self._ended(
            Failure(index, ExitCode.FAILURE, f"pod {index} does not answer any more", at=now, counts=False), now
        )

    def idle(self, index: int) -> Sequence[Order]:
        """A program that was to be stopped has."""
        self.members[index] = Member.IDLE
        return self._next()

    def done(self, index: int) -> Sequence[Order]:
        """A pod's program ended for good: it is finished, was asked to stop, or cannot be helped by a restart."""
        self.members[index] = Member.DONE
        if self.ending_since is not None and not self.over:
            self.over = True
            return (Leave(f"pod {index} has ended for good"),)
        return ()

    def tick(self, now: float) -> Sequence[Order]:
        """Time has passed."""
        if self.over or self.ending_since is None or now - self.ending_since < self.patience:
            return ()
        self.over = True
        missing = [index for index in range(self.pods) if self.members.get(index) is not Member.IDLE]
        return (Leave(f"pods {missing} were not ready for another start within {self.patience:.0f} s"),)

    def _ended(self, failure: Failure, now: float) -> Sequence[Order]:
        if self.over:
            return (Leave("there is no next round"),)
        self.failures.append(failure)
        if self.ending_since is None:
            self.ending_since = now
        if any(each is Member.DONE for each in self.members.values()):
            self.over = True
            return (Leave("another pod has ended for good"),)
        return (*self._stops(), *self._next())

    def _stops(self) -> Sequence[Order]:
        if self.ending_since is None:
            return ()
        return [Stop(index) for index, member in self.members.items() if member is Member.RUNNING]

    def _next(self) -> Sequence[Order]:
        if self.over or self.ending_since is None:
            return ()
        if any(self.members.get(index) is not Member.IDLE for index in range(self.pods)):
            return ()
        first = self.first_failure()
        if first.counts and self.left <= 0:
            self.over = True
            return (Leave(f"no restart is left; {first.cause}"),)
        self.left -= first.counts
        self.round += 1
        self.failures, self.ending_since = [], None
        self.members = dict.fromkeys(range(self.pods), Member.RUNNING)
        return (Start(self.round, first),)

    def first_failure(self) -> Failure:
        """Of the round's failures the one that was not another's consequence, and of these the first."""
        return min(self.failures, key=lambda each: (each.consequence, each.at))


def restartable(exit_code: int) -> bool:
    """Whether starting the program again may help."""
    return exit_code not in FINAL


def parse_failure(said: Mapping[str, Any]) -> Failure:
    """A failure as another agent sent it. Raises KeyError, TypeError or ValueError for anything else."""
    cause, consequence = str(said["cause"])[:1000], bool(said.get("consequence"))
    return Failure(int(said["index"]), int(said["exitCode"]), cause, consequence, float(said.get("at", 0)))
