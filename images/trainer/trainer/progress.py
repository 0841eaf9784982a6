"""Telling the operator how training goes, and hearing what it wants; never in training's way.

A thread posts the newest state over TLS with the pod's own token. Whatever goes wrong there (no network, a hanging
operator, a refused token) is logged and forgotten: training neither waits nor fails. Standard library only, since a
user's script imports this too. The same state goes to a file from which the agent makes the termination message,
for the operator that was away.
"""

import dataclasses
import http.client
import json
import logging
import math
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from trainer.durable import read_json, write_atomically, write_json
from trainer.environment import Environment

log = logging.getLogger(__name__)

PROGRESS_FILE: Final = "progress.json"
ROUND_FILE: Final = "round.json"
SIZE_FILE: Final = "size.json"
_TIMEOUT_SECONDS: Final = 5.0
_MOST_REPLY_BYTES: Final = 64 * 1024
_FAILURES_BETWEEN_LOGS: Final = 30
_MOST_WARNING: Final = 1000
_OK: Final = 200


@dataclass(frozen=True)
class Progress:
    """What is reported; the names are those of the report, in camelCase."""

    job_uid: str
    attempt: int
    world_size: int = 1
    phase: str = "starting"
    step: int = 0
    total_steps: int | None = None
    epoch: int = 0
    loss: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    throughput: float | None = None
    checkpoint: dict[str, Any] | None = None
    restored_step: int | None = None
    first_step_at: str | None = None
    result: dict[str, Any] | None = None
    warning: str | None = None
    restarted: dict[str, Any] | None = None
    checkpoint_failures: int = 0
    step_seconds: dict[str, float] | None = None
    checkpointing: dict[str, Any] | None = None
    joules: float | None = None
    spent: dict[str, float] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """As it is sent. What is not finite is left out: JSON has no word for it, and the whole report would be lost."""
        sent = {_camel(name): _finite(value) for name, value in dataclasses.asdict(self).items()}
        sent["metrics"] = {name: value for name, value in self.metrics.items() if _finite(value) is not None}
        return sent


class ProgressError(Exception):
    """A report did not arrive."""


@dataclass(frozen=True)
class ProgressClient:
    """One POST at a time; nothing is kept between two, so that renewed tokens and certificates are picked up."""

    url: str
    authority: str | None
    token_file: Path
    timeout: float = _TIMEOUT_SECONDS

    def post(self, body: dict[str, Any]) -> list[Any]:
        """Send a report and return the commands of the reply. Raises ProgressError for whatever went wrong."""
        parts = urlsplit(self.url)
        if parts.scheme != "https" or parts.hostname is None:
            raise ProgressError(f"{self.url} is no https address; the token is not sent over anything else")
        try:
            context = ssl.create_default_context(cadata=self.authority)
            connection = http.client.HTTPSConnection(
                parts.hostname, parts.port or 443, timeout=self.timeout, context=context
            )
            try:
                headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._token()}"}
                connection.request("POST", parts.path or "/", json.dumps(body), headers)
                reply = connection.getresponse()
                content = reply.read(_MOST_REPLY_BYTES)
            finally:
                connection.close()
            if reply.status != _OK:
                raise ProgressError(f"{self.url} answered {reply.status}: {content[:200].decode(errors='replace')}")
            document = json.loads(content or b"{}")
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise ProgressError(f"{self.url}: {type(error).__name__}: {error}") from error
        commands = document.get("commands") if isinstance(document, dict) else None
        return commands if isinstance(commands, list) else []

    def _token(self) -> str:
        return self.token_file.read_text().strip()


