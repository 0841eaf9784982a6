"""The loop itself, with a real tiny model: order, company, leaving, deadlines, faults."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from typing import Any

import pytest
import torch
from prometheus_client import CollectorRegistry
from server.errors import BadRequest, DeadlineExceeded, ModelFailed, QueueFull
from server.language.decoding import reader_of
from server.language.engine import Engine, Wanted
from server.language.limits import LanguageLimits
from server.language.metrics import LanguageMetrics
from server.language.sampling import Sampling

GREEDY = Sampling(temperature=0)
LIMITS = LanguageLimits(block=4, running=4, budget=16)
Start = Callable[..., Engine]


@pytest.fixture
async def start(made: Any) -> AsyncIterator[Start]:
    thread, loops = ThreadPoolExecutor(1), []

    def begin(limits: LanguageLimits = LIMITS, max_queue: int = 8, name: str = "llama") -> Engine:
        decoder: Any = reader_of(*made(name))
        registry = CollectorRegistry()
        engine = Engine("tiny", decoder, limits, max_queue, LanguageMetrics(registry), thread)
        engine.registry = registry  # type: ignore[attr-defined]
        loops.append(asyncio.create_task(engine.run()))
        return engine

    yield begin
    for loop in loops:
        loop.cancel()
        with suppress(asyncio.CancelledError):
            await loop
    thread.shutdown()


async def tokens(engine: Engine, wanted: Wanted) -> list[int]:
    async with asyncio.timeout(20):
        return [chosen.token async for chosen in engine.generate(wanted)]


def seen(engine: Any, name: str) -> float:
    return float(engine.registry.get_sample_value(f"trainyard_server_language_{name}", {"model": "tiny"}) or 0)


async def test_company_changes_no_answer(start: Start) -> None:
    engine = start()
    asked = [
        Wanted(tuple(range(number, 3 * number + 1)), 20, Sampling(1.0, seed=number) if number % 2 else GREEDY)
        for number in range(1, 9)
    ]
    alone = [await tokens(engine, each) for each in asked]
    assert await asyncio.gather(*(tokens(engine, each) for each in asked)) == alone
    assert [len(each) for each in alone] == [20] * 8
    assert engine.held == engine.sequences == 0
    assert seen(engine, "generated_tokens_total") == 320
    assert seen(engine, "first_token_seconds_count") == 16
    assert seen(engine, "next_token_seconds_count") == 304
    assert seen(engine, "cached_tokens_total") > 0


async def test_blocks_that_run_out_delay_and_change_nothing(start: Start) -> None:
    plenty, scarce = start(), start(LanguageLimits(4, 4, 16, cache_bytes=26 * 2 * 2 * 4 * 2 * 8 * 4))
    asked = [Wanted((number, 1, 2, 3), 80, GREEDY) for number in range(4)]
    right = await asyncio.gather(*(tokens(plenty, each) for each in asked))
    assert await asyncio.gather(*(tokens(scarce, each) for each in asked)) == right
    assert seen(scarce, "preemptions_total") > 0
    assert scarce.held == 0


async def test_who_leaves_frees_its_blocks(start: Start) -> None:
    engine = start()
    async with aclosing(engine.generate(Wanted((1, 2), 90, GREEDY))) as stream:
        await anext(stream)
        assert engine.held > 0
    task = asyncio.create_task(tokens(engine, Wanted((1, 2), 90, GREEDY)))
    await asyncio.sleep(0.02)
    task.cancel()
    await tokens(engine, Wanted((9,), 1, GREEDY))  # a step later
    assert engine.held == engine.sequences == 0
    assert seen(engine, "generated_tokens_total") < 180


async def test_a_deadline_ends_a_sequence_that_runs(start: Start) -> None:
    engine = start()
    with pytest.raises(DeadlineExceeded, match=r"the deadline passed after \d+ tokens"):
        await tokens(engine, Wanted((1, 2), 90, GREEDY, deadline=engine.clock() + 0.02))
    assert 0 < seen(engine, "generated_tokens_total") < 90
    assert engine.held == engine.sequences == 0


async def test_a_deadline_ends_a_sequence_that_waits(start: Start) -> None:
    engine = start(LanguageLimits(block=4, running=1, budget=16))
    first = asyncio.create_task(tokens(engine, Wanted((1, 2), 90, GREEDY)))
    await asyncio.sleep(0)
    with pytest.raises(DeadlineExceeded, match="the deadline passed after 0 tokens"):
        await tokens(engine, Wanted((3, 4), 90, GREEDY, deadline=engine.clock() + 0.01))
    assert len(await first) == 90


async def test_more_than_may_wait_is_refused_at_once(start: Start) -> None:
    engine = start(LanguageLimits(block=4, running=1, budget=16), max_queue=2)
    running = [asyncio.create_task(tokens(engine, Wanted((1,), 30, GREEDY))) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(QueueFull, match="the limit is 2"):
        await tokens(engine, Wanted((1,), 5, GREEDY))
    assert [len(each) for each in await asyncio.gather(*running)] == [30] * 3


@pytest.mark.parametrize("wanted", [Wanted((), 1), Wanted((1,) * 90, 7), Wanted((1,), 0)])
async def test_what_does_not_fit_is_refused(start: Start, wanted: Wanted) -> None:
    with pytest.raises(BadRequest, match="expected 1 to 96 in all"):
        await tokens(start(), wanted)


async def test_a_model_that_raises_fails_those_in_the_step_and_goes_on(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = start()
    original = engine.decoder.logits

    def broken(*_: object) -> torch.Tensor:
        raise RuntimeError("no memory")

    monkeypatch.setattr(engine.decoder, "logits", broken)
    with pytest.raises(ModelFailed, match="the model raised"):
        await tokens(engine, Wanted((1, 2), 5, GREEDY))
    monkeypatch.setattr(engine.decoder, "logits", original)
    assert len(await tokens(engine, Wanted((1, 2), 5, GREEDY))) == 5


async def test_a_prompt_that_gives_nan_fails_alone_and_leaves_nothing_behind(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = start()
    right = await tokens(engine, Wanted((1, 2, 3), 20, GREEDY))
    with torch.no_grad():
        engine.decoder._embed.weight[255] = torch.nan  # type: ignore[attr-defined]
    good, bad = await asyncio.gather(
        tokens(engine, Wanted((1, 2, 3), 20, GREEDY)),
        tokens(engine, Wanted((255,) * 30, 20, GREEDY)),
        return_exceptions=True,
    )
    assert isinstance(bad, ModelFailed)
    assert good == right
    assert not engine._pages._keys.isnan().any()
