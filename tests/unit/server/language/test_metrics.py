"""Every metric of language models is exercised: by real completions of a real server, whose cache is too small for all of them."""

import asyncio
from pathlib import Path
from typing import Any

import openai
import pytest
from server.language.limits import LanguageLimits

from dev.metrics.served import of_servers
from tests.unit.server.language.test_openai import Speaking, exported, speaking  # noqa: F401  a fixture
from tests.unit.server.test_metrics import LANGUAGE, exercised

BLOCK_BYTES, BLOCKS = 1024, 30
"""One sequence of the whole context needs 25 blocks."""


@pytest.fixture
def fox(made: Any, tmp_path: Path) -> Path:
    """What it says does not matter here, so it has learned nothing."""
    module, card = made("llama")
    return exported(tmp_path / "fox", module, card)


async def test_every_metric_of_language_models_is_exercised(speaking: Speaking) -> None:  # noqa: F811
    names = {each.name for each in of_servers() if each.name.startswith(LANGUAGE)}
    limits = LanguageLimits(block=4, running=4, budget=32, cache_bytes=BLOCKS * BLOCK_BYTES)
    seen: set[str] = set()
    async with speaking(language=limits) as speaker:

        async def scrape() -> None:
            seen.update(exercised((await speaker._client.get("../metrics")).text, names))

        def ask(prompt: str) -> asyncio.Task[object]:
            return asyncio.create_task(speaker.completions.create(model="fox", prompt=prompt, max_tokens=70))

        while not seen >= names - {f"{LANGUAGE}expired_total"}:  # what is seen in passing, a scrape may miss
            calls = [ask("a user who says hi"), ask("another, who says bye"), ask("a user who says hi")]
            while not all(call.done() for call in calls):
                await scrape()
            await asyncio.gather(*calls)
        with pytest.raises(openai.InternalServerError):
            await speaker.completions.create(model="fox", prompt="a", extra_headers={"X-Trainyard-Deadline-Ms": "0"})
        await scrape()
    assert seen == names
