"""Decoding with the cache equals the trainer's own forward pass over the whole sequence."""

from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
import torch
from server.language.decoding import Decoder, reader_of
from server.language.pages import Pages, ordered
from server.language.scheduler import StepLimits, plan_step
from server.language.sequences import Ledger, Sequence
from torch import Tensor, nn

NAMES = ["llama", "llama-one-head", "llama-no-groups", "transformer"]


@pytest.fixture(autouse=True)
def _inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


def whole(module: nn.Module, tokens: list[int], context: int) -> Tensor:
    """Logits after the last token, by the trainer's model; behind a causal mask what follows changes nothing."""
    padded = torch.tensor([tokens + [0] * (context - len(tokens))])
    logits: Tensor = module(padded)[0, len(tokens) - 1]
    return logits


def generate(
    decoder: Decoder, prompts: list[list[int]], count: int, limits: StepLimits, blocks: int
) -> tuple[list[list[int]], list[list[Tensor]], int]:
    """Greedy tokens and logits of each prompt, all in one ledger, and how often one was sent back."""
    pages = Pages(decoder.shape, blocks, limits.block, torch.float32, torch.device("cpu"))
    ledger = Ledger(blocks, limits)
    sequences = [Sequence(number, float(number), list(prompt)) for number, prompt in enumerate(prompts)]
    logits: list[list[Tensor]] = [[] for _ in prompts]
    preempted = 0
    for sequence in sequences:
        ledger.add(sequence)
    while ledger.waiting or ledger.running:
        applied = ledger.apply(plan_step(ledger.view(0.0), limits))
        preempted += len(applied.preempted)
        answers = iter(decoder.logits(pages.step(applied.parts), pages))
        for part in ordered(applied.parts):
            ledger.advance(part)
            if part.ends:
                answer = next(answers)
                logits[part.sequence.id].append(answer)
                part.sequence.tokens.append(int(answer.argmax()))
                if len(logits[part.sequence.id]) == count:
                    ledger.remove(part.sequence)
    assert ledger.pool.free == blocks
    return [each.tokens for each in sequences], logits, preempted


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("blocks", "budget"), [(200, 512), (200, 8), (20, 24)])
def test_greedy_tokens_and_logits_are_those_of_the_whole_forward_pass(
    made: Any, name: str, blocks: int, budget: int
) -> None:
    module, card = made(name)
    decoder: Any = reader_of(module, card)
    random = Random(5)
    common = [random.randrange(256) for _ in range(20)]
    prompts = [common + [random.randrange(256) for _ in range(length)] for length in (1, 7, 15, 40)]
    limits = StepLimits(block=4, running=4, budget=budget)
    tokens, logits, preempted = generate(decoder, prompts, 12, limits, blocks)
    for prompt, got, answers in zip(prompts, tokens, logits, strict=True):
        expected = list(prompt)
        for answer in answers:
            right = whole(module, expected, decoder.context)
            torch.testing.assert_close(answer, right, rtol=0, atol=1e-4)
            expected.append(int(right.argmax()))
        assert got == expected
    assert (preempted > 0) == (blocks == 20)


def test_a_beginning_that_was_computed_before_is_not_computed_again(made: Any) -> None:
    decoder: Any = reader_of(*made("llama"))
    limits, ledger = StepLimits(block=8, running=4, budget=64), Ledger(50, StepLimits(block=8, running=4, budget=64))
    pages = Pages(decoder.shape, 50, 8, torch.float32, torch.device("cpu"))
    first = Sequence(1, 0.0, list(range(30)))
    ledger.add(first)
    applied = ledger.apply(plan_step(ledger.view(0.0), limits))
    decoder.logits(pages.step(applied.parts), pages)
    ledger.advance(applied.parts[0])
    ledger.remove(first)
    ledger.add(Sequence(2, 0.0, [*range(24), 200, 201]))
    (part,) = ledger.apply(plan_step(ledger.view(0.0), limits)).parts
    assert (part.start, part.count) == (24, 2)


@pytest.mark.parametrize("name", NAMES)
def test_an_embedding_is_the_mean_of_the_last_states(made: Any, name: str) -> None:
    module, card = made(name)
    reader: Any = reader_of(module, card)
    tokens = torch.randint(0, 256, (2, reader.context))
    states: list[Tensor] = []
    norm = module.norm if name.startswith("llama") else module.body.head[0]
    norm.register_forward_hook(lambda _module, _inputs, answer: states.append(answer))
    module(tokens)
    torch.testing.assert_close(reader.embed(tokens), states[0].mean(dim=1), rtol=0, atol=1e-5)


def test_a_model_that_reads_no_text_is_no_reader(made: Any) -> None:
    assert reader_of(nn.Linear(2, 2), {"architecture": {"parameters": {}}}) is None
    assert not hasattr(reader_of(*made("transformer", per_token=False)), "logits")
