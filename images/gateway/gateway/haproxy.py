"""`python -m gateway.haproxy`: PID 1 of the haproxy container. Renders, starts HAProxy, stops it without losing requests.

SIGTERM is what Kubernetes sends, and HAProxy takes it as "close everything now". So this process stands in front:
1. It waits TRAINYARD_STOP_DELAY_SECONDS (5): kube-proxy and clients need a moment to see that the pod is leaving, and
   requests that still come are served.
2. It sends SIGUSR1: HAProxy stops listening, finishes what is in flight or queued, and exits, at the latest after
   TRAINYARD_STOP_SECONDS (60).
The pod therefore needs no preStop hook, but a terminationGracePeriodSeconds above the sum (75).
A second SIGTERM, or SIGINT, stops at once.
"""

import signal
import subprocess
import sys
import threading
from types import FrameType

from gateway.config import ConfigError, Settings, from_environment
from gateway.render import write


class Supervisor:
    """One HAProxy process and how it ends."""

    def __init__(self, settings: Settings) -> None:
        self._delay = settings.stop_delay_seconds
        command = ["haproxy", "-db", "-f", str(settings.haproxy_config)]
        self._process = subprocess.Popen(command)
        self._stopping: threading.Timer | None = None

    def stop(self, number: int, _frame: FrameType | None) -> None:
        """Signal handler."""
        if self._stopping is not None or number == signal.SIGINT:
            self._process.terminate()
            return
        self._stopping = threading.Timer(self._delay, self._process.send_signal, [signal.SIGUSR1])
        self._stopping.daemon = True
        self._stopping.start()

    def wait(self) -> int:
        """Exit code for the container: 0 after a stop that was asked for, else HAProxy's own or 1."""
        code = self._process.wait()
        if self._stopping is not None:
            return 0
        return code if code > 0 else 1


def main() -> int:
    try:
        settings = from_environment()
        write(settings)
        supervisor = Supervisor(settings)
    except (ConfigError, OSError) as error:
        print(f"cannot start HAProxy: {error}", file=sys.stderr)
        return 64
    signal.signal(signal.SIGTERM, supervisor.stop)
    signal.signal(signal.SIGINT, supervisor.stop)
    return supervisor.wait()


if __name__ == "__main__":
    sys.exit(main())
