"""The values that there are: each with its type from the model, and its default and description from values.yaml."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic.fields import FieldInfo

from dev.chart import CHART
from dev.chart.model import Section, Values

FILE = CHART / "values.yaml"
Path_ = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Value:
    """One value or section, by its path of keys."""

    path: Path_
    field: FieldInfo
    default: Any
    description: str

    @property
    def section(self) -> type[Section] | None:
        """Its type if other values are below it."""
        kind = self.field.annotation
        return kind if isinstance(kind, type) and issubclass(kind, Section) else None

    @property
    def dispensable(self) -> bool:
        """Whether templates do without it, so that a user may take it away by null."""
        return self.section is None and (isinstance(self.default, list | dict) or self.default == "")


def documented(file: Path = FILE, model: type[Section] = Values) -> list[Value]:
    """All values, in the order of the file. Raises ValueError with what is missing in the file, the model or its comments."""
    text = file.read_text()
    comments = dict(_comments(yaml.compose(text, yaml.SafeLoader), text.splitlines()))
    found = list(_walk(model, yaml.safe_load(text), comments))
    bare = [".".join(value.path) for value in found if not value.description]
    if bare:
        raise ValueError(f"{file.name}: no comment above {', '.join(bare)}, and no description in the model")
    return found


def _walk(
    model: type[Section], defaults: dict[str, Any], comments: dict[Path_, str], above: Path_ = ()
) -> Iterator[Value]:
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    if fields.keys() != defaults.keys():
        missing, unknown = sorted(fields.keys() - defaults.keys()), sorted(defaults.keys() - fields.keys())
        raise ValueError(
            f"{'.'.join(above) or 'values.yaml'}: without {missing}, and the model does not know {unknown}"
        )
    for key, default in defaults.items():
        path = (*above, key)
        value = Value(path, fields[key], default, comments.get(path) or fields[key].description or "")
        yield value
        if value.section is not None:
            yield from _walk(value.section, default, comments, path)


def _comments(node: yaml.Node | None, lines: list[str], above: Path_ = ()) -> Iterator[tuple[Path_, str]]:
    """The comment directly above each key, as one paragraph."""
    if not isinstance(node, yaml.MappingNode) or node.flow_style:
        return
    for key, inner in node.value:
        path, at = (*above, str(key.value)), key.start_mark.line
        block: list[str] = []
        while at > 0 and lines[at - 1].startswith(f"{' ' * key.start_mark.column}#"):
            at -= 1
            block.insert(0, lines[at].strip().removeprefix("#").strip())
        yield path, " ".join(block)
        yield from _comments(inner, lines, path)
