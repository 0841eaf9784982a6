"""The month under the chaos benchmark: how often things break, and that a seed says everything."""

import math
from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest

from tests.bench.chaos import ALL, NONE, choices
from tests.bench.chaos_faults import CAUSES, DAY, INTERRUPTIONS, RATE, Fleet, Strikes, faults
from tests.bench.chaos_month import Costs, Month, Remedies, Simulation
from tests.bench.chaos_work import gangs

SMALL = Month(
    1,
    fleet=Fleet(nodes=16, lemons=1),
    days=4.0,
    times=400.0,
    spares_from=2,
    costs=Costs(repair_gpu=1800.0, repair_host=3600.0),
)
"""A hundred faults on 128 GPUs."""


def test_the_mix_is_the_published_one() -> None:
    assert INTERRUPTIONS == 419
    assert math.isclose(RATE * 16_384 * 3 * 3600, 0.97, abs_tol=0.01), "about one in three hours on that fleet"
    by_what = {what: sum(each.count for each in CAUSES if each.strikes is what) for what in Strikes}
    assert by_what == {Strikes.PROGRAM: 98, Strikes.GPU: 268, Strikes.HOST: 53}


def test_faults_come_in_order_as_often_as_they_should_and_to_lemons_more_often() -> None:
    fleet = Fleet(nodes=64, lemons=2, lemon_share=0.3)
    found = list(faults(Random(3), fleet, 3000 * DAY))
    expected = RATE * 64 * 8 * 3000 * DAY
    assert abs(len(found) - expected) < 4 * math.sqrt(expected)
    assert all(one.at < two.at for one, two in pairwise(found))
    hardware = [each.node for each in found if each.cause.strikes is not Strikes.PROGRAM]
    worst = sorted((hardware.count(node) for node in range(64)), reverse=True)
    assert sum(worst[:2]) / len(hardware) == pytest.approx(0.3, abs=0.06)
    assert sum(each.cause.name == "faulty GPU" for each in found) / len(found) == pytest.approx(148 / 419, abs=0.06)


def test_jobs_ask_for_as_much_as_is_said() -> None:
    found = gangs(Random(1), 2048, 30 * DAY, 1.1)
    asked = sum(each.gpus * each.work for each in found) / (2048 * 30 * DAY)
    assert asked == pytest.approx(1.1, abs=0.05)
    assert [each.submitted for each in found[1:]] == sorted(each.submitted for each in found[1:])


def test_the_same_seed_is_the_same_month_and_another_seed_is_not() -> None:
    first, again = Simulation(SMALL).run(), Simulation(SMALL).run()
    assert first == again
    assert Simulation(replace(SMALL, seed=2)).run() != first


@pytest.mark.parametrize("remedies", [ALL, NONE], ids=["all", "none"])
def test_gpu_time_is_spent_on_one_thing_at_a_time(remedies: Remedies) -> None:
    found = Simulation(replace(SMALL, remedies=remedies)).run()
    parts = (found.useful, found.redone, found.recovering, found.saving, found.spare)
    assert min(parts) >= 0
    assert sum(parts) <= found.available
    assert found.interruptions > 30
    assert (found.spare > 0) is remedies.spares


def test_where_nothing_breaks_nothing_is_lost_but_starts_and_checkpoints() -> None:
    found = Simulation(replace(SMALL, times=1e-9, remedies=NONE)).run()
    assert (found.interruptions, found.redone, found.placed_anew) == (0, 0.0, 0)
    assert found.recovering + found.saving < 0.02 * found.useful


def test_each_remedy_does_what_it_is_for() -> None:
    none = Simulation(replace(SMALL, remedies=NONE)).run()
    often = Simulation(replace(SMALL, remedies=replace(NONE, auto=True))).run()
    spares = Simulation(replace(SMALL, remedies=replace(NONE, spares=True))).run()
    assert often.redone / often.interruptions < none.redone / none.interruptions
    assert spares.placed_anew < none.placed_anew


def test_every_remedy_is_left_out_once_and_tried_alone_once() -> None:
    names = {"spares", "in_place", "avoid", "auto"}
    made = choices(alone=True)
    assert made.keys() == {"all", "none", *(f"without_{each}" for each in names), *(f"only_{each}" for each in names)}
    assert len(set(made.values())) == len(made)
