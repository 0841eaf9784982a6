"""Which tests inject which faults, read from the source: so that a page can be written without importing what trains or serves."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True, order=True)
class Marked:
    """A test function and the faults that it injects."""

    file: str
    """Below tests/."""
    name: str
    faults: tuple[int, ...]

    @property
    def tier(self) -> str:
        return self.file.split("/", 1)[0]

    @property
    def id(self) -> str:
        return f"{self.file}::{self.name}"


def marked_tests(folder: Path = TESTS) -> list[Marked]:
    """All that are marked, in order. Raises ValueError for a mark that is not on a function, or names no number."""
    return sorted(each for path in folder.rglob("test_*.py") for each in _of_file(path, folder))


def _of_file(path: Path, folder: Path) -> Iterator[Marked]:
    source = path.read_text()
    if "mark.fault" not in source:
        return
    tree, file = ast.parse(source), path.relative_to(folder).as_posix()
    found = 0
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            numbers = [number for mark in filter(_is_mark, node.decorator_list) for number in _numbers(mark, file)]
            found += sum(map(_is_mark, node.decorator_list))
            if numbers:
                yield Marked(file, node.name, tuple(sorted(set(numbers))))
    if found != sum(map(_is_mark, ast.walk(tree))):
        raise ValueError(f"{file}: a mark of a fault belongs on a test function, where the scorecard finds it")


def _is_mark(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.fault"


def _numbers(mark: ast.AST, file: str) -> Iterator[int]:
    assert isinstance(mark, ast.Call)
    for each in mark.args:
        if not isinstance(each, ast.Constant) or not isinstance(each.value, int):
            raise ValueError(f"{file}: {ast.unparse(mark)}: expected numbers of faults")  # noqa: TRY004 - a wrong value in a file
        yield each.value
