"""What somebody has happen by the thousand is on record with its number, and hides nobody."""

import asyncio
from itertools import pairwise

import pytest

from trainyard.runtime.audit_chain import Entry
from trainyard.runtime.audit_gathering import FIRST_SECONDS, LONGEST_SECONDS, OTHERS, QUIET_SECONDS, Gathering

pytestmark = pytest.mark.looptime


class Rig:
    def __init__(self) -> None:
        self.records: list[tuple[float, Entry]] = []
        self.gathering = Gathering(lambda entry: self.records.append((asyncio.get_running_loop().time(), entry)))

    def add(self, times: int = 1, who: str = "10.0.0.1", about: str = "/v1/progress") -> None:
        for _ in range(times):
            self.gathering.add("TokenRefused", about, who, "the token was refused")

    @property
    def times(self) -> list[int]:
        return [entry.facts["times"] for _, entry in self.records]


@pytest.fixture
def rig() -> Rig:
    return Rig()


async def test_the_first_is_told_at_once_and_the_others_together(rig: Rig) -> None:
    rig.add(1000)
    assert rig.times == [1]
    await asyncio.sleep(FIRST_SECONDS + 1)
    assert rig.times == [1, 999]


async def test_a_burst_that_nothing_follows_is_counted_to_its_end(rig: Rig) -> None:
    rig.add(3)
    await asyncio.sleep(LONGEST_SECONDS)
    assert sum(rig.times) == 3


async def test_a_flood_that_goes_on_is_told_less_and_less_often_and_yet_all_of_it(rig: Rig) -> None:
    for _ in range(3600):
        rig.add()
        await asyncio.sleep(1)
    await asyncio.sleep(LONGEST_SECONDS)
    assert sum(rig.times) == 3600
    assert len(rig.times) < 25
    whens = [when for when, _ in rig.records]
    assert max(after - before for before, after in pairwise(whens)) <= LONGEST_SECONDS + 1


async def test_after_a_pause_the_first_is_told_at_once_again(rig: Rig) -> None:
    rig.add(2)
    await asyncio.sleep(3 * QUIET_SECONDS)
    rig.add()
    assert rig.times == [1, 1, 1]


async def test_somebody_who_comes_once_is_named_beside_one_who_floods(rig: Rig) -> None:
    rig.add(500)
    rig.add(1, who="10.0.0.2")
    rig.add(500)
    await asyncio.sleep(FIRST_SECONDS)
    assert rig.records[1][1].facts["from"] == {"10.0.0.1": 999, "10.0.0.2": 1}


async def test_a_flood_from_many_addresses_takes_no_more_room(rig: Rig) -> None:
    for number in range(10_000):
        rig.add(1, who=f"10.0.{number // 256}.{number % 256}")
    await asyncio.sleep(FIRST_SECONDS)
    told = rig.records[1][1].facts["from"]
    assert len(told) == 17
    assert told[OTHERS] == 9999 - 16


async def test_what_happens_elsewhere_is_told_by_itself(rig: Rig) -> None:
    rig.add(5)
    rig.add(1, about="/v1/gateways")
    assert [entry.about for _, entry in rig.records] == ["/v1/progress", "/v1/gateways"]


async def test_at_the_end_all_is_told(rig: Rig) -> None:
    rig.add(5)
    rig.gathering.settle()
    rig.gathering.settle()
    assert rig.times == [1, 4]
