"""Writes the generated pages of docs/reference: `python -m dev.docs`."""

from dev.docs.commands import commands_page
from dev.docs.kinds import kind_page
from dev.docs.outside import ROOT
from trainyard.api.crds import KINDS, crd
from trainyard.cli.__main__ import parser

FOLDER = ROOT / "docs" / "reference"


def pages() -> dict[str, str]:
    """Each page by the name of its file."""
    kinds = {f"{model.__name__.lower()}.md": kind_page(crd(model)) for model in KINDS}
    return {"commands.md": commands_page(parser([])), **kinds}


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    main()
