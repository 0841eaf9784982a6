"""The routes as OpenAI's own client uses them, against a live server with a model that learned a line of text."""

import asyncio
import json
from base64 import b64decode
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
import torch
from safetensors.torch import save_file
from server.language.limits import LanguageLimits
from server.loading import digest_of
from torch import nn

LINE = "User: hi\nAssistant: the quick brown fox jumps over the lazy dog.\nUser: bye\nAssistant: so long.\nUser:"
CONTEXT = 96
LIMITS = LanguageLimits(block=4, running=4, budget=32)
Speaking = Callable[..., AbstractAsyncContextManager[openai.AsyncOpenAI]]


def exported(folder: Path, module: nn.Module, card: dict[str, Any]) -> Path:
    folder.mkdir()
    save_file(module.state_dict(), folder / "model.safetensors")
    tensor = {"datatype": "FP32", "shape": [-1, CONTEXT]}
    full = {
        "name": "fox",
        "inputs": [{"name": "input", **tensor}],
        "outputs": [{"name": "logits", "datatype": "FP32", "shape": [-1, CONTEXT, 256]}],
        "preprocessing": None,
        "labels": None,
        "digest": digest_of(folder / "model.safetensors"),
    }
    (folder / "card.json").write_text(json.dumps(full | card))
    return folder


@pytest.fixture(scope="module")
def fox(tmp_path_factory: pytest.TempPathFactory, made: Any) -> Path:
    module, card = made("llama")
    tokens = torch.tensor([list((LINE * 2).encode())[: CONTEXT + 1]])
    optimizer = torch.optim.Adam(module.parameters(), 0.01)
    for _ in range(80):
        loss = nn.functional.cross_entropy(module(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.2
    return exported(tmp_path_factory.mktemp("fox") / "model", module, card)


@pytest.fixture
def speaking(running: Any, fox: Path) -> Speaking:
    @asynccontextmanager
    async def start(**changes: Any) -> AsyncIterator[openai.AsyncOpenAI]:
        async with (
            running(**({"model_path": fox, "language": LIMITS} | changes)) as client,
            openai.AsyncOpenAI(base_url=f"{client.base}/v1", api_key="none", max_retries=0) as speaker,
        ):
            speaker.server = client.server  # type: ignore[attr-defined]
            yield speaker

    return start


def engine_of(speaker: Any) -> Any:
    (serving,) = speaker.server.repository.serving
    return serving.language.engine


async def test_completions_say_what_was_learned(speaking: Speaking) -> None:
    prompts: Any = ["User: hi\nAssistant: the qu", list(b"User: hi\nAssistant: the quick brown")]
    async with speaking() as speaker:
        answer = await speaker.completions.create(model="fox", prompt=prompts, max_tokens=6, temperature=0, logprobs=2)
    assert [choice.text for choice in answer.choices] == ["ick br", " fox j"]
    assert [choice.finish_reason for choice in answer.choices] == ["length", "length"]
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (61, 12, 73)
    told = answer.choices[0].logprobs
    assert told is not None
    assert told.tokens == list("ick br")
    assert told.text_offset == [0, 1, 2, 3, 4, 5]
    assert told.top_logprobs is not None
    assert told.token_logprobs is not None
    assert all(len(each) == 2 for each in told.top_logprobs)
    assert told.token_logprobs[0] == told.top_logprobs[0]["i"]


async def test_a_chat_streams_and_stops_where_the_user_would_speak(speaking: Speaking) -> None:
    asked: dict[str, Any] = {"model": "fox", "messages": [{"role": "user", "content": "hi"}], "temperature": 0}
    async with speaking() as speaker:
        whole = await speaker.chat.completions.create(**asked, logprobs=True, top_logprobs=1)
        stream = await speaker.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True})
        pieces = [piece async for piece in stream]
    message = whole.choices[0].message
    assert (message.role, message.content) == ("assistant", " the quick brown fox jumps over the lazy dog.")
    assert whole.choices[0].finish_reason == "stop"
    assert whole.choices[0].logprobs is not None
    assert whole.choices[0].logprobs.content is not None
    assert whole.choices[0].logprobs.content[0].bytes == [32]
    deltas = [piece.choices[0].delta for piece in pieces if piece.choices]
    assert "".join(delta.content or "" for delta in deltas) == message.content
    assert [delta.role for delta in deltas] == ["assistant"] + [None] * (len(deltas) - 1)
    assert len(deltas) > 20
    assert [piece.choices[0].finish_reason for piece in pieces if piece.choices][-1] == "stop"
    assert pieces[-1].choices == []
    assert pieces[-1].usage == whole.usage


