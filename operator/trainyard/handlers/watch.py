"""kopf in a thread with an event loop of its own.

kopf takes over the signals of the main thread and, when it ends, cancels every task of its loop that began after it: in ours
it would cut writes in two.
"""

import asyncio
import os
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import kopf
import uvloop
from kopf._cogs.structs.references import Insights, NamespaceName

from trainyard.handlers.kinds import Take, register
from trainyard.handlers.session import CallCounter, CountedLogin
from trainyard.handlers.settings import NoMemories, settings

_JOIN_SECONDS = 10.0


class KindWatch:
    """Feeds events of our kinds to `takers`, in the event loop that called `start`."""

    def __init__(
        self,
        takers: Mapping[str, Take],
        kubeconfig: Path | None,
        ended: Callable[[], None],
        count: CallCounter,
        *,
        confined: bool = False,
    ) -> None:
        """takers: by plural. ended: called in the loop of `start` when kopf ended by itself. count: hears of kopf's requests.

        confined: follow no namespaces but those that `see` tells of.
        """
        self.error: BaseException | None = None
        self._takers, self._ended, self._count = takers, ended, count
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kopf", daemon=True)
        self._main: asyncio.AbstractEventLoop | None = None
        self._confined = confined
        self._seen: frozenset[str] = frozenset()
        self._kopfs: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None
        """Its event loop, and that the namespaces have changed."""
        self._kubeconfig = kubeconfig
        if kubeconfig is not None:
            os.environ["KUBECONFIG"] = str(kubeconfig)

    def start(self) -> None:
        self._main = asyncio.get_running_loop()
        self._thread.start()

    def see(self, namespace: str, whole: bool) -> None:
        """Follow a namespace from now on, or no longer."""
        self._seen = self._seen | {namespace} if whole else self._seen - {namespace}
        if self._kopfs is not None and not self._stop.is_set():
            loop, changed = self._kopfs
            loop.call_soon_threadsafe(changed.set)

    def stop(self) -> None:
        """Blocks until the thread has ended, at most some seconds."""
        self._stop.set()
        self._thread.join(_JOIN_SECONDS)

    def _run(self) -> None:
        assert self._main is not None
        registry = kopf.OperatorRegistry()
        register(registry, {plural: partial(self._hand_over, take) for plural, take in self._takers.items()})
        # The client library looks for $KUBECONFIG when it is imported, which was long ago; kopf looks now.
        login = kopf.login_via_client if self._kubeconfig is None else kopf.login_with_kubeconfig
        kopf.on.login(registry=registry, id="login", errors=kopf.ErrorsMode.PERMANENT)(
            CountedLogin(login, self._count).session
        )
        try:
            uvloop.run(self._operate(registry))
        except Exception as error:  # noqa: BLE001  raised again by the process
            self.error = error
        if not self._stop.is_set():
            self._main.call_soon_threadsafe(self._ended)

    async def _operate(self, registry: kopf.OperatorRegistry) -> None:
        run = partial(
            kopf.operator,
            registry=registry,
            settings=settings(),
            memories=NoMemories(),
            standalone=True,
            stop_flag=self._stop,
        )
        if not self._confined:
            await run(clusterwide=True)
            return
        insights = Insights()
        task = asyncio.create_task(self._follow_namespaces(insights), name="namespaces")
        try:
            # Of this pattern kopf makes names by scanning the cluster, which is off: names are put in by us.
            await run(namespaces=["*"], insights=insights)
        finally:
            task.cancel()
            self._kopfs = None

    async def _follow_namespaces(self, insights: Insights) -> None:
        changed = asyncio.Event()
        self._kopfs = (asyncio.get_running_loop(), changed)
        while True:
            async with insights.revised:
                insights.namespaces.clear()
                insights.namespaces.update(map(NamespaceName, self._seen))
                insights.revised.notify_all()
            await changed.wait()
            changed.clear()

    def _hand_over(self, take: Take, event_type: str | None, obj: dict[str, Any]) -> None:
        assert self._main is not None
        self._main.call_soon_threadsafe(take, event_type, obj)
