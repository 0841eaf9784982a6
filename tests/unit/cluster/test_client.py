"""The client's rules: what is tried again, what is not, and what a caller learns."""

import asyncio
from datetime import UTC, datetime
from random import Random

import pytest

from tests.simulation.fake_api import FakeApi
from tests.simulation.fake_faults import Fault, on, verb, writes
from trainyard.cluster.client import ClusterClient
from trainyard.cluster.errors import (
    AlreadyExists,
    Conflict,
    Fenced,
    Gone,
    NotFound,
    ServerError,
    TooManyRequests,
    Unreachable,
)
from trainyard.cluster.resources import CONFIG_MAPS, PODS, TOKEN_REVIEWS, TRAINING_JOBS, Object, Resource
from trainyard.cluster.sender import ClientSettings
from trainyard.runtime.clock import LoopClock

pytestmark = pytest.mark.looptime

CLOCK = LoopClock(datetime(2026, 11, 23, tzinfo=UTC))


def config(name: str = "a", **data: str) -> Object:
    return {"metadata": {"name": name, "namespace": "team"}, "data": data}


class Bench:
    """A fake API server, a client, and what the client reported."""

    def __init__(self, settings: ClientSettings | None = None) -> None:
        self.api = FakeApi(CLOCK)
        self.calls: list[tuple[str, Resource, int]] = []
        self.sizes: list[int] = []
        self.may_write = True
        self.client = ClusterClient(
            self.api.connect(), CLOCK, Random(1), settings, self.observe, may_write=lambda: self.may_write
        )

    def observe(self, verb: str, resource: Resource, code: int, _seconds: float, size: int) -> None:
        self.calls.append((verb, resource, code))
        self.sizes.append(size)

    def codes(self) -> list[int]:
        return [code for _, _, code in self.calls]


async def test_reads_return_none_or_the_object() -> None:
    bench = Bench()
    assert await bench.client.get(CONFIG_MAPS, "team", "a") is None
    await bench.client.create(CONFIG_MAPS, config(x="1"))
    found = await bench.client.get(CONFIG_MAPS, "team", "a")
    assert found is not None
    assert found["data"] == {"x": "1"}


@pytest.mark.fault(6)
async def test_a_server_error_is_waited_out_for_an_idempotent_write() -> None:
    bench = Bench()
    bench.api.faults.fail(writes(), 503, times=2)
    await bench.client.apply(CONFIG_MAPS, config(x="1"))
    assert bench.codes() == [503, 503, 201]
    assert bench.client.retries == 2


async def test_attempts_are_bounded_and_the_last_error_is_raised() -> None:
    bench = Bench()
    bench.api.faults.fail(writes(), 500, times=None, message="etcd is down")
    with pytest.raises(ServerError, match="etcd is down"):
        await bench.client.apply(CONFIG_MAPS, config())
    assert bench.codes() == [500] * 4


@pytest.mark.parametrize("read_timeout", [15.0, 20.0])
async def test_where_somebody_waits_all_attempts_together_are_bounded(read_timeout: float) -> None:
    bench = Bench(ClientSettings(read_timeout=read_timeout, longest_call=20))
    bench.api.faults.hang(verb("get"), times=None)
    before = CLOCK.monotonic()
    with pytest.raises(Unreachable):
        await bench.client.get(CONFIG_MAPS, "team", "a")
    assert 16 <= CLOCK.monotonic() - before <= 20.01


async def test_where_somebody_waits_an_attempt_that_would_come_too_late_is_not_made() -> None:
    bench = Bench(ClientSettings(longest_call=20))
    bench.api.faults.fail(verb("get"), 429, times=None, retry_after=8)
    with pytest.raises(TooManyRequests):
        await bench.client.get(CONFIG_MAPS, "team", "a")
    assert bench.codes() == [429] * 3


@pytest.mark.fault(5)
async def test_the_server_says_how_long_to_wait() -> None:
    bench = Bench()
    bench.api.faults.fail(writes(), 429, retry_after=7)
    before = CLOCK.monotonic()
    await bench.client.create(CONFIG_MAPS, config())
    assert CLOCK.monotonic() - before >= 7
    bench.api.faults.fail(writes(), 429, retry_after=600)
    with pytest.raises(TooManyRequests) as caught:
        await bench.client.create(CONFIG_MAPS, config("b"))
    assert caught.value.retry_after == 600


