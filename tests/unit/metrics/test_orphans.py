"""No orphans: what is measured is documented and looked at, and what is looked at is measured, with labels and values that it has.

That each is exercised is the part of tests/simulation/test_metrics.py for the operator, tests/unit/server/test_metrics.py and
tests/unit/gateway/test_metrics.py.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from dev.alerting.catalogue import ALERTS, RECORDINGS
from dev.chart import REPOSITORY
from dev.dashboards.catalogue import ALL as BOARDS
from dev.metrics.served import SCRAPED, of_gateways, of_routers, of_servers
from trainyard.metrics.definitions import ALL, Kind

_SELECTOR = re.compile(r"(?<![\w:])(trainyard_\w+)(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'(\w+)\s*(=~|!~|=|!=)\s*"([^"]*)"')
_ADDED = ("cluster", "pod", "instance", "job")
"""Labels that Prometheus may add to any series."""


@dataclass(frozen=True)
class Family:
    """As far as queries need to know it."""

    histogram: bool
    labels: frozenset[str]
    values: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def parts(self) -> Sequence[str]:
        return ("_bucket", "_sum", "_count") if self.histogram else ("",)


@dataclass(frozen=True)
class Asked:
    """Who asks, and how."""

    name: str
    expr: str


FAMILIES = {
    **{each.name: Family(each.kind is Kind.HISTOGRAM, frozenset(each.labels), each.values) for each in ALL},
    **{
        each.name: Family(each.kind == "histogram", frozenset((*each.labels, *SCRAPED)))
        for each in (*of_gateways(), *of_servers(), *of_routers())
    },
}
SERIES = {name + part: family for name, family in FAMILIES.items() for part in family.parts}
RULES = [*(Asked(each.name, each.expr) for each in ALERTS), *(Asked(each.name, each.expr) for each in RECORDINGS)]
PANELS = [
    Asked(f"{board.title}: {panel.title} {query.legend}", query.expr)
    for board in BOARDS
    for panel in board.panels
    for query in panel.queries
]
everybody = pytest.mark.parametrize("asked", [*PANELS, *RULES], ids=lambda asked: asked.name)


def selectors(expr: str) -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    """Names of series, with their matchers: label, operator, value."""
    for name, inside in _SELECTOR.findall(expr):
        yield name, _MATCHER.findall(inside)


def test_every_metric_is_documented() -> None:
    documented = set(re.findall(r"^\| `(\w+)` \|", (REPOSITORY / "docs" / "metrics.md").read_text(), re.MULTILINE))
    assert set(FAMILIES) == documented


def test_every_metric_is_looked_at_by_a_panel_or_a_rule() -> None:
    seen = {name for asked in (*PANELS, *RULES) for name, _ in selectors(asked.expr)}
    unseen = sorted(name for name, family in FAMILIES.items() if not {name + part for part in family.parts} & seen)
    assert not unseen, "add a panel where one would look for it, or delete what nobody needs"


@everybody
def test_what_is_asked_for_is_measured(asked: Asked) -> None:
    for name, matchers in selectors(asked.expr):
        assert name in SERIES, name
        for label, how, value in matchers:
            assert label in {*SERIES[name].labels, *_ADDED, "le"}, f"{name} has no label {label}"
            known = SERIES[name].values.get(label)
            if known and how != "!=" and "$" not in value:
                fitting = [each for each in known if re.fullmatch(value, each)]
                assert fitting, f"{label} of {name} is one of {', '.join(known)}, never {value}"
                alternatives = value.split("|") if re.fullmatch(r"[\w|]+", value) else ()
                assert set(alternatives) <= set(known), f"{label} of {name} is one of {', '.join(known)}"


@everybody
def test_series_are_grouped_by_labels_that_they_have(asked: Asked) -> None:
    """All of an expression's series together: each of them has some."""
    has = {label for name, _ in selectors(asked.expr) for label in SERIES[name].labels}
    recorded = re.findall(r"\b([a-z_]+):trainyard_", asked.expr)
    for labels in re.findall(r"\bby \(([^)]*)\)", asked.expr):
        named = {each.strip() for each in labels.split(",") if each.strip()}
        assert named <= {*has, *_ADDED, "le"} or recorded, f"nothing in it has {named - has}"
