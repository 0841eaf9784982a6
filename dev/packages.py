"""Debian packages that our tools use, installed when they are missing.

The local cluster and the image builder need programs (containerd, buildah, haproxy, ...) that most machines do not
have. On Debian or Ubuntu as root they are installed on demand, so that `make demo` is one command; anywhere else the
error says what to install. Nothing here runs unless a caller asks for a package that is not there.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

# Two of our tools may start at once (a demo and a test); apt itself waits for the dpkg lock, we wait before it.
_LOCK = Path(tempfile.gettempdir()) / "trainyard-apt.lock"
_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+")
_TIMEOUT_SECONDS = 600

Progress = Callable[[str], None]


class PackageError(RuntimeError):
    """A Debian package is missing and could not be installed; the message says what to do."""


def missing(names: Iterable[str]) -> list[str]:
    """Those of `names` that dpkg does not report as installed, in the order given, each once."""
    wanted = list(dict.fromkeys(names))
    for name in wanted:
        if not _NAME.fullmatch(name):
            raise PackageError(f"{name!r} is not the name of a Debian package")
    if shutil.which("dpkg-query") is None:
        return wanted
    found = subprocess.run(
        ["dpkg-query", "--show", "--showformat=${db:Status-Status} ${Package}\n", *wanted],
        capture_output=True,
        text=True,
        check=False,
    )
    installed = {line.split()[1] for line in found.stdout.splitlines() if line.startswith("installed ")}
    return [name for name in wanted if name not in installed]


def ensure(*names: str, progress: Progress = print) -> None:
    """Installs what is missing of `names`. Raises PackageError when that is not possible here."""
    absent = missing(names)
    if not absent:
        return
    reason = _why_not()
    if reason is not None:
        raise PackageError(f"needed and not installed: {', '.join(absent)}. {reason}")
    with _LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        absent = missing(absent)
        if absent:
            progress(f"installing Debian packages: {' '.join(absent)}")
            _install(absent)


def ensure_programs(programs: dict[str, str], *more: str, progress: Progress = print) -> None:
    """Like `ensure`, asked by program: a program from elsewhere (Docker's containerd) is never replaced.

    programs: program to the Debian package that has it; more: packages to add when one of them is missing.
    """
    absent = [package for program, package in programs.items() if shutil.which(program) is None]
    if absent:
        ensure(*absent, *more, progress=progress)


def _why_not() -> str | None:
    if shutil.which("apt-get") is None or shutil.which("dpkg-query") is None:
        return "This system has no apt-get: install what corresponds to these Debian packages."
    if os.geteuid() != 0:
        return "Run this as root, or install them yourself with: sudo apt-get install -y <names>"
    return None


def _install(names: list[str]) -> None:
    """Installs at once from the package lists at hand, and refreshes them only when that fails."""
    result = _apt(["install", "--yes", "--no-install-recommends", *names])
    if result.returncode != 0:
        _apt(["update"])
        result = _apt(["install", "--yes", "--no-install-recommends", *names])
    if result.returncode != 0:
        tail = "\n".join((result.stdout + result.stderr).splitlines()[-15:])
        raise PackageError(f"apt-get could not install {', '.join(names)}:\n{tail}")
    absent = missing(names)
    if absent:
        raise PackageError(f"apt-get ended well but these are still not installed: {', '.join(absent)}")


def _apt(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    # Services must not start: a system containerd or haproxy beside ours would only hold ports and sockets.
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    command = ["apt-get", "-o", "DPkg::Lock::Timeout=300", "-o", "APT::Sandbox::User=root", *arguments]
    try:
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            env=environment,
            stdin=subprocess.DEVNULL,
            timeout=_TIMEOUT_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise PackageError(f"apt-get did not end within {_TIMEOUT_SECONDS} s: {' '.join(command)}") from error
