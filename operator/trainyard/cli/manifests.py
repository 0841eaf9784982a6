"""YAML files of Kubernetes objects, with the line and column of every value, so that an error can point at it."""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from trainyard.cli.errors import CliError

FieldPath = Sequence[str | int]
_KIND_OF: Mapping[type[yaml.Node], str] = {yaml.MappingNode: "a mapping", yaml.SequenceNode: "a list"}


@dataclass(frozen=True, slots=True)
class Manifest:
    """One document of a file."""

    source: str
    number: int
    """Of the document in its file, from 1."""
    value: Mapping[str, Any]
    node: yaml.Node

    def error(self, path: FieldPath, expected: str) -> CliError:
        """What is wrong at a field, or where it should be."""
        node, missing = _find(self.node, path)
        at = f"{_at(self.source, self.number, node)}: {_dotted(path)}"
        if missing:
            return CliError(f"{at} is missing; expected {expected}")
        shown = (
            str(node.value)[:80] if isinstance(node, yaml.ScalarNode) else _KIND_OF.get(type(node), "something else")
        )
        return CliError(f"{at}: {shown!r} is not what is expected there: {expected}")

    def invalid(self, error: ValidationError) -> CliError:
        """The first thing that a model does not accept."""
        return self.all_invalid(error)[0]

    def all_invalid(self, error: ValidationError) -> list[CliError]:
        """Everything that a model does not accept."""
        return [
            self.error(
                [part for part in each["loc"] if part != "function-after"],
                "a value" if each["type"] == "missing" else each["msg"],
            )
            for each in error.errors(include_url=False)
            if not misjudged(each)
        ]

    def unknown(self, path: FieldPath, near: Sequence[str]) -> CliError:
        """A field that the API does not have. near: fields beside it whose names are like its name."""
        node, _ = _find(self.node, path)
        hint = f"near to it: {', '.join(near)}" if near else "nothing there has a name like it"
        return CliError(f"{_at(self.source, self.number, node)}: {_dotted(path)} is no field of the API; {hint}")


def misjudged(error: ErrorDetails) -> bool:
    """Whether it is none: strictly, a list is no tuple, and lists of JSON are Python's inside of a model that is `Shared`."""
    return error["type"] == "tuple_type" and isinstance(error["input"], list)


def manifests(path: Path) -> list[Manifest]:
    """Documents of a file ("-" reads standard input). Raises CliError for what is no object."""
    source = "standard input" if str(path) == "-" else str(path)
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise CliError(f"{source}: there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise CliError(f"{source}: cannot be read: {error}") from None
    found = []
    try:
        for number, (node, value) in enumerate(_documents(text), start=1):
            if value is None:
                continue
            if not isinstance(value, dict):
                line = node.start_mark.line + 1
                raise CliError(
                    f"{source}: document {number}, line {line}: a {type(value).__name__} where an object is expected"
                )
            found.append(Manifest(source, number, value, node))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise CliError(f"{source}: {where}not YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise CliError(f"{source}: not YAML: {error}") from None
    if not found:
        raise CliError(f"{source}: there is nothing in it")
    return found


class _Loader(yaml.SafeLoader):
    """Reads plain values as kubectl does, which PyYAML would not: 1e-3 is a number; 12:30 and 2026-11-23 are texts."""


_INTEGER = r"[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0[0-7_]*|[1-9][0-9_]*)"
_NUMBER = r"[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
_OTHERWISE = {"int": _INTEGER, "float": _NUMBER}
_Loader.yaml_implicit_resolvers = {
    first: [each for each in known if each[0].rpartition(":")[2] not in (*_OTHERWISE, "timestamp")]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _name, _pattern in _OTHERWISE.items():
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(rf"^(?:{_pattern})$"), list("-+0123456789."))


def _documents(text: str) -> Iterator[tuple[yaml.Node, Any]]:
    """Each with its value, which is None for an empty one."""
    loader = _Loader(text)
    try:
        while loader.check_node() and (node := loader.get_node()) is not None:
            yield node, loader.construct_document(node)
    finally:
        loader.dispose()


def _at(source: str, number: int, node: yaml.Node) -> str:
    mark = node.start_mark
    return f"{source}: document {number}, line {mark.line + 1}, column {mark.column + 1}"


def _find(node: yaml.Node, path: FieldPath) -> tuple[yaml.Node, bool]:
    """The node at a path, and whether it is not there; then the one that should hold it."""
    for part in path:
        inner = _child(node, part)
        if inner is None:
            return node, True
        node = inner
    return node, False


def _child(node: yaml.Node, part: str | int) -> yaml.Node | None:
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        found: yaml.Node = node.value[part]
        return found
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == part), None)
    return None


def _dotted(path: FieldPath) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "the document"
