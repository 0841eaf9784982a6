"""Graphs without HTTP: what is read, who is chosen, how answers become one."""

from typing import Any

import pytest
from server.errors import BadRequest, StartError
from server.graph.choose import chosen, fits
from server.graph.combine import Uncombinable, combined
from server.graph.stages import REQUEST, taken
from server.graph.tensors import Tensor, tensors_of
from server.graph.wiring import Stage, Switch, Target, When, parse

HERE, THERE = Target("http://here", "m"), Target("http://there", "m")


def fp32(*rows: list[float]) -> Tensor:
    return Tensor("FP32", (len(rows), len(rows[0])), [value for row in rows for value in row])


def labels(*values: str) -> Tensor:
    return Tensor("BYTES", (len(values),), list(values))


@pytest.mark.parametrize(
    ("how", "answers", "datatype", "shape", "data"),
    [
        ("Mean", [fp32([1, 2]), fp32([3, 6])], "FP32", (1, 2), [2, 4]),
        ("Vote", [labels("a", "x"), labels("b", "y"), labels("b", "x")], "BYTES", (2,), ["b", "x"]),
        ("Vote", [labels("b", "y"), labels("a", "x")], "BYTES", (2,), ["b", "y"]),
        ("Concat", [fp32([1, 2], [3, 4]), fp32([5], [6])], "FP32", (2, 3), [1, 2, 5, 3, 4, 6]),
        ("Concat", [Tensor("INT64", (2,), [1, 2]), Tensor("INT64", (2,), [3, 4])], "INT64", (2, 2), [1, 3, 2, 4]),
    ],
)
def test_answers_become_one(how: str, answers: list[Tensor], datatype: str, shape: Any, data: Any) -> None:
    found = combined([{"y": one, "other": one} for one in answers], "y", how)
    assert found == {"y": Tensor(datatype, shape, data)}


@pytest.mark.parametrize(
    ("how", "answers", "words"),
    [
        ("Mean", [fp32([1]), labels("a")], "the targets answered 'y' as BYTES and FP32; expected one datatype"),
        ("Mean", [labels("a"), labels("a")], "expected numbers in floating point"),
        ("Mean", [fp32([1, 2]), fp32([1])], "Mean of 'y' with FP32 of shapes [1, 2], [1, 1]"),
        ("Concat", [fp32([1]), fp32([1], [2])], "of shapes [1, 1], [2, 1]"),
        ("Vote", [Tensor("FP32", (3,), [1, 2]), Tensor("FP32", (3,), [1, 2])], "of shapes [3], [3]"),
    ],
)
def test_answers_that_do_not_fit_together_are_told(how: str, answers: list[Tensor], words: str) -> None:
    with pytest.raises(Uncombinable) as raised:
        combined([{"y": one} for one in answers], "y", how)
    assert words in str(raised.value)


def test_an_output_that_a_target_lacks_is_named() -> None:
    with pytest.raises(Uncombinable, match="target 2 answered z; expected 'y'"):
        combined([{"y": fp32([1])}, {"z": fp32([1])}], "y", "Mean")


@pytest.mark.parametrize(
    ("when", "fitting"),
    [
        (When(header="X-Tier", equals="gold"), True),
        (When(header="X-Tier", equals="silver"), False),
        (When(header="X-None", equals="gold"), False),
        (When(tensor="n", at_least=1), True),
        (When(tensor="n", at_least=2), False),
        (When(tensor="n", below=3), False),
        (When(tensor="n", below=3.5), True),
        (When(tensor="same", equals="2"), True),
        (When(tensor="n", equals="1"), False),
        (When(tensor="text", equals="de"), True),
        (When(tensor="flag", equals="true"), True),
    ],
)
def test_every_value_must_fit(when: When, fitting: bool) -> None:
    inputs = {
        "n": fp32([1, 3]),
        "same": Tensor("INT64", (2,), [2, 2]),
        "text": labels("de", "de"),
        "flag": Tensor("BOOL", (1,), [True]),
    }
    assert fits(when, inputs, {"X-Tier": "gold"}) is fitting


@pytest.mark.parametrize(
    ("when", "words"),
    [
        (When(tensor="m", below=1), "tensor 'm' is missing, on which it depends who is asked; there is text"),
        (When(tensor="text", below=1), "tensor 'text' cannot be compared: expected numbers"),
    ],
)
def test_a_tensor_that_cannot_be_compared_is_the_callers_fault(when: When, words: str) -> None:
    with pytest.raises(BadRequest, match=words):
        fits(when, {"text": labels("a")}, {})


def test_the_first_case_that_fits_counts_and_none_is_refused() -> None:
    gold, any_tier = When(header="T", equals="gold"), When(header="T", equals="x")
    switch = Switch(((any_tier, THERE), (gold, HERE), (gold, THERE)), None)
    assert chosen(switch, {}, {"T": "gold"}) == HERE
    assert chosen(Switch(switch.cases, THERE), {}, {}) == THERE
    with pytest.raises(BadRequest, match="fits none of 3 cases"):
        chosen(switch, {}, {})


def test_inputs_come_from_the_stage_before_or_from_where_they_are_said_to() -> None:
    known = {REQUEST: {"a": fp32([1])}, "first": {"b": fp32([2])}}
    assert taken(Stage("s", {}, HERE), known, "first") == known["first"]
    mixed = taken(Stage("s", {"x": "request.a", "y": "first.b"}, HERE), known, "first")
    assert mixed == {"x": fp32([1]), "y": fp32([2])}
    with pytest.raises(BadRequest, match="inputs has a; stage 's' takes 'c'"):
        taken(Stage("s", {"x": "request.c"}, HERE), known, "first")


@pytest.mark.parametrize(
    ("listed", "words"),
    [
        ([], "inputs is []; expected a list of tensors"),
        ([{"name": "a", "shape": [1], "data": [1]}], "inputs[0].datatype is null"),
        ([{"name": "a", "datatype": "FP32", "shape": [-1], "data": [1]}], "inputs[0].shape is [-1]"),
        ([{"name": "a", "datatype": "FP32", "shape": [1]}], "inputs[0].data is missing; a graph takes tensors in JSON"),
        ([{"name": "a", "datatype": "FP32", "shape": [1], "data": [1]}] * 2, 'inputs[1].name is "a"'),
    ],
)
def test_bad_tensors_are_refused_by_field(listed: Any, words: str) -> None:
    with pytest.raises(BadRequest) as raised:
        tensors_of(listed, "inputs")
    assert words in str(raised.value)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"stages": [{"name": "a"}]}', '{"stages": [{"name": "a", "inputs": {}}]}']
)
def test_a_graph_that_is_none_stops_the_start(text: str) -> None:
    with pytest.raises(StartError, match="TRAINYARD_GRAPH holds no graph"):
        parse(text)