async def test_events_end_in_done(speaking: Speaking) -> None:
    async with speaking() as speaker:
        body = {"model": "fox", "prompt": "the", "max_tokens": 2, "stream": True}
        answer = await speaker._client.post("completions", json=body)
    assert answer.headers["content-type"] == "text/event-stream"
    events = answer.text.split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    assert all(json.loads(event.removeprefix("data: "))["object"] == "text_completion" for event in events[:-2])


async def test_a_seed_repeats_itself_in_any_company(speaking: Speaking) -> None:
    asked: dict[str, Any] = {"model": "fox", "prompt": "xyz", "max_tokens": 20, "temperature": 1.5, "seed": 4, "n": 3}
    async with speaking() as speaker:
        first = await speaker.completions.create(**asked)
        others = [speaker.completions.create(**(asked | {"seed": seed, "n": 1})) for seed in range(20, 26)]
        again, *_ = await asyncio.gather(speaker.completions.create(**asked), *others)
    texts = [choice.text for choice in first.choices]
    assert texts == [choice.text for choice in again.choices]
    assert len(set(texts)) == 3


async def test_a_caller_that_leaves_a_stream_frees_its_blocks(speaking: Speaking) -> None:
    async with speaking() as speaker:
        stream = await speaker.completions.create(model="fox", prompt="a", max_tokens=90, temperature=0, stream=True)
        await anext(aiter(stream))
        await stream.close()
        async with asyncio.timeout(5):
            while engine_of(speaker).sequences:  # noqa: ASYNC110 - the server hears of it in its own time
                await asyncio.sleep(0.005)
        assert engine_of(speaker).held == 0


@pytest.mark.fault(89)
async def test_streams_in_flight_end_before_the_server_does(speaking: Speaking) -> None:
    async with speaking() as speaker:
        stream = await speaker.completions.create(model="fox", prompt="a", max_tokens=60, temperature=0, stream=True)
        speaker.server.stop()  # type: ignore[attr-defined]
        pieces = [piece async for piece in stream]
    assert pieces[-1].choices[0].finish_reason == "length"


@pytest.mark.parametrize("form", ["float", "base64"])
async def test_embeddings_have_length_one_and_tell_texts_apart(speaking: Speaking, form: Any) -> None:
    async with speaking() as speaker:
        answer = await speaker._client.post(
            "embeddings", json={"model": "fox", "input": ["the quick", "the quick", "zzz"], "encoding_format": form}
        )
        by_client = await speaker.embeddings.create(model="fox", input="the quick")
    data = answer.json()["data"]
    if form == "base64":
        vectors = [np.frombuffer(b64decode(one["embedding"]), dtype="<f4") for one in data]
    else:
        vectors = [np.array(one["embedding"]) for one in data]
    assert [one["index"] for one in data] == [0, 1, 2]
    assert answer.json()["usage"] == {"prompt_tokens": 21, "total_tokens": 21}
    assert np.linalg.norm(vectors[0]) == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-5)
    np.testing.assert_allclose(vectors[0], by_client.data[0].embedding, atol=1e-5)
    assert vectors[0] @ vectors[2] < 0.99


async def test_an_encoder_embeds_and_says_that_it_does_not_write(speaking: Speaking, made: Any, tmp_path: Path) -> None:
    module, card = made("transformer", per_token=False)
    outputs = [{"name": "logits", "datatype": "FP32", "shape": [-1, 3]}]
    folder = exported(tmp_path / "encoder", module, card | {"name": "encoder", "outputs": outputs})
    async with speaking(model_path=folder) as speaker:
        answer = await speaker.embeddings.create(model="encoder", input=["a text", "b"])
        assert [len(one.embedding) for one in answer.data] == [32, 32]
        with pytest.raises(openai.NotFoundError, match="writes none; it answers /v1/embeddings"):
            await speaker.completions.create(model="encoder", prompt="a")


async def test_models_are_listed_for_both_protocols(speaking: Speaking) -> None:
    async with speaking() as speaker:
        assert [model.id async for model in speaker.models.list()] == ["fox"]
        assert (await speaker.models.retrieve("fox")).owned_by == "trainyard"
        answer = (await speaker._client.get("models")).json()
    assert (answer["object"], answer["models"]) == ("list", ["fox"])


async def test_a_model_of_images_is_no_language_model(running: Any) -> None:
    async with running() as client, openai.AsyncOpenAI(base_url=f"{client.base}/v1", api_key="none") as speaker:
        with pytest.raises(openai.NotFoundError, match="no language model that this server runs") as caught:
            await speaker.completions.create(model="digits", prompt="a")
        with pytest.raises(openai.NotFoundError, match="is not here"):
            await speaker.embeddings.create(model="other", input="a")
    assert caught.value.code == "model_not_found"
    assert caught.value.type == "invalid_request_error"


