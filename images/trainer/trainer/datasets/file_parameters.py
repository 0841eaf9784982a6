"""What may be asked of the data set `files`, judged before anything is read; imports no numpy and no pyarrow.

The agent calls `check`, so that a wrong parameter ends a job in milliseconds; `files` reads what `parse` returns.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from importlib.util import find_spec
from typing import Any, Final
from urllib.parse import urlsplit

from trainer.datasets.catalogue import Task
from trainer.errors import ConfigurationError

_MOST_CLIP: Final = 1_000_000
_SHA256: Final = re.compile(r"[0-9a-fA-F]{64}")


class Format(Enum):
    """How the samples lie in their files."""

    CSV = "csv"
    PARQUET = "parquet"
    NPZ = "npz"
    IMAGES = "images"

    @property
    def is_table(self) -> bool:
        """Whether the samples are rows of columns with names."""
        return self in {Format.CSV, Format.PARQUET}


class Fill(Enum):
    """What happens to a missing number: its row goes, or it becomes the mean or the median of its column."""

    DROP = "drop"
    MEAN = "mean"
    MEDIAN = "median"


@dataclass(frozen=True)
class FileParameters:
    """What is to be read, and how.

    features: columns in the order of the inputs; None for all but the target. clip: the most median absolute
    deviations that a number may lie from its column's median. sha256: one digest, or one for each file's name.
    manifest: address of a file as `sha256sum` writes it.
    """

    url: str
    format: Format
    task: Task
    target: str | None
    features: tuple[str, ...] | None
    fill_missing: Fill
    clip: float | None
    sha256: str | Mapping[str, str] | None
    manifest: str | None


@dataclass(frozen=True)
class _Field:
    """How one parameter is judged, and the words for it."""

    accepts: Callable[[Any], bool]
    expected: str
    available: tuple[str, ...] = ()


def protocol(url: str) -> str:
    """How the address is reached: file for a plain path, else what stands before the colon."""
    return url.partition("://")[0].lower() if "://" in url else "file"


def is_web(url: str) -> bool:
    """Whether the address is one of a web server."""
    return protocol(url) in {"http", "https"}


def is_pattern(url: str) -> bool:
    """Whether the address may stand for several files; one of a web server never does."""
    return not is_web(url) and any(sign in url for sign in "*?[")


def public_form(url: str) -> str:
    """The address without what may be secret in it: user name, password, and the query of a web address."""
    start, separator, rest = url.partition("://")
    if not separator:
        return url
    if is_web(url):
        rest = re.split(r"[?#]", rest, maxsplit=1)[0]
    host, slash, path = rest.partition("/")
    return f"{start}://{host.rpartition('@')[2]}{slash}{path}"


def check(parameters: Mapping[str, Any]) -> None:
    """Raise ConfigurationError for a parameter that can never work; names it, its value and what is right."""
    parse(parameters)


def parse(parameters: Mapping[str, Any]) -> FileParameters:
    """The parameters, judged. Raises ConfigurationError. A null counts as absent, as everywhere in the resource."""
    for name in parameters:
        if name not in _FIELDS:
            raise _error(name, parameters[name], "a parameter of the data set files", tuple(_FIELDS))
    given = {name: value for name, value in parameters.items() if value is not None}
    for name in ("url", "format"):
        if name not in given:
            raise _error(name, None, _FIELDS[name].expected, _FIELDS[name].available)
    for name, value in given.items():
        if not _FIELDS[name].accepts(value):
            shown = public_form(value) if name in _ADDRESSES and isinstance(value, str) else value
            raise _error(name, shown, _FIELDS[name].expected, _FIELDS[name].available)
    _check_packages(given)
    _check_together(given)
    features = given.get("features")
    return FileParameters(
        url=given["url"],
        format=Format(given["format"]),
        task=Task(given.get("task", Task.CLASSIFICATION.value)),
        target=given.get("target"),
        features=None if features is None else tuple(features),
        fill_missing=Fill(given.get("fillMissing", Fill.DROP.value)),
        clip=float(given["outliers"]["clip"]) if "outliers" in given else None,
        sha256=given.get("sha256"),
        manifest=given.get("manifest"),
    )


def _error(name: str, value: object, expected: str, available: tuple[str, ...] = ()) -> ConfigurationError:
    return ConfigurationError(f"dataset.parameters.{name}", value, expected, available)


def _is_address(value: Any) -> bool:
    """An absolute path, or a URL of a kind that is known and without a password."""
    if not isinstance(value, str) or "\0" in value:
        return False
    try:
        parts = urlsplit(value) if "://" in value else None
    except ValueError:
        return False
    if parts is None:
        return value.startswith("/")
    if protocol(value) == "file":
        return value.lower().startswith("file:///")
    return protocol(value) in _PROTOCOLS and bool(parts.hostname) and parts.username is None and parts.password is None


def _choice(expected: str, members: Iterable[Enum]) -> _Field:
    names = tuple(str(member.value) for member in members)
    return _Field(lambda value: isinstance(value, str) and value in names, expected, names)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _are_features(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_name, value)) and len(set(value)) == len(value)


def _is_clip(value: Any) -> bool:
    if not isinstance(value, dict) or set(value) != {"clip"}:
        return False
    most = value["clip"]
    return isinstance(most, (int, float)) and not isinstance(most, bool) and 0 < most <= _MOST_CLIP


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None


def _are_checksums(value: Any) -> bool:
    if not isinstance(value, dict):
        return _is_digest(value)
    return bool(value) and all(_is_name(name) and _is_digest(digest) for name, digest in value.items())


_PROTOCOLS: Final[Mapping[str, str | None]] = {"file": None, "http": "aiohttp", "https": "aiohttp", "s3": "s3fs"}
_PACKAGES: Final[Mapping[Format, str | None]] = {
    Format.CSV: "pyarrow",
    Format.PARQUET: "pyarrow",
    Format.NPZ: None,
    Format.IMAGES: "PIL",
}
_DISTRIBUTIONS: Final[Mapping[str, str]] = {"PIL": "pillow"}
_ADDRESSES: Final = ("url", "manifest")
_ADDRESS: Final = (
    "an absolute path, or an address that begins with file:///, http://, https:// or s3:// and holds no user name"
)
_FIELDS: Final[Mapping[str, _Field]] = {
    "url": _Field(_is_address, _ADDRESS),
    "format": _choice("the name of a format", Format),
    "task": _choice("the name of a task", (Task.CLASSIFICATION, Task.REGRESSION)),
    "target": _Field(_is_name, "the name of the column to learn"),
    "features": _Field(_are_features, "a list of names of columns, each once"),
    "fillMissing": _choice("what happens to missing numbers", Fill),
    "outliers": _Field(_is_clip, 'an object such as {"clip": 5.0}, median absolute deviations, above 0'),
    "sha256": _Field(_are_checksums, "64 hexadecimal digits for one file, or an object of them by name of file"),
    "manifest": _Field(lambda value: _is_address(value) and not is_pattern(value), f"{_ADDRESS}, of one file"),
}


def _check_packages(given: Mapping[str, Any]) -> None:
    """What is needed beyond the standard library must be installed where this runs, which is the trainer's image."""
    wanted = [(name, _PROTOCOLS[protocol(given[name])]) for name in _ADDRESSES if name in given]
    wanted.append(("format", _PACKAGES[Format(given["format"])]))
    for name, package in wanted:
        if package and find_spec(package) is None:
            value = public_form(given[name])
            distribution = _DISTRIBUTIONS.get(package, package)
            raise _error(name, value, f"the Python package {distribution}, which is not installed in this image")


