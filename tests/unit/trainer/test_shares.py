"""Each rectangle of a tensor is written once, by a worker that holds it, and nobody writes much more than others."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from trainer.group import WorkerGroup
from trainer.shares import Division, Key, Piece, owners, pieces_of

ALONE = WorkerGroup(0, 1, torch.device("cpu"))
HELD = st.integers(1, 6).flatmap(
    lambda workers: st.dictionaries(
        st.tuples(st.integers(0, 2**48 - 1), st.integers(0, 2**48 - 1)),
        st.tuples(st.integers(1, 1000), st.sets(st.integers(0, workers - 1), min_size=1)),
        max_size=20,
    ).map(
        lambda pieces: [
            {key: size for key, (size, holders) in pieces.items() if rank in holders} for rank in range(workers)
        ]
    )
)


@given(HELD)
def test_each_piece_is_written_by_one_worker_that_holds_it(held: list[dict[Key, int]]) -> None:
    given_to = owners(held)
    assert given_to.keys() == {key for keys in held for key in keys}
    assert all(key in held[rank] for key, rank in given_to.items())


@given(st.lists(st.integers(1, 1000), max_size=40), st.integers(1, 8))
def test_of_what_all_hold_nobody_writes_more_than_one_piece_above_another(sizes: list[int], workers: int) -> None:
    every = {(index, 0): size for index, size in enumerate(sizes)}
    load = [0] * workers
    for key, rank in owners([every] * workers).items():
        load[rank] += every[key]
    assert max(load) - min(load) <= max(sizes, default=0)


def test_all_workers_come_to_the_same_division_whatever_the_order_in_which_they_name_their_pieces() -> None:
    first = {(1, 0): 5, (2, 0): 5, (3, 0): 5}
    assert owners([first, dict(reversed(first.items()))]) == owners([dict(reversed(first.items())), first])


def test_one_worker_alone_writes_all_also_when_more_has_come() -> None:
    division = Division(ALONE)
    weights = pieces_of({"a": torch.zeros(3), "b": torch.zeros(2, 2)})
    assert division.own(weights) == weights
    more = [*weights, *pieces_of({"a/state": torch.zeros(3)})]
    assert [piece.name for piece in division.own(more)] == ["a", "b", "a/state"]


def test_an_empty_part_of_a_tensor_is_no_piece() -> None:
    assert pieces_of({"none": torch.zeros(0, 3)}) == []


def test_pieces_are_the_same_when_name_place_and_shape_are() -> None:
    weight = torch.zeros(2, 3)
    assert Piece("w", (0, 0), weight).key == Piece("w", (0, 0), torch.ones(2, 3)).key
    others = {Piece("w", (2, 0), weight).key, Piece("v", (0, 0), weight).key, Piece("w", (0, 0), weight[:1]).key}
    assert len({*others, Piece("w", (0, 0), weight).key}) == 4
