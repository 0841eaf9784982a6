"""Images on real nodes, without a registry.

A node's containerd starts on a clone of the store that `dev.images` keeps. The cluster's own image, some megabytes
with one static program, is imported on top: it is the sandbox of every pod, and all that a cluster started without
our images has.
"""

import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dev.cluster.errors import ClusterError
from dev.cluster.processes import run
from dev.cluster.progress import Say, to_stderr

if TYPE_CHECKING:
    from dev.cluster.real_node import RealNode

PROBE_IMAGE = "trainyard.dev/local/probe:1"
_UNPRIVILEGED = "65532"
_OCI = "application/vnd.oci.image"


def build(say: Say) -> None:
    """Have all our images built and in the store before anything of a cluster is started."""
    from dev import images as builder  # noqa: PLC0415 - only clusters with real nodes need it

    builder.template_store(say)


def clone_store(target: Path, say: Say) -> None:
    """Give a node a store of its own with all our images; it takes no disk."""
    from dev import images as builder  # noqa: PLC0415

    builder.clone_store(target, say)


def write_probe_archive(program: Path, archive: Path) -> None:
    """Write the cluster's own image as an OCI archive: one layer with one static program."""
    layer = _tar({"probe": program.read_bytes()}, mode=0o755)
    config = _json(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Entrypoint": ["/probe"], "User": _UNPRIVILEGED},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": f"{_OCI}.manifest.v1+json",
            "config": _descriptor(config, "config.v1+json"),
            "layers": [_descriptor(layer, "layer.v1.tar")],
        }
    )
    named = _descriptor(manifest, "manifest.v1+json") | {"annotations": {"io.containerd.image.name": PROBE_IMAGE}}
    files = {f"blobs/sha256/{_digest(blob).removeprefix('sha256:')}": blob for blob in (layer, config, manifest)}
    files["index.json"] = _json({"schemaVersion": 2, "manifests": [named]})
    files["oci-layout"] = _json({"imageLayoutVersion": "1.0.0"})
    archive.write_bytes(_tar(files, mode=0o644))


def load(nodes: Sequence["RealNode"], images: Sequence[str], say: Say = to_stderr) -> None:
    """Bring images to all nodes: ours are built anew where their source changed, others come from buildah."""
    from dev import images as builder  # noqa: PLC0415

    ours = [name for name in builder.IMAGES if any(full_name(image) == builder.reference(name) for image in images)]
    for node in nodes if ours else ():
        builder.load_into_node(node.containerd_socket(), ours, say)
    known = {builder.reference(name) for name in ours}
    for image in dict.fromkeys(full_name(image) for image in images):
        if image not in known:
            _load_foreign(image, [node for node in nodes if image not in node.images()])


def _load_foreign(image: str, nodes: Sequence["RealNode"]) -> None:
    if not nodes:
        return
    if shutil.which("buildah") is None:
        raise ClusterError(f"{image} is not on {nodes[0].name}, and buildah is not there to export it")
    archive = nodes[0].folder / "load.tar"
    try:
        run(["buildah", "push", image, f"docker-archive:{archive}:{image}"], timeout=900)
        for node in nodes:
            node.import_archive(archive)
    finally:
        archive.unlink(missing_ok=True)


def full_name(image: str) -> str:
    """An image's name with registry and tag, as containerd lists it."""
    name = image if ":" in image.rpartition("/")[2] or "@" in image else f"{image}:latest"
    first, slash, _ = name.partition("/")
    if not slash:
        return f"docker.io/library/{name}"
    return name if "." in first or ":" in first or first == "localhost" else f"docker.io/{name}"


def _tar(files: dict[str, bytes], mode: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True).encode()


def _digest(blob: bytes) -> str:
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"


def _descriptor(blob: bytes, kind: str) -> dict[str, object]:
    return {"mediaType": f"{_OCI}.{kind}", "digest": _digest(blob), "size": len(blob)}