@pytest.mark.fault(4)
async def test_a_create_whose_answer_was_lost_is_told_that_the_name_is_taken() -> None:
    bench = Bench()
    bench.api.faults.lose(verb("create"))
    with pytest.raises(AlreadyExists):
        await bench.client.create(CONFIG_MAPS, config())
    assert len(bench.api.all(CONFIG_MAPS)) == 1


async def test_a_create_with_a_generated_name_is_not_repeated_after_a_lost_answer() -> None:
    bench = Bench()
    bench.api.faults.lose(verb("create"))
    with pytest.raises(Unreachable):
        await bench.client.create(CONFIG_MAPS, {"metadata": {"generateName": "a-", "namespace": "team"}})
    assert len(bench.api.all(CONFIG_MAPS)) == 1
    bench.api.faults.fail(verb("create"), 429)
    await bench.client.create(CONFIG_MAPS, {"metadata": {"generateName": "a-", "namespace": "team"}})
    assert len(bench.api.all(CONFIG_MAPS)) == 2


async def test_a_question_that_is_not_stored_is_repeated() -> None:
    bench = Bench()
    bench.api.faults.fail(on(TOKEN_REVIEWS), 500)
    answer = await bench.client.create(TOKEN_REVIEWS, {"spec": {"token": "t"}})
    assert answer["status"]["authenticated"] is False


@pytest.mark.parametrize(("status", "kind"), [(409, Conflict), (404, NotFound)], ids=["conflict", "not found"])
async def test_a_clear_refusal_is_not_repeated(status: int, kind: type[Exception]) -> None:
    bench = Bench()
    bench.api.faults.fail(writes(), status, times=None)
    with pytest.raises(kind):
        await bench.client.patch(CONFIG_MAPS, "team", "a", {"data": {"x": "1"}})
    assert bench.codes() == [status]


@pytest.mark.fault(7)
async def test_a_hanging_write_is_given_up_a_little_after_the_servers_own_timeout() -> None:
    bench = Bench(ClientSettings(attempts=1))
    bench.api.faults.hang(writes())
    before = CLOCK.monotonic()
    with pytest.raises(Unreachable):
        await bench.client.apply(CONFIG_MAPS, config())
    assert 4 < CLOCK.monotonic() - before < 6
    assert bench.api.requests[0].query["timeout"] == "4s"


async def test_it_is_known_when_the_last_write_must_have_ended() -> None:
    bench = Bench(ClientSettings(attempts=1))
    assert bench.client.writes_end_in == 0
    bench.api.faults.hang(writes())
    write = asyncio.create_task(bench.client.apply(CONFIG_MAPS, config()))
    await asyncio.sleep(1)
    assert bench.client.writes_end_in == 5
    write.cancel()
    await asyncio.gather(write, return_exceptions=True)
    assert 4 < bench.client.writes_end_in <= 5
    await asyncio.sleep(5)
    assert bench.client.writes_end_in == 0


@pytest.mark.fault(23)
async def test_a_write_is_not_sent_by_a_process_that_does_not_lead_not_even_as_a_retry() -> None:
    bench = Bench()
    fault = bench.api.faults.fail(writes(), 503, times=None)
    write = asyncio.create_task(bench.client.apply(CONFIG_MAPS, config()))
    await asyncio.sleep(0.01)
    assert fault.hits == 1
    bench.may_write = False
    with pytest.raises(Fenced):
        await write
    assert fault.hits == 1
    assert await bench.client.get(CONFIG_MAPS, "team", "a") is None
    assert (await bench.client.create(TOKEN_REVIEWS, {"spec": {"token": "t"}}))["status"]


@pytest.mark.fault(12)
async def test_a_status_write_with_another_uid_is_a_conflict_and_changes_nothing() -> None:
    bench = Bench()
    job = await bench.client.create(TRAINING_JOBS, config("j"))
    with pytest.raises(Conflict):
        await bench.client.patch_status(TRAINING_JOBS, "team", "j", {"phase": "Running"}, uid="another")
    written = await bench.client.patch_status(
        TRAINING_JOBS, "team", "j", {"phase": "Running"}, uid=job["metadata"]["uid"]
    )
    assert written["status"] == {"phase": "Running"}


@pytest.mark.fault(13)
async def test_a_status_write_survives_a_write_by_somebody_else_in_between_but_not_for_ever() -> None:
    bench = Bench()
    job = await bench.client.create(TRAINING_JOBS, config("j"))
    uid = job["metadata"]["uid"]
    fault = bench.api.faults.fail(verb("patch_status"), 409, times=2, reason="Conflict")
    await bench.client.patch_status(TRAINING_JOBS, "team", "j", {"phase": "Running"}, uid=uid)
    assert fault.hits == 2
    bench.api.faults.fail(verb("patch_status"), 409, times=None, reason="Conflict")
    with pytest.raises(Conflict):
        await bench.client.patch_status(TRAINING_JOBS, "team", "j", {"phase": "Failed"}, uid=uid)


