"""Values that a CRD's schema allows, extremes first: what a user may send before rules and controllers look at it."""

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

Schema = Mapping[str, Any]
_MOST = 2
"""Entries of lists and maps: more of them say nothing more."""
_FAR = 2**63 - 1
NASTY = [
    "",
    " ",
    "\x1b[31mred",
    "\u202etxet",
    "a\nb",
    "../..",
    "${HOME}",
    '"} or vector(1)',
    "é" * 20,
    "0",
    "-1",
    "1e99",
    "NaN",
]
_TEXT = st.sampled_from(NASTY) | st.text(max_size=8)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-_FAR, _FAR) | _TEXT,
    lambda inner: st.lists(inner, max_size=_MOST) | st.dictionaries(_TEXT, inner, max_size=_MOST),
    max_leaves=4,
)


def values(schema: Schema) -> st.SearchStrategy[Any]:
    """What this part of a schema allows."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema.get("x-kubernetes-int-or-string"):
        return st.integers(-_FAR, _FAR) | st.sampled_from(["1", "500m", "10Gi", "-3", "1e9"]) | _TEXT
    kind = schema.get("type")
    if kind == "object" and "properties" in schema:
        return _object(schema)
    if kind == "object" and isinstance(schema.get("additionalProperties"), Mapping):
        keys = st.sampled_from(["cpu", "memory", "nvidia.com/gpu"]) | _TEXT
        return st.dictionaries(keys, values(schema["additionalProperties"]), max_size=_MOST)
    if kind == "array":
        least = schema.get("minItems", 0)
        return st.lists(values(schema.get("items", {})), min_size=least, max_size=max(least, _MOST))
    if kind in ("integer", "number"):
        return _number(schema, whole=kind == "integer")
    simple = {"boolean": st.booleans(), "string": _string(schema)}
    return simple.get(str(kind), _JSON)


def _object(schema: Schema) -> st.SearchStrategy[dict[str, Any]]:
    parts = {name: values(each) for name, each in schema["properties"].items()}
    needed = {name: parts.pop(name) for name in schema.get("required", ())}
    return st.fixed_dictionaries(needed, optional=parts)


def _number(schema: Schema, *, whole: bool) -> st.SearchStrategy[float]:
    low, high = schema.get("minimum", -_FAR), schema.get("maximum", _FAR)
    ends = st.sampled_from([low, high])
    if whole:
        return ends | st.integers(int(low), int(high))
    return ends | st.floats(float(low), float(high), allow_nan=False)


def _string(schema: Schema) -> st.SearchStrategy[Any]:
    if "pattern" in schema:
        return st.from_regex(schema["pattern"], fullmatch=True) | _TEXT
    return _TEXT
