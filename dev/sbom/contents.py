"""What an image is made of: its base, Debian packages and Python packages, read from the Dockerfile and the lock files that it names."""

import re
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

_BASE = re.compile(r"^FROM (?P<name>[^:\s]+):(?P<tag>\S+)$", re.MULTILINE)
_INSTALLED = re.compile(r"^RUN /locks/install\.sh (.+)$", re.MULTILINE)
_DEBIAN = re.compile(r"apt-get install [^\n]*--no-install-recommends ([^\\\n]+)")
_LOCKED = re.compile(
    r"^(?P<name>[A-Za-z0-9][\w.-]*)(\[[\w,-]+\])?==(?P<version>[^\s;]+)(?P<rest>(?:[^\n]*\\\n)*[^\n]*)", re.MULTILINE
)
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_UNTOLD = frozenset({"", "UNKNOWN"})
_LONGEST_NAME = 100
"""Some packages put the whole text of their licence where its name belongs."""


@dataclass(frozen=True)
class Locked:
    """A Python package. hashes: sha256 of each file of this version that may be installed."""

    name: str
    version: str
    hashes: tuple[str, ...]


@dataclass(frozen=True)
class Contents:
    """What one image holds besides our own code."""

    image: str
    base: tuple[str, str]
    debian: tuple[str, ...]
    python: tuple[Locked, ...]


def contents(image: str, root: Path) -> Contents:
    """Of the image `image`. Raises ValueError where its Dockerfile names no base or no lock."""
    dockerfile = (root / "images" / image / "Dockerfile").read_text()
    base = _BASE.search(dockerfile)
    locks = [name for line in _INSTALLED.findall(dockerfile) for name in line.split()]
    if base is None or not locks:
        raise ValueError(
            f"images/{image}/Dockerfile: expected a line FROM NAME:TAG and a line RUN /locks/install.sh LOCK"
        )
    packages = {each for lock in locks for each in locked((root / "locks" / f"{lock}.txt").read_text())}
    debian = sorted(name for line in _DEBIAN.findall(dockerfile) for name in line.split())
    return Contents(
        image, (base["name"], base["tag"]), tuple(debian), tuple(sorted(packages, key=lambda each: each.name))
    )


def locked(text: str) -> list[Locked]:
    """The packages of a lock file. Raises ValueError for one without a hash."""
    found = [
        Locked(each["name"], each["version"], tuple(sorted(_HASH.findall(each["rest"]))))
        for each in _LOCKED.finditer(text)
    ]
    bare = [each.name for each in found if not each.hashes]
    if bare:
        raise ValueError(f"no hash is locked for {', '.join(bare)}: expected --hash=sha256:... for every package")
    return found


def licence(package: Locked) -> str:
    """As the package itself says, if this version is installed where we run: an SPDX expression, or a name. "" where it says nothing."""
    try:
        told = metadata.metadata(package.name).json
    except metadata.PackageNotFoundError:
        return ""
    if told["version"] != package.version:
        return ""
    if expression := str(told.get("license_expression", "")):
        return expression
    named = str(told.get("license", "")).strip()
    if named not in _UNTOLD and len(named) <= _LONGEST_NAME and "\n" not in named:
        return named
    classified = {each.rsplit(" :: ", 1)[1] for each in told.get("classifier", ()) if each.startswith("License :: ")}
    return " AND ".join(sorted(classified))
