"""Values, schema, table and the operator's settings say the same, and the chart's copies of the CRDs are those of the sources."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.chart import CHART
from dev.chart.__main__ import PAGE, SCHEMA, main
from dev.chart.crds import COPIES, SOURCES, sync
from dev.chart.document import with_table
from dev.chart.model import Image, Section
from dev.chart.schema import schema_of, schema_text
from dev.chart.values import documented
from trainyard.config import Config

TOLD: dict[str, Any] = json.loads(SCHEMA.read_text())


class Pair(Section):
    """Of a chart that these tests make up."""

    image: Image
    weight: int


def objects(schema: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema of an object with its path."""
    if isinstance(schema, dict):
        if "properties" in schema:
            yield path, schema
        for key, inner in schema.items():
            yield from objects(inner, f"{path}/{key}")


def test_the_schema_and_the_table_are_those_of_the_values() -> None:
    values = documented()
    assert SCHEMA.read_text() == schema_text(values), "run make generate"
    assert PAGE.read_text() == with_table(PAGE.read_text(), values), "run make generate"


@pytest.mark.fault(96)
def test_the_schema_refuses_what_it_does_not_know() -> None:
    assert [path for path, schema in objects(TOLD) if schema.get("additionalProperties") is not False] == []


def test_every_definition_is_used() -> None:
    text = json.dumps(TOLD)
    assert [name for name in TOLD["definitions"] if f'"#/definitions/{name}"' not in text] == []


@pytest.mark.parametrize(("value", "setting"), [("workers", "workers"), ("repairSeconds", "repair_seconds")])
def test_bounds_are_those_of_the_operators_own_settings(value: str, setting: str) -> None:
    told = TOLD["properties"]["operator"]["properties"][value]
    config = Config.model_json_schema()["properties"][setting]
    bounds = {"minimum", "maximum", "exclusiveMinimum"} & config.keys()
    assert bounds
    assert {bound: told[bound] for bound in bounds} == {bound: config[bound] for bound in bounds}


def test_defaults_are_those_of_the_operator() -> None:
    given = yaml.safe_load((CHART / "values.yaml").read_text())
    fields = Config.model_fields
    for value, setting in (("workers", "workers"), ("repairSeconds", "repair_seconds"), ("logLevel", "log_level")):
        assert given["operator"][value] == fields[setting].default
    assert given["telemetry"]["sampleRatio"] == fields["trace_ratio"].default


IMAGE = "image: {repository: a/b, tag: '', digest: ''}\n"


def values(folder: Path, text: str) -> Path:
    path = folder / "values.yaml"
    path.write_text(text)
    return path


def test_a_description_is_the_comment_above_or_else_the_models(tmp_path: Path) -> None:
    text = f"# Not this one.\n\n# What\n# runs.\n{IMAGE}# How heavy.\nweight: 3\n"
    found = {".".join(value.path): value for value in documented(values(tmp_path, text), Pair)}
    assert found["image"].description == "What runs."
    assert found["weight"].description == "How heavy."
    assert found["image.tag"].description == Image.model_fields["tag"].description
    assert [value.dispensable for value in found.values()] == [False, False, True, True, False]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"# x\n{IMAGE}weight: 3\n", "no comment above weight"),
        (f"# x\n{IMAGE}", r"without \['weight'\]"),
        (f"# x\n{IMAGE}# x\nweight: 3\n# x\nheight: 3\n", r"does not know \['height'\]"),
        ("# x\nimage: {repository: a/b, tag: ''}\n# x\nweight: 3\n", r"image: without \['digest'\]"),
    ],
)
def test_a_value_without_type_default_or_description_is_an_error(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        documented(values(tmp_path, text), Pair)


def test_what_templates_need_cannot_be_taken_away() -> None:
    root = schema_of(documented())
    operator = root["properties"]["operator"]
    assert "replicas" in operator["required"]
    assert "affinity" not in operator["required"]
    assert {"operator", "images", "metrics"} <= set(root["required"])


def test_the_page_must_have_a_place_for_the_table() -> None:
    with pytest.raises(ValueError, match="expected the lines"):
        with_table("# The chart\n", documented())


def test_the_chart_holds_the_crds_of_the_sources() -> None:
    sources = {path.name: path.read_text() for path in SOURCES.glob("*.yaml")}
    copies = {path.name: path.read_text() for path in COPIES.glob("*.yaml")}
    assert copies == sources, "run make generate"


def test_crds_are_kept_at_an_uninstall() -> None:
    for path in COPIES.glob("*.yaml"):
        assert yaml.safe_load(path.read_text())["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_the_copy_follows_changed_new_and_vanished_crds(tmp_path: Path) -> None:
    sources, copies = tmp_path / "crds", tmp_path / "copies"
    sources.mkdir()
    (sources / "a.yaml").write_text("a: 1")
    (sources / "b.yaml").write_text("b: 1")
    assert sync(sources, copies) == ["a.yaml", "b.yaml"]
    assert sync(sources, copies) == []
    (sources / "a.yaml").write_text("a: 2")
    (sources / "b.yaml").unlink()
    assert sorted(sync(sources, copies)) == ["a.yaml", "b.yaml"]
    assert [path.name for path in copies.iterdir()] == ["a.yaml"]


def test_the_command_says_how_it_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["snyc"]) == 2
    assert "usage" in capsys.readouterr().err
