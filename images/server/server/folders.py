"""What lies in a repository: `<root>/<name>/<version>/` with model.safetensors and card.json.

Names and versions come from listing the root only, never from a request, so a request cannot lead out of it.
"""

import re
from os import stat_result
from pathlib import Path

from server.errors import StartError
from server.loading import PICKLES

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_VERSION = re.compile(r"[1-9][0-9]{0,17}")
Versions = dict[str, Path]
Mark = tuple[tuple[str, str, int, int], ...]


def models_in(root: Path) -> dict[str, Versions]:
    """Folders of each model by version, lowest first; a model without versions has none. Raises StartError."""
    try:
        found = sorted(path for path in root.iterdir() if path.is_dir() and _NAME.fullmatch(path.name))
    except OSError as error:
        raise StartError(f"cannot read the repository {root}: {error.strerror}; is the claim mounted?") from error
    return {folder.name: _versions_in(folder) for folder in found}


def mark(versions: Versions) -> Mark:
    """What changes when a file of a model does: without reading any of them."""
    return tuple(
        (version, file.name, status.st_mtime_ns, status.st_size)
        for version, folder in versions.items()
        for file, status in _files(folder)
    )


def require_no_pickles(folder: Path) -> None:
    """Raises StartError naming pickled files: what lies in a repository may be loaded by others that do unpickle."""
    pickles = sorted(file.name for file in folder.iterdir() if file.suffix in PICKLES)
    if pickles:
        raise StartError(
            f"{folder} holds {', '.join(pickles)}; pickled weights run code when read and are refused:"
            " export model.safetensors and remove them"
        )


def _files(folder: Path) -> list[tuple[Path, stat_result]]:
    try:
        return [(file, file.stat()) for file in sorted(folder.iterdir())]
    except OSError:  # it is just being written or removed: the next look sees more
        return []


def _versions_in(folder: Path) -> Versions:
    try:
        found = [path for path in folder.iterdir() if path.is_dir() and _VERSION.fullmatch(path.name)]
    except OSError:
        return {}
    return {path.name: path for path in sorted(found, key=lambda path: int(path.name))}
