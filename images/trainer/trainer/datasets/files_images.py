"""Images in folders named after their classes, in a folder or in one zip; the only part that knows Pillow."""

import importlib
import io
import posixpath
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trainer.datasets.catalogue import Task
from trainer.datasets.file_parameters import FileParameters
from trainer.datasets.files_columns import MOST_VALUES
from trainer.datasets.files_source import MOST_BYTES, MOST_FILES, Content, fitting, has_suffix
from trainer.datasets.raw import RawData
from trainer.errors import DataError

SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg"})
MOST_PIXELS: Final = 2**24
_GREY: Final = {"1": "L", "L": "L", "LA": "L"}
_COLOUR: Final = dict.fromkeys(("P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"), "RGB")
_MODES: Final = _GREY | _COLOUR
_BROKEN_ZIP: Final = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError)


def read(_wanted: FileParameters, contents: Iterable[Content]) -> RawData:
    """(samples, 1 or 3, height, width) with values of 0 to 255; three channels as soon as one image has colour.

    Transparency is left out. Classes are the folders' names in sorted order. Raises DataError with the file and the
    reason; all images must be of one size.
    """
    images: list[NDArray[np.uint8]] = []
    names: list[str] = []
    for content in _unpacked(contents):
        names.append(content.name)
        images.append(_pixels(content))
        if images[-1].shape[:2] != images[0].shape[:2]:
            raise DataError(
                f"{content.name}: {_size(images[-1])} pixels, but {names[0]} has {_size(images[0])}: "
                "all must be of one size"
            )
        if images[0].shape[0] * images[0].shape[1] * 3 * len(images) > MOST_VALUES:
            raise DataError(f"{content.name}: with the images before it more than {MOST_VALUES} values in memory")
    classes = _classes(names)
    labels = tuple(sorted(set(classes)))
    place = {label: number for number, label in enumerate(labels)}
    targets = np.array([place[name] for name in classes], dtype=np.int64)
    return RawData(_stacked(images), targets, Task.CLASSIFICATION, labels)


def _unpacked(contents: Iterable[Content]) -> Iterator[Content]:
    """The images themselves, or those of the one zip; sorted by name."""
    remaining = iter(contents)
    first = next(remaining)
    if has_suffix(first.name, SUFFIXES):
        yield from chain([first], remaining)
        return
    try:
        with zipfile.ZipFile(io.BytesIO(first.data)) as archive:
            for name in _members(first.name, archive):
                yield Content(name, archive.read(name))
    except _BROKEN_ZIP as error:
        raise DataError(f"{first.name}: cannot be read as a zip of images: {error}") from error


def _members(file: str, archive: zipfile.ZipFile) -> list[str]:
    sizes = {member.filename: member.file_size for member in archive.infolist() if not member.is_dir()}
    names = fitting(file, sizes, SUFFIXES)
    if not names:
        raise DataError(f"{file}: holds no image that ends in {' or '.join(sorted(SUFFIXES))}")
    if len(names) > MOST_FILES or sum(sizes[name] for name in names) > MOST_BYTES:
        raise DataError(f"{file}: holds more than {MOST_FILES} images or {MOST_BYTES} bytes of them")
    return names


def _pixels(content: Content) -> NDArray[np.uint8]:
    """(height, width) for grey, (height, width, 3) for colour."""
    # Imported by name: Pillow is no dependency of ours, and file_parameters says so when it is missing.
    pillow: Any = importlib.import_module("PIL.Image")
    try:
        with pillow.open(io.BytesIO(content.data), formats=("PNG", "JPEG")) as image:
            if image.width * image.height > MOST_PIXELS:
                raise DataError(f"{content.name}: {image.width} x {image.height} pixels, at most {MOST_PIXELS} may be")
            if image.mode not in _MODES:
                raise DataError(
                    f"{content.name}: pixels of kind {image.mode}, expected one of {', '.join(sorted(_MODES))}"
                )
            return np.asarray(image.convert(_MODES[image.mode]), dtype=np.uint8)
    except (OSError, ValueError, SyntaxError, pillow.DecompressionBombError) as error:
        raise DataError(f"{content.name}: cannot be read as PNG or JPEG: {error}") from error


def _classes(names: list[str]) -> list[str]:
    """The name of the folder that each image lies in."""
    folders = [posixpath.dirname(name) for name in names]
    roots = {posixpath.dirname(folder) for folder in folders}
    for name, folder in zip(names, folders, strict=True):
        if not folder:
            raise DataError(f"{name}: lies in no folder; the name of an image's folder is its class")
    if len(roots) > 1:
        depths = ", ".join(f"{root or '.'}/" for root in sorted(roots)[:3])
        raise DataError(f"the classes' folders lie in different folders, {depths}: they must lie side by side")
    classes = [posixpath.basename(folder) for folder in folders]
    if len(set(classes)) == 1:
        raise DataError(f"{classes[0]}/: is the only folder of images; there must be one for each class, two at least")
    return classes


def _stacked(images: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
    channels = 3 if any(image.ndim == 3 for image in images) else 1  # noqa: PLR2004 - height, width, colour
    height, width = images[0].shape[:2]
    stacked = np.empty((len(images), channels, height, width), dtype=np.float32)
    for place, image in enumerate(images):
        stacked[place] = image if image.ndim == 2 else image.transpose(2, 0, 1)  # noqa: PLR2004 - height, width
    return stacked


def _size(image: NDArray[np.uint8]) -> str:
    return f"{image.shape[1]} x {image.shape[0]}"
