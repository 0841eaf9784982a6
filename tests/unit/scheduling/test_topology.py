"""Shares of a gang over domains: as few, or as even, as can be, and never more than fits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainyard.scheduling.topology import evenly, fewest, slots

ROOMS = st.lists(st.integers(0, 9), min_size=1, max_size=6)


def ints(values: list[int]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(values, dtype=np.int64)


@pytest.mark.parametrize(
    ("room", "units", "expected"),
    [
        ([4, 8, 6], 5, [(2, 5)]),
        ([4, 8, 6], 8, [(1, 8)]),
        ([4, 8, 6], 11, [(1, 8), (0, 3)]),
        ([4, 4, 4], 4, [(0, 4)]),
        ([4, 8, 6], 19, None),
        ([], 1, None),
    ],
)
def test_the_tightest_domain_that_holds_all_is_taken_else_the_roomiest_first(
    room: list[int], units: int, expected: list[tuple[int, int]] | None
) -> None:
    assert fewest(ints(room), units) == expected


def test_domains_to_begin_with_are_filled_first() -> None:
    assert fewest(ints([4, 8, 6]), 5, [0]) == [(0, 4), (2, 1)]


@pytest.mark.parametrize(
    ("room", "units", "held", "expected"),
    [
        ([9, 9, 9], 7, None, [(0, 3), (1, 2), (2, 2)]),
        ([1, 9, 9], 7, None, [(0, 1), (1, 3), (2, 3)]),
        ([9, 9, 9], 3, [4, 0, 1], [(1, 2), (2, 1)]),
        ([1, 1, 1], 4, None, None),
    ],
)
def test_water_finds_its_level(
    room: list[int], units: int, held: list[int] | None, expected: list[tuple[int, int]] | None
) -> None:
    assert evenly(ints(room), units, ints(held) if held else None) == expected


@given(ROOMS, st.integers(0, 40))
@settings(max_examples=200, deadline=None)
def test_all_is_shared_out_within_the_room_or_nothing(room: list[int], units: int) -> None:
    for share in (fewest, evenly):
        shares = share(ints(room), units)
        assert (shares is None) == (sum(room) < units)
        if shares is not None:
            assert sum(count for _, count in shares) == units
            assert all(0 < count <= room[domain] for domain, count in shares)
            assert len({domain for domain, _ in shares}) == len(shares)


@given(ROOMS, st.integers(1, 40))
@settings(max_examples=200, deadline=None)
def test_no_smaller_number_of_domains_would_do(room: list[int], units: int) -> None:
    shares = fewest(ints(room), units)
    if shares is not None:
        assert sum(sorted(room, reverse=True)[: len(shares) - 1]) < units


@given(ROOMS, st.integers(1, 40))
@settings(max_examples=200, deadline=None)
def test_no_unit_could_move_to_make_it_more_even(room: list[int], units: int) -> None:
    shares = dict(evenly(ints(room), units) or [])
    for domain, count in shares.items():
        for other, space in enumerate(room):
            if shares.get(other, 0) < space:
                assert count - shares.get(other, 0) <= 1, (domain, other)


def test_only_whole_slices_count() -> None:
    assert slots(ints([0, 0, 1]), ints([3, 2, 3]), size=2).tolist() == [2, 1]
    assert slots(ints([0]), ints([5]), domains=3).tolist() == [5, 0, 0]
