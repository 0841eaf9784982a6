"""The base image of our Dockerfiles: pulled where a registry answers, else made with debootstrap.

Made here it is a minimal Debian with Debian's own Python 3.11 under the same name, so the Dockerfiles stay the ones
that users build. It lacks pip's and Python's newest patch releases, which our locked virtual environment hides.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from dev.images.buildah import Buildah
from dev.images.errors import BuildError
from dev.images.paths import Progress, timed
from dev.images.sources import BASE
from dev.packages import ensure

_PULL_SECONDS = 45
_SUITE = "bookworm"
_SOURCES = Path("/etc/apt/sources.list.d/debian.sources")
_PACKAGES = ("python3", "python3-venv", "python3-pip", "ca-certificates")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def ensure_base(buildah: Buildah, progress: Progress) -> str:
    """The id of the base image, which is in buildah's store afterwards."""
    image_id = buildah.image_id(BASE)
    if image_id is None:
        _pull_or_make(buildah, progress)
        image_id = buildah.image_id(BASE)
    if image_id is None:
        raise BuildError(f"the base image {BASE} could be neither pulled nor made")
    return image_id


def _pull_or_make(buildah: Buildah, progress: Progress) -> None:
    try:
        with timed(f"pulling {BASE}", progress):
            buildah.run("pull", "--quiet", BASE, timeout=_PULL_SECONDS)
    except (BuildError, subprocess.TimeoutExpired):
        progress("no registry answers: making the base with debootstrap instead")
        with timed(f"making {BASE} with debootstrap", progress):
            _make(buildah)


def _make(buildah: Buildah) -> None:
    ensure("debootstrap", "debian-archive-keyring")
    folder = buildah.folder / "base"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        _debootstrap(folder)
        _finish(folder)
        container = buildah.run("from", "scratch")
        buildah.run("copy", "--quiet", container, str(folder), "/")
        settings = ("--env", f"PATH={_PATH}", "--env", "LANG=C.UTF-8", "--cmd", "python3")
        buildah.run("config", *settings, container)
        buildah.run("commit", "--quiet", "--rm", container, BASE)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _debootstrap(folder: Path) -> None:
    options = ["--variant=minbase", f"--include={','.join(_PACKAGES)}"]
    mirror = os.environ.get("DEBIAN_MIRROR")  # without one debootstrap knows where Debian is
    command = ["debootstrap", *options, _SUITE, str(folder), *([mirror] if mirror else [])]
    result = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if result.returncode != 0:
        tail = "\n".join((result.stdout + result.stderr).splitlines()[-15:])
        raise BuildError(f"{' '.join(command)} failed:\n{tail}")


def _finish(folder: Path) -> None:
    """What the official image has and debootstrap has not, and the other way round."""
    (folder / "usr/bin/python").symlink_to("python3")
    if _SOURCES.is_file() and f"{_SUITE}-security" in _SOURCES.read_text():
        # This machine's own sources have security updates, which the one that debootstrap wrote has not.
        shutil.copy(_SOURCES, folder / "etc/apt/sources.list.d/debian.sources")
        (folder / "etc/apt/sources.list").unlink(missing_ok=True)
    for pattern in ("var/cache/apt/*.bin", "var/cache/apt/archives/*.deb", "var/lib/apt/lists/*_*", "var/log/*.log"):
        for path in folder.glob(pattern):
            path.unlink()
    for path in folder.joinpath("usr/share").glob("doc/*/*"):
        if path.is_file() and path.name != "copyright":
            path.unlink()
