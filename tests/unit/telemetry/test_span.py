"""The header `traceparent`, and which requests are traced."""

from random import Random

import pytest
from telemetry.span import Ids, Parent, error_of, is_sampled, new_span, parse_traceparent

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
IDS = Ids(int(TRACE, 16), int(SPAN, 16))


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (f"00-{TRACE}-{SPAN}-01", Parent(IDS, sampled=True)),
        (f"00-{TRACE}-{SPAN}-00", Parent(IDS, sampled=False)),
        (f"00-{TRACE}-{SPAN}-02", Parent(IDS, sampled=False)),  # a flag that is not known yet
        (f"cc-{TRACE}-{SPAN}-03-more", Parent(IDS, sampled=True)),  # a version that is not known yet
        (f"00-{TRACE}-{SPAN}-01-more", None),
        (f"ff-{TRACE}-{SPAN}-01", None),
        (f"00-{TRACE.upper()}-{SPAN}-01", None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE}-{SPAN}", None),
        ("", None),
        (None, None),
    ],
)
def test_a_header_names_the_parent_or_nothing(header: str | None, found: Parent | None) -> None:
    assert parse_traceparent(header) == found


def test_the_parent_decides_and_without_one_the_ratio() -> None:
    random = Random(1)
    assert all(is_sampled(Parent(IDS, sampled=True), 0.0, random) for _ in range(100))
    assert not any(is_sampled(Parent(IDS, sampled=False), 1.0, random) for _ in range(100))
    assert 2300 < sum(is_sampled(None, 0.25, random) for _ in range(10_000)) < 2700
    assert not any(is_sampled(None, 0.0, random) for _ in range(100))
    assert all(is_sampled(None, 1.0, random) for _ in range(100))


def test_a_new_span_stays_in_its_trace() -> None:
    random = Random(1)
    first, second = new_span(random, IDS.trace), new_span(random)
    assert first.trace == IDS.trace != second.trace
    assert first.span != second.span


def test_refusals_and_failures_are_errors() -> None:
    assert [error_of(status) for status in (200, 304, 404, 429, 503)] == ["", "", "404", "429", "503"]
