"""The definitions are the truth: every one is produced, nothing else is, and the documentation follows them."""

import re
from pathlib import Path

import pytest

from dev.metrics.page import page
from tests.unit.metrics.scripted_world import full_registry
from trainyard.metrics.definitions import ALL, PREFIX, SERIES_DROPPED, Kind, Metric

REPOSITORY = Path(__file__).parents[3]


def test_no_two_metrics_share_a_name() -> None:
    names = [metric.family for metric in ALL]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.name)
def test_a_definition_is_complete_and_named_as_prometheus_asks(metric: Metric) -> None:
    assert re.fullmatch(rf"{PREFIX}[a-z][a-z0-9_]*[a-z0-9]", metric.name)
    assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER)
    assert not re.search(r"_(millis|milliseconds|ms|gb|mb|percent|minutes)(_|$)", metric.name)
    assert metric.meaning.endswith(".")
    assert bool(metric.buckets) == (metric.kind is Kind.HISTOGRAM)
    assert set(metric.values) <= set(metric.labels)
    assert "le" not in metric.labels


async def test_every_definition_is_produced_with_its_labels_and_nothing_else_is() -> None:
    found = {family.name: family for family in full_registry(cap=10).collect()}
    assert set(found) == {metric.family for metric in ALL}
    for metric in ALL:
        family = found[metric.family]
        assert (family.type, family.documentation) == (metric.kind.value, metric.meaning)
        samples = [each for each in family.samples if not each.name.endswith("_created")]
        assert samples
        assert {frozenset(set(each.labels) - {"le"}) for each in samples} == {frozenset(metric.labels)}, metric.name


async def test_nothing_is_left_out_of_an_ordinary_scrape() -> None:
    assert SERIES_DROPPED.family not in {family.name for family in full_registry().collect()}


def test_the_documentation_is_up_to_date() -> None:
    assert (REPOSITORY / "docs" / "metrics.md").read_text() == page()
