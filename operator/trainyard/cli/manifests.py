"""YAML files of Kubernetes objects, with the line and column of every value, so that an error can point at it."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from trainyard.cli.errors import CliError

FieldPath = Sequence[str | int]
_KIND_OF: Mapping[type[yaml.Node], str] = {yaml.MappingNode: "a mapping", yaml.SequenceNode: "a list"}


@dataclass(frozen=True, slots=True)
class Manifest:
    """One document of a file."""

    source: str
    value: Mapping[str, Any]
    node: yaml.Node

    def error(self, path: FieldPath, expected: str) -> CliError:
        """What is wrong at a field, or where it should be."""
        node, missing = _find(self.node, path)
        mark = node.start_mark
        at = f"{self.source}: line {mark.line + 1}, column {mark.column + 1}: {_dotted(path)}"
        if missing:
            return CliError(f"{at} is missing; expected {expected}")
        shown = (
            str(node.value)[:80] if isinstance(node, yaml.ScalarNode) else _KIND_OF.get(type(node), "something else")
        )
        return CliError(f"{at}: {shown!r} is not what is expected there: {expected}")

    def invalid(self, error: ValidationError) -> CliError:
        """The first thing that a model does not accept."""
        first = error.errors(include_url=False)[0]
        return self.error([part for part in first["loc"] if part != "function-after"], first["msg"])


def manifests(path: Path) -> list[Manifest]:
    """Documents of a file ("-" reads standard input). Raises CliError for what is no object."""
    source = "standard input" if str(path) == "-" else str(path)
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise CliError(f"{source}: there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise CliError(f"{source}: cannot be read: {error}") from None
    try:
        nodes = [node for node in yaml.compose_all(text, yaml.SafeLoader) if node is not None]
        values = [value for value in yaml.safe_load_all(text) if value is not None]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise CliError(f"{source}: {where}not YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise CliError(f"{source}: not YAML: {error}") from None
    found = []
    for node, value in zip(nodes, values, strict=False):
        if not isinstance(value, dict):
            line = node.start_mark.line + 1
            raise CliError(f"{source}: line {line}: a {type(value).__name__} where an object is expected")
        found.append(Manifest(source, value, node))
    if not found:
        raise CliError(f"{source}: there is nothing in it")
    return found


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
