"""The election in a thread with an event loop and a client of its own.

A scheduler cycle or a large list can keep the operator's event loop busy for seconds; a Lease that is renewed there
would be lost exactly under load. Nothing here waits for that loop.
"""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable

from trainyard.cluster.client import ClusterClient
from trainyard.cluster.lease import LeaseElection, LeaseSettings
from trainyard.runtime.clock import Clock

log = logging.getLogger(__name__)

_CONNECT_RETRY_SECONDS = 2.0
_JOIN_SECONDS = 10.0


class LeaseThread:
    """Runs a `LeaseElection` beside the event loop in which `start` is called."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[ClusterClient]],
        clock: Clock,
        on_lost: Callable[[str], None],
        *,
        namespace: str,
        name: str,
        identity: str,
        settings: LeaseSettings | None = None,
    ) -> None:
        self.acquired = asyncio.Event()
        """Set in the loop of `start` once this process leads and may write."""
        self._connect = connect
        self._lease = {"namespace": namespace, "name": name, "identity": identity}
        self._clock = clock
        self._on_lost = on_lost
        self._settings = settings
        self._election: LeaseElection | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._writes_ended = False

    @property
    def is_leader(self) -> bool:
        """Whether this process leads, by the time of its last renewal."""
        return self._election is not None and self._election.is_leader

    @property
    def epoch(self) -> int:
        """The Lease's count of transitions under our lead; 0 before."""
        return self._election.epoch if self._election is not None else 0

    @property
    def holder(self) -> str:
        """Who held the Lease when it was last read."""
        return self._election.holder if self._election is not None else ""

    async def start(self) -> None:
        """Take part in the election from now on."""
        main = asyncio.get_running_loop()
        ready = asyncio.Event()
        self._thread = threading.Thread(target=self._run, args=(main, ready), name="lease", daemon=True)
        self._thread.start()
        await ready.wait()

    async def stop(self, *, writes_ended: bool) -> None:
        """Leave the election and hand the Lease back. writes_ended: see `LeaseElection.release`."""
        if self._thread is None or self._loop is None or self._stop is None:
            return
        self._writes_ended = writes_ended
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        await asyncio.to_thread(self._thread.join, _JOIN_SECONDS)
        self.acquired.clear()

    def _run(self, main: asyncio.AbstractEventLoop, ready: asyncio.Event) -> None:
        try:
            asyncio.run(self._main(main, ready))
        except Exception as error:
            # Nobody renews any more: to go on as if we led would be the worst of all.
            log.exception("the election failed")
            self._on_lost(f"the election failed: {error!r}")

    async def _main(self, main: asyncio.AbstractEventLoop, ready: asyncio.Event) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        main.call_soon_threadsafe(ready.set)
        stopped = asyncio.create_task(self._stop.wait())
        campaign = asyncio.create_task(self._campaign(main))
        await asyncio.wait([stopped, campaign], return_when=asyncio.FIRST_COMPLETED)
        failed = campaign.done()
        stopped.cancel()
        campaign.cancel()
        await asyncio.gather(campaign, stopped, return_exceptions=True)
        if self._election is not None:
            await self._election.release(writes_ended=self._writes_ended)
            await self._election.close()
        if failed:
            campaign.result()

    async def _campaign(self, main: asyncio.AbstractEventLoop) -> None:
        client = await self._connected()
        self._election = LeaseElection(client, self._clock, self._on_lost, **self._lease, settings=self._settings)
        announcement = asyncio.create_task(self._announce(self._election, main))
        try:
            await self._election.run()
        finally:
            announcement.cancel()

    async def _connected(self) -> ClusterClient:
        while True:
            try:
                return await self._connect()
            except Exception:
                log.exception("no client for the election, it is tried again")
                await asyncio.sleep(_CONNECT_RETRY_SECONDS)

    async def _announce(self, election: LeaseElection, main: asyncio.AbstractEventLoop) -> None:
        await election.acquired.wait()
        main.call_soon_threadsafe(self.acquired.set)
