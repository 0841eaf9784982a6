"""docs/security.md says of every port who may call it, and names a test for every claim: both are looked up here."""

import ast
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from trainer.environment import read_environment

from tests import builders as b
from tests.unit.security.pods import Object, pods
from trainyard.api.audit import MEANING, Action
from trainyard.config import Config
from trainyard.training.pods import MASTER_PORT

REPOSITORY = Path(__file__).parents[3]
PAGE = (REPOSITORY / "docs" / "security.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)))
SECTION = PAGE[PAGE.index("## Who may call what") :]
ROWS = re.findall(r"^\| (\w+) \| (\d+) \|", SECTION, re.MULTILINE)
POLICIES = list(yaml.safe_load_all((REPOSITORY / "examples" / "security" / "network-policies.yaml").read_text()))


@cache
def _functions(path: str) -> frozenset[str]:
    tree = ast.parse((REPOSITORY / path).read_text())
    return frozenset(each.name for each in ast.walk(tree) if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_a_test_that_is_named_is_there(path: str, name: str) -> None:
    assert name in _functions(path)


@pytest.mark.parametrize(("section", "least"), [("Threats", 19), ("Who may call what", 12)])
def test_every_threat_and_every_port_names_a_test(section: str, least: int) -> None:
    (text,) = [part for part in PAGE.split("\n## ") if part.startswith(section)]
    _, _, *claims = [line for line in text.splitlines() if line.startswith("|")]
    assert len(claims) >= least
    assert [line for line in claims if "`tests/" not in line] == []


def test_every_action_of_the_audit_trail_is_explained() -> None:
    assert re.findall(r"^\| `(\w+)` \| (.+) \|$", PAGE, re.MULTILINE) == [
        (each.value, MEANING[each]) for each in Action
    ]


LISTENING = {
    ("operator", str(Config.model_fields["http_port"].default)),
    ("operator", str(Config.model_fields["https_port"].default)),
    ("trainer", MASTER_PORT),
    ("trainer", str(read_environment({}).control_port)),
}
"""What no container of ours declares; that the chart's does is tested with the chart."""


def test_the_table_has_exactly_the_ports_that_are_listened_on() -> None:
    declared = {
        (program, str(port["containerPort"]))
        for program, pod in pods().items()
        for container in pod["spec"]["containers"]
        for port in container.get("ports", ())
    }
    assert declared | LISTENING == set(ROWS)


def test_no_port_is_in_the_table_twice() -> None:
    assert len(ROWS) == len(set(ROWS))


# The NetworkPolicies of the example.


def _selects(selector: Object, labels: dict[str, str]) -> bool:
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items()) and all(
        each["operator"] == "Exists" and each["key"] in labels for each in selector.get("matchExpressions", ())
    )


def _hears(listener: Object, speaker: Object, port: int) -> bool:
    """Whether the policies let one pod of the namespace reach another."""
    mine = [each["spec"] for each in POLICIES if _selects(each["spec"]["podSelector"], listener["metadata"]["labels"])]
    return not mine or any(
        _selects(source["podSelector"], speaker["metadata"]["labels"])
        for spec in mine
        for rule in spec["ingress"]
        if "ports" not in rule or port in [each["port"] for each in rule["ports"]]
        for source in rule["from"]
        if "podSelector" in source
    )


STRANGER: dict[str, Any] = {"metadata": {"labels": {"app": "x"}}}


@pytest.mark.parametrize(
    ("listener", "speaker", "port", "heard"),
    [
        ("server", "gateway", 8080, True),
        ("server", "gateway", 8001, True),
        ("server", "trainer", 8080, False),
        ("trainer", "trainer", 29500, True),
        ("trainer", "trainer", 29400, True),
        ("trainer", "gateway", 29500, False),
        ("gateway", "trainer", 8080, True),
    ],
)
def test_the_policies_of_the_example_let_in_whom_the_table_names(
    listener: str, speaker: str, port: int, heard: bool
) -> None:
    found = pods()
    assert _hears(found[listener], found[speaker], port) is heard


@pytest.mark.parametrize("listener", ["server", "trainer"])
def test_the_policies_of_the_example_keep_strangers_out(listener: str) -> None:
    assert not _hears(pods()[listener], STRANGER, 8080)


def test_the_policies_are_for_the_namespace_of_the_examples() -> None:
    assert {each["metadata"]["namespace"] for each in POLICIES} == {b.NAMESPACE}
