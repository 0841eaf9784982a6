"""Which answers of two models to the same request are the same."""

import struct
from typing import Any

import orjson
import pytest
from gateway.answers import Answer, Incomparable, Question, Tolerance

LABELS = {"name": "label", "datatype": "INT64", "shape": [2], "data": [3, 5]}
LOGITS = {"name": "logits", "datatype": "FP32", "shape": [2, 3], "data": [0.1, 0.2, 0.9, 0.8, 0.1, 0.1]}


def v2(*outputs: dict[str, Any]) -> Answer:
    return Answer(orjson.dumps({"model_name": "m", "outputs": outputs}))


def floats(*values: float, rows: int = 1, name: str = "y") -> dict[str, Any]:
    return {"name": name, "datatype": "FP32", "shape": [rows, len(values) // rows], "data": list(values)}


def raw(datatype: str, form: str, *values: Any) -> Answer:
    tail = struct.pack(form, *values)
    return raw_bytes(datatype, tail, len(values))


def raw_bytes(datatype: str, tail: bytes, size: int) -> Answer:
    output = {"name": "y", "datatype": datatype, "shape": [1, size], "parameters": {"binary_data_size": len(tail)}}
    head = orjson.dumps({"outputs": [output]})
    return Answer(head + tail, len(head))


def v1(*rows: Any) -> Answer:
    return Answer(orjson.dumps({"predictions": rows}))


def completion(*texts: str) -> Answer:
    return Answer(orjson.dumps({"choices": [{"text": text} for text in texts]}))


def chat(text: str) -> Answer:
    return Answer(orjson.dumps({"choices": [{"message": {"role": "assistant", "content": text}}]}))


def differs(
    old: Answer,
    new: Answer,
    path: str = "/v2/models/m/infer",
    *,
    row: int = 0,
    labelled: bool = False,
    asked: str = "{}",
) -> bool:
    question = Question(path, asked.encode(), old, labelled=labelled, tolerance=Tolerance(0.1, 0.01))
    return question.differs(new, lambda _rows: row)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param(floats(10.0, 0.0), floats(10.9, 0.005), False, id="near"),
        pytest.param(floats(10.0, 0.0), floats(11.2, 0.0), True, id="too far from a large number"),
        pytest.param(floats(10.0, 0.0), floats(10.0, 0.02), True, id="too far from nothing"),
        pytest.param(floats(1.0), floats(1.0, 2.0), True, id="more values"),
        pytest.param(floats(1.0, 2.0), floats(1.0, 2.0, rows=2), True, id="more rows"),
        pytest.param(floats(1.0), floats(1.0, name="z"), True, id="another output"),
        pytest.param(
            {"name": "y", "datatype": "INT64", "shape": [1], "data": [100]},
            {"name": "y", "datatype": "INT64", "shape": [1], "data": [101]},
            True,
            id="whole numbers are not near but the same",
        ),
        pytest.param(
            {"name": "y", "datatype": "BYTES", "shape": [1], "data": ["a:b"]},
            {"name": "y", "datatype": "BYTES", "shape": [1], "data": ["a:c"]},
            True,
            id="texts",
        ),
    ],
)
def test_values_are_near_and_texts_equal(old: dict[str, Any], new: dict[str, Any], expected: bool) -> None:
    assert differs(v2(old), v2(new)) is expected


def test_an_output_more_is_no_difference() -> None:
    assert not differs(v2(floats(1.0)), v2(floats(7.0, name="more"), floats(1.0)))
    assert differs(v2(floats(7.0, name="more"), floats(1.0)), v2(floats(1.0)))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param(v2(LOGITS, LABELS), v2(LOGITS | {"data": [0.0] * 6}, LABELS), False, id="other values, same labels"),
        pytest.param(v2(LOGITS, LABELS), v2(LOGITS, LABELS | {"data": [4, 5]}), True, id="another label"),
        pytest.param(v2(LOGITS), v2(LOGITS | {"data": [0, 0, 1, 0, 0, 1]}), False, id="the same is the greatest"),
        pytest.param(v2(LOGITS), v2(LOGITS | {"data": [0, 1, 0, 1, 0, 0]}), True, id="another is the greatest"),
        pytest.param(
            v2({"name": "logits", "datatype": "BYTES", "shape": [1, 2], "data": ["0.9:2:cat", "0.1:0:dog"]}),
            v2({"name": "logits", "datatype": "BYTES", "shape": [1, 2], "data": ["0.7:2:cat", "0.2:1:cow"]}),
            False,
            id="the same first class",
        ),
        pytest.param(
            v2({"name": "logits", "datatype": "BYTES", "shape": [1, 1], "data": ["0.9:2:cat"]}),
            v2({"name": "logits", "datatype": "BYTES", "shape": [1, 1], "data": ["0.9:1:cow"]}),
            True,
            id="another first class",
        ),
        pytest.param(
            v2({"name": "label", "datatype": "BYTES", "shape": [1], "data": ["1:2"]}),
            v2({"name": "label", "datatype": "BYTES", "shape": [1], "data": ["0:2"]}),
            True,
            id="a label that only looks like a class",
        ),
    ],
)  # fmt: skip
def test_a_classifier_agrees_by_its_classes(old: Answer, new: Answer, expected: bool) -> None:
    assert differs(old, new, labelled=True) is expected


