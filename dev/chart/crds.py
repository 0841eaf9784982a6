"""Keeps the chart's copies of the CRDs equal to crds/: Helm packages only what lies in the chart's folder."""

from pathlib import Path

from dev.chart import CHART, REPOSITORY

SOURCES = REPOSITORY / "crds"
COPIES = CHART / "files" / "crds"


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
