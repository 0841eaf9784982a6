"""What the next step computes: a pure function of what waits, what runs and what is free.

Every sequence has a rank, which never changes: its arrival, moved earlier by its priority. All that runs goes in the
order of ranks: a sequence that has its prompt behind it gets one token, another one as much of its prompt as the budget
has left, and then those that wait are let in, nobody before one of a lower rank. Where blocks run out, the sequence that
needs one takes them from the last in rank, which goes back to those that wait and is computed anew; the last itself
takes from nobody and sits the step out. So the first in rank always proceeds, and since new arrivals come to rank behind
whoever is there, everyone is first at some time: nobody starves.
"""

from dataclasses import dataclass, field

from server.language.blocks import blocks_for
from server.lineup import AGEING_SECONDS


@dataclass(frozen=True)
class StepLimits:
    """block: tokens in one. running: most sequences at once. budget: most tokens of one step, at least `running`."""

    block: int = 16
    running: int = 64
    budget: int = 512

    def __post_init__(self) -> None:
        if min(self.block, self.running) < 1 or self.budget < self.running:
            raise ValueError(f"{self}: expected block and running of at least 1, and a budget of at least running")


@dataclass(frozen=True)
class Waiting:
    """A sequence without blocks. tokens: known of it. deadline: when its caller stops waiting.

    cached: of its tokens in full blocks that are found in the cache, fewer than tokens. revived: found blocks that
    nobody holds.
    """

    id: int
    rank: float
    tokens: int
    cached: int = 0
    revived: int = 0
    deadline: float | None = None


@dataclass(frozen=True)
class Running:
    """A sequence with blocks. computed: of its tokens in the cache, fewer than tokens. blocks: held. own: by it alone."""

    id: int
    rank: float
    tokens: int
    computed: int
    blocks: int
    own: int
    deadline: float | None = None

    @property
    def left(self) -> int:
        """Tokens to compute before its next one is known."""
        return self.tokens - self.computed


@dataclass(frozen=True)
class View:
    """All there is. free: blocks that nobody holds. now: same clock as the deadlines, in seconds."""

    now: float
    free: int
    waiting: tuple[Waiting, ...] = ()
    running: tuple[Running, ...] = ()


@dataclass(frozen=True)
class Share:
    """A sequence's part of a step: how many of its tokens are computed."""

    id: int
    tokens: int


@dataclass(frozen=True)
class Plan:
    """Ids in the order in which to apply them: expired, preempted, admitted, shares (of admitted ones, too)."""

    expired: tuple[int, ...] = ()
    preempted: tuple[int, ...] = ()
    admitted: tuple[int, ...] = ()
    shares: tuple[Share, ...] = ()


@dataclass
class _Room:
    """What is left of the step while it is planned."""

    free: int
    budget: int
    shares: list[Share] = field(default_factory=list)

    def give(self, sequence: int, tokens: int, blocks: int) -> None:
        self.free -= blocks
        self.budget -= tokens
        self.shares.append(Share(sequence, tokens))


def rank(arrived: float, priority: int) -> float:
    """Lower goes first. arrived in seconds; priority 0 is normal, each step more is a head start, as in server.lineup."""
    return arrived - priority * AGEING_SECONDS


def plan_step(view: View, limits: StepLimits) -> Plan:
    """Next step. Never hands out more blocks than are free, nor more tokens than the budget."""
    everyone: tuple[Waiting | Running, ...] = (*view.waiting, *view.running)
    expired = tuple(each.id for each in everyone if _late(each.deadline, view.now))
    running = sorted((each for each in view.running if each.id not in expired), key=_place)
    waiting = sorted((each for each in view.waiting if each.id not in expired), key=_place)
    gained = sum(each.own for each in view.running if each.id in expired)
    room = _Room(view.free + gained, limits.budget)
    preempted = _continue(running, room, limits)
    admitted = () if preempted else _admit(waiting, running, room, limits)
    return Plan(expired, preempted, admitted, tuple(room.shares))


def _continue(running: list[Running], room: _Room, limits: StepLimits) -> tuple[int, ...]:
    """Give each its part. Returns those preempted for it."""
    preempted: list[int] = []
    decodes = sum(each.left == 1 for each in running)
    standing = list(running)
    for each in running:
        if each.id in preempted:
            continue
        decodes -= each.left == 1
        count = min(each.left, room.budget - decodes)  # who only decodes always has a token of the budget
        if count < 1:
            continue
        needed = blocks_for(each.computed + count, limits.block) - each.blocks
        least = blocks_for(each.computed + 1, limits.block) - each.blocks
        while room.free < least and standing[-1] is not each:
            victim = standing.pop()
            decodes -= victim.left == 1
            preempted.append(victim.id)
            room.free += victim.own
        if room.free < least:
            continue
        granted = min(needed, room.free)
        room.give(each.id, min(count, (each.blocks + granted) * limits.block - each.computed), granted)
    return tuple(preempted)


def _admit(waiting: list[Waiting], running: list[Running], room: _Room, limits: StepLimits) -> tuple[int, ...]:
    """Let in, in order of rank, whom there is room for with its whole prompt and its first token."""
    admitted: list[int] = []
    # A block for the growth of each that runs, and the rest of prompts that are not computed yet.
    given = {share.id: share.tokens for share in room.shares}
    spoken = sum(
        1
        + blocks_for(each.tokens, limits.block)
        - max(each.blocks, blocks_for(each.computed + given.get(each.id, 0), limits.block))
        for each in running
    )
    for each in waiting:
        count = min(each.tokens - each.cached, room.budget)
        whole = blocks_for(each.tokens + 1, limits.block) - each.cached // limits.block + each.revived
        if count < 1 or len(running) + len(admitted) >= limits.running or whole + spoken > room.free:
            break
        now = blocks_for(each.cached + count, limits.block) - each.cached // limits.block + each.revived
        room.give(each.id, count, now)
        spoken += 1 + whole - now
        admitted.append(each.id)
    return tuple(admitted)


def _late(deadline: float | None, now: float) -> bool:
    return deadline is not None and deadline <= now


def _place(sequence: Waiting | Running) -> tuple[float, int]:
    return sequence.rank, sequence.id
