"""Benchmark `generation`: tokens a second of the server's engine with 1, 16 and 64 callers at once.

Compared with the same prompts one after another without batching: the whole forward pass of the trainer's module for every
token, and the engine itself with one sequence at a time. Answers of all must be the same. Prints a line for each, with the
p50 times to the first token and between tokens. `make bench NAME=generation`. On a CPU the model is small; where there is a
GPU another of about a billion weights is measured in bf16, for which whole passes are left out.
"""

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from random import Random
from typing import Any

import torch
from prometheus_client import CollectorRegistry
from server.language.decoding import LlamaDecoder
from server.language.engine import Engine, Wanted
from server.language.limits import LanguageLimits
from server.language.metrics import LanguageMetrics
from server.language.sampling import Sampling
from trainer.models.llama import Llama

CALLERS = (1, 16, 64)
PROMPT, ANSWER = 64, 64
"""Tokens of each."""
ROUNDS = 2
"""Of which the faster counts: other programs have the cores, too."""
WHOLE_ANSWERS = 2
"""Prompts that are answered by whole forward passes: enough for a rate, few enough for a minute."""
SMALL = {"dim": 256, "layers": 6, "heads": 8, "keyValueHeads": 4, "hidden": 704, "theta": 10_000.0, "vocabulary": 256}
LARGE = SMALL | {"dim": 2048, "layers": 24, "heads": 16, "keyValueHeads": 4, "hidden": 5632}


@dataclass(frozen=True)
class Rate:
    """tokens a second, and the p50 of the times to the first token and between tokens, in milliseconds."""

    tokens: float
    first: float
    between: float

    def line(self, name: str, callers: int, whole: float | None = None, alone: float | None = None) -> str:
        """As JSON. whole, alone: tokens a second of whole passes and of one caller, to compare with."""
        others = {"times_whole_passes": whole, "times_one_caller": alone}
        more = {key: round(self.tokens / other, 1) for key, other in others.items() if other}
        return json.dumps(
            {"benchmark": f"generation/{name}", "callers": callers, "tokens_per_s": round(self.tokens, 1)}
            | {"first_token_p50_ms": round(self.first, 1), "next_token_p50_ms": round(self.between, 2)}
            | more
        )


def prompts(count: int) -> list[tuple[int, ...]]:
    """The same each time; none begins like another, so the cache helps nobody."""
    random = Random(11)
    return [tuple(random.randrange(256) for _ in range(PROMPT)) for _ in range(count)]


@torch.inference_mode()  # type: ignore[untyped-decorator]  # torch is untyped here
def whole_passes(module: Llama, asked: list[tuple[int, ...]]) -> tuple[Rate, list[list[int]]]:
    """Without cache and batching."""
    answers: list[list[int]] = []
    firsts: list[float] = []
    gaps: list[float] = []
    started = time.perf_counter()
    for prompt in asked:
        tokens, before = list(prompt), time.perf_counter()
        for number in range(ANSWER):
            tokens.append(int(module(torch.tensor([tokens]))[0, -1].argmax()))
            now = time.perf_counter()
            (gaps if number else firsts).append((now - before) * 1e3)
            before = now
        answers.append(tokens[PROMPT:])
    seconds = time.perf_counter() - started
    return Rate(len(asked) * ANSWER / seconds, statistics.median(firsts), statistics.median(gaps)), answers


async def ask(engine: Engine, asked: list[tuple[int, ...]], callers: int) -> tuple[Rate, list[list[int]]]:
    """So many callers share the prompts, each asking one after another."""
    firsts: list[float] = []
    gaps: list[float] = []
    answers: dict[int, list[int]] = {}
    left = list(enumerate(asked))

    async def caller() -> None:
        while left:
            number, prompt = left.pop(0)
            answers[number], before = [], time.perf_counter()
            async for chosen in engine.generate(Wanted(prompt, ANSWER, Sampling(temperature=0))):
                now = time.perf_counter()
                (gaps if answers[number] else firsts).append((now - before) * 1e3)
                answers[number].append(chosen.token)
                before = now

    started = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(callers)))
    seconds = time.perf_counter() - started
    rate = Rate(len(asked) * ANSWER / seconds, statistics.median(firsts), statistics.median(gaps))
    return rate, [answers[number] for number in range(len(asked))]


@asynccontextmanager
async def started(name: str, decoder: LlamaDecoder) -> AsyncIterator[Engine]:
    """A new engine, whose cache knows nothing."""
    limits = LanguageLimits(running=max(CALLERS), budget=1024)
    with ThreadPoolExecutor(1) as thread:
        engine = Engine(name, decoder, limits, max(CALLERS), LanguageMetrics(CollectorRegistry()), thread)
        running = asyncio.create_task(engine.run())
        try:
            yield engine
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


async def measure(
    name: str, shape: Mapping[str, Any], device: torch.device, dtype: torch.dtype, *, whole: bool
) -> None:
    torch.manual_seed(1)
    with device:
        module = Llama(shape).to(dtype).eval()
    weights = sum(weight.numel() for weight in module.parameters())
    print(
        f"{name}: {weights / 1e6:.0f} million weights, {dtype}, {device}, {torch.get_num_threads()} threads", flush=True
    )
    decoder = LlamaDecoder(module, PROMPT + ANSWER)
    async with started(name, decoder) as engine:
        await ask(engine, prompts(4), 4)  # what only the first ever pays
    alone, against, right = None, None, None
    if whole:
        rate, right = whole_passes(module, prompts(WHOLE_ANSWERS))
        against = rate.tokens
        print(rate.line(f"{name}-whole-passes", 1), flush=True)
    for callers in CALLERS:
        rounds = []
        for _ in range(ROUNDS):
            async with started(name, decoder) as engine:
                rounds.append(await ask(engine, prompts(max(callers, WHOLE_ANSWERS)), callers))
        rate, answers = max(rounds, key=lambda each: each[0].tokens)
        alone = alone or rate.tokens
        print(rate.line(name, callers, against, alone), flush=True)
        if right is not None:
            same = sum(one == other for one, other in zip(answers, right, strict=False))
            print(f"answers equal to whole passes: {same} of {len(right)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch, on the CPU")
    torch.set_num_threads(parser.parse_args().threads)
    asyncio.run(measure("llama-small", SMALL, torch.device("cpu"), torch.float32, whole=True))
    if torch.cuda.is_available():
        asyncio.run(measure("llama-1b", LARGE, torch.device("cuda"), torch.bfloat16, whole=False))
    else:
        print("there is no GPU here: the model of a billion weights was not measured")


if __name__ == "__main__":
    main()