async def test_a_status_write_with_a_known_version_is_one_request() -> None:
    bench = Bench()
    job = await bench.client.create(TRAINING_JOBS, config("j"))
    metadata = job["metadata"]
    await bench.client.patch_status(
        TRAINING_JOBS, "team", "j", {"x": 1}, uid=metadata["uid"], resource_version=metadata["resourceVersion"]
    )
    assert [call[0] for call in bench.calls] == ["create", "patch_status"]


async def test_a_status_write_to_what_is_gone_is_not_found() -> None:
    with pytest.raises(NotFound):
        await Bench().client.patch_status(TRAINING_JOBS, "team", "j", {"phase": "Running"}, uid="u")


async def test_a_write_from_an_old_state_is_a_conflict() -> None:
    bench = Bench()
    first = await bench.client.create(CONFIG_MAPS, config(x="1"))
    await bench.client.patch(CONFIG_MAPS, "team", "a", {"data": {"x": "2"}})
    version = first["metadata"]["resourceVersion"]
    with pytest.raises(Conflict):
        await bench.client.patch(CONFIG_MAPS, "team", "a", {"metadata": {"resourceVersion": version}, "data": {}})
    with pytest.raises(Conflict):
        await bench.client.delete(CONFIG_MAPS, "team", "a", resource_version=version)


async def test_a_delete_says_whether_there_was_something() -> None:
    bench = Bench()
    created = await bench.client.create(CONFIG_MAPS, config())
    with pytest.raises(Conflict):
        await bench.client.delete(CONFIG_MAPS, "team", "a", uid="another")
    assert await bench.client.delete(CONFIG_MAPS, "team", "a", uid=created["metadata"]["uid"]) is True
    assert await bench.client.delete(CONFIG_MAPS, "team", "a") is False


@pytest.mark.fault(4)
async def test_a_delete_whose_answer_was_lost_still_counts_as_done() -> None:
    bench = Bench()
    await bench.client.create(CONFIG_MAPS, config())
    bench.api.faults.lose(verb("delete"))
    assert await bench.client.delete(CONFIG_MAPS, "team", "a") is True


async def test_requests_in_flight_are_bounded_and_waiting_is_not_counted_as_work() -> None:
    bench = Bench(ClientSettings(in_flight=3))
    bench.api.latency = 1.0
    before = CLOCK.monotonic()
    await asyncio.gather(*(bench.client.create(CONFIG_MAPS, config(f"c{n}")) for n in range(9)))
    assert CLOCK.monotonic() - before == pytest.approx(3, abs=0.1)


async def test_a_list_whose_pages_expired_is_read_again_from_the_start() -> None:
    bench = Bench(ClientSettings(page=2))
    for number in range(5):
        bench.api.put(CONFIG_MAPS, config(f"c{number}"))
    bench.api.faults.add(Fault(lambda r: "continue" in r.query, "fail", status=410, reason="Expired"))
    listed = await bench.client.list(CONFIG_MAPS)
    assert len(listed.items) == 5
    assert {item["kind"] for item in listed.items} == {"ConfigMap"}
    bench.api.faults.add(Fault(lambda r: "continue" in r.query, "fail", times=None, status=410, reason="Expired"))
    with pytest.raises(Gone):
        await bench.client.list(CONFIG_MAPS)


async def test_a_cheap_list_may_be_stale_and_a_quorum_list_may_not() -> None:
    bench = Bench()
    await bench.client.list(PODS, quorum=False)
    await bench.client.list(PODS)
    assert [request.query.get("resourceVersion") for request in bench.api.requests] == ["0", None]


async def test_every_request_is_reported_with_its_size() -> None:
    bench = Bench()
    await bench.client.create(CONFIG_MAPS, config(x="y" * 1000))
    bench.api.faults.hang(verb("get"), times=None)
    with pytest.raises(Unreachable):
        await bench.client.get(CONFIG_MAPS, "team", "a")
    assert bench.calls[0] == ("create", CONFIG_MAPS, 201)
    assert bench.sizes[0] > 1000
    assert bench.codes()[1:] == [0, 0, 0, 0]