class Reporter:
    """Holds the newest state and sends it from its own thread, at most every few seconds and at each new phase."""

    def __init__(self, start: Progress, *, client: ProgressClient | None, every: float, folder: Path | None) -> None:
        self._progress = start
        self._client = client
        self._every = every
        self._file = folder / PROGRESS_FILE if folder else None
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closing = False
        self._failures = 0
        self._checkpoint_wanted = False
        self._stop_at_step: int | None = None
        self._workers: int | None = None
        self._interruption_seconds: float | None = None
        self._spent: Callable[[], dict[str, float]] | None = None
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)

    def start(self) -> "Reporter":
        self._thread.start()
        return self

    @property
    def progress(self) -> Progress:
        return self._progress

    def measure(self, spent: Callable[[], dict[str, float]]) -> None:
        """Ask this for the seconds spent so far, by category, whenever something is reported; from the reporter's thread."""
        self._spent = spent

    def update(self, **changes: Any) -> None:
        """Change the state; a new phase, warning, checkpoint or result is sent at once, the rest in its time."""
        with self._lock:
            before = self._progress
            if before.warning and changes.get("warning"):
                changes["warning"] = f"{before.warning}; {changes['warning']}"[:_MOST_WARNING]
            self._progress = dataclasses.replace(before, **changes)
        if changes.keys() & {"phase", "warning", "checkpoint", "result"}:
            self._wake.set()

    def take_checkpoint_request(self) -> bool:
        """Whether the operator asked for a checkpoint since the last call."""
        with self._lock:
            wanted, self._checkpoint_wanted = self._checkpoint_wanted, False
        return wanted

    @property
    def stop_at_step(self) -> int | None:
        """The step after which the operator wants training to stop, if it does."""
        return self._stop_at_step

    @property
    def interruption_seconds(self) -> float | None:
        """From one interruption of the gang to the next, as the operator expects it now; None if it has not said so."""
        return self._interruption_seconds

    def close(self, timeout: float = 2 * _TIMEOUT_SECONDS) -> None:
        """Send the last state and end the thread; gives up after the timeout."""
        self._closing = True
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        self._save()

    def _run(self) -> None:
        try:
            while not self._closing:
                self._wake.clear()
                self._save()
                self._send()
                if not self._closing:
                    self._wake.wait(self._every)
            self._save()
            self._send()
        except Exception:  # training must not notice, whatever it is
            log.exception("the thread that reports progress has ended")

    def _now(self) -> Progress:
        if self._spent is not None:
            spent = self._spent()
            with self._lock:
                self._progress = dataclasses.replace(self._progress, spent=spent)
        return self._progress

    def _save(self) -> None:
        if self._file is None:
            return
        try:
            write_atomically(self._file, json.dumps(self._now().as_json()).encode(), durable=False)
        except OSError as error:
            log.warning("progress cannot be kept in %s: %s", self._file, error)

    def _send(self) -> None:
        if self._client is None:
            return
        sent = self._now()
        try:
            commands = self._client.post(sent.as_json())
        except ProgressError as error:
            if self._failures % _FAILURES_BETWEEN_LOGS == 0:
                log.warning("report not delivered, training goes on: %s", error)
            self._failures += 1
            return
        if self._failures:
            log.warning("reports are delivered again after %d failures", self._failures)
        self._failures = 0
        with self._lock:
            if self._progress.warning == sent.warning:
                self._progress = dataclasses.replace(self._progress, warning=None)
            for command in commands:
                self._obey(command)

    def _obey(self, command: Any) -> None:
        if not isinstance(command, dict):
            return
        if command.get("checkpoint") is True:
            self._checkpoint_wanted = True
        workers = command.get("workers")
        if isinstance(workers, int) and not isinstance(workers, bool) and workers > 0:
            self._leave_size(workers)
        stop = command.get("stopAtStep")
        if isinstance(stop, int) and not isinstance(stop, bool):
            self._stop_at_step = stop
        expected = command.get("interruptionSeconds")
        if isinstance(expected, int | float) and not isinstance(expected, bool) and 0 < expected < math.inf:
            self._interruption_seconds = float(expected)

    def _leave_size(self, workers: int) -> None:
        """For the agent: so many pods shall train."""
        if self._file is not None and workers != self._workers:
            write_json(self._file.with_name(SIZE_FILE), {"workers": workers})
            self._workers = workers


def reporter_for(environment: Environment, *, world_size: int = 1) -> Reporter:
    """A reporter as the environment asks for it: without an address it only keeps the state for the agent."""
    client = None
    if environment.progress_url:
        client = ProgressClient(environment.progress_url, environment.progress_ca, environment.token_file)
    folder = environment.run_directory if environment.run_directory.is_dir() else None
    # Which start of the program in this pod it is, and why: the agent leaves it.
    restarted = read_json(folder / ROUND_FILE) if folder else None
    start = Progress(environment.job_uid, environment.attempt, world_size=world_size, restarted=restarted)
    return Reporter(start, client=client, every=environment.progress_seconds, folder=folder).start()


def timestamp() -> str:
    """Now, as RFC 3339 in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
