"""Tensors in binary and typed form: what goes out comes in again, and whatever is sent, the refusal is a clear one."""

import json
import struct
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from server.card import DATATYPES, Card, TensorSpec
from server.errors import BadRequest
from server.grpc_messages import message
from server.grpc_tensors import decode as decode_message
from server.grpc_tensors import encode as encode_message
from server.protocol import InferRequest, decode, encode
from server.tensors import as_bf16, from_raw, to_raw

LOGITS = TensorSpec("logits", "FP32", (-1, 3))
CARD = Card("digits", "", TensorSpec("image", "FP32", (-1, 2)), LOGITS, ("a", "b", "c"))
RAW = np.arange(4, dtype="<f4").tobytes()


def arrays(datatype: str) -> st.SearchStrategy[NDArray[Any]]:
    """Arrays (rows, 3) of values that the datatype has."""
    dtype = np.dtype(DATATYPES[datatype])
    if dtype.kind == "f":
        values: st.SearchStrategy[Any] = st.floats(-60000, 60000, width=16)
    elif dtype.kind == "b":
        values = st.booleans()
    else:
        values = st.integers(int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    rows = st.lists(st.lists(values, min_size=3, max_size=3), min_size=1, max_size=4)
    held = rows.map(lambda data: np.array(data, dtype=dtype))
    return held.map(as_bf16) if datatype == "BF16" else held


@pytest.mark.parametrize("datatype", DATATYPES)
@given(data=st.data())
def test_what_is_encoded_decodes_to_the_same(datatype: str, data: st.DataObject) -> None:
    values = data.draw(arrays(datatype))
    spec = TensorSpec("image", datatype, (-1, 3))
    card = Card("m", "", spec, TensorSpec("image", datatype, (-1, 3)), None)
    np.testing.assert_array_equal(from_raw(to_raw(spec, values), spec, values.shape), values)
    for binary in (frozenset(), frozenset({"image"})):
        body = encode(InferRequest(None, values, ("image",), binary=binary), card, "m", {"image": values})
        length = len(body.content) if body.json_length is None else body.json_length
        fields = json.loads(body.content[:length])
        request = json.dumps({"inputs": fields["outputs"]}).encode()
        sent = request + body.content[length:]
        again = decode(sent, card, 4, None if body.json_length is None else str(len(request)))
        np.testing.assert_array_equal(again.array, values)
        assert again.array.dtype == values.dtype
        response = encode_message(
            InferRequest(None, values, ("image",), binary=binary), card, "m", "1", {"image": values}
        )
        tensors = [
            {"name": one.name, "datatype": one.datatype, "shape": one.shape, "contents": one.contents}
            for one in response.outputs
        ]
        call = message("ModelInferRequest")(inputs=tensors, raw_input_contents=response.raw_output_contents)
        np.testing.assert_array_equal(decode_message(call, card, 4).array, values)


def test_texts_are_led_by_their_length() -> None:
    raw = to_raw(TensorSpec("label", "BYTES", (-1,)), np.array(["a", "zwölf"], dtype=object))
    assert raw == struct.pack("<I", 1) + b"a" + struct.pack("<I", 6) + "zwölf".encode()


def test_bf16_is_rounded_to_even() -> None:
    exact = np.array([1.0, 1 + 2**-8, 1 + 3 * 2**-8, 3.38e38, 3.4e38], dtype=np.float32)
    assert as_bf16(exact).tolist()[:3] == [1.0, 1.0, 1 + 2**-6]
    assert np.isfinite(as_bf16(exact)).tolist() == [True, True, True, True, False]


def sent(raw: bytes = RAW, header: object = None, **changes: Any) -> tuple[bytes, str]:
    tensor = {"name": "image", "datatype": "FP32", "shape": [2, 2], "parameters": {"binary_data_size": len(raw)}}
    head = json.dumps({"inputs": [tensor | changes]}).encode()
    return head + raw, str(len(head) if header is None else header)


def test_a_binary_input_is_read() -> None:
    body, header = sent()
    assert decode(body, CARD, 8, header).array.tolist() == [[0, 1], [2, 3]]


NAN = np.array([0, 1, np.nan, 3], dtype="<f4").tobytes()
BROKEN = {
    "short": (sent(RAW[:-1]), "inputs[image] has 15 bytes of binary data; expected 16 for shape [2, 2] of FP32"),
    "long": (sent(RAW + b"\0"), "inputs[image] has 17 bytes of binary data; expected 16"),
    "none": (sent(b""), "inputs[image] has 0 bytes of binary data; expected 16"),
    "said wrong": (sent(parameters={"binary_data_size": 8}), "binary_data_size is 8; 16 bytes follow the JSON"),
    "said badly": (sent(parameters={"binary_data_size": True}), "binary_data_size is true; 16 bytes follow"),
    "unsaid": (sent(parameters={}, data=[1, 2, 3, 4]), "16 bytes follow the JSON, but inputs[image] has no parameter"),
    "both": (sent(data=[1]), "inputs[image] has both data and binary_data_size"),
    "nan": (sent(NAN), "inputs[image][2] is nan; that does not fit datatype FP32"),
    "nested": (sent(parameters={"a": [1]}), "inputs[image].parameters.a is [1]; expected a boolean, a number or"),
    "header beyond": (sent(header=10**6), 'Inference-Header-Content-Length is "1000000"; expected the number'),
    "header negative": (sent(header=-1), 'Inference-Header-Content-Length is "-1"; expected'),
    "header text": (sent(header="0x10"), 'Inference-Header-Content-Length is "0x10"; expected'),
    "header digits of another script": (sent(header="١٢"), "Inference-Header-Content-Length is"),
    "header endless": (sent(header="9" * 4000), "Inference-Header-Content-Length is string"),
    "header empty": (sent(header=""), 'Inference-Header-Content-Length is ""; expected'),
    "header within": (sent(header=5), "the request body is not valid JSON"),
}


@pytest.mark.parametrize(("broken", "words"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_binary_request_is_refused_by_name(broken: tuple[bytes, str], words: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        decode(broken[0], CARD, 8, broken[1])
    assert words in str(refusal.value)
    assert len(str(refusal.value)) < 300


@given(st.binary(max_size=80), st.one_of(st.none(), st.text(max_size=8), st.integers(-5, 200).map(str)))
def test_no_bytes_and_no_header_get_further_than_a_refusal(body: bytes, header: str | None) -> None:
    with pytest.raises(BadRequest):
        decode(body, CARD, 8, header)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(["name", "datatype", "shape", "data", "parameters"]), JSON)
def test_any_value_of_any_field_is_taken_or_refused_and_never_an_accident(field: str, value: object) -> None:
    tensor = {"name": "image", "datatype": "FP32", "shape": [1, 2], "data": [1, 2], field: value}
    with suppress(BadRequest):
        decode(json.dumps({"inputs": [tensor], "outputs": [{"name": "logits", "parameters": value}]}).encode(), CARD, 8)


def test_deep_nesting_is_refused() -> None:
    for depth in (300, 900, 100_000):
        deep = b"[" * depth + b"]" * depth
        body = b'{"inputs": [{"name": "image", "datatype": "FP32", "shape": [1, 2], "data": ' + deep + b"}]}"
        with pytest.raises(BadRequest):
            decode(body, CARD, 8)
        with pytest.raises(BadRequest):
            decode(b'{"id": ' + deep + b', "inputs": []}', CARD, 8)


def test_messages_need_their_own_contents() -> None:
    tensor = {"name": "image", "datatype": "FP32", "shape": [1, 2]}
    for contents, words in (
        ({"fp64_contents": [1, 2]}, "inputs[image] has fp64_contents; expected fp32_contents for FP32"),
        ({}, "inputs[image] has no contents; expected fp32_contents"),
        ({"fp32_contents": [1, 2, 3]}, "inputs[image].contents holds 3 values; expected 2"),
        ({"fp32_contents": [1, float("inf")]}, "inputs[image].contents[1] is inf; that does not fit"),
    ):
        with pytest.raises(BadRequest) as refusal:
            decode_message(message("ModelInferRequest")(inputs=[tensor | {"contents": contents}]), CARD, 8)
        assert words in str(refusal.value)


def test_a_typed_message_is_answered_with_typed_contents() -> None:
    tensor = {"name": "image", "datatype": "FP32", "shape": [1, 2], "contents": {"fp32_contents": [1, 2]}}
    asked = decode_message(message("ModelInferRequest")(id="7", inputs=[tensor]), CARD, 8)
    results = {"logits": np.ones((1, 3), np.float32), "label": np.array(["a"], dtype=object)}
    response = encode_message(asked, CARD, "digits", "1", results)
    assert response.id == "7"
    assert list(response.outputs[0].contents.fp32_contents) == [1, 1, 1]
    assert list(response.outputs[1].contents.bytes_contents) == [b"a"]
    assert not response.raw_output_contents
