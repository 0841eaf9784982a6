"""Every bad request gets its status and a message that names the field, the value and what was expected."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from server.card import Card, TensorSpec
from server.errors import BadRequest, ModelFailed
from server.protocol import InferRequest, decode, encode

CARD = Card(
    name="digits",
    digest="sha256:0",
    input=TensorSpec("image", "FP32", (-1, 2, 2)),
    output=TensorSpec("logits", "FP32", (-1, 3)),
    labels=("a", "b", "c"),
)
GOOD = {"name": "image", "datatype": "FP32", "shape": [1, 2, 2], "data": [1, 2, 3, 4]}


def body(**changes: Any) -> dict[str, Any]:
    return {"inputs": [{key: value for key, value in (GOOD | changes).items() if value != "absent"}]}


BAD: dict[str, tuple[object, str]] = {
    "not JSON": (b"hello", "the request body is not valid JSON: unexpected character"),
    "empty": (b"", "the request body is not valid JSON: Input is a zero-length"),
    "truncated": (json.dumps(body()).encode()[:-9], "the request body is not valid JSON: unexpected end of data"),
    "not UTF-8": (b'{"inputs": "\xff"}', "the request body is not valid JSON"),
    "NaN": (b'{"inputs": [{"data": [NaN]}]}', "NaN and Infinity are not JSON and are not accepted"),
    "an array": ([1], "the request body is [1]; expected a JSON object"),
    "id": ({**body(), "id": 5}, "id is 5; expected a string"),
    "no inputs": ({}, "inputs is missing; expected a list of one tensor named 'image'"),
    "inputs no list": ({"inputs": {}}, "inputs is {}; expected a list of one tensor named 'image'"),
    "inputs empty": ({"inputs": []}, "inputs is []; expected a list of one tensor named 'image'"),
    "input no object": ({"inputs": [3]}, "inputs[0] is 3; expected a JSON object"),
    "no name": (body(name="absent"), "inputs[0].name is missing; expected 'image'"),
    "wrong name": (body(name="pixels"), "inputs[0].name is \"pixels\"; expected 'image'"),
    "twice": ({"inputs": [GOOD, GOOD]}, "inputs holds 'image' 2 times; expected it once"),
    "one too many": ({"inputs": [GOOD, GOOD | {"name": "x"}]}, "inputs[1].name is \"x\"; expected 'image'"),
    "no shape": (body(shape="absent"), "inputs[image].shape is missing; expected [-1, 2, 2]"),
    "shape no list": (body(shape=4), "inputs[image].shape is 4; expected a list of whole numbers like [-1, 2, 2]"),
    "shape of floats": (body(shape=[1.0, 2, 2]), "inputs[image].shape is [1.0,2,2]; expected a list of whole"),
    "wrong rank": (body(shape=[2, 2]), "inputs[image].shape is [2,2]; expected [-1, 2, 2]"),
    "wrong size": (body(shape=[1, 2, 3]), "inputs[image].shape is [1,2,3]; expected [-1, 2, 2]"),
    "no rows": (body(shape=[0, 2, 2], data=[]), "inputs[image].shape is [0,2,2]; expected [-1, 2, 2]"),
    "negative": (body(shape=[-1, 2, 2]), "inputs[image].shape is [-1,2,2]; expected [-1, 2, 2]"),
    "batch too large": (body(shape=[9, 2, 2]), "inputs[image].shape[0] is 9; expected a batch of at most 8 rows"),
    "no datatype": (body(datatype="absent"), "inputs[image].datatype is missing; expected 'FP32'"),
    "wrong datatype": (body(datatype="INT64"), "inputs[image].datatype is \"INT64\"; expected 'FP32'"),
    "no data": (body(data="absent"), "inputs[image].data is missing; expected 4 numbers"),
    "binary data": (
        body(data="absent", parameters={"binary_data_size": 16}),
        "has binary_data_size, but the header Inference-Header-Content-Length is missing",
    ),
    "data no list": (body(data=7), "inputs[image].data is 7; expected an array of 4 numbers"),
    "too few": (body(data=[1, 2, 3]), "inputs[image].data holds 3 values; expected 4 for shape [1, 2, 2]"),
    "nested wrong": (body(data=[[[1, 2], [3]]]), "inputs[image].data has 1 entries at depth 2; expected 2"),
    "half nested": (body(data=[[1, [3, 4]]]), "inputs[image].data has 1 at depth 2; expected 2"),
    "too deep": (body(data=[[[1, 2], [3, [4]]]]), "inputs[image].data[3] is [4]; expected a number"),
    "text": (body(data=[1, 2, "3", 4]), 'inputs[image].data[2] is "3"; expected a number for datatype FP32'),
    "null": (body(data=[1, None, 3, 4]), "inputs[image].data[1] is null; expected a number for datatype FP32"),
    "truth": (body(data=[True, 2, 3, 4]), "inputs[image].data[0] is true; expected a number for datatype FP32"),
    "beyond FP32": (body(data=[1, 2, 3, 1e39]), "inputs[image].data[3] is 1e+39; that does not fit datatype FP32"),
    "outputs no list": ({**body(), "outputs": 1}, "outputs is 1; expected a list of objects with a name"),
    "unknown output": (
        {**body(), "outputs": [{"name": "x"}]},
        'outputs[0].name is "x"; expected one of logits, label',
    ),
    "long value": (body(data="x" * 200), 'inputs[image].data is string "xxxxx'),
}


@pytest.mark.parametrize(("sent", "message"), BAD.values(), ids=BAD.keys())
def test_a_bad_request_is_refused_by_name(sent: object, message: str) -> None:
    raw = sent if isinstance(sent, bytes) else json.dumps(sent).encode()
    with pytest.raises(BadRequest) as refusal:
        decode(raw, CARD, 8)
    assert message in str(refusal.value)
    assert len(str(refusal.value)) < 300


@pytest.mark.parametrize("data", [[1, 2, 3, 4], [[[1, 2], [3, 4]]], [[[1.0, 2], [3, 4e0]]]])
def test_data_may_be_flat_or_nested(data: list[Any]) -> None:
    request = decode(json.dumps(body(data=data)).encode(), CARD, 8)
    np.testing.assert_array_equal(request.array, np.array([[[1, 2], [3, 4]]], dtype=np.float32))
    assert request.array.dtype == np.float32


@pytest.mark.parametrize(
    ("datatype", "data", "message"),
    [
        ("INT8", [1, 2, 3, 128], "[3] is 128; that does not fit datatype INT8"),
        ("UINT8", [-1, 2, 3, 4], "[0] is -1; that does not fit datatype UINT8"),
        ("INT64", [1.5, 2, 3, 4], "[0] is 1.5; expected a whole number for datatype INT64"),
        ("BOOL", [1, 0, 1, 0], "[0] is 1; expected true or false for datatype BOOL"),
    ],
)
def test_whole_numbers_must_fit_their_datatype(datatype: str, data: list[Any], message: str) -> None:
    card = Card("m", "", TensorSpec("image", datatype, (-1, 2, 2)), CARD.output, None)
    with pytest.raises(BadRequest) as refusal:
        decode(json.dumps(body(datatype=datatype, data=data)).encode(), card, 8)
    assert message in str(refusal.value)


def test_only_the_outputs_asked_for_are_answered() -> None:
    request = decode(json.dumps({**body(), "id": "x", "outputs": [{"name": "label"}]}).encode(), CARD, 8)
    results = {"logits": np.zeros((1, 3), np.float32), "label": np.array(["b"], dtype=object)}
    assert json.loads(encode(request, CARD, "digits", results).content) == {
        "id": "x",
        "model_name": "digits",
        "model_version": "1",
        "outputs": [{"name": "label", "shape": [1], "datatype": "BYTES", "data": ["b"]}],
    }


def test_an_answer_of_nan_is_an_error_and_no_silent_null() -> None:
    request = InferRequest(None, np.zeros((1, 2, 2), np.float32), ("logits",))
    with pytest.raises(ModelFailed, match="NaN or infinity in output 'logits'"):
        encode(request, CARD, "digits", {"logits": np.array([[1, np.nan, 0]], np.float32)})


HTTP_ERRORS = [
    ("GET", "/v2/models/other", 404, "model 'other' is not here; expected 'digits'"),
    ("POST", "/v2/models/other/infer", 404, "model 'other' is not here; expected 'digits'"),
    ("GET", "/v2/models/digits/versions/9", 404, "version '9' of model 'digits' is not here; expected '1'"),
    ("GET", "/nowhere", 404, "path '/nowhere' is not here"),
    ("GET", "/v2/models/digits/infer", 405, "method GET is not allowed here; expected POST"),
    ("DELETE", "/v2", 405, "method DELETE is not allowed here; expected GET, HEAD"),
]


@pytest.mark.parametrize(("method", "path", "status", "message"), HTTP_ERRORS)
async def test_unknown_places_and_methods_are_json_errors(
    running: Any, method: str, path: str, status: int, message: str
) -> None:
    async with running() as client, client.session.request(method, client.base + path) as response:
        assert response.status == status
        assert message in (await response.json())["error"]


async def test_a_bad_body_over_http_is_400_with_the_message(running: Any, ask: Callable[..., Any]) -> None:
    async with running() as client:
        assert await client.infer(ask(datatype="FP64")) == (
            400,
            {"error": "inputs[image].datatype is \"FP64\"; expected 'FP32'"},
        )


async def _send_slowly(port: int, head: bytes, chunk: bytes) -> tuple[bytes, int]:
    """Send head and chunks until the server answers. Returns the answer and how many bytes of body went out."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head)
    answer = asyncio.create_task(reader.readuntil(b"}"))
    sent = 0
    while not answer.done() and sent < 100 * 1024 * 1024 and chunk:
        writer.write(chunk)
        sent += len(chunk)
        await asyncio.sleep(0)
    result = await answer
    writer.close()
    return result, sent


HEAD = b"POST /v2/models/digits/infer HTTP/1.1\r\nHost: x\r\n"


async def test_a_declared_body_of_100_mb_is_refused_before_it_is_read(running: Any) -> None:
    async with running(max_body_bytes=1000) as client:
        head = HEAD + b"Content-Length: 104857600\r\n\r\n"
        answer, _ = await _send_slowly(client.server.port, head, b"")
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"the request body has 104857600 bytes; expected at most 1000" in answer


async def test_a_body_of_unknown_length_is_refused_as_soon_as_it_is_too_long(running: Any) -> None:
    async with running(max_body_bytes=100_000) as client:
        head = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
        chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        answer, sent = await _send_slowly(client.server.port, head, chunk)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert sent < 20 * 1024 * 1024


async def test_a_client_that_asks_first_is_not_invited_to_send_too_much(running: Any) -> None:
    async with running(max_body_bytes=1000) as client:
        head = HEAD + b"Expect: 100-continue\r\nContent-Length: 5000\r\n\r\n"
        answer, _ = await _send_slowly(client.server.port, head, b"")
    assert answer.startswith(b"HTTP/1.1 413 ")
