"""No program of ours turns data into code: nothing is unpickled, evaluated or loaded as YAML with constructors."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]
SOURCES = sorted(
    path
    for folder in ("operator", "images")
    for path in (REPOSITORY / folder).rglob("*.py")
    if ".venv" not in path.parts
)
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
CALLS = {"eval", "exec", "compile", "torch.load", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "joblib.load"}
SAFE_LOADERS = {"SafeLoader", "CSafeLoader"}
COLLECTIVES = {"all_gather_object", "gather_object", "broadcast_object_list", "scatter_object_list", "send_object_list"}
"""Of torch.distributed: they pickle."""


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def findings(text: str) -> Iterator[str]:
    """What in a module may run code that came as data."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names if each.name.partition(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in MODULES:
            yield node.module or ""
        elif isinstance(node, ast.Call):
            name = _dotted(node.func)
            given = {each.arg: each.value for each in node.keywords}
            loaders = [_dotted(each).rpartition(".")[2] for each in (*node.args[1:2], *given.values())]
            safe = name == "yaml.load" and any(each in SAFE_LOADERS for each in loaders)
            pickles = "allow_pickle" in given and not _is_false(given["allow_pickle"])
            if (name in CALLS and not safe) or name.rpartition(".")[2] in COLLECTIVES or pickles:
                yield name


def _is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is False


@pytest.mark.fault(83)
def test_no_module_runs_what_it_reads() -> None:
    assert len(SOURCES) > 300
    found = {str(path.relative_to(REPOSITORY)): list(findings(path.read_text())) for path in SOURCES}
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from pickle import loads",
        "import torch\ntorch.load('x')",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=trusted)",
        "eval(text)",
        "torch.distributed.all_gather_object(a, b)",
        "yaml.load(text)",
        "yaml.load(text, Loader=yaml.FullLoader)",
    ],
)
def test_each_way_is_noticed(text: str) -> None:
    assert list(findings(text))


def test_what_only_looks_like_one_is_none() -> None:
    assert (
        list(
            findings(
                "model.eval()\nnp.load(path, allow_pickle=False)\nyaml.safe_load(text)\nyaml.load(text, yaml.CSafeLoader)"
            )
        )
        == []
    )
