"""Namespaces that come into sight of an operator that is confined to some, or are lost from it: told, read anew, forgotten."""

import asyncio
import logging
from collections.abc import Callable

from trainyard.cluster.errors import ClusterError
from trainyard.workloads.caches import Caches

log = logging.getLogger(__name__)

UNSEEN_SECONDS = 5.0
"""A namespace that cannot be seen whole is left alone, and looked at again so much later."""


class Namespaces:
    """What is not seen whole is left alone; our kinds are read when it is, since their watch tells of changes only."""

    def __init__(self, caches: Caches, taken_in: Callable[[str], None]) -> None:
        """taken_in: hears of each that was read."""
        self._caches, self._taken_in = caches, taken_in
        self._sighted: asyncio.Queue[str] = asyncio.Queue()

    def sight_changed(self, namespace: str, whole: bool) -> None:
        """Whether it is seen from now on."""
        if whole:
            log.info("a namespace has come into sight", extra={"namespace": namespace})
            self._sighted.put_nowait(namespace)
        else:
            log.warning(
                "a namespace cannot be seen any more and is left alone",
                extra={"namespace": namespace, "why": dict(self._caches.sight.problems()).get(namespace, "")},
            )

    async def run(self) -> None:
        """Read those that came into sight, until cancelled; one that cannot be read holds up no other."""
        while True:
            namespace = await self._sighted.get()
            if not self._caches.sight.whole(namespace):
                continue  # it is told of anew when it comes back
            try:
                taken = await self._caches.take_in(namespace)
            except ClusterError as error:
                log.warning(
                    "a namespace could not be read; tried again", extra={"namespace": namespace, "error": str(error)}
                )
                taken = False
            self._taken_in(namespace)
            if not taken:
                asyncio.get_running_loop().call_later(UNSEEN_SECONDS, self._sighted.put_nowait, namespace)
