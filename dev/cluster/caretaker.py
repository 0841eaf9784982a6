"""A small process beside the cluster that does what cloud services do elsewhere: volumes and GPU capacity.

Started as `python -m dev.cluster.caretaker SERVER AUTHORITY FOLDER TOKEN_FILE`. Each chore runs in a thread of its own
that wakes when something it watches changes, so claims are served at once and an idle cluster costs nothing.
"""

import http.client
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dev.cluster import gpus
from dev.cluster.api import Api, ApiError
from dev.cluster.storage import CLAIMS, VOLUMES, Provisioner

REAL_NODES = "/api/v1/nodes?labelSelector=trainyard.dev%2Fnode-kind%3Dreal"
RESYNC_SECONDS = 30.0
_PAUSE_AFTER_ERROR = 1.0
_AWAY = (OSError, http.client.HTTPException, ApiError, ValueError)


@dataclass
class Chore:
    """Something to do whenever one of some collections changes."""

    name: str
    work: Callable[[], None]
    collections: tuple[str, ...]

    def start(self, api: Api) -> None:
        changed = threading.Event()
        for path in self.collections:
            threading.Thread(target=_follow, args=(api, path, changed), daemon=True).start()
        threading.Thread(target=self._loop, args=(changed,), daemon=True, name=self.name).start()

    def _loop(self, changed: threading.Event) -> None:
        while True:
            try:
                self.work()
            except _AWAY as error:
                print(f"{self.name}: {error}", flush=True)
                time.sleep(_PAUSE_AFTER_ERROR)
            changed.wait(RESYNC_SECONDS)
            changed.clear()


def _follow(api: Api, path: str, changed: threading.Event) -> None:
    while True:
        try:
            for _ in api.changes(path):
                changed.set()
        except _AWAY:
            time.sleep(_PAUSE_AFTER_ERROR)
        changed.set()


def main(argv: list[str]) -> None:
    """Run until ended from outside."""
    server, authority, folder, token = argv
    api = Api(server, Path(token).read_text().strip(), Path(authority))
    provisioner = Provisioner(api, Path(folder), set())
    Chore("volumes", provisioner.pass_once, (CLAIMS, VOLUMES)).start(api)
    Chore("gpus", lambda: gpus.pass_once(api, REAL_NODES), (REAL_NODES,)).start(api)
    threading.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1:])
