"""Random histories of a job: never stuck, never two attempts at once, and a ledger that adds up. `make bench NAME=histories` runs many more."""

import pytest

from tests.unit.training.histories import History

COUNT, PARTS = 1000, 4


@pytest.mark.parametrize("part", range(PARTS))
def test_whatever_happens_to_a_job_it_is_over_in_the_end_and_its_time_is_accounted_for(part: int) -> None:
    """A failure tells its seed: `History(seed).run()` repeats it."""
    ends = {History(seed).run() for seed in range(part, COUNT, PARTS)}
    assert ends == {"Complete", "Failed", "Suspended"}, "each end is reached by some"


def test_a_history_is_made_from_its_seed_alone() -> None:
    first, second = History(7), History(7)
    assert first.run() == second.run()
    assert first.log == second.log
    assert first.job == second.job
