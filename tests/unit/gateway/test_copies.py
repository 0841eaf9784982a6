"""Copies of requests for a canary, with a real HAProxy: what is compared, and that no caller ever notices."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from gateway import store
from gateway.answers import Answer
from gateway.copies import AT_ONCE, parse_copy
from gateway.members import Membership
from gateway.sections import COPY_BYTES
from gateway.sidecar import Sidecar
from gateway.split import Split

from tests.unit.gateway.rig import Haproxy, Replica, haproxy, needs_haproxy, replicas, until

OLD, NEW = "sha256:" + "a" * 64, "sha256:" + "b" * 64
LABEL = [{"name": "label", "datatype": "INT64", "shape": [-1]}]
ALL = Split(shadow=10_000)


def answer(label: int) -> dict[str, Any]:
    return {"outputs": [{"name": "label", "datatype": "INT64", "shape": [1], "data": [label]}]}


def stable(**changes: Any) -> Replica:
    return Replica("stable", digest=OLD, outputs=LABEL, says=answer(1), **changes)


def canary(label: int = 1, **changes: Any) -> Replica:
    return Replica("canary", canary=True, digest=NEW, outputs=LABEL, says=answer(label), **changes)


@asynccontextmanager
async def copying(running: Haproxy, *both: Replica, split: Split = ALL) -> AsyncIterator[Sidecar]:
    """A sidecar that follows these members and has read what they give."""
    store.save(running.settings.members_file, Membership(1, tuple(each.member for each in both), split))
    found = Sidecar(running.settings, running.runtime)
    work = asyncio.create_task(found.run())
    try:
        await until(
            lambda: found.standing.observed and sum(one.up for one in found.standing.observed.servers) == len(both),
            "all are up",
        )
        await until(lambda: found.standing.applied == 1 and found.contracts.of(OLD), "the contract is known")
        yield found
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


def lower(replica: Replica) -> dict[str, str]:
    """Headers of its first request, by their names in lower case."""
    return {name.lower(): value for name, value in replica.headers[0].items()}


def compared(found: Sidecar) -> tuple[int, int]:
    told = found.traffic.report()["revisions"].get(NEW, {"compared": 0, "differed": 0})
    return told["compared"], told["differed"]


@needs_haproxy
@pytest.mark.parametrize(("label", "different"), [(1, 0), (2, 5)])
async def test_the_canary_answers_copies_and_only_the_stable_revision_the_callers(label: int, different: int) -> None:
    old, new = stable(), canary(label)
    async with replicas(old, new), haproxy() as running, copying(running, old, new) as found:
        for _ in range(5):
            status, body, _ = await running.post("/v2/models/digits/infer", b"x" * 100)
            assert (status, body) == (200, answer(1))
        await until(lambda: compared(found)[0] == 5, "the copies are compared")
        assert compared(found) == (5, different)
        assert (old.asked, new.asked) == (5, 5)
        assert lower(new)["x-trainyard-priority"] == "-9"
        assert (found.copies.sent, found.copies.compared, found.copies.different) == (5, 5, different)
        assert found.traffic.report()["revisions"][NEW]["requests"] == 0, "a copy is no caller's request"


@needs_haproxy
async def test_a_copy_has_the_bytes_and_headers_that_say_what_they_are() -> None:
    old, new = stable(), canary()
    body = bytes(range(256)) * 180
    async with replicas(old, new), haproxy() as running, copying(running, old, new) as found:
        sent = {"Content_Type": "application/octet-stream", "Inference_Header_Content_Length": "7"}
        await running.post("/v2/models/digits/infer?a=b", body, **sent, X_Secret="s")
        await until(lambda: compared(found)[0] == 1, "the copy is compared")
        headers = lower(new)
        assert (headers["content-type"], headers["inference-header-content-length"]) == (
            "application/octet-stream",
            "7",
        )
        assert int(headers["content-length"]) == len(body)
        assert "x-secret" not in headers


@needs_haproxy
async def test_only_short_inferences_are_copied_and_only_while_they_are_asked_for() -> None:
    old, new = stable(), canary()
    async with replicas(old, new), haproxy() as running, copying(running, old, new) as found:
        assert (await running.post("/v2/models/digits/infer", b"x" * (COPY_BYTES + 1)))[0] == 200
        assert (await running.post("/v2/repository/index"))[0] == 200
        old.says = {"outputs": "x" * COPY_BYTES}
        assert (await running.post("/v2/models/digits/infer"))[1] == old.says
        old.says, old.fail = answer(1), 400
        assert (await running.post("/v2/models/digits/infer"))[0] == 400
        await asyncio.sleep(0.3)
        assert new.asked == 0
    async with replicas(old, new), haproxy() as running, copying(running, old, new, split=Split()) as found:
        old.fail = 0
        await running.posts(20, path="/v2/models/digits/infer")
        await asyncio.sleep(0.3)
        assert (new.asked, found.copies.dropped) == (0, 0)


@needs_haproxy
async def test_a_stream_is_handed_on_event_by_event_and_not_compared() -> None:
    old, new = stable(delay=0.2), canary()
    old.says = None
    async with replicas(old, new), haproxy() as running, copying(running, old, new):
        began = time.monotonic()
        url = f"http://127.0.0.1:{running.port}/v1/completions"
        async with running.session.post(url, data=b'{"stream": true}') as response:
            first = await response.content.readuntil(b"\n\n")
            waited = time.monotonic() - began
            rest = await response.read()
        assert (first, rest.count(b"data")) == (b"data: 0\n\n", 4)
        assert waited < time.monotonic() - began - 0.5
        await asyncio.sleep(0.2)
        assert new.asked == 0


@needs_haproxy
@pytest.mark.parametrize(("fail", "expected"), [(500, (1, 1)), ("hang up", (1, 1)), (503, (0, 0))])
async def test_a_canary_that_fails_differs_and_one_that_cannot_take_it_is_not_compared(
    fail: int | str, expected: tuple[int, int]
) -> None:
    old, new = stable(), canary(fail=fail)
    async with replicas(old, new), haproxy() as running, copying(running, old, new) as found:
        assert (await running.post("/v2/models/digits/infer"))[0] == 200
        await until(lambda: found.copies.compared + found.copies.dropped == 1, "the copy has an end")
        assert compared(found) == expected
        assert new.asked == 1, "a copy is never sent again"


@needs_haproxy
async def test_a_slow_canary_slows_no_caller_and_has_few_copies_at_a_time() -> None:
    old, new = stable(), canary(delay=30.0)
    async with replicas(old, new), haproxy() as running, copying(running, old, new) as found:
        began = time.monotonic()
        answers = [await running.post("/v2/models/digits/infer") for _ in range(3 * AT_ONCE)]
        assert time.monotonic() - began < 15.0
        assert {status for status, _, _ in answers} == {200}
        await until(lambda: found.copies.dropped == 2 * AT_ONCE, "the others are dropped")
        assert (found.copies.in_flight, new.asked) == (AT_ONCE, AT_ONCE)


@needs_haproxy
async def test_a_caller_does_not_notice_that_the_sidecar_is_away_or_hangs() -> None:
    old, new = stable(), canary()
    async with replicas(old, new), haproxy() as running:
        await running.follow(old.member, new.member, split=ALL)
        path = running.settings.shadow_socket

        async def unnoticed(what: str) -> None:
            began = time.monotonic()
            for _ in range(40):
                assert (await running.post("/v2/models/digits/infer", b"x" * 40_000))[:2] == (200, answer(1)), what
            assert time.monotonic() - began < 15.0, what

        await unnoticed("nobody listens")
        with socket.socket(socket.AF_UNIX) as hung:
            hung.bind(str(path))
            hung.listen(2)
            await unnoticed("it takes nothing")
            observed = await running.runtime.observe()
            assert observed.dropped_copies > 0
        await unnoticed("it has died")
        path.unlink()
        with socket.socket(socket.AF_UNIX) as closing:
            closing.bind(str(path))
            closing.listen()

            def hang_up() -> None:
                closing.accept()[0].close()

            asyncio.get_running_loop().add_reader(closing, hang_up)
            await unnoticed("it closes at once")
            asyncio.get_running_loop().remove_reader(closing)
        assert new.asked == 0


@needs_haproxy
async def test_the_sidecar_dies_in_the_midst_of_traffic() -> None:
    old, new = stable(), canary()
    async with replicas(old, new), haproxy() as running:
        async with copying(running, old, new) as found:
            statuses = [status for status, _, _ in await running.posts(30, path="/v2/models/digits/infer")]
            await until(lambda: compared(found)[0] > 0, "copies are compared")
            calls = asyncio.gather(*(running.posts(10, path="/v2/models/digits/infer") for _ in range(5)))
            await asyncio.sleep(0)
        for each in await calls:
            statuses += [status for status, _, _ in each]
        assert set(statuses) == {200}


def a_copy(*lines: str, bodies: bytes = b"abcde") -> bytes:
    return "\n".join(lines).encode() + b"\n\n" + bodies


def test_a_copy_is_read_as_it_is_written() -> None:
    copy = parse_copy(
        a_copy("path /infer?a=b", "type a/b", "head ", "request 2", "answer 3", "answer-head 1", "seconds 0.25")
    )
    assert (copy.path, copy.headers, copy.body) == ("/infer?a=b", {"Content-Type": "a/b"}, b"ab")
    assert (copy.answer, copy.seconds) == (Answer(b"cde", 1), 0.25)


@pytest.mark.parametrize(
    "lines",
    [
        (),
        ("path /", "request 2", "answer 3", "seconds x"),
        ("path /", "request 2", "answer 4", "seconds 0"),
        ("path /", "request 6", "answer -1", "seconds 0"),
        ("request 2", "answer 3", "seconds 0"),
        ("path /", "seconds 0"),
    ],
)
def test_a_copy_that_is_none_is_refused(lines: tuple[str, ...]) -> None:
    with pytest.raises((ValueError, KeyError)):
        parse_copy(a_copy(*lines))
