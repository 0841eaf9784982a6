"""Docker, where its daemon answers: the builder for kind and for clusters elsewhere."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from dev.images.errors import BuildError
from dev.images.sources import dockerfile, reference

_ANSWER_SECONDS = 10


def docker_answers() -> bool:
    """Whether there is a Docker client here and a daemon behind it."""
    if shutil.which("docker") is None:
        return False
    try:
        result = subprocess.run(
            ["docker", "version", "--format", "{{.Server.Version}}"],
            capture_output=True,
            check=False,
            timeout=_ANSWER_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return False
    return result.returncode == 0


def build(name: str, root: Path) -> str:
    """Builds and tags with Docker, whose output goes to the terminal; returns the image's id."""
    options: list[str] = []
    if index := os.environ.get("PIP_INDEX_URL"):
        options = ["--build-arg", f"PIP_INDEX_URL={index}"]
    _run("docker", "build", *options, "--tag", reference(name), "--file", str(dockerfile(name, root)), str(root))
    shown = subprocess.run(
        ["docker", "image", "inspect", "--format", "{{.Id}}", reference(name)],
        capture_output=True,
        text=True,
        check=True,
    )
    return shown.stdout.strip()


def load_into_kind(names: list[str], cluster: str) -> None:
    """Copies images that Docker has into the nodes of a kind cluster."""
    _run("kind", "load", "docker-image", *[reference(name) for name in names], "--name", cluster)


def _run(*command: str) -> None:
    if shutil.which(command[0]) is None:
        raise BuildError(f"{command[0]} is not installed")
    if subprocess.run(command, check=False).returncode != 0:
        raise BuildError(f"{' '.join(command)} failed; its output is above")
