"""`python -m gateway`: the sidecar.

On SIGTERM readiness goes false and the work goes on: HAProxy, in the next container, still serves and still needs its
members moved. The sidecar ends when HAProxy is gone, or after the time HAProxy has for its stop.
"""

import asyncio
import logging
import signal
import sys
from contextlib import suppress

from gateway.config import ConfigError, Settings, from_environment
from gateway.endpoint import Endpoint
from gateway.runtime import Runtime, RuntimeUnavailable
from gateway.sidecar import APPLY_SECONDS, Sidecar


async def run(settings: Settings) -> None:
    """Work until SIGTERM and HAProxy's end."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    runtime = Runtime(settings)
    sidecar = Sidecar(settings, runtime)
    endpoint = Endpoint(settings, sidecar)
    runner = await endpoint.start()
    work = asyncio.create_task(sidecar.run())
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            work.result()
        endpoint.stopping = True
        with suppress(TimeoutError):
            async with asyncio.timeout(settings.stop_delay_seconds + settings.stop_seconds):
                await _end_of_haproxy(runtime)
    finally:
        work.cancel()
        with suppress(asyncio.CancelledError):
            await work
        await runner.cleanup()


async def _end_of_haproxy(runtime: Runtime) -> None:
    with suppress(RuntimeUnavailable):
        while True:
            await runtime.ask("show info")
            await asyncio.sleep(APPLY_SECONDS)


def main() -> int:
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        settings = from_environment()
    except ConfigError as error:
        logging.getLogger(__name__).error("%s", error)  # noqa: TRY400 - the message is the reason
        return 64
    asyncio.run(run(settings))
    return 0


if __name__ == "__main__":
    sys.exit(main())
