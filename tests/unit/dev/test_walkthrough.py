"""How a page of docs is read and followed; the shell is real."""

from pathlib import Path

import pytest

from tests.walkthrough.page import Command, File, steps
from tests.walkthrough.reader import ROOT, Reader


def page(folder: Path, text: str) -> Path:
    file = folder / "page.md"
    file.write_text(text)
    return file


def test_files_and_commands_are_found_in_order(tmp_path: Path) -> None:
    text = 'Do:\n\n```yaml title="a.yaml"\nx: 1\n```\n```console\n$ cat a.yaml \\\n>   b\nx: 1\n$ true\n```\n'
    assert steps(page(tmp_path, text)) == [
        File(4, "a.yaml", "x: 1\n"),
        Command(7, "cat a.yaml \\\n  b", ("x: 1",)),
        Command(10, "true", ()),
    ]


def test_a_block_that_nobody_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"page.md:2: expected a block"):
        steps(page(tmp_path, "```sh\nls\n```\n"))


@pytest.mark.parametrize(
    ("prints", "output", "same"),
    [
        (("NAME   AGE", "a      ..."), "NAME AGE\na    5s\n", True),
        (("NAME   AGE", "a      ..."), "NAME AGE\nb    5s\n", False),
        (("first", "...", "last"), "first\nx\ny\nlast\n", True),
        (("first", "...", "last"), "first\nlast\n", True),
        (("first", "...", "last"), "first\nx\n", False),
        (("a ... c",), "a b\nc\n", False),
        ((), "", True),
        ((), "surprise\n", False),
        (("a.c",), "abc\n", False),
        (("a",), "a\nb\n", False),
    ],
)
def test_what_is_printed_is_compared_but_for_what_is_elided(
    prints: tuple[str, ...], output: str, *, same: bool
) -> None:
    assert Command(1, "", prints).printed(output) is same


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tests.walkthrough.reader.ROOT", tmp_path)
    for name in ("examples", "helm", "crds"):
        (tmp_path / name).mkdir()
    return tmp_path


def follow(root: Path, text: str, seconds: float = 30) -> None:
    (root / "folder").mkdir()
    with Reader(root / "folder", {}) as reader:
        reader.follow(page(root, text), seconds)


def test_one_shell_runs_all(inside: Path) -> None:
    text = '```txt title="a"\nhello\n```\n```console\n$ x=$(cat a)\n$ sleep 60 &\n$ cat <<EOF\n> $x\n> EOF\nhello\n$ kill %1\n```'
    follow(inside, text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("```console\n$ echo a\nb\n```", r"page.md:2: \$ echo a\nprinted\na"),
        ("```console\n$ false\n```", "exit code 1"),
        ("```console\n$ echo a; false\n...\n```", "exit code 1"),
        ("```console\n$ echo lost\n```", "printed\nlost"),
        ("```console\n$ exit 3\n```", "ended the shell"),
    ],
)
def test_the_first_command_that_goes_another_way_is_named(inside: Path, text: str, words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        follow(inside, text)


def test_a_failure_that_the_page_shows_is_no_failure(inside: Path) -> None:
    follow(inside, "```console\n$ echo error: no >&2; false\nerror: no\n```")


def test_a_command_that_does_not_end_is_named(inside: Path) -> None:
    with pytest.raises(AssertionError, match="does not end; so far:\na"):
        follow(inside, "```console\n$ echo a; sleep 60\n```", seconds=1)


@pytest.mark.parametrize("tutorial", sorted((ROOT / "docs" / "tutorials").glob("[!i]*.md")), ids=lambda path: path.stem)
def test_a_tutorial_has_numbered_steps_and_commands(tutorial: Path) -> None:
    numbers = [
        int(line[3:].split(".")[0])
        for line in tutorial.read_text().splitlines()
        if line.startswith("## ") and line[3].isdigit()
    ]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) >= 4
    assert [step for step in steps(tutorial) if isinstance(step, Command)]
