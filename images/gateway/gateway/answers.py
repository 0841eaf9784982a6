"""Whether two answers to the same request say the same. Pure.

One row of an answer is drawn and compared, so that the share of answers that differ is a share of rows, however many rows callers
send at once, and requests stay independent of one another. The row of a classifier with labels is its class; of all other models
every number of it must be near, and every text equal. A completion is compared where it was asked for without chance.
"""

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

LABEL = "label"
_TEXT = "text"
_CODES = {
    "BOOL": "?",
    "UINT8": "B",
    "UINT16": "H",
    "UINT32": "I",
    "UINT64": "Q",
    "INT8": "b",
    "INT16": "h",
    "INT32": "i",
    "INT64": "q",
    "FP16": "e",
    "FP32": "f",
    "FP64": "d",
}
_UNREADABLE = (AttributeError, IndexError, KeyError, TypeError, ValueError, ZeroDivisionError, struct.error)
Value = bool | int | float | str | bytes
Row = Mapping[str, tuple[Value, ...]]
"""Values of one row by the name of the output."""


class Incomparable(ValueError):  # noqa: N818 - says what it is
    """An answer that cannot be compared with any other; the message says why."""


@dataclass(frozen=True)
class Tolerance:
    """How far a number may be from the old one and still be the same: absolute + relative x its size."""

    relative: float = 0.01
    absolute: float = 1e-5

    def near(self, old: Value, new: Value) -> bool:
        if isinstance(old, float) and isinstance(new, float | int):
            return abs(new - old) <= self.absolute + self.relative * abs(old)
        return old == new


@dataclass(frozen=True)
class Answer:
    """A body. json_length: how much of it is JSON, where raw tensors follow."""

    body: bytes
    json_length: int | None = None


class Question:
    """A request with the old model's answer."""

    def __init__(self, path: str, request: bytes, answer: Answer, *, labelled: bool, tolerance: Tolerance) -> None:
        """labelled: whether the model gives a class for each row. Raises Incomparable."""
        self._labelled, self._tolerance = labelled, tolerance
        self._read = _reader(path.partition("?")[0], request)
        try:
            self._rows = self._read(answer)
        except _UNREADABLE as error:
            raise Incomparable(f"the old model's answer cannot be read: {error!r}") from error
        if not self._rows:
            raise Incomparable("the old model's answer has no row")

    def differs(self, answer: Answer, draw: Callable[[int], int]) -> bool:
        """Whether the row that draw chooses of so many is another one in this answer."""
        try:
            rows = self._read(answer)
            index = draw(len(self._rows))
            return len(rows) != len(self._rows) or not self._same(self._rows[index], rows[index])
        except _UNREADABLE:
            return True

    def _same(self, old: Row, new: Row) -> bool:
        if self._labelled:
            name = next(iter(old))
            return old[LABEL] == new[LABEL] if LABEL in old else _class_of(old[name]) == _class_of(new[name])
        return all(
            len(values) == len(new[name]) and all(map(self._tolerance.near, values, new[name]))
            for name, values in old.items()
        )


def _reader(path: str, request: bytes) -> Callable[[Answer], Sequence[Row]]:
    """How answers to a request are read. Raises Incomparable."""
    if path.endswith("/infer"):
        return _tensors
    if path.endswith(":predict"):
        return _predictions
    try:
        asked = orjson.loads(request)
        certain = asked.get("temperature") == 0 and not asked.get("stream")
    except _UNREADABLE as error:
        raise Incomparable(f"the request cannot be read: {error!r}") from error
    if not certain:
        raise Incomparable("a stream, or a text that chance has a part in (temperature is not 0)")
    return _texts


def _tensors(answer: Answer) -> Sequence[Row]:
    """Rows of an answer in the Open Inference Protocol v2, in JSON or with raw tensors behind it."""
    tail = memoryview(answer.body)[answer.json_length :] if answer.json_length is not None else memoryview(b"")
    columns: dict[str, list[tuple[Value, ...]]] = {}
    for output in orjson.loads(answer.body[: answer.json_length])["outputs"]:
        size = output.get("parameters", {}).get("binary_data_size")
        if size is None:
            values = list(_flat(output["data"]))
        else:
            values, tail = _unpacked(output["datatype"], tail[:size]), tail[size:]
        rows = output["shape"][0]
        width = len(values) // rows
        columns[output["name"]] = [tuple(values[start : start + width]) for start in range(0, len(values), width)]
    return _by_row(columns)


def _predictions(answer: Answer) -> Sequence[Row]:
    """Rows of an answer in V1: values, or an object with them by the output's name."""
    rows = orjson.loads(answer.body)["predictions"]
    named = [row if isinstance(row, dict) else {"": row} for row in rows]
    return [{name: tuple(_flat([value])) for name, value in row.items()} for row in named]


def _texts(answer: Answer) -> Sequence[Row]:
    """Texts of a completion, or of a chat's."""
    choices = orjson.loads(answer.body)["choices"]
    return [{_TEXT: (each["text"] if "text" in each else each["message"]["content"],)} for each in choices]


def _class_of(values: tuple[Value, ...]) -> Value:
    """The class that values of a row stand for: that of the first text `value:index:label`, or the greatest number's."""
    first = values[0]
    if isinstance(first, str):
        return first.split(":")[1]
    return max(range(len(values)), key=lambda index: values[index])


def _by_row(columns: Mapping[str, Sequence[tuple[Value, ...]]]) -> Sequence[Row]:
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _flat(values: Sequence[Any]) -> Iterator[Value]:
    for value in values:
        if isinstance(value, list):
            yield from _flat(value)
        else:
            yield value


def _unpacked(datatype: str, raw: memoryview) -> list[Value]:
    """Values of raw little-endian bytes."""
    if datatype == "BYTES":
        return list(_lengths_first(raw))
    if datatype == "BF16":
        halves = struct.unpack(f"<{len(raw) // 2}H", raw)
        return list(
            struct.unpack(f"<{len(halves)}f", struct.pack(f"<{len(halves)}I", *(half << 16 for half in halves)))
        )
    code = _CODES[datatype]
    return list(struct.unpack(f"<{len(raw) // struct.calcsize(code)}{code}", raw))


def _lengths_first(raw: memoryview) -> Iterator[bytes]:
    while raw:
        (length,) = struct.unpack_from("<I", raw)
        yield bytes(raw[4 : 4 + length])
        raw = raw[4 + length :]
