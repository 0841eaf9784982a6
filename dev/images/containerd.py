"""Containerd as a tool: a private one that fills a template store, and ctr calls to any one by its address."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dev.images.errors import StoreError

_NAMESPACE = "k8s.io"
_START_SECONDS = 30.0
_STOP_SECONDS = 20.0
# Garbage collection waits for the nodes' own containerd: while a store is filled, nothing refers to its parts yet.
_CONFIGURATION = """version = 2
root = "{root}"
state = "{state}/state"
disabled_plugins = [
  "io.containerd.grpc.v1.cri",
  "io.containerd.internal.v1.opt",
  "io.containerd.internal.v1.tracing",
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
  "io.containerd.tracing.processor.v1.otlp",
]
[grpc]
  address = "{state}/grpc.sock"
[ttrpc]
  address = "{state}/ttrpc.sock"
[plugins."io.containerd.gc.v1.scheduler"]
  startup_delay = "24h"
  deletion_threshold = 0
  mutation_threshold = 0
"""


@dataclass(frozen=True)
class Containerd:
    """A running containerd, reached by its socket."""

    address: Path

    def ctr(self, *arguments: str, stdin: bytes | None = None) -> str:
        """Runs ctr in Kubernetes' namespace and returns what it printed. Raises StoreError with its complaint."""
        command = ["ctr", "--address", str(self.address), "--namespace", _NAMESPACE, *arguments]
        result = subprocess.run(command, input=stdin, capture_output=True, check=False)
        if result.returncode != 0:
            raise StoreError(f"{' '.join(command)} failed: {result.stderr.decode(errors='replace').strip()}")
        return result.stdout.decode()

    def try_ctr(self, *arguments: str) -> bool:
        """Whether ctr did it."""
        try:
            self.ctr(*arguments)
        except StoreError:
            return False
        return True

    def snapshots(self) -> set[str]:
        """Names of all snapshots, committed or not."""
        lines = self.ctr("snapshots", "list").splitlines()[1:]
        return {line.split()[0] for line in lines if line.strip()}

    def prepare_snapshot(self, key: str, parent: str | None) -> Path:
        """Opens a new snapshot on `parent` and returns the folder that its own files go to."""
        self.ctr("snapshots", "prepare", key, *([parent] if parent else []))
        return own_folder(self.ctr("snapshots", "mounts", "/unused", key))


def own_folder(mount_command: str) -> Path:
    """The writable folder in what `ctr snapshots mounts` prints: an overlay's upperdir, or the source of a bind mount."""
    found = re.search(r"upperdir=([^,\s]+)", mount_command) or re.search(r"-t bind (\S+) ", mount_command)
    if found is None:
        raise StoreError(f"containerd's snapshotter is not overlayfs: it mounts by {mount_command.strip()!r}")
    return Path(found.group(1))


@contextmanager
def private_containerd(root: Path) -> Iterator[Containerd]:
    """A containerd on `root` with nothing but its stores, stopped when the block ends."""
    if shutil.which("containerd") is None:
        raise StoreError("containerd is not installed")
    # Short and outside the cache: the path of a socket may have 107 characters.
    state = Path(tempfile.mkdtemp(prefix="trainyard-"))
    configuration, log = state / "config.toml", state / "log"
    configuration.write_text(_CONFIGURATION.format(root=root, state=state))
    try:
        with (
            log.open("wb") as output,
            subprocess.Popen(
                # It ends with us, however we end: a containerd left on a half-made store would spoil the next.
                ["setpriv", "--pdeathsig", "TERM", "containerd", "--config", str(configuration)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            ) as process,
        ):
            client = Containerd(state / "grpc.sock")
            try:
                _wait_until_ready(client, process, log)
                yield client
            finally:
                _stop(process)
    finally:
        shutil.rmtree(state, ignore_errors=True)


def _wait_until_ready(client: Containerd, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        # The socket is there a moment before the server answers.
        if client.address.exists() and client.try_ctr("version"):
            return
        time.sleep(0.05)
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-10:])
    raise StoreError(f"a private containerd did not start within {_START_SECONDS:.0f} s:\n{tail}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
