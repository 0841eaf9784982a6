"""Documents and examples say what the API says."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from trainyard.api.crds import KINDS
from trainyard.api.names import API_VERSION
from trainyard.api.reasons import Waiting

REPOSITORY = Path(__file__).parents[3]
CONCEPTS = (REPOSITORY / "docs" / "concepts.md").read_text()
EXAMPLES = sorted(path for path in (REPOSITORY / "examples").rglob("*.yaml") if path.parent.name != "simulate")
MODELS = {model.__name__: model for model in KINDS}


def test_every_reason_of_a_wait_is_explained() -> None:
    table = re.findall(r"^\| `(\w+)` \|", CONCEPTS[CONCEPTS.index("## Why it waits") :], re.MULTILINE)
    assert table == [reason.value for reason in Waiting]


def test_every_example_that_is_named_is_there() -> None:
    named = set(re.findall(r"`([\w-]+\.yaml)`", CONCEPTS))
    assert named
    assert named <= {path.name for path in EXAMPLES}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_says_nothing_that_the_models_do_not_know(path: Path) -> None:
    """What the API server says of it is asked elsewhere; this is quick."""
    for each in yaml.safe_load_all(path.read_text()):
        if each["apiVersion"] == API_VERSION:
            read = MODELS[each["kind"]].model_validate(each)
            assert unknown(each["spec"], read.spec.model_dump(by_alias=True, mode="json")) == []


def test_every_example_of_serving_is_run_on_a_cluster() -> None:
    """Which takes minutes; that one was forgotten is told in seconds."""
    table = (REPOSITORY / "tests" / "e2e" / "test_serving_examples.py").read_text()
    run = re.findall(r"Example\(\s*\"([\w-]+\.yaml)\"", table)
    assert sorted(run) == [path.name for path in EXAMPLES if path.parent.name == "serving"]


def unknown(given: Any, known: Any, path: str = "spec") -> list[str]:
    """Fields of `given` that `known` lacks. Free-form parts come back as they were given."""
    if isinstance(given, dict):
        return [
            found
            for name, value in given.items()
            for found in (
                unknown(value, known[name], f"{path}.{name}")
                if isinstance(known, dict) and name in known
                else [f"{path}.{name}"]
            )
        ]
    if isinstance(given, list):
        return [found for mine, theirs in zip(given, known, strict=True) for found in unknown(mine, theirs, path)]
    return []
