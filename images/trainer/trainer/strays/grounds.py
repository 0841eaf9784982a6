"""What on the claims belongs to a job: its own folder, what is of no job, and what its manifest names."""

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from trainer.environment import GROUNDS, Environment

PARENT: Final = Path("/trainyard/parent")
"""Where the claim of spec.compression.parent is mounted."""
NOTES_FILE: Final = "strays"
_HOOK: Final = Path(__file__).parent / "hook"
_MORE: Final = r"[^\s\"'`,:;|&<>(){}\\]*"
"""Of a path in a command or a variable."""
_FILE: Final = "file://"
_WILDCARD: Final = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Grounds:
    """roots: where claims are mounted. own: the job's folder on them. named: files and folders that the job's manifest names."""

    roots: tuple[Path, ...]
    own: str
    named: tuple[str, ...]

    def text(self, notes: Path) -> str:
        """As the hook reads it."""
        head = "\n".join([str(notes), self.own, *map(str, self.roots)])
        named = "\n".join(self.named)
        return f"{head}\n\n{named}"


def grounds_of(environment: Environment, command: Sequence[str], variables: Mapping[str, str]) -> Grounds | None:
    """Of this pod's job; None for one without storage, which no other job's files are near to.

    command, variables: what the manifest says the program is, in whose words its paths are looked for.
    """
    directory = environment.directory
    if directory is None:
        return None
    roots = (directory.parent, PARENT)
    texts = (*_texts(_parsed(environment.specification)), *command, *variables.values())
    return Grounds(roots, directory.name, tuple(sorted(_named(roots, texts))))


def hooked(variables: Mapping[str, str], grounds: Grounds, notes: Path) -> dict[str, str]:
    """Variables by which each Python process of the program runs the hook first."""
    notes.write_bytes(b"")
    path = variables.get("PYTHONPATH")
    return {GROUNDS: grounds.text(notes), "PYTHONPATH": os.pathsep.join([str(_HOOK), *([path] if path else [])])}


def _named(roots: Iterable[Path], texts: Iterable[str]) -> set[str]:
    """Paths below a root. A root alone names nothing, but one with a pattern below it does: all that may fit."""
    found = set()
    beginnings = tuple(f"{root}/" for root in roots)
    pattern = re.compile(f"(?:{'|'.join(map(re.escape, beginnings))}){_MORE}")
    for text in texts:
        paths = pattern.findall(text)
        whole = text.removeprefix(_FILE)
        if len(paths) == 1 and whole.startswith(beginnings):  # which may have spaces in it
            paths.append(whole)
        for each in paths:
            path, *wild = _WILDCARD.split(each, maxsplit=1)
            place = os.path.normpath(path.rpartition("/")[0] if wild else path)
            if "\n" not in place and (wild or f"{place}/" not in beginnings):
                found.add(place)
    return found


def _parsed(specification: str) -> Any:
    """A user's own program has none, and what cannot be read is told by whoever needs it."""
    try:
        return json.loads(specification)
    except ValueError:
        return None


def _texts(part: Any) -> Iterator[str]:
    if isinstance(part, str):
        yield part
    elif isinstance(part, dict):
        for each in part.values():
            yield from _texts(each)
    elif isinstance(part, list):
        for each in part:
            yield from _texts(each)
