"""Makes every file in locks/ from pyproject.toml and locks/*.in: `make lock`, or `python -m dev.lock [--upgrade]`.

dev.txt is resolved first and constrains the others, so what is tested in .venv is what the images hold; checkov.txt is
installed apart from everything and goes by itself. torch.txt is
what the extras `trainer` and `server` have in common: both images install it with the same instructions, so the layer
of 5 GB is built and stored once; trainer.txt and server.txt are what each adds.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ROOT / "locks"
_FIRST = "dev"
APART = ("checkov",)


@dataclass(frozen=True)
class Lock:
    """One lock file: its name and the requirements that it answers."""

    name: str
    requirements: tuple[str, ...]


def plan(project: dict[str, list[str]], inputs: dict[str, list[str]]) -> list[Lock]:
    """The lock files to make besides dev.txt.

    project: the requirements of pyproject.toml under "" and under each extra's name; inputs: the lines of locks/*.in.
    """
    trainer, server = project["trainer"], project["server"]
    shared = [requirement for requirement in trainer if requirement in server]
    if not any(requirement.startswith("torch") for requirement in shared):
        raise ValueError(
            "the extras 'trainer' and 'server' must name torch by the same requirement: they share a layer"
        )
    named = {
        "operator": project[""],
        "torch": shared,
        "trainer": [requirement for requirement in trainer if requirement not in shared],
        "server": [requirement for requirement in server if requirement not in shared],
        **inputs,
    }
    return [Lock(name, tuple(requirements)) for name, requirements in named.items()]


def read_project(path: Path = ROOT / "pyproject.toml") -> dict[str, list[str]]:
    """Requirements of the project under "", and those of each extra under its name."""
    project = tomllib.loads(path.read_text())["project"]
    return {"": project["dependencies"], **project["optional-dependencies"]}


def read_inputs(folder: Path = LOCKS) -> dict[str, list[str]]:
    """Requirements of each .in file under its name, comments left out."""
    lines = {path.stem: path.read_text().splitlines() for path in sorted(folder.glob("*.in"))}
    return {name: [line for line in text if line and not line.startswith("#")] for name, text in lines.items()}


def _compile(source: list[str], output: Path, *options: str) -> None:
    uv = Path(sys.executable).parent / "uv"
    command = [
        str(uv) if uv.exists() else "uv",
        *("pip", "compile", "--quiet", "--python-version", "3.11", "--python-platform", "linux"),
        *("--generate-hashes", "--no-emit-index-url", "--no-emit-find-links", "--no-header", "--no-annotate"),
        *("--output-file", str(output)),
        *options,
        *source,
    ]
    # The output would otherwise be echoed: thousands of hashes.
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m dev.lock", description=__doc__)
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions instead of those locked now")
    upgrade = ["--upgrade"] if parser.parse_args(arguments).upgrade else []
    first = LOCKS / f"{_FIRST}.txt"
    _compile(["pyproject.toml"], first, "--extra", _FIRST, *upgrade)
    with tempfile.TemporaryDirectory() as folder:
        for lock in plan(read_project(), read_inputs()):
            source = Path(folder, f"{lock.name}.in")
            source.write_text("\n".join(lock.requirements) + "\n")
            constraint = () if lock.name in APART else ("--constraint", str(first))
            _compile([str(source)], LOCKS / f"{lock.name}.txt", *constraint, *upgrade)
            print(f"locks/{lock.name}.txt")


if __name__ == "__main__":
    main()
