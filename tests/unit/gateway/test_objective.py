"""Which requests count for a service's objective, and which of them were answered well."""

import asyncio
from pathlib import Path

import pytest
from gateway.objective import Objective

from tests.unit.gateway.rig import Replica, haproxy, log_socket, needs_haproxy, replicas
from tests.unit.gateway.test_callers import secret

GOOD, BAD, UNCOUNTED = (1, 1), (1, 0), (0, 0)


def a_line(**fields: object) -> str:
    shown = {"frontend": "traffic", "backend": "replicas", "server": "s-1", "status": 200, "term": "--", "let_in": 1}
    shown |= {"total_ms": 20, "ttfb_ms": 10, "queue_ms": 0, "held_ms": "-", "grpc": "-", **fields}
    return " ".join(f"{name}={value}" for name, value in shown.items())


@pytest.mark.parametrize(
    ("fields", "counted"),
    [
        ({}, GOOD),
        ({"total_ms": 100}, GOOD),
        ({"total_ms": 101}, BAD),
        ({"status": 500}, BAD),
        ({"status": 503, "server": "<NOSRV>"}, BAD),
        ({"status": -1, "term": "SH"}, BAD),
        ({"status": 429, "server": "<NOSRV>"}, BAD),
        ({"status": 429, "let_in": "-"}, UNCOUNTED),  # beyond the caller's own limit
        ({"status": 400}, UNCOUNTED),
        ({"status": 401, "let_in": "-"}, UNCOUNTED),
        ({"term": "CD"}, UNCOUNTED),
        ({"frontend": "beside"}, UNCOUNTED),
        ({"frontend": "traffic-grpc"}, GOOD),
        ({"frontend": "traffic-grpc", "grpc": 14}, BAD),
        ({"frontend": "traffic-grpc", "grpc": 8}, BAD),
        ({"frontend": "traffic-grpc", "grpc": 3}, UNCOUNTED),  # an argument that is not valid
        ({"frontend": "traffic-grpc", "server": "<NOSRV>"}, BAD),  # refused by us, with status 200 as gRPC has it
    ],
)
def test_what_the_service_was_to_answer_counts(fields: dict[str, object], counted: tuple[int, int]) -> None:
    objective = Objective(milliseconds=100)
    objective.take(a_line(**fields))
    assert (objective.requests, objective.good) == counted


@pytest.mark.parametrize(
    ("fields", "counted"),
    [
        ({"total_ms": 60_000, "ttfb_ms": 90}, GOOD),
        ({"total_ms": 60_000, "ttfb_ms": 60, "queue_ms": 41}, BAD),
        ({"total_ms": 60_000, "ttfb_ms": 60, "held_ms": 41}, BAD),
        ({"total_ms": 50, "ttfb_ms": -1}, BAD),
    ],
)
def test_of_a_stream_the_first_byte_counts_with_what_was_waited_for_it(
    fields: dict[str, object], counted: tuple[int, int]
) -> None:
    objective = Objective(milliseconds=100, first_byte=True)
    objective.take(a_line(**fields))
    assert (objective.requests, objective.good) == counted


def test_without_an_objective_nothing_is_counted() -> None:
    objective = Objective(milliseconds=0)
    objective.take(a_line())
    assert objective.requests == 0


@needs_haproxy
async def test_haproxy_tells_who_was_let_in(tmp_path: Path) -> None:
    a, folder, objective = Replica("a"), secret(tmp_path, ann="a"), Objective(milliseconds=10_000)
    async with replicas(a), haproxy(keys_folder=folder, rate_requests=2, rate_seconds=30) as running:
        await running.follow(a.member)
        with log_socket(running.settings.folder) as inbox:
            statuses = [(await running.post(X_API_Key=key))[0] for key in ("no", "a", "a", "a")]
            for _ in statuses:
                objective.take((await asyncio.to_thread(inbox.recv, 8192)).decode())
    assert statuses == [401, 200, 200, 429]
    assert (objective.requests, objective.good) == (2, 2)
