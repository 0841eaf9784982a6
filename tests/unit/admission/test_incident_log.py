"""What interrupted jobs outlives them, within bounds, and is told in the log once."""

import json
import logging
from datetime import UTC, datetime, timedelta

import pytest

from trainyard.admission.incident_log import MOST, IncidentLog
from trainyard.api.incident import JobIncident

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def incident(number: int, **more: object) -> JobIncident:
    at = NOW + timedelta(minutes=number)
    told = {"cause": "Node", "fault_at": at, "detected_at": at, "ended_at": at, "outcome": "Recovered", **more}
    return JobIncident(namespace="team", job="a", uid="uid-a", number=number, attempt=1, **told)


def numbers(log: IncidentLog) -> list[int]:
    return sorted(each.number for each in log.all())


def test_what_is_over_is_kept_once_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    log = IncidentLog()
    with caplog.at_level(logging.INFO):
        log.over([incident(1)])
        log.over([incident(1)])
    assert (numbers(log), log.unwritten.learned) == ([1], 1)
    (line,) = caplog.records
    told = line.__dict__["incident"]
    assert (told["job"], told["cause"], told["faultAt"]) == ("a", "Node", "2026-11-23T12:01:00.000000Z")


def test_the_oldest_go_when_there_are_too_many_and_do_not_come_back() -> None:
    log = IncidentLog()
    log.over(incident(number) for number in range(MOST + 2))
    assert numbers(log) == list(range(2, MOST + 2))
    learned = log.unwritten.learned
    log.over([incident(0), incident(1)])
    assert (numbers(log)[0], log.unwritten.learned) == (2, learned), (
        "a job that still exists tells of them again at each start"
    )


def test_what_is_kept_is_read_again_and_fits_into_a_config_map() -> None:
    log, long = IncidentLog(), {"message": "m" * 256, "pod": "p" * 253, "node": "n" * 253, "stacks": "s" * 200}
    log.over(incident(number, **long) for number in range(MOST))
    text = json.dumps(log.to_dict())
    assert len(text) < 900_000
    again = IncidentLog()
    again.recall(json.loads(text))
    assert again.all() == log.all()


def test_what_somebody_else_wrote_and_what_is_known_here_are_kept_together() -> None:
    ours, theirs = IncidentLog(), IncidentLog()
    ours.over([incident(1), incident(4)])
    theirs.over([incident(2), incident(4, cause="Hang")])
    learned = ours.unwritten.learned
    ours.recall(theirs.to_dict())
    assert (numbers(ours), ours.unwritten.learned) == ([1, 2, 4], learned + 1), "1 is not written yet"
    assert {each.cause for each in ours.all() if each.number == 4} == {"Hang"}
    again = ours.unwritten.learned
    ours.recall(ours.to_dict())
    assert ours.unwritten.learned == again, "all of it is written"


def test_of_both_the_newest_are_kept() -> None:
    ours, theirs = IncidentLog(), IncidentLog()
    ours.over([incident(0), incident(MOST + 1)])
    theirs.over(incident(number) for number in range(1, MOST + 1))
    ours.recall(theirs.to_dict())
    assert numbers(ours) == list(range(2, MOST + 2))


def test_one_number_given_twice_after_a_restore_is_two_incidents() -> None:
    log = IncidentLog()
    log.over([incident(3), incident(3, fault_at=NOW)])
    assert numbers(log) == [3, 3]


@pytest.mark.parametrize("kept", [{}, {"incidents": 3}, {"incidents": [{"job": "a"}]}])
def test_a_damaged_list_is_refused(kept: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="damaged"):
        IncidentLog().recall(kept)
