"""Limits that hold at some times of the week."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from trainyard.api.autoscaling import Autoscaling, Schedule
from trainyard.inference.autoscale.limits import holds, in_force

MONDAY = datetime(2026, 11, 30, tzinfo=UTC)


def autoscaling(*schedules: dict[str, Any]) -> Autoscaling:
    return Autoscaling.model_validate({"minReplicas": 1, "maxReplicas": 4, "schedules": list(schedules)})


OFFICE = {
    "name": "office",
    "days": ["Mon"],
    "start": "08:00",
    "end": "18:00",
    "timezone": "Europe/Berlin",
    "minReplicas": 3,
    "maxReplicas": 9,
}


@pytest.mark.parametrize(
    ("hour", "minute", "expected"), [(6, 59, (1, 4)), (7, 0, (3, 9)), (16, 59, (3, 9)), (17, 0, (1, 4))]
)
def test_a_schedule_holds_by_the_clock_of_its_zone(hour: int, minute: int, expected: tuple[int, int]) -> None:
    found, _ = in_force(autoscaling(OFFICE), MONDAY + timedelta(hours=hour, minutes=minute), 0)
    assert (found.minimum, found.maximum) == expected


def test_replicas_start_before_a_schedule_begins() -> None:
    found, _ = in_force(autoscaling(OFFICE), MONDAY + timedelta(hours=6, minutes=59), 90)
    assert found.minimum == 3
    assert "schedules[office].minReplicas" in found.minimum_of


def test_a_schedule_over_midnight_belongs_to_the_day_on_which_it_begins() -> None:
    night = Schedule.model_validate({"name": "n", "days": ["Mon"], "start": "22:00", "end": "04:00", "maxReplicas": 1})
    assert [holds(night, MONDAY + timedelta(hours=each)) for each in (3, 21, 22, 27, 28)] == [
        False,
        False,
        True,
        True,
        False,
    ]


def test_the_minimum_of_one_schedule_wins_over_the_maximum_of_another() -> None:
    both = autoscaling(
        {"name": "a", "start": "00:00", "end": "00:00", "minReplicas": 6},
        {"name": "b", "start": "00:00", "end": "00:00", "maxReplicas": 2},
    )
    found, _ = in_force(both, MONDAY, 0)
    assert (found.minimum, found.maximum) == (6, 6)


def test_an_unknown_time_zone_is_said_and_left_out() -> None:
    found, problems = in_force(autoscaling({**OFFICE, "timezone": "Moon/Crater"}), MONDAY + timedelta(hours=9), 0)
    assert (found.minimum, found.maximum) == (1, 4)
    assert "Moon/Crater" in problems[0]
