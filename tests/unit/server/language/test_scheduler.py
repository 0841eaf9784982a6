"""What a step computes, and that everybody is served in the end."""

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from server.language.blocks import blocks_for
from server.language.scheduler import (
    Plan,
    Running,
    Share,
    StepLimits,
    View,
    Waiting,
    plan_step,
    rank,
)
from server.language.sequences import Ledger, Sequence
from server.lineup import AGEING_SECONDS

LIMITS = StepLimits(block=4, running=3, budget=8)


def decoding(number: int, tokens: int = 5) -> Running:
    blocks = blocks_for(tokens - 1, LIMITS.block)
    return Running(number, float(number), tokens, tokens - 1, blocks, blocks)


def test_those_who_decode_get_a_token_each_and_a_prompt_the_rest_of_the_budget() -> None:
    reading = Running(1, 1.0, tokens=30, computed=4, blocks=1, own=1)
    plan = plan_step(View(0.0, 9, running=(reading, decoding(2), decoding(3))), LIMITS)
    assert plan.shares == (Share(1, 6), Share(2, 1), Share(3, 1))


def test_a_long_prompt_is_read_in_chunks_of_the_budget() -> None:
    plan = plan_step(View(0.0, 20, waiting=(Waiting(1, 0.0, tokens=50),)), LIMITS)
    assert (plan.admitted, plan.shares) == ((1,), (Share(1, 8),))


def test_nobody_is_let_in_before_one_of_a_lower_rank() -> None:
    large, small = Waiting(1, 0.0, tokens=30), Waiting(2, 1.0, tokens=2)
    assert plan_step(View(0.0, 5, waiting=(small, large)), LIMITS) == Plan()


def test_what_the_cache_has_is_not_computed_again() -> None:
    plan = plan_step(View(0.0, 3, waiting=(Waiting(1, 0.0, tokens=10, cached=8, revived=2),)), LIMITS)
    assert plan.shares == (Share(1, 2),)
    assert plan_step(View(0.0, 2, waiting=(Waiting(1, 0.0, tokens=10, cached=8, revived=2),)), LIMITS) == Plan()


def test_the_last_in_rank_gives_its_blocks_to_those_before() -> None:
    plan = plan_step(
        View(0.0, 0, waiting=(Waiting(9, 9.0, 1),), running=(decoding(1), decoding(2), decoding(3))), LIMITS
    )
    assert (plan.preempted, plan.admitted) == ((3,), ())
    assert plan.shares == (Share(1, 1),)  # the second now is the last itself, and sits this step out


def test_who_is_late_is_out_and_its_blocks_are_free_at_once() -> None:
    late = Running(1, 1.0, tokens=5, computed=4, blocks=1, own=1, deadline=10.0)
    waiting = (Waiting(2, 2.0, 3, deadline=9.0), Waiting(3, 3.0, 3, deadline=10.5))
    plan = plan_step(View(10.0, 0, waiting, (late,)), LIMITS)
    assert (set(plan.expired), plan.admitted) == ({1, 2}, (3,))


def test_a_priority_moves_ahead_by_seconds_and_not_for_ever() -> None:
    assert rank(100.0, 1) < rank(100.0 - AGEING_SECONDS / 2, 0)
    assert rank(100.0, 1) > rank(100.0 - AGEING_SECONDS * 2, 0)


def test_a_budget_below_the_number_that_run_is_refused() -> None:
    with pytest.raises(ValueError, match="budget of at least running"):
        StepLimits(running=9, budget=8)


@dataclass(frozen=True)
class Caller:
    """arrives and leaves (or -1) at steps; wants tokens after a prompt of which the first part is shared with others."""

    arrives: int
    prompt: int
    wants: int
    priority: int
    leaves: int
    family: int


CALLERS = st.lists(
    st.builds(
        Caller,
        arrives=st.integers(0, 30),
        prompt=st.integers(1, 20),
        wants=st.integers(1, 12),
        priority=st.integers(-1, 2),
        leaves=st.sampled_from([-1, -1, -1, 5, 15, 40]),
        family=st.integers(0, 2),
    ),
    min_size=1,
    max_size=12,
)


@settings(deadline=None)
@given(CALLERS, st.integers(9, 30), st.integers(3, 20))
def test_everyone_is_served_within_a_bound_and_no_limit_is_ever_passed(
    callers: list[Caller], blocks: int, budget: int
) -> None:
    limits = StepLimits(block=4, running=3, budget=budget)
    ledger = Ledger(blocks, limits)
    made: dict[int, Sequence] = {}
    done: dict[int, int] = {}
    # Each works off its own tokens alone at worst, once; preemption costs what comes later, never the first in rank.
    bound = 60 + sum(each.prompt + each.wants + 2 for each in callers)
    for now in range(bound):
        for number, caller in enumerate(callers):
            if caller.arrives == now:
                tokens = [caller.family * 100 + position // 9 for position in range(caller.prompt)]
                made[number] = Sequence(number, rank(float(now), caller.priority), tokens)
                ledger.add(made[number])
            if caller.leaves == now and number in made and number not in done:
                ledger.remove(made[number])
                done[number] = now
        view = ledger.view(float(now))
        applied = ledger.apply(plan_step(view, limits))
        assert sum(part.count for part in applied.parts) <= budget
        assert len(ledger.running) <= limits.running
        holders = [sum(block in each.blocks for each in ledger.running.values()) for block in range(blocks)]
        assert holders == [ledger.pool.holders(block) for block in range(blocks)]
        written = [
            part.sequence.blocks[position // limits.block]
            for part in applied.parts
            for position in range(part.start, part.start + part.count)
        ]
        assert all(holders[block] == 1 for block in written), "somebody writes into a block that others read"
        if ledger.running:
            first = min(ledger.running.values(), key=lambda each: (each.rank, each.id))
            assert any(part.sequence is first for part in applied.parts), "the first in rank always proceeds"
        for part in applied.parts:
            ledger.advance(part)
            sequence = part.sequence
            if part.ends:
                sequence.tokens.append(7)
                if len(sequence.tokens) == callers[sequence.id].prompt + callers[sequence.id].wants:
                    ledger.remove(sequence)
                    done[sequence.id] = now
    assert done.keys() == made.keys()
    assert ledger.pool.free == blocks
