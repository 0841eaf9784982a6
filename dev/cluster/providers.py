"""Which provider a cluster gets, and why.

The choice itself is a pure function of a few facts about the machine; finding those out is beside it.
"""

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

from dev.cluster.errors import SpecError
from dev.cluster.spec import PROVIDERS

VARIABLE = "CLUSTER"
NODE_IMAGE = "kindest/node:v1.34.0"
PULL_SECONDS = 60


@dataclass(frozen=True)
class Choice:
    """A provider and the reason, which is told to the user."""

    provider: str
    reason: str


@dataclass(frozen=True)
class Docker:
    """What was found out about Docker: None means that it can be used with kind's node image."""

    problem: str | None


def choose(asked: str | None, variable: str | None, docker: Callable[[], Docker], *, audit: bool = False) -> Choice:
    """Decide; `docker` is asked only when nobody said what they want, since it may take a minute."""
    for value, origin in ((asked, "asked for"), (variable, f"{VARIABLE}={variable}")):
        if not value:
            continue
        if value not in PROVIDERS:
            raise SpecError(f"{VARIABLE}={value}: expected one of {', '.join(PROVIDERS)}")
        return Choice(value, origin)
    if audit:
        return Choice("local", "it alone keeps an audit log")
    found = docker()
    if found.problem is None:
        return Choice("kind", f"Docker works and {NODE_IMAGE} is there")
    return Choice("local", found.problem)


def from_environment(asked: str | None, *, audit: bool = False) -> Choice:
    """Decide for this machine."""
    return choose(asked, os.environ.get(VARIABLE), inspect_docker, audit=audit)


def inspect_docker() -> Docker:
    """Whether Docker works and its node image is there or comes soon enough."""
    if shutil.which("docker") is None:
        return Docker("Docker is not installed")
    if not _succeeds(["docker", "info"], 10):
        return Docker("Docker is installed but its engine does not answer")
    if _succeeds(["docker", "image", "inspect", NODE_IMAGE], 10) or _succeeds(
        ["docker", "pull", NODE_IMAGE], PULL_SECONDS
    ):
        return Docker(None)
    return Docker(f"{NODE_IMAGE} is not there and did not come within {PULL_SECONDS} s")


def _succeeds(argv: list[str], seconds: float) -> bool:
    try:
        return subprocess.run(argv, capture_output=True, timeout=seconds, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
