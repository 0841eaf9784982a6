"""What the API server does with a request's body and selectors, as pure functions: patches, apply, selection.

Server-side apply is simplified: maps are merged field by field and ownership is tracked per leaf and manager, so a
field a manager stops sending disappears; lists are atomic, replaced as a whole by whoever applies them (the real
server merges keyed lists such as containers item by item).
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from trainyard.cluster.resources import Object

Path = tuple[str, ...]

_SET = re.compile(r"^\s*([\w./-]+)\s+(in|notin)\s+\(([^)]*)\)\s*$")


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7396: maps are merged, None removes, everything else replaces. Returns a new value."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged


def leaves(value: Any, path: Path = ()) -> set[Path]:
    """Paths of everything that is not a non-empty map."""
    if not isinstance(value, dict) or not value:
        return {path}
    return set().union(*(leaves(child, (*path, name)) for name, child in value.items()))


def without(value: Any, path: Path) -> Any:
    """The value without what stands at the path, and without maps that became empty by that."""
    if not isinstance(value, dict) or path[0] not in value:
        return value
    copy = dict(value)
    if len(path) == 1:
        del copy[path[0]]
        return copy
    child = without(copy[path[0]], path[1:])
    if child == {}:
        del copy[path[0]]
    else:
        copy[path[0]] = child
    return copy


def apply_patch(current: Object, applied: Object, owned: set[Path]) -> tuple[Object, set[Path]]:
    """Server-side apply by one manager that owned these leaves; returns the object and what it owns now."""
    now_owned = leaves(applied)
    result = current
    for path in owned - now_owned:
        if not any(other[: len(path)] == path for other in now_owned):
            result = without(result, path)
    return merge_patch(result, _without_nulls(applied)), now_owned


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(child) for name, child in value.items() if child is not None}
    return value


def field_of(obj: Any, path: str) -> str:
    """A field by its dotted path, as field selectors compare it."""
    for name in path.split("."):
        obj = obj.get(name) if isinstance(obj, dict) else None
    return "" if obj is None else str(obj)


def label_matcher(selector: str) -> Callable[[Object], bool]:
    """A predicate for a label selector: a=b, a!=b, a, !a, a in (x,y), a notin (x,y), joined by commas."""
    tests = [_label_test(part) for part in re.split(r",(?![^(]*\))", selector) if part.strip()]
    return lambda obj: all(test((obj.get("metadata") or {}).get("labels") or {}) for test in tests)


def _label_test(part: str) -> Callable[[Mapping[str, str]], bool]:
    found = _SET.match(part)
    if found:
        name, operator, values = found.groups()
        wanted = {value.strip() for value in values.split(",")}
        if operator == "in":
            return lambda labels: labels.get(name) in wanted
        return lambda labels: labels.get(name) not in wanted
    part = part.strip()
    if "!=" in part:
        name, _, value = (piece.strip() for piece in part.partition("!="))
        return lambda labels: labels.get(name) != value
    if "=" in part:
        name, value = (piece.strip(" =") for piece in part.split("=", 1))
        return lambda labels: labels.get(name) == value
    if part.startswith("!"):
        return lambda labels: part[1:] not in labels
    return lambda labels: part in labels


def field_matcher(selector: str) -> Callable[[Object], bool]:
    """A predicate for a field selector: a.b=c and a.b!=c, joined by commas."""
    tests: list[tuple[str, bool, str]] = []
    for part in filter(None, selector.split(",")):
        path, sign, value = re.split(r"(!=|==|=)", part, maxsplit=1)
        tests.append((path.strip(), sign != "!=", value.strip()))
    return lambda obj: all((field_of(obj, path) == value) is equal for path, equal, value in tests)


def matcher(query: Mapping[str, str], namespace: str | None) -> Callable[[Object], bool]:
    """A predicate for what a list or watch asked for."""
    labels = label_matcher(query.get("labelSelector", ""))
    fields = field_matcher(query.get("fieldSelector", ""))

    def matches(obj: Object) -> bool:
        inside = not namespace or obj["metadata"].get("namespace") == namespace
        return inside and labels(obj) and fields(obj)

    return matches
