"""The chart's values and schema say the same, and its copies of the CRDs are those of the sources."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev import chart

CHART = Path(__file__).parents[3] / "helm" / "trainyard"
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
_FREE = {"namespaceSelector", "guaranteed", "resources", "nodeSelector", "labels", "annotations"}
"""Objects in values.yaml whose keys are the user's, or core/v1's."""


def objects(schema: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema of an object with its path."""
    if isinstance(schema, dict):
        if "properties" in schema:
            yield path, schema
        for key, inner in schema.items():
            yield from objects(inner, f"{path}/{key}")


def settings(values: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Path of every value that the chart defines."""
    for key, value in values.items():
        if isinstance(value, dict) and value and key not in _FREE:
            yield from settings(value, (*path, key))
        else:
            yield (*path, key)


def described(schema: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Path of every value that the schema knows."""
    for key, inner in schema["properties"].items():
        if "$ref" in inner and inner["$ref"].endswith("/image"):
            inner = SCHEMA["definitions"]["image"]  # noqa: PLW2901
        if "properties" in inner and key not in _FREE:
            yield from described(inner, (*path, key))
        else:
            yield (*path, key)


def test_the_schema_refuses_what_it_does_not_know() -> None:
    assert [path for path, schema in objects(SCHEMA) if schema.get("additionalProperties") is not False] == []


def test_the_schema_knows_exactly_the_values_there_are() -> None:
    assert set(described(SCHEMA)) - {("global",)} == set(settings(VALUES))


def test_every_section_of_the_values_is_explained() -> None:
    lines = (CHART / "values.yaml").read_text().splitlines()
    bare = []
    for path in settings(VALUES):
        if path[:1] == ("images",) and len(path) == 3:
            continue  # repository and tag, explained at the top of images
        at = next(
            i for i, line in enumerate(lines) if line.strip().startswith(f"{path[-1]}:") and _depth(line) == len(path)
        )
        above = [line for line in lines[max(0, at - 2 * len(path)) : at] if line.strip().startswith("#")]
        if not above:
            bare.append(".".join(path))
    assert bare == []


def _depth(line: str) -> int:
    return (len(line) - len(line.lstrip())) // 2 + 1


def test_the_chart_holds_the_crds_of_the_sources() -> None:
    sources = {path.name: path.read_text() for path in chart.SOURCES.glob("*.yaml")}
    copies = {path.name: path.read_text() for path in chart.COPIES.glob("*.yaml")}
    assert copies == sources, "run make generate"


def test_crds_are_kept_at_an_uninstall() -> None:
    for path in chart.COPIES.glob("*.yaml"):
        assert yaml.safe_load(path.read_text())["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_the_copy_follows_changed_new_and_vanished_crds(tmp_path: Path) -> None:
    sources, copies = tmp_path / "crds", tmp_path / "copies"
    sources.mkdir()
    (sources / "a.yaml").write_text("a: 1")
    (sources / "b.yaml").write_text("b: 1")
    assert chart.sync(sources, copies) == ["a.yaml", "b.yaml"]
    assert chart.sync(sources, copies) == []
    (sources / "a.yaml").write_text("a: 2")
    (sources / "b.yaml").unlink()
    assert sorted(chart.sync(sources, copies)) == ["a.yaml", "b.yaml"]
    assert [path.name for path in copies.iterdir()] == ["a.yaml"]


def test_the_command_says_how_it_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    assert chart.main(["snyc"]) == 2
    assert "usage" in capsys.readouterr().err
