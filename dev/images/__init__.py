"""Our container images on this machine: built by Docker or buildah, and ready for clusters.

`template_store()` is a stopped containerd root with every image in place; `clone_store()` gives a node its own, in a
second; `load_into_node()` brings changed code into a node that runs. The command line is `python -m dev.images`.
Modules, each importing only those above it: errors, paths, sources, layers; buildah, containerd, docker; base, store; builder.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from dev.images import builder, store
from dev.images.errors import BuildError, ImageError, StoreError
from dev.images.paths import Progress, images_lock
from dev.images.sources import IMAGES, reference

__all__ = [
    "IMAGES",
    "SANDBOX_IMAGE",
    "BuildError",
    "ImageError",
    "StoreError",
    "build",
    "clone_store",
    "load_into_node",
    "reference",
    "template_store",
]

SANDBOX_IMAGE = reference("pause")


def to_stderr(line: str) -> None:
    """The default way of saying what happens: results go to stdout, everything else here."""
    print(line, file=sys.stderr, flush=True)


def build(names: Sequence[str] = IMAGES, progress: Progress = to_stderr) -> dict[str, str]:
    """Builds images; returns reference to image id. Raises ImageError."""
    return builder.build(names, progress=progress)


def template_store(progress: Progress = to_stderr) -> Path:
    """A stopped containerd root that holds all our images and the sandbox image, built if they are not yet.

    Never start a containerd on it: clone it, best with `clone_store`, since a later call may replace it.
    """
    with images_lock(progress):
        return builder.template_root(progress)


def clone_store(dest: Path, progress: Progress = to_stderr) -> None:
    """Makes `dest`, which must not exist, a containerd root of one node's own, with all images as they are now."""
    with images_lock(progress):
        store.clone(builder.template_root(progress), dest, progress)


def load_into_node(address: Path, names: Sequence[str] = IMAGES, progress: Progress = to_stderr) -> None:
    """Enters images into the running containerd whose socket is `address` and whose root is a clone of the store."""
    builder.load_into_node(address, names, progress)
