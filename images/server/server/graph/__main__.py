"""`python -m server.graph`: route by the graph that the environment tells, until SIGTERM; then answer on for a moment."""

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path

from aiohttp import web

from server.errors import EXIT_BAD_MODEL, StartError
from server.graph.app import Router
from server.graph.settings import RouterSettings, from_environment

_LOOK_SECONDS = 0.05
_log = logging.getLogger(__name__)


async def serve(settings: RouterSettings) -> None:
    """Until told to stop; returns when all that was accepted is answered."""
    router, stopped = Router(settings), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    runner = web.AppRunner(router.application(), handler_cancellation=True, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.host, settings.port, backlog=1024).start()
        _log.info("ready: %s by %d stages on port %d", settings.name, len(settings.stages), runner.addresses[0][1])
        await stopped.wait()
        router.draining = True
        await asyncio.sleep(settings.drain_seconds)
        while router.in_flight:  # noqa: ASYNC110 - once in the life of a process
            await asyncio.sleep(_LOOK_SECONDS)
    finally:
        await runner.cleanup()


def main() -> int:
    """The process: its exit code, and where no restart would help the reason in the termination log."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        asyncio.run(serve(from_environment(os.environ)))
    except StartError as error:
        _log.error("%s", error)
        Path(os.environ.get("TRAINYARD_TERMINATION_LOG", "/dev/termination-log")).write_text(str(error)[:4096])
        return EXIT_BAD_MODEL
    return 0


sys.exit(main())
