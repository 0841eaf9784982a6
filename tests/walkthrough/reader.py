"""Whoever follows a page: one shell from its first command to its last, as a reader has."""

import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from dev.cluster import Cluster
from tests.walkthrough.page import Command, File, steps

ROOT = Path(__file__).parents[2]
_END = "=== the command ended with"


class Reader:
    """A shell in a folder of its own, in which the repository's folders are at hand. Use as a context manager."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self.folder = folder
        for name in ("examples", "helm", "crds"):
            (folder / name).symlink_to(ROOT / name)
        self._shell = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env={**os.environ, "HOME": str(folder), **env},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """What was started in the background ends with the shell."""
        os.killpg(self._shell.pid, signal.SIGKILL)
        self._shell.communicate()

    def follow(self, page: Path, seconds: float = 150) -> None:
        """Do what the page says. Raises AssertionError with the first command that prints something else, or takes longer than that."""
        for step in steps(page):
            if isinstance(step, File):
                (self.folder / step.name).write_text(step.text)
                continue
            code, output = self._type(step, seconds)
            where = f"{page.relative_to(ROOT)}:{step.line}: $ {step.text}\n"
            assert code == 0 or step.may_fail, f"{where}ended with exit code {code}:\n{output}"
            shown = "\n".join(step.prints)
            assert step.printed(output), f"{where}printed\n{output}\nand not, as the page says,\n{shown}"

    def _type(self, command: Command, seconds: float) -> tuple[int, str]:
        """Exit code and output."""
        assert self._shell.stdin is not None
        # In this shell, so that variables and jobs stay; without the shell's own input, which holds the next commands.
        self._shell.stdin.write(f"{{\n{command.text}\n}} < /dev/null\necho '{_END}' $?\n".encode())
        self._shell.stdin.flush()
        return self._read(command, time.monotonic() + seconds)

    def _read(self, command: Command, deadline: float) -> tuple[int, str]:
        assert self._shell.stdout is not None
        output = b""
        with selectors.DefaultSelector() as selector:
            selector.register(self._shell.stdout, selectors.EVENT_READ)
            while not (output.endswith(b"\n") and _END.encode() in output):
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise AssertionError(
                        f"line {command.line}: $ {command.text}\ndoes not end; so far:\n{output.decode()}"
                    )
                some = os.read(self._shell.stdout.fileno(), 65536)
                if not some:
                    raise AssertionError(f"line {command.line}: $ {command.text}\nended the shell:\n{output.decode()}")
                output += some
        text, _, code = output.decode().rpartition(_END)
        return int(code), text


def reader_of(cluster: Cluster, folder: Path) -> Reader:
    """Somebody with kubectl, helm and trainyard, and an administrator's rights over the cluster."""
    programs = folder / "bin"
    programs.mkdir()
    for name in ("kubectl", "helm"):
        (programs / name).symlink_to(cluster.programs.path(name))
    command = programs / "trainyard"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m trainyard.cli "$@"\n')
    command.chmod(0o755)
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_bytes(cluster.kubeconfig.read_bytes())
    path = f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    return Reader(folder, {"PATH": path, "KUBECONFIG": str(kubeconfig), "PYTHONPATH": os.pathsep.join(sys.path)})
