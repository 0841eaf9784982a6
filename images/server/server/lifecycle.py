"""Start, warm-up, readiness, drain, exit code.

The port is open before the model is loaded, so that liveness and the reason for waiting can be asked at once.
On SIGTERM readiness goes false first and the server answers on: whoever balances load needs a moment to notice.
It ends when that moment is over and nothing is in flight, so nobody is cut off.
"""

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import uvloop
from aiohttp import web

from server.app import Api
from server.config import Settings, from_environment
from server.errors import EXIT_BAD_MODEL, StartError
from server.grpc_service import GrpcService
from server.inference import Inference
from server.metrics import Metrics
from server.model import Model
from server.protocol import MODEL_VERSION
from server.repository import Repository
from server.starting import read_model, settle_memory
from server.state import Phase, State

if TYPE_CHECKING:
    from server.spans import Tracing

_LINGER_SECONDS = 1.0  # to read and throw away after an early answer, or the caller would see a reset instead of it
_log = logging.getLogger(__name__)


class Server:
    """One replica. `run` returns the process's exit code; `stop` asks it to drain, as SIGTERM does."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.state = State()
        self.metrics = Metrics()
        self.repository = Repository(settings, self.metrics)
        self.inference = Inference(settings, self.state, self.repository, self.metrics)
        self.port = settings.port  # the real one after start, when settings ask for port 0
        self.grpc_port = settings.grpc_port
        self.tracing = _tracing(settings)
        self.listening = asyncio.Event()
        self._stop = asyncio.Event()

    def stop(self) -> None:
        self._stop.set()

    async def run(self) -> int:
        """Serve until told to stop. Raises StartError when the model must not or cannot be served."""
        torch.get_num_threads()  # or the first computation would set this thread to what another one asked for
        torch.set_num_threads(1)  # of this thread: what it computes itself is too little to share
        app = Api(self.inference).application()
        if self.tracing is not None:
            app.middlewares.insert(0, self.tracing.middleware())
        runner = web.AppRunner(
            app,
            handler_cancellation=True,  # a caller that left must not cost a forward pass
            access_log=None,
            lingering_time=_LINGER_SECONDS,
        )
        await runner.setup()
        grpc = None
        try:
            await self._listen(runner)
            if self.settings.grpc_port is not None:
                service = GrpcService(self.inference)
                interceptors = [] if self.tracing is None else [self.tracing.interceptor()]
                grpc, self.grpc_port = await service.start(self.settings.host, self.settings.grpc_port, interceptors)
            await self._serve()
        finally:
            await runner.cleanup()
            if grpc is not None:
                await grpc.stop(None)
            if self.tracing is not None:
                await asyncio.to_thread(self.tracing.close)
        return 0

    async def _listen(self, runner: web.AppRunner) -> None:
        site = web.TCPSite(runner, self.settings.host, self.settings.port, backlog=1024)
        await site.start()
        self.port = runner.addresses[0][1]
        self.listening.set()

    async def _serve(self) -> None:
        stopped = asyncio.create_task(self._stop.wait())
        loading = asyncio.create_task(self._load())
        broken = asyncio.create_task(self.repository.broken.wait())
        watching = asyncio.create_task(self.inference.time_limit.watch())
        following: asyncio.Task[None] | None = None
        try:
            await asyncio.wait({stopped, loading}, return_when=asyncio.FIRST_COMPLETED)
            if not loading.done():
                _log.info("asked to stop while loading")
                self.state.phase = Phase.DRAINING
                loading.cancel()
                return
            loading.result()
            settle_memory()
            self.state.phase = Phase.READY
            following = asyncio.create_task(self.repository.follow())
            await asyncio.wait({stopped, broken}, return_when=asyncio.FIRST_COMPLETED)
            if broken.done():  # cannot happen; if it does, die loudly instead of hanging every caller
                raise RuntimeError("a batcher ended by itself")
            await self._drain()
        finally:
            gc.unfreeze()
            broken.cancel()
            watching.cancel()
            if following is not None:
                following.cancel()
            await self.repository.close()

    async def _load(self) -> None:
        """Load what the settings name. Raises StartError for a single model; one of many says why in the index."""
        settings = self.settings
        if settings.repository is not None:
            await self.repository.load_all()
            _log.info("ready: %d models of %s", len(self.repository.serving), settings.repository)
            return
        threads = self.repository.threads()
        model = await asyncio.get_running_loop().run_in_executor(threads.first, self._read_model)
        name = settings.model_name or model.card.name
        self.repository.add(name, MODEL_VERSION, model, threads)
        _log.info("ready: model %s %s on %s", name, model.card.digest, model.device)

    def _read_model(self) -> Model:
        settings = self.settings
        return read_model(settings.model_path, settings.model_digest, settings.max_batch, settings, self.metrics)

    async def _drain(self) -> None:
        self.state.phase = Phase.DRAINING
        _log.info("draining: %d in flight, at least %.1f s", self.state.in_flight, self.settings.drain_seconds)
        await asyncio.sleep(self.settings.drain_seconds)
        await self.state.idle()
        _log.info("drained")


def _tracing(settings: Settings) -> "Tracing | None":
    """Spans of requests, where there is a collector. Imported only then: it costs a second and some memory."""
    if not settings.otlp_endpoint:
        return None
    from server.spans import tracing  # noqa: PLC0415

    return tracing(settings)


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
        return uvloop.run(serve(from_environment(env)))
    except StartError as error:
        _log.error("%s", error)
        _leave_reason(Path(env.get("TRAINYARD_TERMINATION_LOG", "/dev/termination-log")), str(error))
        return EXIT_BAD_MODEL


def _leave_reason(path: Path, reason: str) -> None:
    try:
        path.write_text(reason[:4096])
    except OSError as error:
        _log.warning("cannot write the reason to %s: %s", path, error.strerror)
