"""Every metric of a gateway is exercised: by a real HAProxy and the sidecar beside it, scraped over HTTP."""

import asyncio
from dataclasses import replace

import pytest
from gateway.endpoint import Endpoint
from gateway.sidecar import Sidecar
from prometheus_client.parser import text_string_to_metric_families

from dev.metrics.served import of_gateways
from tests.unit.gateway.rig import HOST, Haproxy, Replica, haproxy, needs_haproxy, replicas, until
from tests.unit.gateway.test_copies import canary, compared, copying, stable
from tests.unit.gateway.test_sidecar import sidecar

PATIENCE = 60.0
pytestmark = [needs_haproxy, pytest.mark.slow]


class Scrapes:
    """What was not 0 in some scrape."""

    def __init__(self) -> None:
        self.seen: set[str] = set()

    async def look(self, running: Haproxy, found: Sidecar) -> None:
        endpoint = Endpoint(replace(running.settings, endpoint_host=HOST, endpoint_port=0), found)
        runner = await endpoint.start()
        try:
            async with running.session.get(f"http://{HOST}:{endpoint.port}/metrics") as response:
                page = await response.text()
        finally:
            await runner.cleanup()
        for family in text_string_to_metric_families(page):
            if any(sample.value for sample in family.samples):
                self.seen.add(f"{family.name}_total" if family.type == "counter" else family.name)


async def hold(scrapes: Scrapes) -> None:
    """Requests wait for a first replica, more than may."""
    async with haproxy(hold_seconds=30, hold_limit=1) as running, sidecar(running) as found:
        call = asyncio.create_task(running.post())
        await until(lambda: found.standing.observed and found.standing.observed.held == 1, "one is held")
        assert (await running.post())[0] == 429
        await until(lambda: found.standing.observed and found.standing.observed.refused_holds, "one is refused")
        await scrapes.look(running, found)
        call.cancel()


async def queue(scrapes: Scrapes) -> None:
    """More requests than a slow replica has room for."""
    one = Replica("one", delay=PATIENCE)
    async with (
        replicas(one),
        haproxy(server_maxconn=1) as running,
        sidecar(running, one) as found,
    ):
        await until(lambda: found.standing.ready(holds=False), "the replica is up")
        calls = [asyncio.create_task(running.post("/v2/models/digits/infer")) for _ in range(4)]
        await until(lambda: found.standing.observed and found.standing.observed.queued, "some are queued")
        await scrapes.look(running, found)
        for call in calls:
            call.cancel()


async def differ(scrapes: Scrapes) -> None:
    """A canary is asked with copies, and answers otherwise or not at all."""
    old, new = stable(), canary(2)
    async with replicas(old, new), haproxy() as running, copying(running, old, new) as found:
        await running.post("/v2/models/digits/infer", b"x")
        await until(lambda: compared(found) == (1, 1), "the copy is compared")
        new.fail = 503
        await running.post("/v2/models/digits/infer", b"x")
        await until(lambda: found.copies.dropped, "a copy comes to nothing")
        await scrapes.look(running, found)


async def fail(scrapes: Scrapes) -> None:
    """A replica fails and is put out, and HAProxy dies; there is an objective."""
    good, bad = Replica("good"), Replica("bad", fail=500)
    async with (
        replicas(good, bad),
        haproxy(slo_milliseconds=10_000) as running,
        sidecar(running, good, bad) as found,
    ):

        async def out() -> bool:
            await running.post("/v2/models/digits/infer")
            return bool(found.ejections.total and found.objective.good)

        await until(out, "the bad one is put out")
        await running.stop()
        await running.start()
        await until(lambda: found.standing.haproxy_restarts == 1 and found.standing.ready(), "it is back")
        await scrapes.look(running, found)


ELSEWHERE = {"trainyard_gateway_slowness": "takes many requests: tests/unit/gateway/test_speed.py"}


async def test_every_metric_of_a_gateway_is_exercised() -> None:
    scrapes = Scrapes()
    for part in (hold, queue, differ, fail):
        await part(scrapes)
    assert {each.name for each in of_gateways()} - scrapes.seen == set(ELSEWHERE)