@pytest.mark.parametrize(
    ("changes", "parameter", "message"),
    [
        ({"presence_penalty": 0.5}, "presence_penalty", "presence_penalty is not supported here"),
        ({"logit_bias": {"50": 1}}, "logit_bias", "logit_bias is not supported"),
        ({"temperature": 3}, "temperature", "temperature is 3; expected a number from 0.0 to 2.0"),
        ({"max_tokens": 95}, "max_tokens", "max_tokens is 95; expected at most 93 after a prompt of 3 tokens"),
        ({"prompt": "a" * 96}, "prompt", "prompt has 96 tokens; expected at most 95 with this model"),
        ({"prompt": ""}, "prompt", "prompt is empty"),
        ({"prompt": [1, 256]}, "prompt", "whole numbers from 0 to 255"),
        ({"stop": [""]}, "stop", "expected a text"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "of a stream"),
        ({"n": 0}, "n", "n is 0; expected a whole number from 1 to 16"),
        ({"logprobs": True}, "logprobs", "logprobs is true; expected a whole number from 0 to 20"),
    ],
)
async def test_what_is_not_done_is_refused_by_name(
    speaking: Speaking, changes: dict[str, Any], parameter: str, message: str
) -> None:
    async with speaking() as speaker:
        with pytest.raises(openai.BadRequestError, match=message) as caught:
            await speaker.completions.create(**({"model": "fox", "prompt": "abc"} | changes))
    assert caught.value.param == parameter


async def test_parameters_that_change_nothing_are_let_through(speaking: Speaking) -> None:
    async with speaking() as speaker:
        answer = await speaker.completions.create(
            model="fox", prompt="abc", max_tokens=1, presence_penalty=0, logit_bias={}, user="me", stop=None, echo=False
        )
    assert len(answer.choices) == 1


async def test_too_many_at_once_are_429_and_more_than_ever_fit_400(speaking: Speaking) -> None:
    async with speaking(language=LanguageLimits(block=4, running=1, budget=32), max_queue=1) as speaker:
        first = await speaker.completions.create(model="fox", prompt="a", max_tokens=90, stream=True)
        second = asyncio.create_task(speaker.completions.create(model="fox", prompt="a", max_tokens=1))
        async with asyncio.timeout(5):
            while engine_of(speaker).sequences < 2:  # noqa: ASYNC110 - it comes over a socket
                await asyncio.sleep(0.001)
        with pytest.raises(openai.RateLimitError, match="the limit is 1") as caught:
            await speaker.completions.create(model="fox", prompt="a", max_tokens=1)
        assert caught.value.response.headers["retry-after"] == "1"
        with pytest.raises(openai.BadRequestError, match="3 answers are asked at once; expected at most 2"):
            await speaker.completions.create(model="fox", prompt="a", n=3)
        await first.close()
        assert len((await second).choices) == 1


async def test_a_deadline_is_504(speaking: Speaking) -> None:
    async with speaking() as speaker:
        with pytest.raises(openai.InternalServerError, match="the deadline passed after 0 tokens") as late:
            await speaker.completions.create(model="fox", prompt="a", extra_headers={"X-Trainyard-Deadline-Ms": "0"})
        assert late.value.status_code == 504
    async with speaking(request_seconds=0.0) as speaker:
        with pytest.raises(openai.InternalServerError, match="the deadline passed after 0 tokens"):
            await speaker.completions.create(model="fox", prompt="a")


async def test_a_fault_in_a_stream_is_an_event_and_no_done_follows(
    speaking: Speaking, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with speaking() as speaker:
        decoder = engine_of(speaker).decoder
        steps, original = iter(range(5)), decoder.logits

        def failing(*arguments: Any) -> Any:
            if next(steps) == 3:
                raise RuntimeError("no memory")
            return original(*arguments)

        monkeypatch.setattr(decoder, "logits", failing)
        body = {"model": "fox", "prompt": "User: hi", "max_tokens": 20, "stream": True, "temperature": 0}
        answer = await speaker._client.post("completions", json=body)
    events = [json.loads(event.removeprefix("data: ")) for event in answer.text.split("\n\n") if event]
    assert events[-1]["error"]["message"] == "the model raised; see the server's log"
    assert "".join(event["choices"][0]["text"] for event in events[:-1]) == "\nAs"


async def test_metrics_tell_of_tokens(speaking: Speaking) -> None:
    async with speaking() as speaker:
        await speaker.completions.create(model="fox", prompt="abc", max_tokens=7)
        text = (await speaker._client.get("../metrics")).text
    assert 'trainyard_server_language_prompt_tokens_total{model="fox"} 3.0' in text
    assert 'trainyard_server_language_generated_tokens_total{model="fox"} 7.0' in text
    assert 'trainyard_server_language_cache_used_ratio{model="fox"} ' in text
    assert 'trainyard_server_requests_total{code="200"} 1.0' in text
