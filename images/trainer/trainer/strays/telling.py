"""From the notes of the program's processes to the operator: what was touched, and how often at least."""

import logging
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from trainer.environment import Environment
from trainer.progress import ProgressClient, ProgressError
from trainer.strays.hook.sitecustomize import LONGEST_PATH, MOST_BYTES, MOST_PATHS

log = logging.getLogger("trainer.agent")

_PROGRESS: Final = "/progress"
_ROUTE: Final = "/strays"
_AGAIN_SECONDS: Final = 60.0
"""Between two tellings of a program that goes on; each is an event of its job, which has others to tell of."""


@dataclass(frozen=True)
class Strays:
    """times: at least so often. paths: the first of them, in printable ASCII, below the claim's mount."""

    times: int = 0
    paths: tuple[str, ...] = ()


def parse_notes(content: bytes, roots: Iterable[Path]) -> Strays:
    """Lines that are none are left out: any process of the pod can write here."""
    times: dict[str, int] = {}
    paths: dict[str, None] = {}
    beginnings = tuple(f"{root}/" for root in roots)
    for line in content.decode("ascii", "replace").splitlines():
        pid, _, rest = line.partition(" ")
        count, _, path = rest.partition(" ")
        if not (pid.isdecimal() and count.isdecimal() and path.isprintable() and path.isascii() and path):
            continue
        times[pid] = max(times.get(pid, 0), int(count[:18]))
        if len(paths) < MOST_PATHS:
            begins = next((each for each in beginnings if path.startswith(each)), "")
            paths[path[len(begins) :][:LONGEST_PATH]] = None
    return Strays(sum(times.values()), tuple(paths))


class Telling:
    """While the program runs: tells of the first at once, of more each minute, and of the rest at the end."""

    def __init__(self, environment: Environment, notes: Path, roots: Iterable[Path]) -> None:
        self._job = {"jobUid": environment.job_uid, "attempt": environment.attempt}
        self._notes, self._roots, self._every = notes, tuple(roots), environment.progress_seconds
        self._client = _client(environment)
        self._told = 0
        """Bytes of the notes that were told of."""
        self._logged, self._not_before = False, 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="strays", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._look()

    def _run(self) -> None:
        while not self._over.wait(self._every):
            if time.monotonic() >= self._not_before:
                self._look()

    def _look(self) -> None:
        try:
            size = self._notes.stat().st_size
            if size == self._told:
                return
            with self._notes.open("rb") as stream:
                found = parse_notes(stream.read(2 * MOST_BYTES), self._roots)
        except OSError:  # whatever the program did to it
            return
        if found.times and not self._tell(found):
            return
        self._told = size

    def _tell(self, found: Strays) -> bool:
        """Whether nothing is left to tell."""
        if not self._logged:
            log.warning(
                "the program touches files of other jobs that this job does not name: %s", ", ".join(found.paths)
            )
        self._logged, self._not_before = True, time.monotonic() + _AGAIN_SECONDS
        if self._client is None:
            return True
        try:
            self._client.post({**self._job, "times": found.times, "paths": list(found.paths)})
        except ProgressError as error:
            log.warning("that was not told to the operator: %s", error)
            return False
        return True


def _client(environment: Environment) -> ProgressClient | None:
    """As that of progress, with its own address at the same place."""
    url = environment.progress_url
    if not url:
        return None
    return ProgressClient(url.removesuffix(_PROGRESS) + _ROUTE, environment.progress_ca, environment.token_file)
