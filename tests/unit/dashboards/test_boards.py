"""What every dashboard promises its readers: questions, units, colors, links, and series that exist."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from dev.dashboards import fleet, goodput, queues
from dev.dashboards.catalogue import ALL, FOLDER, files, write
from dev.dashboards.query import Scope
from dev.dashboards.served import ALL as SERVED
from dev.dashboards.served import Served
from dev.metrics.served import of_gateways, of_routers, of_servers
from trainyard.api.ledger import Category
from trainyard.api.reasons import Waiting
from trainyard.metrics import definitions as d

Object = dict[str, Any]
_UNBOUNDED = {
    "namespace",
    "training_job",
    "inference_service",
    "node",
    "pod",
    "member",
    "queue",
    "by_queue",
    "flavor",
    "cause",
    "resource",
}
"""Labels of which a cluster may have any number of values."""
BOARDS: dict[str, Object] = {name: json.loads(text) for name, text in files().items()}
PANELS = [
    pytest.param(panel, id=f"{name.removesuffix('.json')}: {panel['title']}")
    for name, board in BOARDS.items()
    for panel in board["panels"]
    if panel["type"] != "row"
]
every_board = pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
every_panel = pytest.mark.parametrize("panel", PANELS)


def expressions(board: Object) -> list[str]:
    return [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]


@every_panel
def test_a_panel_asks_a_question_and_explains_its_answer(panel: Object) -> None:
    assert panel["title"].endswith("?")
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["targets"]


@every_panel
def test_a_panel_asks_the_data_source_that_is_chosen(panel: Object) -> None:
    sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
    assert all(each == {"type": "prometheus", "uid": "${datasource}"} for each in sources)


@every_panel
def test_a_legend_is_bounded(panel: Object) -> None:
    for target in panel["targets"]:
        known = {label for each in d.ALL if each.name in target["expr"] for label in each.values}
        if set(re.findall(r"{{(\w+)}}", target["legendFormat"])) & _UNBOUNDED - known:
            assert target["expr"].startswith(("topk(10, ", "bottomk(10, ")), target["expr"]


@every_panel
def test_a_legend_names_labels_that_the_query_keeps(panel: Object) -> None:
    for target in panel["targets"]:
        for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
            assert re.search(rf"by \([^)]*\b{label}\b", target["expr"]), target["expr"]


@every_board
def test_every_variable_selects_something(board: Object) -> None:
    for each in board["templating"]["list"]:
        if each["name"] != "datasource":
            assert any(f'{each["name"]}=~"${each["name"]}"' in expr for expr in expressions(board))


@every_board
def test_a_dashboard_says_what_it_is_for_and_leads_to_the_others(board: Object) -> None:
    assert board["description"].endswith("?")
    assert board["tags"] == ["trainyard"]
    (menu,) = board["links"]
    assert (menu["type"], menu["tags"], menu["includeVars"], menu["keepTime"]) == (
        "dashboards",
        ["trainyard"],
        True,
        True,
    )
    assert [each["name"] for each in board["templating"]["list"]][:2] == ["datasource", "cluster"]


@every_board
def test_panels_lie_beside_each_other(board: Object) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not taken & cells
        assert place["x"] + place["w"] <= 24
        taken |= cells


def test_a_click_leads_to_a_dashboard_that_takes_its_labels() -> None:
    variables = {board["uid"]: {each["name"] for each in board["templating"]["list"]} for board in BOARDS.values()}
    panels = [panel for board in BOARDS.values() for panel in board["panels"] if panel["type"] != "row"]
    clickable = [panel for panel in panels if panel["fieldConfig"]["defaults"].get("links")]
    assert clickable
    for panel in clickable:
        uid, _, arguments = panel["fieldConfig"]["defaults"]["links"][0]["url"].removeprefix("/d/").partition("?")
        handed_on = set(re.findall(r"var-(\w+)=", arguments))
        assert handed_on <= variables[uid]
        assert all(f"{{{{{label}}}}}" in panel["targets"][0]["legendFormat"] for label in handed_on)


def test_names_are_used_once() -> None:
    assert (
        len({board["uid"] for board in BOARDS.values()})
        == len({board["title"] for board in BOARDS.values()})
        == len(ALL)
    )
    assert all(len(board["uid"]) <= 40 for board in BOARDS.values())


@pytest.mark.parametrize("source", SERVED, ids=lambda source: source.name)
def test_what_gateways_and_servers_are_asked_for_has_those_labels(source: Served) -> None:
    (labels,) = (each.labels for each in (*of_gateways(), *of_servers(), *of_routers()) if each.name == source.name)
    assert labels == source.own


@pytest.mark.parametrize(
    ("colors", "values"),
    [
        (queues.REASONS, [each.value for each in Waiting]),
        (goodput.CATEGORIES, [each.value for each in Category]),
        (fleet.PHASES, d.PHASES),
        (fleet.STATES, d.NODE_GPUS.values["state"]),
        (fleet.NODES, d.NODE_STATE.values["state"]),
        (fleet.STANDS, d.NODE_HEALTH.values["state"]),
        (fleet.XID_CLASSES, d.XIDS.values["class"]),
    ],
    ids=["reasons", "categories", "phases", "states", "nodes", "health", "xids"],
)
def test_every_value_has_a_color(colors: dict[str, str], values: list[str]) -> None:
    assert set(colors) == set(values)


def test_a_query_names_only_labels_that_its_metric_has() -> None:
    with pytest.raises(ValueError, match="trainyard_node_gpus has the labels node, flavor, state; got queue"):
        Scope().series(d.NODE_GPUS, queue="research")


def test_series_without_a_cluster_are_found_by_default() -> None:
    for board in BOARDS.values():
        (cluster,) = (each for each in board["templating"]["list"] if each["name"] == "cluster")
        assert cluster["allValue"] == ".*"
        assert cluster["current"]["value"] == ["$__all"]


def test_the_charts_files_are_up_to_date() -> None:
    there = {path.name: path.read_text() for path in FOLDER.iterdir()}
    assert there == files(), "run `make generate`"


def test_a_file_that_is_no_dashboard_any_more_is_removed(tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text("{}")
    assert write(tmp_path) == sorted(["old.json", *files()])
    assert {path.name for path in tmp_path.iterdir()} == set(files())
    assert write(tmp_path) == []
