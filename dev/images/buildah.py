"""Buildah with a store of its own: builds ordinary Dockerfiles where no Docker daemon answers.

The only module that knows buildah's options; `layers` knows how its store lies on disk. `base` makes the image that our
Dockerfiles start from, `store` turns what is built here into a containerd root.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from dev.images.errors import BuildError
from dev.images.layers import LayerStore
from dev.images.paths import Progress, images_folder

_CERTIFICATES = Path("/etc/ssl/certs")
_SHOWN_LINES = 30
_STORAGE = """[storage]
driver = "overlay"
graphroot = "{folder}/store"
runroot = "{folder}/run"
[storage.options.overlay]
mountopt = "nodev"
"""


@dataclass(frozen=True)
class Layer:
    """One layer: the digest of its uncompressed tar, that of the chain up to it, and its files as overlayfs has them."""

    diff_id: str
    chain_id: str
    folder: Path


@dataclass(frozen=True)
class BuiltImage:
    """An image in buildah's store. `manifest` and `config` are its documents byte for byte."""

    reference: str
    image_id: str
    manifest: bytes
    config: bytes
    layers: tuple[Layer, ...]


def chain_id(diff_ids: list[str]) -> str:
    """The OCI identity of a stack of layers, lowest first; containerd names its snapshots by it."""
    chain = diff_ids[0]
    for diff_id in diff_ids[1:]:
        chain = "sha256:" + hashlib.sha256(f"{chain} {diff_id}".encode()).hexdigest()
    return chain


class Buildah:
    """Runs buildah on the store in the user's cache."""

    def __init__(self) -> None:
        self.folder = images_folder() / "buildah"
        self._temporary = self.folder / "tmp"
        self._layers = LayerStore(self.folder / "store")
        configuration = self.folder / "storage.conf"
        self._temporary.mkdir(parents=True, exist_ok=True)
        configuration.write_text(_STORAGE.format(folder=self.folder))
        self._environment = {
            **os.environ,
            "CONTAINERS_STORAGE_CONF": str(configuration),
            "TMPDIR": str(self._temporary),  # a commit writes the layer there twice: keep it off a small /tmp
        }

    def run(self, *arguments: str, timeout: float | None = None) -> str:
        """Runs a short command and returns what it printed. Raises BuildError with its complaint."""
        result = subprocess.run(
            ["buildah", *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
        if result.returncode != 0:
            raise BuildError(f"buildah {' '.join(arguments)} failed: {result.stderr.strip()}")
        return result.stdout.strip()

    def image_id(self, reference: str) -> str | None:
        """The id of a stored image, None when there is none by that name."""
        try:
            return self.run("inspect", "--type", "image", "--format", "{{.FromImageID}}", reference) or None
        except BuildError:
            return None

    def build(self, reference: str, dockerfile: Path, context: Path, progress: Progress) -> str:
        """Builds and tags; returns the image's id. Steps go to `progress`, everything to a log in the cache."""
        options = ["--isolation", "chroot", "--network", "host", "--pull-never", "--layers", "--force-rm"]
        if _CERTIFICATES.is_dir():
            # A company's proxy may sign for the package index: trust in the build what this machine trusts.
            options += ["--volume", f"{_CERTIFICATES}:{_CERTIFICATES}:ro"]
        if index := os.environ.get("PIP_INDEX_URL"):
            options += ["--build-arg", f"PIP_INDEX_URL={index}"]
        log = images_folder() / "logs" / f"{reference.rpartition('/')[2].replace(':', '-')}.log"
        log.parent.mkdir(exist_ok=True)
        command = ["buildah", "bud", *options, "--tag", reference, "--file", str(dockerfile), str(context)]
        self._stream(command, log, progress)
        image_id = self.image_id(reference)
        if image_id is None:
            raise BuildError(f"buildah ended well but there is no image {reference}; see {log}")
        return image_id

    def _stream(self, command: list[str], log: Path, progress: Progress) -> None:
        tail: deque[str] = deque(maxlen=_SHOWN_LINES)
        with (
            log.open("w", buffering=1) as file,
            subprocess.Popen(
                command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                close_fds=False,  # it inherits the lock, see images_lock
            ) as process,
        ):
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    file.write(line)
                    tail.append(line.rstrip())
                    if line.startswith("STEP "):
                        progress(line.strip())
            except BaseException:
                process.terminate()
                raise
        if process.returncode != 0:
            raise BuildError("\n".join([f"{' '.join(command)} failed; the log is {log} and ends with:", *tail]))

    def describe(self, reference: str) -> BuiltImage:
        """An image's documents and layers. Raises BuildError when the store is not as this version of ours reads it."""
        found = json.loads(self.run("inspect", "--type", "image", reference))
        manifest, config = found["Manifest"].encode(), found["Config"].encode()
        if hashlib.sha256(manifest).hexdigest() != found["FromImageDigest"].removeprefix("sha256:"):
            raise BuildError(f"buildah does not show the manifest of {reference} byte for byte")
        diff_ids: list[str] = json.loads(config)["rootfs"]["diff_ids"]
        folders = self._layers.chain(found["FromImageID"])
        if [diff_id for diff_id, _ in folders] != diff_ids:
            raise BuildError(f"the layers of {reference} in {self.folder} are not those of its configuration")
        layers = tuple(
            Layer(diff_id, chain_id(diff_ids[: number + 1]), folder) for number, (diff_id, folder) in enumerate(folders)
        )
        return BuiltImage(reference, found["FromImageID"], manifest, config, layers)

    def prune(self) -> None:
        """Removes what no tagged image is built on: old code, and the 5 GB of an old torch layer."""
        if unused := self._layers.unused_images():
            self.run("rmi", "--force", *unused)

    def tidy(self) -> None:
        """Removes what an interrupted build left: working containers, layers, and the temporary copies of a layer."""
        self.run("rm", "--all")
        self._layers.remove_orphans()
        shutil.rmtree(self._temporary, ignore_errors=True)
        self._temporary.mkdir()
