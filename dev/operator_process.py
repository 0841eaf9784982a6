"""The operator as a process of this machine against any cluster: for benchmarks and tests that need no pod of it."""

import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from dev.ports import HeldPort


class HasKubeconfig(Protocol):
    """A cluster, as far as the operator needs one."""

    @property
    def kubeconfig(self) -> Path: ...

    def kubectl(self, *args: str, input: str | None = None) -> str: ...  # noqa: A002


class OperatorProcess:
    """Starts `python -m trainyard` on loopback ports; stopped by its process id. Use as a context manager."""

    def __init__(
        self,
        cluster: HasKubeconfig,
        *,
        log: Path | None = None,
        env: dict[str, str] | None = None,
        kubeconfig: Path | None = None,
    ) -> None:
        self._cluster = cluster
        self.log = log or Path(tempfile.mkstemp(prefix="trainyard-operator-", suffix=".log")[1])
        self._kubeconfig = kubeconfig or cluster.kubeconfig
        self._env = env or {}
        self._http, self._https = HeldPort(), HeldPort()
        self.http_port, self.https_port = self._http.number, self._https.number
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def url(self) -> str:
        """Of /healthz, /readyz and /metrics."""
        return f"http://127.0.0.1:{self.http_port}"

    def start(self) -> None:
        """Start the process; its namespace is made if need be."""
        self._cluster.kubectl(
            "apply", "-f", "-", input='{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"trainyard-system"}}'
        )
        settings = {
            "KUBECONFIG": self._kubeconfig,
            "HOST": "127.0.0.1",
            "HTTP_PORT": self.http_port,
            "HTTPS_PORT": self.https_port,
        }
        env = {**os.environ, **{f"TRAINYARD_{name}": str(value) for name, value in settings.items()}, **self._env}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen([sys.executable, "-m", "trainyard"], env=env, stdout=log, stderr=log)

    def wait_ready(self, seconds: float = 60) -> None:
        """Wait until it leads and its caches are filled. Raises RuntimeError with the end of its log."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.running:
            try:
                with urllib.request.urlopen(f"{self.url}/readyz", timeout=2):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        raise RuntimeError(f"the operator is not ready; its log ends:\n{self.log.read_text()[-4000:]}")

    def metrics(self) -> str:
        """The text of /metrics."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=10) as response:
            text: str = response.read().decode()
            return text

    def cpu_seconds(self) -> float:
        """CPU that the process has used, user and system."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def kill(self) -> None:
        """SIGKILL: no goodbye."""
        assert self._process is not None, "not started"
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def stop(self, seconds: float = 20) -> None:
        """SIGTERM and wait; SIGKILL after so many seconds."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
