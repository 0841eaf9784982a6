"""What is built, when, and by whom: the one place that knows images, builders and the template store together.

Docker builds where its daemon answers and a cluster can take from it (kind, a registry). The template store of local
clusters is always made from buildah's, whose layers lie on disk as containerd needs them.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from dev.images import docker, store
from dev.images.base import ensure_base
from dev.images.buildah import Buildah
from dev.images.containerd import Containerd
from dev.images.errors import BuildError, ImageError
from dev.images.paths import REPOSITORY, Progress, images_folder, images_lock, timed
from dev.images.sources import IMAGES, dockerfile, reference, source_digest, store_key
from dev.packages import ensure_programs

_PAUSE = Path(__file__).resolve().parent / "pause"
_FORMAT = "1"  # of the template store: other whenever the way of making it changes


def build(names: Sequence[str] = IMAGES, *, progress: Progress) -> dict[str, str]:
    """Builds images with Docker or buildah; returns reference to image id. Unchanged ones cost nothing."""
    unknown = sorted(set(names) - set(IMAGES))
    if unknown:
        raise ImageError(f"no such image: {', '.join(unknown)}. There are: {', '.join(IMAGES)}")
    if docker.docker_answers():
        return {reference(name): docker.build(name, REPOSITORY) for name in names}
    with images_lock(progress):
        return _build_with_buildah(Buildah(), names, progress)


def template_root(progress: Progress) -> Path:
    """A stopped containerd root that holds all images as the sources are now. The caller holds the lock."""
    buildah = Buildah()
    ensure_programs({"containerd": "containerd", "ctr": "containerd"}, progress=progress)
    built = _build_with_buildah(buildah, IMAGES, progress)
    built |= _build_pause(buildah, progress)
    version = subprocess.run(["containerd", "--version"], capture_output=True, text=True, check=True).stdout
    # A store may become the next one only where containerd and our way of filling it are the same.
    kind = store_key({"containerd": version, "format": _FORMAT})[:6]
    root = _templates() / f"{kind}-{store_key(built)}"
    if root.is_dir():
        return root
    with timed("making the template store of images", progress):
        others = [path for path in _templates().iterdir() if path.is_dir()]
        usable = [path for path in others if path.name.startswith(kind) and path.suffix != store.PARTIAL]
        store.make_store(root, [buildah.describe(name) for name in built], usable[0] if usable else None)
        for other in others:
            shutil.rmtree(other, ignore_errors=True)
        buildah.prune()
    return root


def load_into_node(address: Path, names: Sequence[str], progress: Progress) -> None:
    """Builds images and enters them into a running node's containerd, so that new pods use the code as it is now."""
    with images_lock(progress):
        buildah = Buildah()
        built = _build_with_buildah(buildah, names, progress)
        store.insert(Containerd(address), [buildah.describe(name) for name in built])


def built_images() -> dict[str, dict[str, str]]:
    """What buildah's store holds: reference to {"source": digest, "id": image id}."""
    try:
        found: dict[str, dict[str, str]] = json.loads(_record().read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return found


def clean(progress: Progress) -> None:
    """Removes all images, stores and layers of ours from the cache."""
    with images_lock(progress):
        if shutil.which("buildah") is not None:
            buildah = Buildah()
            buildah.tidy()
            buildah.run("rmi", "--all", "--force")
        for path in images_folder().iterdir():
            if path.is_dir():
                shutil.rmtree(path)
        _record().unlink(missing_ok=True)


def _build_with_buildah(buildah: Buildah, names: Sequence[str], progress: Progress) -> dict[str, str]:
    ensure_programs({"buildah": "buildah"}, progress=progress)
    base = ensure_base(buildah, progress)
    record = built_images()
    built: dict[str, str] = {}
    for name in names:
        wanted, source = reference(name), source_digest(name, REPOSITORY, base)
        known = record.get(wanted, {})
        if known.get("source") != source or buildah.image_id(wanted) != known.get("id"):
            buildah.tidy()
            with timed(f"building {wanted}", progress):
                image_id = buildah.build(wanted, dockerfile(name, REPOSITORY), REPOSITORY, progress)
            record[wanted] = known = {"source": source, "id": image_id}
            _record().write_text(json.dumps(record, indent=1))
        built[wanted] = known["id"]
    return built


def _build_pause(buildah: Buildah, progress: Progress) -> dict[str, str]:
    """The sandbox image of local clusters; compiled once, since its only source is a page of C."""
    wanted = reference("pause")
    sources = {path.name: path.read_text() for path in sorted(_PAUSE.iterdir()) if path.is_file()}
    source, record = store_key(sources), built_images()
    known = record.get(wanted, {})
    if known.get("source") != source or buildah.image_id(wanted) != known.get("id"):
        ensure_programs({"gcc": "gcc"}, "libc6-dev", progress=progress)
        with timed(f"building {wanted}", progress), tempfile.TemporaryDirectory() as folder:
            _compile_pause(Path(folder) / "pause")
            image_id = buildah.build(wanted, _PAUSE / "Dockerfile", Path(folder), progress)
        record[wanted] = known = {"source": source, "id": image_id}
        _record().write_text(json.dumps(record, indent=1))
    return {wanted: known["id"]}


def _compile_pause(output: Path) -> None:
    command = ["gcc", "-static", "-Os", "-s", "-Wall", "-Werror", "-o", str(output), str(_PAUSE / "pause.c")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise BuildError(f"{' '.join(command)} failed:\n{result.stderr}")


def _record() -> Path:
    return images_folder() / "built.json"


def _templates() -> Path:
    folder = images_folder() / "templates"
    folder.mkdir(exist_ok=True)
    return folder
