"""`python -m trainyard.dcgm_adapter`: reads DCGM's exporters of all nodes and counts the errors of their GPUs in annotations of the nodes.

A process of its own, since it needs the right to patch nodes, which the operator has at the level `act` alone. It writes only when an
error is new. An exporter that does not answer says nothing: what was counted stays as it is. `nodes/dcgm` says what is new on a page.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from random import Random

import aiohttp
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from trainyard.api.names import GPU_ERRORS
from trainyard.cluster.client import ClusterClient
from trainyard.cluster.errors import ClusterError
from trainyard.cluster.resources import NODES, PODS
from trainyard.cluster.transport import KubeTransport
from trainyard.nodes import errors
from trainyard.nodes.dcgm import Reading, counted, new_errors, parse, remembered
from trainyard.runtime import logging as json_logging
from trainyard.runtime.clock import Clock, SystemClock

log = logging.getLogger(__name__)

_AT_A_TIME = 16
_PATIENCE_SECONDS = 10.0
MOST_BYTES = 8 * 2**20
"""A page of 16 GPUs with all counters is below one MiB."""
Fetch = Callable[[str], Awaitable[str]]
"""The page at an address. Raises OSError, TimeoutError or ValueError if there is none."""


class Settings(BaseSettings):
    """How the adapter works, from the environment."""

    model_config = SettingsConfigDict(env_prefix="TRAINYARD_DCGM_", frozen=True)

    namespace: str = Field(default="gpu-operator", description="Namespace of the exporters' pods.")
    selector: str = Field(default="app=nvidia-dcgm-exporter", description="Labels of the exporters' pods.")
    port: int = Field(default=9400, ge=1, le=65535, description="Their port.")
    seconds: float = Field(default=60.0, ge=5, description="Time between looks.")
    kubeconfig: Path | None = Field(default=None, description="Kubeconfig to use outside a cluster.")


class Adapter:
    """Remembers what the last pages of each node said."""

    def __init__(self, client: ClusterClient, fetch: Fetch, clock: Clock, settings: Settings) -> None:
        self._client, self._fetch, self._clock, self._settings = client, fetch, clock, settings
        self._before: dict[str, Mapping[str, Reading]] = {}
        self._turn = asyncio.Semaphore(_AT_A_TIME)

    async def look(self) -> None:
        """Look at all nodes once. Raises ClusterError if there is no telling which there are."""
        of_exporters = self._settings.selector
        pods = await self._client.list(PODS, self._settings.namespace, label_selector=of_exporters, quorum=False)
        there = {
            pod["spec"]["nodeName"]: pod["status"]["podIP"]
            for pod in pods.items
            if pod["spec"].get("nodeName") and pod.get("status", {}).get("podIP")
        }
        self._before = {node: known for node, known in self._before.items() if node in there}
        await asyncio.gather(*(self._look_at(node, address) for node, address in there.items()))

    async def _look_at(self, node: str, address: str) -> None:
        host = f"[{address}]" if ":" in address else address
        async with self._turn:
            try:
                page = await self._fetch(f"http://{host}:{self._settings.port}/metrics")
                now = parse(page, self._clock.now())
                await self._count(node, now)
            except (OSError, TimeoutError, ValueError, ClusterError) as error:
                # The page before stays what the next is compared with, so nothing that totals tell is lost.
                log.warning("a node's GPUs could not be looked at", extra={"node": node, "why": str(error)})
                return
            self._before[node] = remembered(self._before.get(node, {}), now)

    async def _count(self, node: str, now: Mapping[str, Reading]) -> None:
        before = self._before.get(node, {})
        if not any(found for gpu, each in now.items() for found in new_errors(before.get(gpu), each)):
            return
        there = await self._client.get(NODES, None, node)
        if there is None:
            return
        meta = there["metadata"]
        known = errors.read(meta.get("annotations", {}).get(GPU_ERRORS, ""))
        text = errors.write(counted(known, before, now, self._clock.now(), errors.boot_of(there)))
        guard = {"uid": meta["uid"], "resourceVersion": meta["resourceVersion"]}
        await self._client.patch(NODES, None, node, {"metadata": {**guard, "annotations": {GPU_ERRORS: text}}})


async def run(settings: Settings) -> None:
    """Look again and again, until cancelled."""
    clock = SystemClock()
    client = ClusterClient(await KubeTransport.connect(settings.kubeconfig), clock, Random())  # noqa: S311  jitter
    timeout = aiohttp.ClientTimeout(total=_PATIENCE_SECONDS)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session:
            adapter = Adapter(client, fetcher(session), clock, settings)
            while True:
                try:
                    await adapter.look()
                except (ClusterError, TimeoutError) as error:
                    log.warning("the exporters could not be listed; tried again", extra={"why": str(error)})
                await asyncio.sleep(settings.seconds)
    finally:
        await client.close()


def fetcher(session: aiohttp.ClientSession) -> Fetch:
    """Reads whole pages over HTTP."""

    async def fetch(url: str) -> str:
        try:
            async with session.get(url, allow_redirects=False) as answer:
                if answer.status != 200:  # noqa: PLR2004  HTTP
                    raise ValueError(f"{url} answers {answer.status}; expected 200")
                page = await _whole(answer.content)
        except aiohttp.ClientError as error:
            raise OSError(f"{url} cannot be read: {error!r}") from error
        if len(page) > MOST_BYTES:
            raise ValueError(f"{url} has more than {MOST_BYTES} bytes; no page of an exporter is so long")
        return page.decode(errors="replace")

    return fetch


async def _whole(content: aiohttp.StreamReader) -> bytes:
    """To its end, or a little more than the limit: a read gives what has arrived, and no more."""
    page = bytearray()
    while len(page) <= MOST_BYTES and (more := await content.read(MOST_BYTES)):
        page += more
    return bytes(page)


def main() -> None:
    json_logging.configure("INFO")
    asyncio.run(run(Settings()))


if __name__ == "__main__":
    main()
