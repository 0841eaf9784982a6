"""The JSON schema of the values, against which Helm checks what a user sets."""

import json
from typing import Any

from dev.chart.model import Values
from dev.chart.values import Value

_DRAFT = "http://json-schema.org/draft-07/schema#"
"""What every version of Helm 3 reads."""
_GLOBAL = {"type": "object", "description": "Set by Helm where this chart is a dependency; not read."}


def schema_text(values: list[Value]) -> str:
    """values.schema.json."""
    return json.dumps(schema_of(values), indent=2) + "\n"


def schema_of(values: list[Value]) -> dict[str, Any]:
    """Sections stand where they are used, so that each value has its description; shapes that repeat are definitions."""
    told = Values.model_json_schema(ref_template="#/definitions/{model}")
    kinds: dict[str, Any] = told["$defs"]
    root = _section((), told, kinds, values)
    root["properties"] |= {"global": _GLOBAL}
    used: dict[str, Any] = {}
    _collect(root, kinds, used)
    return {
        "$schema": _DRAFT,
        "title": "Values of the Trainyard chart",
        **root,
        "definitions": dict(sorted(used.items())),
    }


def _section(path: tuple[str, ...], told: dict[str, Any], kinds: dict[str, Any], values: list[Value]) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    below = [value for value in values if value.path[:-1] == path]
    for value in below:
        given = told["properties"][value.path[-1]]
        if value.section is not None:
            inner = _section(value.path, kinds[value.section.__name__], kinds, values)
        else:
            inner = _plain(given) | {"default": value.default}
        properties[value.path[-1]] = {"description": value.description, **inner}
    return {
        "type": "object",
        "additionalProperties": False,
        "required": [value.path[-1] for value in below if not value.dispensable],
        "properties": properties,
    }


def _plain(told: Any) -> Any:
    """Without what only pydantic needs, and without None where a key is simply left out."""
    if isinstance(told, list):
        return [_plain(each) for each in told]
    if not isinstance(told, dict):
        return told
    kept = {key: _plain(each) for key, each in told.items() if key not in ("title", "default", "uniqueItems")}
    if told.get("default", ...) is None and "anyOf" in kept:
        (only,) = [each for each in kept.pop("anyOf") if each != {"type": "null"}]
        kept |= only
    return kept


def _collect(told: Any, kinds: dict[str, Any], used: dict[str, Any]) -> None:
    """Put each definition that `told` refers to into `used`."""
    for each in told if isinstance(told, list) else told.values() if isinstance(told, dict) else ():
        _collect(each, kinds, used)
    name = told["$ref"].rsplit("/", 1)[-1] if isinstance(told, dict) and "$ref" in told else None
    if name is not None and name not in used:
        used[name] = {}  # it may refer to itself
        used[name] = _plain_kind(kinds[name])
        _collect(used[name], kinds, used)


def _plain_kind(told: dict[str, Any]) -> dict[str, Any]:
    properties = {key: _plain(each) for key, each in told.get("properties", {}).items()}
    return {
        **_plain({key: each for key, each in told.items() if key != "properties"}),
        **({"properties": properties} if properties else {}),
    }
