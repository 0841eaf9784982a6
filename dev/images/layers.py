"""How buildah's overlay store lies on disk: the one module that reads (and once repairs) its index files.

The format is that of containers/storage: overlay-layers/layers.json and overlay-images/images.json are the indices,
overlay/ID/diff the files of a layer. Whoever calls holds our lock, so no buildah works on the store meanwhile.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class LayerStore:
    """The store below `folder`."""

    folder: Path

    def chain(self, image_id: str) -> list[tuple[str, Path]]:
        """(digest of the uncompressed tar, folder of files) of each layer of an image, lowest first."""
        layers = {layer["id"]: layer for layer in self._layers()}
        current = next(image["layer"] for image in self._images() if image["id"] == image_id)
        found: list[tuple[str, Path]] = []
        while current:
            found.append((layers[current]["diff-digest"], self.folder / "overlay" / current / "diff"))
            current = layers[current].get("parent")
        return found[::-1]

    def unused_images(self) -> list[str]:
        """Ids of images without a name that no named image is built on: steps of builds of older sources."""
        images = self._images()
        needed = self._with_parents({image.get("layer", "") for image in images if image.get("names")})
        return [image["id"] for image in images if not image.get("names") and image.get("layer", "") not in needed]

    def remove_orphans(self) -> None:
        """Removes layers that belong to no image: a build that was killed leaves one behind, of 5 GB at worst.

        No command of buildah removes them. There must be no working containers.
        """
        layers = self._layers()
        needed = self._with_parents({image.get("layer", "") for image in self._images()})
        orphans = [layer["id"] for layer in layers if layer["id"] not in needed]
        if not orphans:
            return
        index = self.folder / "overlay-layers/layers.json"
        written = index.with_suffix(".new")
        written.write_text(json.dumps([layer for layer in layers if layer["id"] in needed]))
        written.replace(index)
        for orphan in orphans:
            folder = self.folder / "overlay" / orphan
            if (link := folder / "link").is_file():
                (self.folder / "overlay/l" / link.read_text()).unlink(missing_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
            (self.folder / f"overlay-layers/{orphan}.tar-split.gz").unlink(missing_ok=True)

    def _with_parents(self, tops: set[str]) -> set[str]:
        parents = {layer["id"]: layer.get("parent", "") for layer in self._layers()}
        found: set[str] = set()
        for top in tops:
            current = top
            while current and current not in found:
                found.add(current)
                current = parents.get(current, "")
        return found

    def _layers(self) -> list[dict[str, Any]]:
        return _read(self.folder / "overlay-layers/layers.json")

    def _images(self) -> list[dict[str, Any]]:
        return _read(self.folder / "overlay-images/images.json")


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        found: list[dict[str, Any]] = json.loads(path.read_text())
    except FileNotFoundError:
        return []
    return found
