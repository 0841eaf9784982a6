"""Every alert is drilled on a cluster or excused, and the rules of drills are the chart's but for their durations."""

import re
from collections import Counter

import pytest
import yaml

from dev.alerting.catalogue import ALERTS
from dev.alerting.documents import RULES
from tests.drills.catalogue import ALONE, API_SERVER, CANNOT, PROMTOOL_ONLY, exercise
from tests.drills.drill import commands
from tests.drills.hurry import expression, hurried

DRILLS = (*API_SERVER, *ALONE)
NAMES = {alert.name for alert in ALERTS}
_NUMBER = re.compile(r"\d+(\.\d+)?(ms|[smhd])?")


def test_every_alert_has_one_drill_or_a_reason_for_none() -> None:
    drilled = Counter(each.alert for each in DRILLS)
    assert {name for name, times in drilled.items() if times > 1} == set()
    assert drilled.keys() & PROMTOOL_ONLY.keys() == set()
    assert drilled.keys() | PROMTOOL_ONLY.keys() == NAMES


def test_every_drill_says_what_shows_the_cause() -> None:
    assert [each.alert for each in DRILLS if not all(each.shows) or not each.shows] == []


def test_a_command_is_excused_only_where_some_runbook_has_it() -> None:
    lines = [line for alert in ALERTS for line in alert.diagnosis]
    for excuses in CANNOT.values():
        assert [each for each in excuses if not any(line.startswith(each) for line in lines)] == []


def test_of_each_drilled_runbook_some_command_is_run() -> None:
    for alert in ALERTS:
        if alert.name not in PROMTOOL_ONLY:
            assert len(exercise(alert).not_run) < len(alert.diagnosis)


@pytest.mark.parametrize(
    ("given", "faster"),
    [
        ("increase(a_total[1h]) >= 4", "increase(a_total[15000ms]) >= 4"),
        ("rate(a_total[5m]) > 0", "rate(a_total[8000ms]) > 0"),
        ("a == a offset 3h", "a == a offset 45000ms"),
        ("max(a_age_seconds) > 600", "max(a_age_seconds) > 2.5"),
        ("max(a_seconds) > 5", "max(a_seconds) > 5"),
        ("increase(refused_total[15m]) > 100", "increase(refused_total[8000ms]) > 100"),
        ("a_timestamp_seconds - time() > 90 * 86400", "a_timestamp_seconds - time() > 90 * 86400"),
        ("a:errors:ratio_rate1h > b", "a:errors:ratio_rate1h > b"),
    ],
)
def test_an_expression_is_hurried(given: str, faster: str) -> None:
    assert expression(given) == faster


def test_nothing_but_numbers_differs_between_the_rules_and_the_hurried_ones() -> None:
    given, faster = (yaml.safe_load(text) for text in (RULES.read_text(), hurried(RULES.read_text())))
    for before, after in zip(given["groups"], faster["groups"], strict=True):
        for rule, quick in zip(before["rules"], after["rules"], strict=True):
            numberless = [{**each, "expr": _NUMBER.sub("N", each["expr"]), "for": ""} for each in (rule, quick)]
            assert numberless[0] == numberless[1]


def test_words_of_commands_are_replaced_by_labels_and_what_is_looked_up_is_told() -> None:
    (alert,) = (each for each in ALERTS if each.name == "TrainyardNeverAdmissible")
    made = commands(alert, {"queue": "q"}, {"JOB": "huge", "NAMESPACE": "team"})
    assert made[-1].text == "trainyard why huge -n team"
    assert made[-1].looked_up == {"huge", "team"}
    with pytest.raises(KeyError, match="JOB"):
        commands(alert, {"queue": "q", "namespace": "team"}, {})
