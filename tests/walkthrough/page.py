"""A page of docs as a reader follows it: files to write, commands to type, and what these print.

A block of code whose fence has a title (```yaml title="job.yaml") is a file. In a block ```console a line that begins with `$ ` is a
command, `> ` goes on with it, and the lines below are what it prints. There `...` stands for what varies: within a line for anything
in it, alone in a line for any number of lines. How many spaces separate columns does not count.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

_FENCE = re.compile(r'^```(?P<language>\w*)(?: title="(?P<title>[^"]+)")?\s*$')
_COMMAND, _MORE, _ANYTHING = "$ ", "> ", "..."


@dataclass(frozen=True)
class Block:
    """A block of code in a page. line: of its first line in the page; title: "" for none."""

    line: int
    language: str
    title: str
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        return "".join(f"{line}\n" for line in self.lines)


@dataclass(frozen=True)
class File:
    """A file that the reader writes. line: where it stands in the page."""

    line: int
    name: str
    text: str


@dataclass(frozen=True)
class Command:
    """A command, and the lines that it prints. line: where it stands in the page."""

    line: int
    text: str
    prints: tuple[str, ...]

    @property
    def may_fail(self) -> bool:
        """Whether the page shows words that it fails with; nobody is shown a failure by `...` alone."""
        return any(line.strip() != _ANYTHING for line in self.prints)

    def printed(self, output: str) -> bool:
        """Whether the output is what the page shows."""
        pattern = "".join(_pattern(line) for line in self.prints)
        lines = [_even(line) for line in output.splitlines()]
        return re.fullmatch(pattern, "".join(f"{line}\n" for line in lines)) is not None


def steps(page: Path) -> list[File | Command]:
    """What a reader does, in order. Raises ValueError for a block that is neither."""
    found: list[File | Command] = []
    for block in blocks(page.read_text()):
        if block.title:
            found.append(File(block.line, block.title, block.text))
        elif block.language == "console":
            found += _commands(block)
        else:
            raise ValueError(
                f"{page.name}:{block.line}: expected a block ```console, or one with a title that is a file"
            )
    return found


def blocks(text: str) -> Iterator[Block]:
    """The blocks of code, in order."""
    lines = iter(enumerate(text.splitlines(), start=1))
    for number, line in lines:
        if opening := _FENCE.match(line):
            body = tuple(takewhile(lambda inside: inside.rstrip() != "```", (each for _, each in lines)))
            yield Block(number + 1, opening["language"], opening["title"] or "", body)


def _commands(block: Block) -> Iterator[Command]:
    begun: list[tuple[int, list[str], list[str]]] = []
    for number, line in enumerate(block.lines, start=block.line):
        if line.startswith(_COMMAND):
            begun.append((number, [line.removeprefix(_COMMAND)], []))
        elif not begun:
            raise ValueError(f"line {number}: expected '$ ' and a command before what it prints: {line!r}")
        elif line.startswith(_MORE) and not begun[-1][2]:
            begun[-1][1].append(line.removeprefix(_MORE))
        else:
            begun[-1][2].append(line)
    return (Command(number, "\n".join(words), tuple(prints)) for number, words, prints in begun)


def _even(line: str) -> str:
    return re.sub(r"\s+", " ", line.rstrip())


def _pattern(line: str) -> str:
    if line.strip() == _ANYTHING:
        return r"(?:.*\n)*?"
    return r"[^\n]*?".join(re.escape(part) for part in _even(line).split(_ANYTHING)) + r"\n"
