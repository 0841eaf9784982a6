"""The V1 protocol, and the limit on time."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from server.budget import ComputeTimes
from server.model import Model

ROW = [[[0.5] * 4] * 4]


async def test_predictions_are_what_v2_answers(running: Any, ask: Callable[..., Any]) -> None:
    async with running() as client:
        _, reply = await client.infer(ask(rows=2))
        named = await client.infer({"instances": [{"image": ROW}] * 2}, "/v1/models/digits:predict")
        status, predicted = await client.infer({"instances": [ROW] * 2}, "/v1/models/digits:predict")
        assert (await client.get("/v1/models"))[1]["models"] == ["digits"]
        assert (await client.get("/v1/models/digits"))[1].items() >= {"name": "digits", "ready": True}.items()
        assert (await client.get("/v1/models/other"))[0] == 404
    assert status == 200
    assert named == (status, predicted)
    logits, labels = (output["data"] for output in reply["outputs"])
    assert predicted["predictions"] == [
        {"logits": logits[:3], "label": labels[0]},
        {"logits": logits[3:], "label": labels[1]},
    ]


async def test_a_single_output_is_a_bare_prediction(running: Any) -> None:
    async with running(card={"labels": None}) as client:
        _, predicted = await client.infer({"instances": [ROW]}, "/v1/models/digits:predict")
    assert [len(row) for row in predicted["predictions"]] == [3]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "instances is null; expected a list with an entry for each row"),
        ({"instances": [[1, 2]]}, "inputs[image].shape is [1,2]; expected [-1, 1, 4, 4]"),
        ({"instances": [ROW, 3]}, "instances has 3 at depth 1; expected 1"),
        ({"instances": [{"photo": ROW}]}, "instances[0] has the inputs [\"photo\"]; expected 'image' alone"),
        ({"instances": [ROW] * 65}, "expected a batch of at most 64 rows"),
    ],
)
async def test_bad_instances_are_refused(running: Any, body: Any, words: str) -> None:
    async with running() as client:
        status, reply = await client.infer(body, "/v1/models/digits:predict")
    assert status == 400
    assert words in reply["error"]


async def test_a_request_beyond_the_limit_of_time_gets_504_and_the_next_an_answer(
    running: Any, ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Model.infer
    async with running(request_seconds=0.1) as client:

        def slow(rows: Any) -> Any:
            time.sleep(0.3)
            return original(client.server.repository.only.model, rows)

        batcher = client.server.repository.only.batcher
        compute, batcher._compute, batcher._times = batcher._compute, slow, ComputeTimes()
        status, reply = await client.infer(ask())
        batcher._compute = compute
        await asyncio.sleep(0.25)
        assert (await client.infer(ask()))[0] == 200
    assert status == 504
    assert reply == {"error": "the request took longer than 0.1 s, which is the server's limit"}


async def test_a_body_that_never_ends_gets_504(running: Any) -> None:
    async with running(request_seconds=0.1) as client:
        reader, writer = await asyncio.open_connection("127.0.0.1", client.server.port)
        writer.write(b"POST /v2/models/digits/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        answer = await reader.readuntil(b"\r\n")
        writer.close()
        await writer.wait_closed()
    assert b" 504 " in answer
