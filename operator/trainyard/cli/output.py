"""What people see: tables in colour on a terminal, plain columns when piped, JSON for programs, progress when it takes long."""

import importlib
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TextIO

import orjson

from trainyard.cli.errors import CliError

_PATIENCE_SECONDS = 2.0
_GAP = 2
_UPDATES = 500
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""But for tabs and ends of lines: a terminal obeys them, and texts of others tell it nothing."""


def print_json(value: Any) -> None:
    """Indented, keys in their own order."""
    sys.stdout.write(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode() + "\n")


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table; numbers are aligned to the right."""
    right = [bool(rows) and all(_numeric(row[place]) for row in rows) for place in range(len(columns))]
    rows = [[plain(cell) for cell in row] for row in rows]
    if sys.stdout.isatty() and (rich := _rich("table")) is not None:
        table = rich.Table(title=title or None, title_justify="left", header_style="bold", box=None, pad_edge=False)
        for name, numbers in zip(columns, right, strict=True):
            table.add_column(name, justify="right" if numbers else "left", overflow="fold")
        for row in rows:
            table.add_row(*(_escaped(cell) for cell in row))
        importlib.import_module("rich.console").Console().print(table)
        return
    widths = [max(len(cell) for cell in column) for column in zip(columns, *rows, strict=True)]
    if title:
        print(title)
    for row in (columns, *rows):
        cells = (
            cell.rjust(width) if numbers else cell.ljust(width)
            for cell, width, numbers in zip(row, widths, right, strict=True)
        )
        print((" " * _GAP).join(cells).rstrip())


def print_line(label: str, text: str) -> None:
    """A fact with its name in front."""
    text = plain(text)
    if sys.stdout.isatty() and (rich := _rich("console")) is not None:
        rich.Console(highlight=False).print(f"[bold]{label}[/bold] {_escaped(text)}", soft_wrap=False)
    else:
        print(f"{label} {text}")


def plain(text: str, stream: TextIO | None = None) -> str:
    """On a terminal: without what it would take for an order, as a message of a stranger may hold it."""
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text) if (stream or sys.stdout).isatty() else text


def _rich(module: str) -> Any:
    """rich is an extra; without it everything is plain."""
    try:
        return importlib.import_module(f"rich.{module}")
    except ModuleNotFoundError:
        return None


def _escaped(text: str) -> str:
    return text.replace("[", "\\[")


def _numeric(text: str) -> bool:
    return text.strip("-+% ").replace(".", "", 1).replace(",", "").isdigit() or text in ("", "-")


def write_privately(path: Path, content: bytes) -> None:
    """All of it or nothing, for its owner alone to read. Raises CliError."""
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}-", delete=False) as temporary:
            temporary.write(content)
            os.fsync(temporary.fileno())
        Path(temporary.name).replace(path)
    except OSError as error:
        raise CliError(f"{path}: cannot be written: {error.strerror}") from None


class Step(Protocol):
    """Counts one thing done."""

    def __call__(self) -> None: ...


@contextmanager
def progress(label: str, total: int) -> Iterator[Step]:
    """A bar on stderr for what takes longer than two seconds, on a terminal only."""
    rich = _rich("progress") if sys.stderr.isatty() else None
    if rich is None:
        yield lambda: None
        return
    bar = _Bar(rich, label, total)
    try:
        yield bar
    finally:
        bar.close()


class _Bar:
    def __init__(self, rich: Any, label: str, total: int) -> None:
        self._rich, self._label, self._total = rich, label, total
        self._done, self._began = 0, time.monotonic()
        self._every = max(1, total // _UPDATES)
        self._bar: Any = None

    def __call__(self) -> None:
        self._done += 1
        if self._done % self._every:
            return
        if self._bar is None:
            if time.monotonic() - self._began < _PATIENCE_SECONDS:
                return
            console = importlib.import_module("rich.console").Console(stderr=True)
            self._bar = self._rich.Progress(
                self._rich.TextColumn("{task.description}"),
                self._rich.BarColumn(),
                self._rich.TaskProgressColumn(),
                self._rich.TimeRemainingColumn(),
                console=console,
                transient=True,
            )
            self._bar.start()
            self._bar.add_task(self._label, total=self._total)
        self._bar.update(self._bar.task_ids[0], completed=self._done)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
