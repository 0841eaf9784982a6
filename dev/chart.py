"""Keeps the chart's copies of the CRDs equal to crds/: `python -m dev.chart sync`.

Helm packages only what lies in the chart's folder, so it needs copies; `make generate` makes them and `make verify`
sees to it that they are those of the sources.
"""

import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
SOURCES = REPOSITORY / "crds"
COPIES = REPOSITORY / "helm" / "trainyard" / "files" / "crds"


def sync(sources: Path = SOURCES, copies: Path = COPIES) -> list[str]:
    """Make `copies` hold exactly the files of `sources`; returns the names of those that changed."""
    copies.mkdir(parents=True, exist_ok=True)
    changed = []
    wanted = {path.name: path.read_text() for path in sorted(sources.glob("*.yaml"))}
    for path in copies.glob("*.yaml"):
        if path.name not in wanted:
            path.unlink()
            changed.append(path.name)
    for name, text in wanted.items():
        copy = copies / name
        if not copy.exists() or copy.read_text() != text:
            copy.write_text(text)
            changed.append(name)
    return changed


def main(arguments: list[str]) -> int:
    """Command line; returns the exit code."""
    if arguments != ["sync"]:
        print("usage: python -m dev.chart sync", file=sys.stderr)
        return 2
    for name in sync():
        print(f"helm/trainyard/files/crds/{name} is new")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
