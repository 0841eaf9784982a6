"""Start, warm-up, readiness, drain, exit code.

The port is open before the model is loaded, so that liveness and the reason for waiting can be asked at once.
On SIGTERM readiness goes false first and the server answers on: whoever balances load needs a moment to notice.
It ends when that moment is over and nothing is in flight, so nobody is cut off.
"""

import asyncio
import logging
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from aiohttp import web

from server.app import Api
from server.batcher import Batcher
from server.config import Settings, from_environment
from server.errors import EXIT_BAD_MODEL, StartError
from server.loading import load
from server.metrics import Metrics
from server.model import Model, prepare, warm_up
from server.state import Phase, Serving, State

_LINGER_SECONDS = 1.0  # to read and throw away after an early answer, or the caller would see a reset instead of it
_log = logging.getLogger(__name__)


class Server:
    """One replica. `run` returns the process's exit code; `stop` asks it to drain, as SIGTERM does."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.state = State()
        self.metrics = Metrics()
        self.port = settings.port  # the real one after start, when settings ask for port 0
        self.listening = asyncio.Event()
        self._stop = asyncio.Event()

    def stop(self) -> None:
        self._stop.set()

    async def run(self) -> int:
        """Serve until told to stop. Raises StartError when the model must not or cannot be served."""
        runner = web.AppRunner(
            Api(self.settings, self.state, self.metrics).application(),
            handler_cancellation=True,  # a caller that left must not cost a forward pass
            access_log=None,
            lingering_time=_LINGER_SECONDS,
        )
        await runner.setup()
        try:
            await self._listen(runner)
            await self._serve()
        finally:
            await runner.cleanup()
        return 0

    async def _listen(self, runner: web.AppRunner) -> None:
        site = web.TCPSite(runner, self.settings.host, self.settings.port, backlog=1024)
        await site.start()
        self.port = runner.addresses[0][1]
        self.listening.set()

    async def _serve(self) -> None:
        stopped = asyncio.create_task(self._stop.wait())
        loading = asyncio.create_task(asyncio.to_thread(self._load_model))
        await asyncio.wait({stopped, loading}, return_when=asyncio.FIRST_COMPLETED)
        if not loading.done():
            _log.info("asked to stop while loading")
            self.state.phase = Phase.DRAINING
            return
        model = loading.result()
        name = self.settings.model_name or model.card.name
        batcher = Batcher(model.infer, self.settings.max_batch, self.settings.max_queue, self.metrics)
        computing = asyncio.create_task(batcher.run())
        self.metrics.describe(name, model.card)
        self.state.serving = Serving(name, model, batcher)
        self.state.phase = Phase.READY
        _log.info("ready: model %s %s on %s", name, model.card.digest, model.device)
        try:
            await asyncio.wait({stopped, computing}, return_when=asyncio.FIRST_COMPLETED)
            if computing.done():
                computing.result()  # cannot happen; if it does, die loudly instead of hanging every caller
            await self._drain()
        finally:
            computing.cancel()
            with suppress(asyncio.CancelledError):
                await computing
            batcher.close()

    def _load_model(self) -> Model:
        started = time.perf_counter()
        loaded = load(self.settings.model_path, self.settings.model_digest)
        model = prepare(loaded, self.settings.device, self.settings.threads)
        loaded_at = time.perf_counter()
        warm_up(model, self.settings.max_batch)
        self.metrics.load_seconds.set(loaded_at - started)
        self.metrics.warm_up_seconds.set(time.perf_counter() - loaded_at)
        return model

    async def _drain(self) -> None:
        self.state.phase = Phase.DRAINING
        _log.info("draining: %d in flight, at least %.1f s", self.state.in_flight, self.settings.drain_seconds)
        await asyncio.sleep(self.settings.drain_seconds)
        await self.state.idle()
        _log.info("drained")


async def serve(settings: Settings) -> int:
    """Run a server as a process: with signals. Returns the exit code."""
    server = Server(settings)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stop)
    return await server.run()


def main(env: Mapping[str, str]) -> int:
    """The process: settings, server, exit code. A reason that no restart can cure goes to the termination log."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        return asyncio.run(serve(from_environment(env)))
    except StartError as error:
        _log.error("%s", error)
        _leave_reason(Path(env.get("TRAINYARD_TERMINATION_LOG", "/dev/termination-log")), str(error))
        return EXIT_BAD_MODEL


def _leave_reason(path: Path, reason: str) -> None:
    try:
        path.write_text(reason[:4096])
    except OSError as error:
        _log.warning("cannot write the reason to %s: %s", path, error.strerror)
