"""examples/README.md leads to every example: what nobody finds is not there."""

import re
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[3] / "examples"
INDEXES = sorted(EXAMPLES.rglob("README.md"))
FILES = sorted(each for each in EXAMPLES.rglob("*") if each.is_file() and each not in INDEXES)


def named(index: Path) -> set[Path]:
    """What an index links to, or names in a table as code."""
    text = index.read_text()
    links = re.findall(r"\]\(([^)#]+)\)", text)
    code = [each for row in text.splitlines() if row.startswith("|") for each in re.findall(r"`([^`]+)`", row)]
    return {(index.parent / each).resolve() for each in (*links, *code)}


LISTED = set().union(*map(named, INDEXES))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(EXAMPLES)))
def test_an_example_is_listed(path: Path) -> None:
    assert path in LISTED, f"no README.md in {EXAMPLES} says what somebody wants who needs it"


def test_what_is_linked_is_there() -> None:
    links = [each for each in named(EXAMPLES / "README.md") if not each.exists()]
    assert links == []


def test_the_folders_with_an_index_of_their_own_are_linked() -> None:
    assert {each for each in INDEXES if each.parent != EXAMPLES} <= named(EXAMPLES / "README.md")