def _check_together(given: Mapping[str, Any]) -> None:
    kind = Format(given["format"])
    if kind.is_table and "target" not in given:
        raise _error("target", None, _FIELDS["target"].expected)
    if given.get("target") in given.get("features", ()):
        raise _error("features", given["features"], f"columns without {given['target']}, which is the target")
    for name, reason in _UNUSED[kind].items():
        if name in given:
            raise _error(name, given[name], f"nothing: {reason}")
    if kind is Format.IMAGES and given.get("task") == Task.REGRESSION.value:
        raise _error("task", given["task"], "classification: the classes of images are the names of their folders")
    if "sha256" in given and "manifest" in given:
        raise _error("manifest", public_form(given["manifest"]), "nothing beside sha256, which says the same")
    if isinstance(given.get("sha256"), str) and is_pattern(given["url"]):
        raise _error("sha256", given["sha256"], "an object with one checksum for each file, as url is a pattern")
    if is_web(given["url"]) and ("*" in given["url"] or given["url"].endswith("/")):
        raise _error("url", public_form(given["url"]), "one file, since a web server lists no folders")


_ARRAYS: Final = "the arrays inputs and targets hold all"
_FOLDERS: Final = "images are read as they are, with their folders' names as classes"
_UNUSED: Final[Mapping[Format, Mapping[str, str]]] = {
    Format.CSV: {},
    Format.PARQUET: {},
    Format.NPZ: {"target": _ARRAYS, "features": _ARRAYS},
    Format.IMAGES: dict.fromkeys(("target", "features", "fillMissing", "outliers"), _FOLDERS),
}
