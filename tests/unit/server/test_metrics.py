"""Every metric of a model server and of a router is exercised: by real requests to a real one, scraped afterwards."""

import asyncio
import time
from collections.abc import Callable, Collection
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from server.model import Model

from dev.metrics.served import of_routers, of_servers
from tests.unit.server.test_graph_router import asking, doubling, routing, standing

LANGUAGE = "trainyard_server_language_"


def exercised(page: str, among: Collection[str]) -> set[str]:
    """Families with a series that is not 0, as queries name them."""
    found = set()
    for family in text_string_to_metric_families(page):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        if any(each.value for each in family.samples if not each.name.endswith("_created")):
            found.add(name)
    return found & set(among)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every forward pass takes 50 ms more."""
    original = Model.infer

    def infer(self: Model, rows: Any) -> Any:
        time.sleep(0.05)
        return original(self, rows)

    monkeypatch.setattr(Model, "infer", infer)


async def test_every_metric_of_a_server_is_exercised(running: Any, slow: None, ask: Callable[..., Any]) -> None:
    """Language models have theirs in language/test_metrics.py."""
    names = {each.name for each in of_servers() if not each.name.startswith(LANGUAGE)}
    seen: set[str] = set()
    async with running(max_batch=1) as client:

        async def scrape() -> None:
            async with client.session.get(f"{client.base}/metrics") as response:
                seen.update(exercised(await response.text(), names))

        calls = [asyncio.create_task(client.infer(ask())) for _ in range(8)]
        while client.server.state.in_flight < len(calls):  # noqa: ASYNC110  what is waited for is in the server
            await asyncio.sleep(0.001)
        await scrape()
        for call in calls[:-1]:  # the one that is computed is computed in vain, the others are spared
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        await client.infer(ask(), "/v2/models/digits/explain")
        await scrape()
    assert names - seen == set()


async def test_every_metric_of_a_router_is_exercised() -> None:
    names = {each.name for each in of_routers()}
    async with standing(doubling) as double, routing({"name": "scale", "target": double}) as router:
        assert (await router.infer(asking()))[0] == 200
        page = "\n".join(await router.metrics())
    assert exercised(page, names) == names
