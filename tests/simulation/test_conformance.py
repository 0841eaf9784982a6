"""The fake API server answers what the real one answers (tests/apiserver/test_client.py asks that one)."""

from datetime import UTC, datetime
from random import Random

import pytest

from tests.simulation.conformance import CHECKS, Check, World
from tests.simulation.fake_api import FakeApi
from trainyard.cluster.client import ClusterClient
from trainyard.cluster.sender import ClientSettings
from trainyard.runtime.clock import LoopClock

pytestmark = pytest.mark.looptime

CLOCK = LoopClock(datetime(2026, 11, 23, tzinfo=UTC))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_fake_api_server(check: Check) -> None:
    api = FakeApi(CLOCK)
    client = ClusterClient(api.connect(), CLOCK, Random(1), ClientSettings(page=2))
    await check(World(client, "team"))