def test_one_row_is_drawn() -> None:
    old, new = v2(floats(1.0, 2.0, 3.0, rows=3)), v2(floats(1.0, 9.0, 3.0, rows=3))
    assert [differs(old, new, row=row) for row in range(3)] == [False, True, False]


@pytest.mark.parametrize(
    ("datatype", "form", "old", "new"),
    [
        ("FP32", "<2f", (1.0, 2.0), (1.0, 4.0)),
        ("FP64", "<2d", (1.0, 2.0), (1.0, 4.0)),
        ("FP16", "<2e", (1.0, 2.0), (1.0, 4.0)),
        ("BF16", "<2H", (0x3F80, 0x4000), (0x3F80, 0x4080)),
        ("INT64", "<2q", (1, -2), (1, -3)),
        ("UINT8", "<2B", (1, 2), (1, 3)),
        ("BOOL", "<2?", (True, False), (True, True)),
    ],
)
def test_raw_tensors_are_read(datatype: str, form: str, old: tuple[Any, ...], new: tuple[Any, ...]) -> None:
    assert not differs(raw(datatype, form, *old), raw(datatype, form, *old))
    assert differs(raw(datatype, form, *old), raw(datatype, form, *new))


def test_numbers_of_16_bits_are_near_by_their_value() -> None:
    assert not differs(raw("BF16", "<1H", 0x4000), raw("BF16", "<1H", 0x4001))


def test_raw_texts_and_json_beside_raw_tensors_are_read() -> None:
    texts = [b"\x01\0\0\0a\x02\0\0\0bc", b"\x01\0\0\0a\x02\0\0\0bd"]
    old, new = (raw_bytes("BYTES", text, 2) for text in texts)
    assert (differs(old, old), differs(old, new)) == (False, True)
    assert not differs(v2(floats(1.0, 2.0)), raw("FP32", "<2f", 1.0, 2.0)), "the form does not matter"


@pytest.mark.parametrize(
    ("old", "new", "labelled", "expected"),
    [
        (v1([1.0, 2.0]), v1([1.01, 2.0]), False, False),
        (v1([[1.0], [2.0]]), v1([[1.0], [3.0]]), False, True),
        (v1(4.0), v1(4.0, 4.0), False, True),
        (v1({"logits": [0.1, 0.9], "label": 1}), v1({"logits": [0.4, 0.6], "label": 1}), True, False),
        (v1({"logits": [0.1, 0.9], "label": 1}), v1({"logits": [0.6, 0.4], "label": 0}), True, True),
    ],
)
def test_predictions_of_v1(old: Answer, new: Answer, labelled: bool, expected: bool) -> None:
    assert differs(old, new, "/v1/models/m:predict?x=1", labelled=labelled) is expected


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (completion("a b"), completion("a b"), False),
        (completion("a b"), completion("a c"), True),
        (completion("a", "b"), completion("a"), True),
        (chat("yes"), chat("yes"), False),
        (chat("yes"), chat("no"), True),
    ],
)
def test_texts_without_chance_are_equal_or_not(old: Answer, new: Answer, expected: bool) -> None:
    assert differs(old, new, "/v1/chat/completions", asked='{"temperature": 0}') is expected


@pytest.mark.parametrize("asked", ["{}", '{"temperature": 0.7}', '{"temperature": 0, "stream": true}', "[]", "oh"])
def test_texts_that_chance_has_a_part_in_are_not_compared(asked: str) -> None:
    with pytest.raises(Incomparable):
        differs(completion("a"), completion("a"), "/v1/completions", asked=asked)


@pytest.mark.parametrize("body", [b"", b"oh", b"[]", b"{}", b'{"outputs": []}', b'{"outputs": [{"name": "y"}]}'])
def test_what_cannot_be_read_is_incomparable_as_old_answer_and_different_as_new(body: bytes) -> None:
    with pytest.raises(Incomparable):
        differs(Answer(body), v2(floats(1.0)))
    assert differs(v2(floats(1.0)), Answer(body))
