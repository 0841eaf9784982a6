"""What the sidecar counts of each revision from HAProxy's log."""

import asyncio
import socket
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from gateway import store
from gateway.members import Member, Membership
from gateway.sidecar import Sidecar
from gateway.traffic import BUCKETS, MOST_REVISIONS, PER_OCTAVE, Traffic, bucket, listen

from tests.unit.gateway.rig import Replica, haproxy, needs_haproxy, replicas, until
from trainyard.inference.board import parse_sync
from trainyard.inference.rollout import latency

OLD, NEW = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def a_member(name: str, digest: str, *, canary: bool = False) -> Member:
    return Member(name, "10.0.0.1", 8080, digest=digest, canary=canary)


def a_line(server: str = "s-1", **fields: object) -> str:
    shown = {"frontend": "traffic", "backend": "replicas", "server": server, "status": 200, "term": "--"}
    shown |= {"total_ms": 20, "held_ms": "-", **fields}
    return " ".join(f"{name}={value}" for name, value in shown.items())


@pytest.fixture
def traffic() -> Traffic:
    found = Traffic("boot")
    found.know(Membership(1, (a_member("s-1", OLD), a_member("s-2", NEW, canary=True))))
    return found


def counted(traffic: Traffic, digest: str = OLD) -> tuple[int, int, dict[str, int]]:
    found = traffic.report()["revisions"].get(digest, {"requests": 0, "errors": 0, "times": {}})
    return found["requests"], found["errors"], found["times"]


def test_answers_count_with_their_time_and_failures_without(traffic: Traffic) -> None:
    for line in (a_line(), a_line(status=400), a_line(status=503), a_line(status=-1, term="SC"), a_line("s-2")):
        traffic.take(line)
    assert counted(traffic) == (4, 2, {str(bucket(20)): 2})
    assert counted(traffic, NEW) == (1, 0, {str(bucket(20)): 1})


def test_time_held_for_a_first_replica_is_not_the_models(traffic: Traffic) -> None:
    traffic.take(a_line(total_ms=5020, held_ms=5000))
    assert counted(traffic)[2] == {str(bucket(20)): 1}


@pytest.mark.parametrize(
    "line",
    [
        "",
        "nonsense",
        a_line(frontend="inside"),
        a_line(term="CD"),  # the caller went away
        a_line("<NOSRV>", backend="traffic", status=429),
        a_line("<NOSRV>", status=503),
        a_line("unknown"),
    ],
)
def test_what_is_no_answer_of_a_revision_counts_nothing(traffic: Traffic, line: str) -> None:
    traffic.take(line)
    assert traffic.report() == {"boot": "boot", "number": 1, "revisions": {}}


def test_a_canary_that_is_not_there_has_failed(traffic: Traffic) -> None:
    traffic.take(a_line("<NOSRV>", backend="canary", status=503))
    assert counted(traffic, NEW) == (1, 1, {})


def test_an_answer_with_a_status_of_grpc_that_rest_has_as_500_or_more_has_failed(traffic: Traffic) -> None:
    for status in ("-", "3", "8", "2", "4", "13", "14"):
        traffic.take(a_line(frontend="traffic-grpc", backend="replicas-grpc", grpc=status))
    assert counted(traffic)[:2] == (7, 4)
    assert traffic.grpc_failures == {("replicas-grpc", "s-1"): 4}


def test_a_caller_with_tls_counts(traffic: Traffic) -> None:
    traffic.take(a_line(frontend="traffic~"))
    assert counted(traffic)[0] == 1


def test_the_last_requests_of_a_member_that_left_count(traffic: Traffic) -> None:
    traffic.know(Membership(2, ()))
    traffic.take(a_line())
    assert counted(traffic)[0] == 1


def test_compared_answers_count_for_who_answered_the_copy(traffic: Traffic) -> None:
    for differs in (False, True, False):
        traffic.compare(NEW, differs=differs)
    told = traffic.report()["revisions"]
    assert list(told) == [NEW]
    assert (told[NEW]["compared"], told[NEW]["differed"], told[NEW]["requests"]) == (3, 1, 0)


def test_memory_is_bounded(traffic: Traffic) -> None:
    for number in range(3 * MOST_REVISIONS):
        digest = f"sha256:{number:064}"
        traffic.know(Membership(number + 3, (a_member(f"t-{number}", digest),)))
        traffic.take(a_line(f"t-{number}"))
    revisions = traffic.report()["revisions"]
    assert len(revisions) == MOST_REVISIONS
    assert digest in revisions


def test_the_operator_takes_the_report_and_has_the_same_buckets(traffic: Traffic) -> None:
    traffic.take(a_line())
    body = {"namespace": "n", "service": "s", "serviceUid": "u", "pod": "g", "generation": 1}
    found = parse_sync({**body, "traffic": traffic.report()}).traffic
    assert found is not None
    assert found.revisions[OLD].times == {bucket(20): 1}
    assert (latency.PER_OCTAVE, latency.BUCKETS) == (PER_OCTAVE, BUCKETS)
    assert [latency.bucket(each) for each in (0, 1, 2, 777, 1e9)] == [bucket(each) for each in (0, 1, 2, 777, 1e9)]


async def test_lines_come_in_at_a_socket(traffic: Traffic, tmp_path: Path) -> None:
    path = tmp_path / "log.sock"
    work = asyncio.create_task(listen(path, traffic.take))
    try:
        await until(path.exists, "the socket is there")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            for _ in range(5):
                sender.sendto(a_line().encode(), str(path))
        await until(lambda: counted(traffic)[0] == 5, "the lines are counted")
    finally:
        work.cancel()
        with suppress(asyncio.CancelledError):
            await work
    assert not path.exists()


@needs_haproxy
async def test_haproxy_tells_of_each_request() -> None:
    good, bad = Replica("good"), Replica("bad", fail=500)
    async with replicas(good, bad), haproxy() as running:
        members = (replace(good.member, digest=OLD), replace(bad.member, digest=NEW))
        store.save(running.settings.members_file, Membership(1, members))
        found = Sidecar(running.settings, running.runtime)
        work = asyncio.create_task(found.run())
        try:
            await until(lambda: found.standing.ready() and running.settings.log_socket.exists(), "it is ready")
            statuses = [(await running.post())[0] for _ in range(20)]
            failed = statuses.count(500)
            assert failed > 0
            await until(lambda: counted(found.traffic)[:2] == (20 - failed, 0), "the good answers are counted")
            await until(lambda: counted(found.traffic, NEW) == (failed, failed, {}), "the bad answers are counted")
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
