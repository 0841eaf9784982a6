"""Which replicas are slower than the others, and how many requests these get."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

import pytest
from gateway.members import Member, Membership, Wish
from gateway.observed import Observed, Server
from gateway.plan import Verb, plan
from gateway.sidecar import usable
from gateway.speed import Speeds, as_knob

from tests.unit.gateway.grpc_rig import GrpcReplica, answerers, grpc_gateway, grpc_replicas
from tests.unit.gateway.rig import Haproxy, Replica, haproxy, log_socket, needs_haproxy, replicas, until
from tests.unit.gateway.test_sidecar import sidecar

NAMES = ("r-0", "r-1", "r-2", "r-3")


def after(
    milliseconds: dict[str, float], answers: int = 200, burden: float = 1.0, spread: float = 0.3, seed: int = 1
) -> Speeds:
    """What is known of replicas with these times beside no other request; who is fast is given more at a time."""
    dice, speeds = random.Random(seed), Speeds()
    most = max(milliseconds.values())
    for number in range(answers):
        for name, alone in milliseconds.items():
            beside = dice.randrange(round(4 * most / alone))
            speeds.see(name, alone * (1 + beside) ** burden * dice.lognormvariate(0, spread), beside, number / 100)
    return speeds


@pytest.mark.parametrize("burden", [0.0, 0.5, 1.0])
def test_one_three_times_as_slow_is_known_whatever_others_cost_it(burden: float) -> None:
    speeds = after({"r-0": 20, "r-1": 20, "r-2": 20, "r-3": 60}, burden=burden)
    found = speeds.slowness(NAMES, 2.0)
    assert found["r-3"] == pytest.approx(3.0, rel=0.2)
    assert [found[name] for name in NAMES[:3]] == [1.0, 1.0, 1.0]


def test_one_that_is_faster_than_most_is_known() -> None:
    found = after({"r-0": 60, "r-1": 60, "r-2": 60, "r-3": 20}).slowness(NAMES, 2.0)
    assert found["r-3"] == pytest.approx(1 / 3, rel=0.2)


@pytest.mark.parametrize("answers", [3, 30, 300])
def test_chance_hardly_ever_makes_a_difference_between_equal_ones(answers: int) -> None:
    services = [after(dict.fromkeys(NAMES, 20.0), answers, spread=0.6, seed=seed) for seed in range(50)]
    different = [speeds for speeds in services if set(speeds.slowness(NAMES, 3.0).values()) != {1.0}]
    assert len(different) <= 2


def test_a_replica_that_nothing_is_known_of_is_as_fast_as_the_median() -> None:
    speeds = after({"r-0": 20, "r-1": 60})
    assert speeds.slowness(("r-0", "r-1", "new"), 2.0)["new"] == 1.0
    assert Speeds().slowness(NAMES, 0.0) == dict.fromkeys(NAMES, 1.0)


def test_what_was_long_ago_is_forgotten_so_that_a_slow_one_is_tried_again() -> None:
    speeds = after({"r-0": 20, "r-1": 20, "r-2": 20, "r-3": 60})
    for number in range(6000):
        for name in NAMES[:3]:
            speeds.see(name, 20.0, 0, 2.0 + number / 10)
    assert speeds.slowness(NAMES, 602.0)["r-3"] == 1.0


def test_one_that_left_and_came_back_starts_anew() -> None:
    speeds = after({"r-0": 20, "r-1": 60})
    speeds.slowness(("r-0",), 2.0)
    assert speeds.slowness(("r-0", "r-1"), 2.0) == {"r-0": 1.0, "r-1": 1.0}


def test_times_below_what_the_clock_tells_are_equal() -> None:
    speeds = Speeds()
    for number in range(100):
        speeds.see("r-0", 0, 0, number)
        speeds.see("r-1", 1, 0, number)
    assert speeds.slowness(("r-0", "r-1"), 100.0)["r-1"] < 1.5


@pytest.mark.parametrize(
    "changes",
    [
        {"status": 503},
        {"method": "GET"},
        {"term": "SD"},
        {"retries": 1},
        {"backend": "canary"},
        {"ttfb_ms": -1},
        {"grpc": 13},
    ],
)
def test_only_inferences_that_went_well_tell_of_speed(changes: dict[str, object]) -> None:
    shown = {"backend": "replicas", "server": "r-1", "status": 200, "method": "POST", "term": "--", "ttfb_ms": 60}
    good = shown | {"retries": 0, "grpc": "-", "beside": 0}
    for line, expected in ((good, 3.0), (good | changes, 1.0)):
        speeds = Speeds()
        for number in range(100):
            speeds.see("r-0", 20, 0, number)
            speeds.take("frontend=traffic " + " ".join(f"{key}={value}" for key, value in line.items()), number)
        assert speeds.slowness(("r-0", "r-1"), 100.0)["r-1"] == pytest.approx(expected, rel=0.2)


def test_the_knob_names_all_or_nobody() -> None:
    assert as_knob({"b": 1.0, "a": 1.0}) == as_knob({}) == ""
    assert as_knob({"b": 2.83, "a": 1.0}) == "a:100,b:283"


@pytest.fixture
def four() -> list[Replica]:
    return [Replica(f"r{number}", delay=0.05) for number in range(4)]


def told(four: Sequence[Replica], *percents: int) -> str:
    return ",".join(f"{replica.name}:{percent}" for replica, percent in zip(four, percents, strict=True))


def test_one_that_is_to_drain_leaves_the_knob_before_it_drains() -> None:
    servers = tuple(Server(name, "10.0.0.1", 8080) for name in ("a", "b"))
    observed = Observed("1@1", servers, frozenset(), knobs={"slow": "a:100,b:283"})
    wanted = Membership(1, (Member("a", "10.0.0.1", 8080), Member("b", "10.0.0.1", 8080, Wish.DRAIN)))
    assert usable(wanted, observed) == {"a"}
    verbs = [command.verb for command in plan(wanted, observed, 64)]
    assert verbs.index(Verb.DROP_KNOB) < verbs.index(Verb.DRAIN)


@needs_haproxy
class TestHaproxy:
    async def test_an_idle_replica_that_is_slow_waits_until_the_fast_have_more_than_it_costs(
        self, four: list[Replica]
    ) -> None:
        async with replicas(*four), haproxy() as running:
            await running.follow(*(one.member for one in four), slow=told(four, 100, 100, 100, 300))
            await running.posts(6)
            assert [one.asked for one in four] == [2, 2, 2, 0]
            await running.posts(10)
            assert [one.asked for one in four] == [5, 5, 5, 1]

    async def test_equals_take_turns(self, four: list[Replica]) -> None:
        async with replicas(*four), haproxy() as running:
            await running.follow(*(one.member for one in four), slow=told(four, 100, 100, 100, 300))
            for _ in range(6):
                await running.post()
            assert [one.asked for one in four] == [2, 2, 2, 0]

    async def test_none_gets_more_than_it_may_and_the_rest_waits_in_one_queue(self, four: list[Replica]) -> None:
        for one in four:
            one.delay = 0.5
        async with replicas(*four), haproxy(server_maxconn=1) as running:
            await running.follow(*(one.member for one in four), slow=told(four, 100, 100, 100, 300))
            calls = asyncio.create_task(running.posts(12))

            async def queued() -> bool:
                observed = await running.runtime.observe()
                assert all(one.in_use <= 1 for one in observed.servers)
                return observed.queued == 8

            await until(queued, "eight wait for all together")
            assert Counter(status for status, _, _ in await calls) == {200: 12}

    @pytest.mark.parametrize("fail", ["hang up", 503])
    async def test_an_inference_that_broke_off_is_still_answered_by_another(self, fail: int | str) -> None:
        good, bad = Replica("good"), Replica("bad", fail=fail)
        async with replicas(good, bad), haproxy() as running:
            await running.follow(good.member, bad.member, slow="bad:100,good:283")
            answers = [await running.post() for _ in range(6)]
            assert {(status, body["from"]) for status, body, _ in answers} == {(200, "good")}
            assert bad.asked == 6

    async def test_over_grpc_too_and_a_name_that_is_no_server_of_it_is_passed_over(self) -> None:
        three = [GrpcReplica(f"r{number}", delay=0.05) for number in range(3)]
        async with grpc_replicas(*three), grpc_gateway() as (running, caller):
            knob = told([*three, Replica("gone")], 100, 100, 300, 50)
            await running.follow(*(one.member for one in three), slow=knob)
            assert sorted(answerers(await caller.asks(4))) == ["r0", "r0", "r1", "r1"]

    async def test_who_is_down_or_has_no_weight_gets_nothing_though_the_knob_still_names_it(
        self, four: list[Replica]
    ) -> None:
        knob = told(four, 100, 100, 100, 300)
        async with replicas(*four), haproxy() as running:
            await running.follow(*(one.member for one in four), slow=knob)
            await running.runtime.ask("set server replicas/r0 health down")
            await running.runtime.ask("set server replicas/r1 weight 0")
            await running.runtime.ask("set server replicas/r2 state maint")
            assert {body["from"] for _, body, _ in await running.posts(5)} == {"r3"}

    async def test_the_line_of_a_request_counts_those_beside_it(self, four: list[Replica]) -> None:
        alone = four[0]
        async with replicas(alone), haproxy() as running:
            await running.follow(alone.member)
            with log_socket(running.settings.folder) as listener:
                beside: list[str] = []

                def told(count: int) -> bool:
                    with suppress(BlockingIOError):
                        while True:
                            beside.append(listener.recv(4096).decode().rstrip().rpartition("beside=")[2])
                    return len(beside) == count

                await running.post()
                await until(lambda: told(1), "a line")
                await running.posts(3)
                await until(lambda: told(4), "three more lines")
                assert sorted(beside) == ["0", "0", "1", "2"]

    async def test_a_slow_replica_gets_less_once_the_sidecar_has_seen_it(self) -> None:
        four = [Replica(f"r{number}", delay=0.2 if number == 3 else 0.02) for number in range(4)]
        async with replicas(*four), haproxy() as running, sidecar(running, *four) as found:

            async def seen() -> bool:
                await running.posts(8)
                return found.slowness.get("r3", 1.0) > 2 and await _knows(running)

            await until(seen, "it is known to be slow")
            before = four[3].asked
            for _ in range(10):
                await running.posts(3)
            assert four[3].asked == before


async def _knows(running: Haproxy) -> bool:
    return "slow" in (await running.runtime.observe()).knobs
