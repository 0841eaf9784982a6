"""Priorities, deadlines and limits: what is understood, what is refused, what a caller sees."""

import asyncio
import time
from collections.abc import Callable
from math import inf
from typing import Any

import pytest
from server.errors import BadRequest, StartError
from server.limits import Limits, parse_limits
from server.model import Model
from server.terms import PLAIN, Terms, terms_of, timeout_of


@pytest.mark.parametrize(
    ("headers", "timeout", "terms"),
    [
        ({}, None, PLAIN),
        ({"X-Trainyard-Priority": "3"}, None, Terms(3)),
        ({"X-Trainyard-Priority": " -9 "}, None, Terms(-9)),
        ({"X-Trainyard-Deadline-Ms": "250"}, None, Terms(0, 0.25)),
        ({}, 1500, Terms(0, 0.0015)),
        ({"X-Trainyard-Deadline-Ms": "250"}, 1_000_000, Terms(0, 0.25)),
    ],
)
def test_terms_come_from_headers_and_the_timeout(headers: dict[str, str], timeout: int | None, terms: Terms) -> None:
    assert terms_of(headers, timeout) == terms


@pytest.mark.parametrize(
    ("header", "value"),
    [("Priority", "10"), ("Priority", "high"), ("Deadline-Ms", "-1"), ("Deadline-Ms", "1.5"), ("Deadline-Ms", "")],
)
def test_a_wrong_header_is_named_with_what_was_expected(header: str, value: str) -> None:
    with pytest.raises(BadRequest, match=rf"X-Trainyard-{header} is '{value}'; expected a whole number from"):
        terms_of({f"X-Trainyard-{header}": value})


def test_what_is_left_of_a_deadline_never_falls_below_nothing() -> None:
    assert Terms(2, 0.5).after(0.2) == Terms(2, 0.3)
    assert Terms(2, 0.5).after(1.0) == Terms(2, 0.0)
    assert Terms(2, inf).after(1.0) == Terms(2, inf)


def test_a_timeout_is_whole_microseconds_and_zero_is_none() -> None:
    assert [timeout_of(one) for one in (None, {}, {"timeout": 0}, {"timeout": 7})] == [None, None, None, 7]
    for wrong in ("7", 1.5, -1, True):
        with pytest.raises(BadRequest, match="whole number of microseconds"):
            timeout_of({"timeout": wrong})


def test_limits_of_a_model_change_only_what_they_name() -> None:
    limits = parse_limits('{"a": {"maxBatch": 8}, "b": {"latencyBudgetMs": 20, "maxQueue": 5}}', Limits(64, 32, 0))
    assert limits == {"a": Limits(8, 32, 0), "b": Limits(64, 5, 20)}
    assert parse_limits("", Limits()) == {}


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 1}', '{"a": {"batch": 1}}', '{"a": {"maxBatch": 0}}'])
def test_wrong_limits_stop_the_start(text: str) -> None:
    with pytest.raises(StartError, match="TRAINYARD_MODEL_LIMITS"):
        parse_limits(text, Limits())


async def test_expired_requests_get_504_and_are_never_computed(
    running: Any, ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    original, passes = Model.infer, []

    def infer(self: Model, rows: Any) -> Any:
        time.sleep(0.1)
        passes.append(len(rows))
        return original(self, rows)

    monkeypatch.setattr(Model, "infer", infer)
    async with running() as client:
        passes.clear()  # the warm-up
        first = asyncio.create_task(client.infer(ask()))
        await asyncio.sleep(0.03)
        url = f"{client.base}/v2/models/digits/infer"
        async with client.session.post(url, json=ask(), headers={"X-Trainyard-Deadline-Ms": "20"}) as response:
            assert response.status == 504
            assert "deadline passed" in (await response.json())["error"]
        status, _ = await client.infer(ask() | {"parameters": {"timeout": 1000}})
        assert (await first)[0] == 200
        async with client.session.get(f"{client.base}/metrics") as response:
            metrics = await response.text()
    assert (status, passes) == (504, [1])
    assert 'trainyard_server_saved_rows_total{reason="deadline"} 2.0' in metrics
