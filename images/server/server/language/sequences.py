"""The sequences that wait and that run, with their tokens and blocks: what scheduler.py sees, and what its plan changes.

One event loop owns it. Between `apply` and `advance` a step is computed, and nothing may be removed that takes part.
"""

from dataclasses import dataclass, field

from server.language.blocks import BlockPool, Key, blocks_for, next_key
from server.language.scheduler import Plan, Running, StepLimits, View, Waiting


@dataclass(eq=False)
class Sequence:
    """Tokens of a prompt and of what was generated after it. computed: tokens whose keys and values are in the cache."""

    id: int
    rank: float
    tokens: list[int]
    deadline: float | None = None
    computed: int = 0
    blocks: list[int] = field(default_factory=list)
    keys: list[Key] = field(default_factory=list)
    """Of its full blocks, as far as they were needed."""


@dataclass(frozen=True)
class Part:
    """What one sequence has in a step: `count` tokens from `start`."""

    sequence: Sequence
    start: int
    count: int

    @property
    def ends(self) -> bool:
        """Whether the next token is known after it."""
        return self.start + self.count == len(self.sequence.tokens)


@dataclass(frozen=True)
class Applied:
    """What came of a plan: parts to compute, and who is out. found: tokens that the cache had of those let in."""

    parts: tuple[Part, ...]
    expired: tuple[Sequence, ...]
    preempted: tuple[Sequence, ...]
    found: int


class Ledger:
    """All sequences of an engine."""

    def __init__(self, blocks: int, limits: StepLimits) -> None:
        self.pool = BlockPool(blocks)
        self.limits = limits
        self.waiting: dict[int, Sequence] = {}
        self.running: dict[int, Sequence] = {}

    @property
    def capacity(self) -> int:
        """Most tokens a single sequence may ever have."""
        return self.pool.count * self.limits.block - 1

    def add(self, sequence: Sequence) -> None:
        self.waiting[sequence.id] = sequence

    def remove(self, sequence: Sequence) -> None:
        """Forget a sequence that has ended, or whose caller left."""
        self.waiting.pop(sequence.id, None)
        self.running.pop(sequence.id, None)
        self._release(sequence)

    def view(self, now: float) -> View:
        return View(
            now,
            self.pool.free,
            tuple(self._waiting(each) for each in self.waiting.values()),
            tuple(self._running(each) for each in self.running.values()),
        )

    def apply(self, plan: Plan) -> Applied:
        """Hand blocks out and back as planned."""
        known = self.waiting | self.running
        expired = tuple(known[each] for each in plan.expired)
        for sequence in expired:
            self.remove(sequence)
        preempted = tuple(self.running.pop(each) for each in plan.preempted)
        for sequence in preempted:
            self._release(sequence)
            self.waiting[sequence.id] = sequence
        # Found blocks are held before any other is handed out, which might be one of them.
        for identifier in plan.admitted:
            sequence = self.running[identifier] = self.waiting.pop(identifier)
            sequence.blocks = self.pool.find(self._findable(sequence))
            self.pool.hold(sequence.blocks)
            sequence.computed = len(sequence.blocks) * self.limits.block
        found = sum(self.running[each].computed for each in plan.admitted)
        parts = []
        for share in plan.shares:
            sequence = self.running[share.id]
            end = sequence.computed + share.tokens
            sequence.blocks += self.pool.allocate(blocks_for(end, self.limits.block) - len(sequence.blocks))
            parts.append(Part(sequence, sequence.computed, share.tokens))
        return Applied(tuple(parts), expired, preempted, found)

    def advance(self, part: Part) -> None:
        """A part is computed: its blocks that became full may be found from now on."""
        sequence, size = part.sequence, self.limits.block
        sequence.computed = part.start + part.count
        for number in range(part.start // size, sequence.computed // size):
            self.pool.publish(sequence.blocks[number], self._keys(sequence, number + 1)[number])

    def _waiting(self, sequence: Sequence) -> Waiting:
        found = self.pool.find(self._findable(sequence))
        revived = sum(self.pool.holders(block) == 0 for block in found)
        cached = len(found) * self.limits.block
        return Waiting(sequence.id, sequence.rank, len(sequence.tokens), cached, revived, sequence.deadline)

    def _running(self, sequence: Sequence) -> Running:
        own = sum(self.pool.holders(block) == 1 for block in sequence.blocks)
        tokens, computed = len(sequence.tokens), sequence.computed
        return Running(sequence.id, sequence.rank, tokens, computed, len(sequence.blocks), own, sequence.deadline)

    def _findable(self, sequence: Sequence) -> list[Key]:
        """Keys of all full blocks but one that ends with the last token, which is computed in any case."""
        return self._keys(sequence, (len(sequence.tokens) - 1) // self.limits.block)

    def _keys(self, sequence: Sequence, count: int) -> list[Key]:
        keys, size = sequence.keys, self.limits.block
        while len(keys) < count:
            start = len(keys) * size
            keys.append(next_key(keys[-1] if keys else b"", sequence.tokens[start : start + size]))
        return keys[:count]

    def _release(self, sequence: Sequence) -> None:
        self.pool.release(sequence.blocks[::-1])
        sequence.blocks, sequence.computed = [], 0
