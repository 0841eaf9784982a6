"""Blocks of the cache: nobody's, one's or shared, never two owners' by accident."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from server.language.blocks import BlockPool, OutOfBlocks, blocks_for, next_key

COUNT = 12


@given(st.lists(st.tuples(st.sampled_from(["take", "share", "drop", "forget"]), st.integers(0, 5)), max_size=80))
def test_no_block_has_two_owners_and_all_are_free_at_the_end(moves: list[tuple[str, int]]) -> None:
    pool = BlockPool(COUNT)
    held: list[list[int]] = []
    content: dict[int, bytes] = {}
    for kind, number in moves:
        if kind == "take" and number <= pool.free:
            blocks = pool.allocate(number)
            taken = Counter(block for each in held for block in each)
            assert not set(blocks) & set(taken)
            for position, block in enumerate(blocks):  # the contents of different holders are partly the same
                key = next_key(b"", (position, number))
                content[block] = key
                pool.publish(block, key)
            held.append(blocks)
        elif kind == "share":
            keys = [next_key(b"", (position, number)) for position in range(number)]
            found = pool.find(keys)
            assert [content[block] for block in found] == keys[: len(found)]
            pool.hold(found)
            held.append(found)
        elif kind == "drop" and held:
            pool.release(held.pop(number % len(held)))
        elif kind == "forget" and held:
            pool.forget(held[number % len(held)])
        counted = Counter(block for each in held for block in each)
        assert [pool.holders(block) for block in range(COUNT)] == [counted[block] for block in range(COUNT)]
        assert pool.free == COUNT - len(counted)
    for each in held:
        pool.release(each)
    assert sorted(pool.allocate(COUNT)) == list(range(COUNT))


def test_the_block_that_is_idle_longest_is_lost_first() -> None:
    pool = BlockPool(3)
    blocks = pool.allocate(3)
    keys = [next_key(b"", (number,)) for number in range(3)]
    for block, key in zip(blocks, keys, strict=True):
        pool.publish(block, key)
    for number in (1, 0, 2):
        pool.release([blocks[number]])
    pool.hold(pool.find([keys[1]]))  # in use again, so no longer idle
    pool.allocate(1)
    assert [pool.find([key]) for key in keys] == [[], [blocks[1]], [blocks[2]]]


def test_too_many_are_refused_and_nothing_is_taken() -> None:
    pool = BlockPool(3)
    pool.allocate(2)
    with pytest.raises(OutOfBlocks, match="2 blocks asked, 1 of 3 are free"):
        pool.allocate(2)
    assert pool.free == 1


def test_keys_depend_on_everything_before() -> None:
    assert next_key(next_key(b"", (1, 2)), (3, 4)) != next_key(next_key(b"", (1, 9)), (3, 4))
    assert next_key(b"", (1, 23)) != next_key(b"", (12, 3))
    assert (blocks_for(0, 8), blocks_for(8, 8), blocks_for(9, 8)) == (0, 1, 2)
