"""Kubernetes and its companions, built from pinned Go modules into the user's cache.

The cache key is a hash of everything that decides the result, so a second cluster starts at once and two versions
live side by side. A lock makes builds of parallel clusters take turns: the second finds the first one's work.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dev.cluster.errors import BuildError, MissingTool
from dev.cluster.paths import GO_MODULE, cache_folder
from dev.cluster.progress import Say, counting, to_stderr

SERVERS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")


@dataclass(frozen=True)
class Target:
    """One thing Go builds: its package, and the names under which the result is started."""

    file: str
    package: str
    programs: tuple[str, ...]
    module: Path = GO_MODULE


_COMPANIONS = GO_MODULE / "companions"

TARGETS = (
    Target("servers", "./servers", SERVERS),
    Target("kubectl", "k8s.io/kubernetes/cmd/kubectl", ("kubectl",)),
    Target("kwok", "sigs.k8s.io/kwok/cmd/kwok", ("kwok",), _COMPANIONS),
    Target("coredns", "./coredns", ("coredns",)),
    Target("helm", "helm.sh/helm/v3/cmd/helm", ("helm",)),
    Target("kind", "sigs.k8s.io/kind", ("kind",), _COMPANIONS),
    Target("probe", "./probe", ("probe",)),
)


@dataclass(frozen=True)
class Binaries:
    """Paths of programs in the cache. Asking for one builds it when it is not there yet."""

    folder: Path
    say: Say = to_stderr

    def path(self, program: str) -> Path:
        """The file to start for that program."""
        target = target_of(program)
        found = self.folder / program
        if not found.exists():
            self._build(target)
        return found

    def ensure(self, *programs: str) -> None:
        """Build what is missing of these, each with a progress line."""
        for program in programs:
            self.path(program)

    def _build(self, target: Target) -> None:
        if shutil.which("go") is None:
            raise MissingTool(
                "Go is not on the PATH: the local cluster builds Kubernetes from source, install Go 1.24 or newer"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        with _lock(self.folder / ".lock", self.say):
            if not (self.folder / target.programs[0]).exists():
                _compile(target, self.folder, self.say)


def binaries(say: Say = to_stderr) -> Binaries:
    """The binaries of this checkout's pins."""
    return Binaries(cache_folder() / "bin" / cache_key(GO_MODULE), say)


def target_of(program: str) -> Target:
    """What to build to get that program."""
    return next(target for target in TARGETS if program in target.programs)


def cache_key(module: Path) -> str:
    """A hash of the module's pins and sources."""
    digest = hashlib.sha256()
    for path in sorted([*module.rglob("go.mod"), *module.rglob("go.sum"), *module.rglob("*.go")]):
        digest.update(f"{path.relative_to(module)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def pinned(go_mod: str, module: str) -> str:
    """The version that a go.mod requires of a module, such as v1.34.4."""
    found = re.search(rf"^\s*{re.escape(module)} (v[\w.+-]+)", go_mod, re.MULTILINE)
    if found is None:
        raise BuildError(f"{module} is not pinned in go.mod")
    return found[1]


def linker_flags(go_mod: str) -> str:
    """Kubernetes and Helm refuse some work when they do not know their own version, which the linker tells them."""
    kubernetes = pinned(go_mod, "k8s.io/kubernetes")
    major, minor, _ = kubernetes.removeprefix("v").split(".", 2)
    version = "k8s.io/component-base/version"
    values = {
        f"{version}.gitVersion": kubernetes,
        f"{version}.gitMajor": major,
        f"{version}.gitMinor": minor,
        "helm.sh/helm/v3/internal/version.version": pinned(go_mod, "helm.sh/helm/v3"),
    }
    return " ".join(["-s -w", *(f"-X {name}={value}" for name, value in values.items())])


def _compile(target: Target, folder: Path, say: Say) -> None:
    draft = folder / f".{target.file}.new"
    flags = linker_flags((GO_MODULE / "go.mod").read_text())
    argv = [
        "go",
        "build",
        "-v",
        "-mod=readonly",
        "-trimpath",
        "-buildvcs=false",
        "-ldflags",
        flags,
        "-o",
        str(draft),
        target.package,
    ]
    # A user's GOFLAGS or workspace could change what is built behind the cache key's back.
    environment = {**os.environ, "GOFLAGS": "", "GOWORK": "off", "CGO_ENABLED": "0"}
    packages = _package_count(target, environment)
    with counting(f"building {', '.join(target.programs)}", packages, say) as step:
        process = subprocess.Popen(argv, cwd=target.module, env=environment, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        output = []
        for line in process.stderr:
            output.append(line)
            step()
        if process.wait():
            raise BuildError(f"go build of {target.package} failed:\n{''.join(output[-20:])}")
    result = folder / target.file
    draft.replace(result)
    for program in target.programs:
        if program != target.file:
            (folder / program).unlink(missing_ok=True)
            (folder / program).symlink_to(target.file)


def _package_count(target: Target, environment: dict[str, str]) -> int:
    listed = subprocess.run(
        ["go", "list", "-deps", target.package],
        cwd=target.module,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return max(1, len(listed.stdout.splitlines()))


@contextmanager
def _lock(path: Path, say: Say) -> Iterator[None]:
    handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another build of the same binaries ...")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
