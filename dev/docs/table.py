"""Tables in Markdown."""

from collections.abc import Iterator, Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The lines of a table."""
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    yield from (f"| {' | '.join(row)} |" for row in rows)


def cell(text: str) -> str:
    """Text that stays within a cell, and is no markup: a bare <x> would be taken for HTML."""
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
