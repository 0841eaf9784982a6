"""Telling the person at the terminal what takes long: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

Say = Callable[[str], None]


def to_stderr(line: str) -> None:
    """The default way to say something: results go to stdout, everything else here."""
    print(line, file=sys.stderr, flush=True)


@contextmanager
def counting(title: str, total: int, say: Say) -> Iterator[Callable[[], None]]:
    """Yield a function to call at each of `total` steps; says the time taken when the block ends well."""
    begun = time.monotonic()
    if not sys.stderr.isatty():
        say(f"{title} ...")
        yield lambda: None
    else:
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
            task = bars.add_task(title, total=total)
            yield lambda: bars.advance(task)
    say(f"{title}: done in {time.monotonic() - begun:.0f} s")


@contextmanager
def timed(title: str, say: Say) -> Iterator[None]:
    """Say a short step and how long it took."""
    begun = time.monotonic()
    yield
    say(f"{title}: {time.monotonic() - begun:.1f} s")
