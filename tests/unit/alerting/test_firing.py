"""Prometheus' own promtool: each alert fires when it should, and not when something only comes near to it."""

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from dev.alerting.catalogue import ALERTS, GROUPS
from dev.alerting.documents import RULES, rules_file
from dev.alerting.rule import Group, Recording
from tests.unit.alerting import fleet_cases, operator_cases, security_cases, service_cases, training_cases
from tests.unit.alerting.case import Case, Shown

CASES = (
    *operator_cases.CASES,
    *fleet_cases.CASES,
    *training_cases.CASES,
    *service_cases.CASES,
    *security_cases.CASES,
)
BY_NAME = {alert.name: alert for alert in ALERTS}


@pytest.fixture
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not installed: `python -m dev.cluster prepare` installs it")
    return found


def run(*argv: str) -> str:
    """What it says when it fails; empty when it does not."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_prometheus_takes_the_rules(promtool: str) -> None:
    assert run(promtool, "check", "rules", str(RULES)) == ""


def test_every_alert_is_shown_what_makes_it_fire_and_what_does_not() -> None:
    assert {case.alert for case in CASES} == set(BY_NAME)
    assert [case.alert for case in CASES if not case.quiet] == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.alert}-{case.at}")
def test_an_alert_fires_when_it_should_and_only_then(promtool: str, case: Case, tmp_path: Path) -> None:
    expected = {"severity": BY_NAME[case.alert].severity.value, **case.labels}
    tests = [_test(case, case.fires, expected), *(_test(case, shown, None) for shown in case.quiet)]
    (tmp_path / "rules.yaml").write_text(rules_file([_alone(case.alert)]))
    file = tmp_path / "tests.yaml"
    file.write_text(json.dumps({"rule_files": ["rules.yaml"], "evaluation_interval": case.step, "tests": tests}))
    assert run(promtool, "test", "rules", str(file)) == ""


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.alert}-{case.at}")
def test_a_summary_names_only_labels_that_the_alert_has(case: Case) -> None:
    text = BY_NAME[case.alert].summary
    named = {part.split()[0].strip("}") for part in text.split("$labels.")[1:]}
    assert named <= set(case.labels)


def _alone(name: str) -> Group:
    """The alert with what is recorded for it: all of them at once would take minutes."""
    group = next(each for each in GROUPS if BY_NAME[name] in each.alerts)
    read, exprs = list[Recording](), [BY_NAME[name].expr]
    for recording in reversed(group.recordings):  # those that read others come after them
        if any(recording.name in expr for expr in exprs):
            read.insert(0, recording)
            exprs.append(recording.expr)
    return Group(group.name, tuple(read), (BY_NAME[name],))


def _test(case: Case, shown: Shown, labels: Mapping[str, str] | None) -> dict[str, Any]:
    """labels: of the alert that must fire; None where it must not."""
    firing = f'ALERTS{{alertname="{case.alert}",alertstate="firing"}}'
    samples = []
    if labels is not None:
        inside = {"alertname": case.alert, "alertstate": "firing", **labels}
        named = ",".join(f'{name}="{value}"' for name, value in inside.items())
        samples = [{"labels": f"ALERTS{{{named}}}", "value": 1}]
    return {
        "interval": case.step,
        "input_series": [{"series": name, "values": values} for name, values in {**case.also, **shown}.items()],
        "promql_expr_test": [{"expr": firing, "eval_time": case.at, "exp_samples": samples}],
    }
