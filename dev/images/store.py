"""The template store: a stopped containerd's root folder with all our images in place, made without moving layers.

An image of 5 GB would take minutes to export and import. Buildah and containerd both keep a layer as the plain folder
that overlayfs stacks, and both name it by the digest of its tar. So each layer is entered into containerd as a snapshot
of that name whose files are hard links to buildah's, and only manifests and configurations, a few kB, are imported.
Containerd finds every layer unpacked and asks for no blobs: the state that its option `discard_unpacked_layers` leaves
images in. They run anywhere on this machine; they cannot be pushed from a node, which the builder can.

Layers are read-only below overlayfs, so the links are safe, and a clone for a node costs neither time nor disk.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

from dev.images.buildah import BuiltImage
from dev.images.containerd import Containerd, private_containerd
from dev.images.errors import StoreError
from dev.images.paths import Progress

# The parts of the root that containerd writes in place; a clone needs its own.
_DATABASES = (
    Path("io.containerd.metadata.v1.bolt/meta.db"),
    Path("io.containerd.snapshotter.v1.overlayfs/metadata.db"),
)
PARTIAL = ".partial"
_DOOMED = "docker.io/trainyard/doomed:dev"
_INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
_MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"


def make_store(root: Path, images: list[BuiltImage], previous: Path | None) -> None:
    """Makes `root`, which must not exist, hold `images` and nothing else; afterwards no process uses it.

    previous: a store of older images that becomes this one, so that only changed layers are touched; gone afterwards.
    """
    partial = root.with_name(f"{root.name}{PARTIAL}")
    shutil.rmtree(partial, ignore_errors=True)
    if previous is None:
        partial.mkdir(parents=True)
    else:
        previous.rename(partial)
    with private_containerd(partial) as client:
        insert(client, images)
        if previous is not None:
            _forget_others(client, images)
    partial.rename(root)


def insert(client: Containerd, images: list[BuiltImage]) -> None:
    """Enters images into a running containerd whose root is on the file system of the images' layers."""
    present = client.snapshots()
    for image in images:
        parent: str | None = None
        for layer in image.layers:
            if layer.chain_id not in present:
                _insert_layer(client, layer.chain_id, parent, layer.folder, present)
                present.add(layer.chain_id)
            parent = layer.chain_id
    client.ctr("images", "import", "-", stdin=archive(images))


def _insert_layer(client: Containerd, name: str, parent: str | None, files: Path, present: set[str]) -> None:
    key = f"trainyard-{name}"
    if key in present:
        client.ctr("snapshots", "rm", key)  # left by a command that was interrupted
    folder = client.prepare_snapshot(key, parent)
    if folder.stat().st_dev != files.stat().st_dev:
        raise StoreError(f"{folder} must be on the file system of {files}: layers are shared by hard links")
    _copy(files / ".", folder, "--link")
    client.ctr("snapshots", "commit", name, key)


def _forget_others(client: Containerd, images: list[BuiltImage]) -> None:
    """Removes snapshots of layers that none of `images` has, uppermost first, and their files."""
    stale = client.snapshots() - {layer.chain_id for image in images for layer in image.layers}
    while removed := [name for name in stale if client.try_ctr("snapshots", "rm", name)]:
        stale.difference_update(removed)
    # Only a garbage collection deletes the files, and removing an image synchronously is how ctr asks for one.
    client.ctr("images", "tag", "--force", images[0].reference, _DOOMED)
    client.ctr("images", "rm", "--sync", _DOOMED)


def archive(images: list[BuiltImage]) -> bytes:
    """An OCI archive of the images' manifests and configurations, without their layers."""
    blobs: list[bytes] = []
    entries: list[dict[str, object]] = []
    for image in images:
        blobs += [image.manifest, image.config]
        entries.append(
            {
                "mediaType": json.loads(image.manifest).get("mediaType", _MANIFEST_TYPE),
                "digest": f"sha256:{hashlib.sha256(image.manifest).hexdigest()}",
                "size": len(image.manifest),
                "annotations": {"io.containerd.image.name": image.reference},
            }
        )
    index = {"schemaVersion": 2, "mediaType": _INDEX_TYPE, "manifests": entries}
    files = {f"blobs/sha256/{hashlib.sha256(blob).hexdigest()}": blob for blob in blobs}
    files["oci-layout"] = b'{"imageLayoutVersion": "1.0.0"}'
    files["index.json"] = json.dumps(index).encode()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def clone(root: Path, destination: Path, progress: Progress) -> None:
    """Makes `destination`, which must not exist, a root for one node's containerd.

    Takes a second and no disk on the file system of `root`; elsewhere everything is copied, which is said.
    """
    if destination.exists():
        raise StoreError(
            f"{destination} exists already: a clone of the images is made once, before its containerd starts"
        )
    destination.parent.mkdir(parents=True, exist_ok=True)
    if destination.parent.stat().st_dev != root.stat().st_dev:
        progress(f"{destination} is on another file system than {root}: copying all images, which takes minutes")
        _copy(root, destination)
        return
    _copy(root, destination, "--link")
    for database in _DATABASES:
        own = destination / database
        temporary = own.with_suffix(".own")
        shutil.copy2(root / database, temporary)
        os.replace(temporary, own)  # noqa: PTH105 - the name says what matters: the link to the template goes


def _copy(source: Path, destination: Path, *options: str) -> None:
    # cp keeps what Python's copies lose: extended attributes, devices (overlayfs whiteouts) and links among the files.
    command = ["cp", "--archive", *options, "--no-target-directory", str(source), str(destination)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise StoreError(f"{' '.join(command)} failed: {result.stderr.strip()[-500:]}")
