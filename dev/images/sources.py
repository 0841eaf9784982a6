"""Which images there are, and the digest of what each is built from.

A build of unchanged sources must cost nothing, so each image is keyed by its Dockerfile, by the files that its COPY
lines name and by the base. Nothing here starts a program: builders ask, this answers.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

IMAGES = ("operator", "gateway", "trainer", "server")
BASE = "docker.io/library/python:3.11-slim-bookworm"
TAG = "dev"

_IGNORED_SUFFIXES = {".pyc", ".pyo"}
_IGNORED_FOLDERS = {"__pycache__"}


def reference(name: str) -> str:
    """The full name under which an image is stored and used: docker.io/trainyard/NAME:dev."""
    return f"docker.io/trainyard/{name}:{TAG}"


def dockerfile(name: str, root: Path) -> Path:
    return root / "images" / name / "Dockerfile"


def copied_paths(text: str) -> list[str]:
    """Paths in the build context that a Dockerfile's COPY instructions name, in their order."""
    joined = re.sub(r"\\\n", " ", text)
    paths: list[str] = []
    for line in joined.splitlines():
        words = line.split()
        if words and words[0].upper() == "COPY":
            plain = [word for word in words[1:] if not word.startswith("--")]
            paths.extend(plain[:-1])
    return paths


def source_digest(name: str, root: Path, base: str) -> str:
    """sha256 in hex of all that decides what the image holds.

    base: the identity of the base image. Raises FileNotFoundError for a COPY of what is not there.
    """
    digest = hashlib.sha256()
    file = dockerfile(name, root)
    _add(digest, "base", base.encode())
    _add(digest, "Dockerfile", file.read_bytes())
    for path in copied_paths(file.read_text()):
        for found in _files(root / path):
            mode = "x" if found.stat().st_mode & 0o100 else "-"
            _add(digest, f"{mode} {found.relative_to(root)}", found.read_bytes())
    return digest.hexdigest()


def store_key(parts: dict[str, str]) -> str:
    """The name of the template store that holds exactly these images: short, and other whenever one of them is.

    parts: image reference to image id, and what else the store's content depends on.
    """
    digest = hashlib.sha256()
    for name, identity in sorted(parts.items()):
        _add(digest, name, identity.encode())
    return digest.hexdigest()[:16]


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    if not path.is_dir():
        raise FileNotFoundError(f"a Dockerfile copies {path}, which does not exist")
    for found in sorted(path.rglob("*")):
        ignored = found.suffix in _IGNORED_SUFFIXES or not _IGNORED_FOLDERS.isdisjoint(found.parts)
        if found.is_file() and not ignored:
            yield found


def _add(digest: hashlib._Hash, name: str, content: bytes) -> None:
    """Adds lengths too, so that no two different lists of parts look the same."""
    digest.update(f"{len(name)} {len(content)} {name}\n".encode())
    digest.update(content)
