"""What each revision did, added up over gateways that come and go."""

import itertools
from typing import Any

import pytest

from trainyard.api.rollout import RevisionCounts
from trainyard.inference.board import BadSync, parse_sync
from trainyard.inference.rollout.counting import Counter, TrafficReport, answers, tally
from trainyard.inference.rollout.verdict import Answers, Comparison, Margins, Tally, judge

_numbers = itertools.count(1)


def told(boot: str, requests: int, errors: int = 0, **times: int) -> TrafficReport:
    buckets = {name.removeprefix("b"): count for name, count in times.items()}
    return TrafficReport.model_validate(
        {
            "boot": boot,
            "number": next(_numbers),
            "revisions": {"new": {"requests": requests, "errors": errors, "times": buckets}},
        }
    )


def put(*reports: tuple[str, TrafficReport]) -> tuple[int, int, dict[int, int]]:
    counter = Counter("x")
    for pod, report in reports:
        counter.put("u", pod, report)
    found = counter.of("u").of("new")
    return found.requests, found.errors, dict(found.times)


def test_gateways_are_added_from_where_they_stood() -> None:
    found = put(
        ("g1", told("a", 100, 5, b3=95)),  # counted by another operator, perhaps
        ("g2", told("b", 0)),
        ("g1", told("a", 110, 6, b3=104)),
        ("g2", told("b", 7, 0, b3=5, b9=2)),
    )
    assert found == (17, 1, {3: 14, 9: 2})


def test_compared_answers_are_added_like_requests() -> None:
    counter = Counter("x")
    for boot, compared, differed in (("a", 5, 5), ("a", 9, 6), ("b", 2, 1), ("b", 1, 0)):
        report = {
            "boot": boot,
            "number": next(_numbers),
            "revisions": {"new": {"compared": compared, "differed": differed}},
        }
        counter.put("u", "g", TrafficReport.model_validate(report))
    found = counter.of("u").of("new")
    assert (found.compared, found.differed) == (4 + 2 + 1, 1 + 1)
    assert answers(found.beyond(None)) == Answers(7, 2)


def test_a_gateway_that_restarts_is_counted_from_nothing() -> None:
    assert put(("g", told("a", 5)), ("g", told("a", 9)), ("g", told("b", 3)), ("g", told("b", 4))) == (8, 0, {})


def test_a_report_that_was_overtaken_or_repeated_counts_nothing() -> None:
    none, some, more = told("a", 0), told("a", 8), told("a", 10)
    assert put(*[("g", each) for each in (none, more, some, more, told("a", 11))]) == (11, 0, {})


def test_a_revision_that_a_gateway_had_forgotten_counts_from_nothing() -> None:
    assert put(*[("g", told("a", each)) for each in (0, 10, 3, 4)]) == (14, 0, {})


def test_what_a_gateway_counted_stays_when_it_is_gone() -> None:
    counter = Counter("x")
    counter.put("u", "g", told("a", 0))
    counter.put("u", "g", told("a", 4))
    counter.keep_only("u", set())
    assert counter.of("u").of("new").requests == 4
    counter.forget("u")
    assert counter.of("u").totals == {}


@pytest.mark.parametrize(
    "revisions", [{"x": {"requests": -1}}, {str(each): {} for each in range(99)}, {"x": {"times": {"a": 1}}}]
)
def test_a_report_that_makes_no_sense_is_refused(revisions: Any) -> None:
    body = {"namespace": "n", "service": "s", "serviceUid": "u", "pod": "g", "generation": 1}
    with pytest.raises(BadSync):
        parse_sync({**body, "traffic": {"boot": "a", "revisions": revisions}})


def test_numbers_that_cannot_be_do_no_harm() -> None:
    odd = tally(RevisionCounts(requests=-5, errors=9, answered=4, slow=7))
    assert odd == Tally(0, 0, 4, 4)
    assert answers(RevisionCounts(compared=3, differed=7)) == Answers(3, 3)
    judge(Comparison(odd, odd), Margins(), 1)
