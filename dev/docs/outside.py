"""Files that are pages of the site although they do not lie in docs/: the README is its first page, each folder of examples one."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[2]
_DOCS = PurePosixPath("docs")
_EXAMPLES = PurePosixPath("examples")
_PAGES = {"README.md": "index.md", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
_SHOWN = {".yaml": "yaml", ".yml": "yaml"}
"""What is shown of examples, and its language."""


@dataclass(frozen=True)
class Outside:
    """A page made of files outside docs/. source: the file or folder whose links it has."""

    place: str
    source: str
    text: str


def outside_pages(root: Path = ROOT) -> list[Outside]:
    """All pages from outside docs/, by where they stand in the site."""
    readmes = sorted(path.relative_to(root).as_posix() for path in root.glob("images/*/README.md"))
    files = [*_PAGES, *readmes]
    folders = [_EXAMPLES, *(path.relative_to(root) for path in sorted((root / _EXAMPLES).iterdir()) if path.is_dir())]
    return [
        *(Outside(place_of(file) or file, file, (root / file).read_text()) for file in files),
        *(_examples(root, PurePosixPath(folder)) for folder in folders),
    ]


def place_of(path: str) -> str | None:
    """Where the site has a file or folder of the repository, with an anchor where it is part of a page. None: nowhere."""
    file = PurePosixPath(path)
    if path in _PAGES:
        return _PAGES[path]
    if file.is_relative_to(_DOCS):
        return str(file.relative_to(_DOCS))
    if file.parts[:1] == ("images",) and file.name == "README.md":
        return f"images/{file.parts[1]}.md"
    if not file.is_relative_to(_EXAMPLES):
        return None
    if file.suffix in _SHOWN:
        return f"{_page_of(file.parent)}#{_anchor(file.name)}"
    return _page_of(file.parent if file.suffix else file)


def source_of(place: str, pages: list[Outside]) -> str:
    """The file of the repository that the site's page is made of."""
    return next((page.source for page in pages if page.place == place), str(_DOCS / place))


def _page_of(folder: PurePosixPath) -> str:
    return "examples/index.md" if folder == _EXAMPLES else f"{folder}.md"


def _anchor(name: str) -> str:
    return name.replace(".", "")


def _examples(root: Path, folder: PurePosixPath) -> Outside:
    """A folder's README, if it has one, and its manifests."""
    readme = root / folder / "README.md"
    title = "Examples" if folder == _EXAMPLES else f"Examples: {folder.name}"
    head = readme.read_text().rstrip() if readme.exists() else f"# {title}\n\nManifests of `{folder}/`."
    others = [
        f"[{path.name}]({path.name})"
        for path in sorted((root / folder).iterdir())
        if folder == _EXAMPLES and path.is_dir()
    ]
    more = [f"More: {', '.join(others)}."] if others else []
    shown = [
        f'## {path.name}\n\n```{_SHOWN[path.suffix]} title="{folder / path.name}"\n{path.read_text().rstrip()}\n```'
        for path in sorted((root / folder).iterdir())
        if path.suffix in _SHOWN
    ]
    return Outside(_page_of(folder), str(folder / "README.md"), "\n\n".join([head, *more, *shown]) + "\n")
