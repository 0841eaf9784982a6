"""Running one command as PID 1 should: signals are passed on, every orphan is reaped, nothing is left behind."""

import contextlib
import ctypes
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from trainer.errors import SIGNAL_BASE, of_signal

_PR_SET_CHILD_SUBREAPER: Final = 36
_FORWARDED: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_REAPING_SECONDS: Final = 2.0
_NOT_EXECUTABLE: Final = 126
_NOT_FOUND: Final = 127


class Supervisor:
    """Holds the asked-to-stop flag from the first instant on, and later the one child."""

    def __init__(self) -> None:
        self.stop_requested = False
        self.killed = False
        self._child: subprocess.Popen[bytes] | None = None
        self._whole_group = False
        for number in _FORWARDED:
            signal.signal(number, self._on_signal)
        # In a pod that shares its process namespace the agent is not PID 1; orphans shall come to it nevertheless.
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def run(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        whole_group: bool,
        is_over: Callable[[], bool] = lambda: False,
    ) -> int:
        """Run the command to its end and return its exit code, 128 + n when signal n killed it.

        whole_group: pass signals on to all processes of the command, because a shell in between would keep them to
        itself; torchrun, which passes them on in its own order, gets them alone. is_over: whether it is to be killed as
        soon as it is there.
        """
        self._whole_group, self.killed = whole_group, False
        try:
            self._child = subprocess.Popen(command, env=dict(environment), start_new_session=True)
        except FileNotFoundError:
            return _NOT_FOUND
        except PermissionError:
            return _NOT_EXECUTABLE
        if self.stop_requested:  # it came while the child was being made
            self._forward(signal.SIGTERM)
        if is_over():  # the same, of an order to end at once
            self.kill()
        code = self._reap_until(self._child.pid)
        self._child.returncode = code
        self._end_group(self._child.pid)
        return code

    def ask_to_stop(self) -> None:
        """Tell the command to save and end, as if the pod were asked to; the pod stays."""
        self._forward(signal.SIGTERM)

    def kill(self) -> None:
        """End the command and all that it started, now: its peers are gone, and nothing of it is worth a wait."""
        child = self._child
        if child is not None and child.returncode is None:
            self.killed = True
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)

    def end_soon(self, seconds: float) -> None:
        """Kill the command of this moment unless it ends by itself in so many seconds: how it ended tells more then."""
        child = self._child

        def kill() -> None:
            if self._child is child:
                self.kill()

        timer = threading.Timer(seconds, kill)
        timer.daemon = True
        timer.start()

    def _reap_until(self, pid: int) -> int:
        while True:
            ended, status = os.waitpid(-1, 0)
            if ended == pid:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else of_signal(-code)

    def _end_group(self, group: int) -> None:
        """Kill what the command left running; it would hold the claim and the GPUs after the job has ended."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
        limit = time.monotonic() + _REAPING_SECONDS
        with contextlib.suppress(ChildProcessError):  # which means that none is left
            while time.monotonic() < limit:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    time.sleep(0.01)

    def _on_signal(self, number: int, _frame: object) -> None:
        if number in {signal.SIGTERM, signal.SIGINT}:
            self.stop_requested = True
        self._forward(number)

    def _forward(self, number: int) -> None:
        if self._child is None or self._child.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            if self._whole_group:
                os.killpg(self._child.pid, number)
            else:
                os.kill(self._child.pid, number)


def describe_code(code: int, program: str) -> str | None:
    """Words for an exit code that means more than that the command failed, else None."""
    if code == _NOT_FOUND:
        return f"{program}: no such command in the image"
    if code == _NOT_EXECUTABLE:
        return f"{program}: may not be executed"
    if code > SIGNAL_BASE:
        return f"{program} died of signal {code - SIGNAL_BASE} ({signal.strsignal(code - SIGNAL_BASE)})"
    return None
