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
        """As it is reported."""
        said = {"index": self.index, "exitCode": self.exit_code, "cause": self.cause[:1000], "at": self.at}
        return said | {"counts": self.counts}


@dataclass(frozen=True)
class Stop:
    """To one pod: end the program of this round. at_once: it has nothing left to say."""

    index: int
    at_once: bool = False


@dataclass(frozen=True)
class Start:
    """To the first `pods` pods: start the program as this round. failure: what ended the round before."""

    round: int
    failure: Failure
    pods: int


@dataclass(frozen=True)
class StopInOrder:
    """To pod 0: let the program save and stop after the step that it makes; those of the other pods stop with it."""


@dataclass(frozen=True)
class Leave:
    """To all pods: there is no next round; end with what there is."""

    why: str


Order = Stop | Start | StopInOrder | Leave


@dataclass
class Rounds:
    """The rounds of one attempt.

    pods: how many there are. left: how often they may start anew. patience: seconds in which all must be ready for that.
    """

    pods: int
    left: int
    patience: float
    wanted: int = 0
    """Pods that the next round is to have, if it is to be another number."""
    round: int = 1
    members: dict[int, Member] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    ending_since: float | None = None
    over: bool = False
    epoch: float = 0.0
    """Unix time when the clock was 0 that `now` is of: failures are told, and compared with others', by that."""

    def joined(self, index: int, *, running: bool, anew: bool, now: float) -> Sequence[Order]:
        """A pod's agent is there, for the first time or again. anew: in another's stead, so the round cannot go on."""
        self.members[index] = Member.RUNNING if running else Member.IDLE
        if index >= self.pods:
            return self._grown() or self._next()
        if anew and self.ending_since is None:
            return self._ended(
                Failure(index, ExitCode.FAILURE, f"pod {index} was started anew", at=self.epoch + now, counts=False),
                now,
            )
        return (*self._stops(), *self._next())

    def resized(self, pods: int) -> Sequence[Order]:
        """The operator wants so many pods from the next round on. More begin it when all of them are here; fewer, when the others leave."""
        if pods == self.wanted:
            return ()
        self.wanted = pods
        return self._grown() or self._next()

    def failed(self, index: int, failure: Failure, now: float) -> Sequence[Order]:
        """The program of a pod ended otherwise than well; a hang may be another pod's fault."""
        self.members[index] = Member.IDLE
        return self._ended(failure, now)

    def gone(self, index: int, now: float) -> Sequence[Order]:
        """A pod's agent does not answer any more."""
        if self._is_no_loss(index):
            return ()
        self.members[index] = Member.GONE
        return self._ended(
            Failure(
                index, ExitCode.FAILURE, f"pod {index} does not answer any more", at=self.epoch + now, counts=False
            ),
            now,
        )

    def leaves(self, index: int, now: float) -> Sequence[Order]:
        """A pod was asked to end, and does. Where it is one of several, another comes in its stead and joins the next round."""
        if self._is_no_loss(index):
            return ()
        self.members[index] = Member.GONE
        return self._ended(
            Failure(index, ExitCode.STOPPED, f"pod {index} was asked to end", at=self.epoch + now, counts=False), now
        )

    def _is_no_loss(self, index: int) -> bool:
        """Whether the round goes on without the pod: it has ended, or is one that was to join the next."""
        if index >= self.pods:
            self.members.pop(index, None)
        return self.members.get(index, Member.GONE) in (Member.DONE, Member.GONE)

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
        hangs = self.first_failure().exit_code == ExitCode.HANG
        return [Stop(index, hangs) for index, member in self.members.items() if member is Member.RUNNING]

    def _next(self) -> Sequence[Order]:
        if self.over or self.ending_since is None:
            return ()
        size = self._next_size()
        if size is None:
            return ()
        first = self.first_failure()
        if first.counts and self.left <= 0:
            self.over = True
            return (Leave(f"no restart is left; {first.cause}"),)
        self.left -= first.counts
        self.round += 1
        self.failures, self.ending_since = [], None
        waiting = {index: member for index, member in self.members.items() if index >= max(size, self.pods)}
        self.pods, self.members = size, dict.fromkeys(range(size), Member.RUNNING) | waiting
        return (Start(self.round, first, size),)

    def _next_size(self) -> int | None:
        """Pods of the next round, once all of them are ready for it: as many as are wanted, else, while more are awaited, as before."""
        sizes = (self.wanted, self.pods) if self.wanted > self.pods else (self.wanted or self.pods,)
        return next((size for size in sizes if self._all_idle(range(size))), None)

    def _grown(self) -> Sequence[Order]:
        """All that are to join are here: the round may end."""
        joining = range(self.pods, self.wanted)
        return (StopInOrder(),) if joining and self.ending_since is None and self._all_idle(joining) else ()

    def _all_idle(self, indices: range) -> bool:
        return all(self.members.get(index) is Member.IDLE for index in indices)

    def first_failure(self) -> Failure:
        """Of the round's failures the one that was not another's consequence, and of these the first."""
        return min(self.failures, key=lambda each: (each.consequence, each.at))


def restartable(exit_code: int) -> bool:
    """Whether starting the program again may help."""
    return exit_code not in FINAL


def parse_failure(said: Mapping[str, Any]) -> Failure:
    """A failure as another agent sent it. Raises KeyError, TypeError, ValueError or OverflowError for anything else."""
    return Failure(
        int(said["index"]),
        int(said["exitCode"]),
        str(said["cause"])[:1000],
        bool(said.get("consequence")),
        float(said.get("at", 0)),
        bool(said.get("counts", True)),
    )
