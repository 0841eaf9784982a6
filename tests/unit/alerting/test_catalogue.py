"""Rules name metrics that exist, and runbooks name commands that exist."""

import re
import shlex
from collections.abc import Iterator

import pytest
import yaml

from dev.alerting.catalogue import ALERTS, GROUPS, RECORDINGS
from dev.alerting.documents import RULES, RUNBOOKS, rules_file, runbooks_page
from dev.alerting.rule import Alert, Severity
from dev.chart import REPOSITORY
from tests.drills.catalogue import exercise, summary
from trainyard.cli.__main__ import parser

_RECORDED = re.compile(r"\w+:trainyard_\w+:\w+")
_KINDS = {
    *(
        "pods",
        "namespaces",
        "nodes",
        "node",
        "events",
        "lease",
        "leases",
        "crd",
        "pvc",
        "secret",
        "servicemonitors",
        "podmonitors",
        "apiservices",
    ),
    *("trainingjobs", "tyi", "tyj", "tyq", "tyf"),
}


def commands(alert: Alert) -> Iterator[list[str]]:
    """Every command of its runbook, split as a shell would."""
    for line in alert.diagnosis:
        yield shlex.split(line.partition(" | ")[0])


def test_no_two_rules_share_a_name() -> None:
    names = [*(alert.name for alert in ALERTS), *(recording.name for recording in RECORDINGS)]
    assert len(names) == len(set(names))


def test_every_recorded_series_is_read_and_every_one_that_is_read_is_recorded() -> None:
    exprs = [*(alert.expr for alert in ALERTS), *(recording.expr for recording in RECORDINGS)]
    read = {name for expr in exprs for name in _RECORDED.findall(expr)}
    assert {each.name for each in RECORDINGS} == read


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_an_alert_says_what_it_means_and_what_to_do(alert: Alert) -> None:
    assert re.fullmatch(r"Trainyard[A-Z][A-Za-z]+", alert.name)
    assert alert.severity in Severity
    assert re.fullmatch(r"\d+[mh]", alert.after)
    for text in (alert.description, alert.impact, alert.remedy):
        assert text.endswith(".")
        assert "{{" not in text  # it stands in the page, too
    assert alert.summary
    assert alert.diagnosis


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_the_commands_of_a_runbook_exist(alert: Alert) -> None:
    for words in commands(alert):
        if words[0] == "trainyard":
            parser(words[1:]).parse_args(words[1:])
        else:
            assert words[0] == "kubectl"
            assert words[1] in {"get", "describe", "logs", "top", "auth", "exec"}
            kind = words[2].partition("/")[0]
            assert words[1] in {"logs", "auth", "exec"} or kind.startswith("--raw=") or kind in _KINDS


def test_every_alert_leads_to_its_section_of_the_runbooks() -> None:
    page = RUNBOOKS.read_text()
    anchors = {heading.lower() for heading in re.findall(r"^### (\w+)$", page, re.MULTILINE)}
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        for rule in group["rules"]:
            if "alert" in rule:
                file, _, anchor = rule["annotations"]["runbook_url"].partition("#")
                assert (REPOSITORY / file) == RUNBOOKS
                assert anchor in anchors


def test_what_is_generated_is_up_to_date() -> None:
    assert RULES.read_text() == rules_file(), "run make generate"
    assert RUNBOOKS.read_text() == runbooks_page(exercise, summary()), "run make generate"


def test_groups_and_sections_are_those_of_the_catalogue() -> None:
    rules = [rule for group in yaml.safe_load(rules_file())["groups"] for rule in group["rules"]]
    assert [each["alert"] for each in rules if "alert" in each] == [alert.name for alert in ALERTS]
    assert len(rules) == sum(len(group.alerts) + len(group.recordings) for group in GROUPS)
