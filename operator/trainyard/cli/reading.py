"""Reads a cluster once, with the user's own rights, into the same picture that the operator has."""

import argparse
import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from random import Random
from typing import Any

from trainyard.cli.errors import CliError, NotAllowedError
from trainyard.cli.patience import Waiting, unanswered
from trainyard.cluster.client import ClusterClient
from trainyard.cluster.errors import ClusterError, Forbidden, NotFound, Unreachable
from trainyard.cluster.resources import (
    CLAIMS,
    FLAVORS,
    INFERENCE_SERVICES,
    NAMESPACES,
    NODES,
    PODS,
    QUEUES,
    TRAINING_JOBS,
)
from trainyard.cluster.sender import ClientSettings
from trainyard.cluster.transport import JSON, KubeTransport, Response
from trainyard.questions.picture import Picture, take
from trainyard.runtime.clock import Clock, SystemClock
from trainyard.workloads.world import World

_NEEDED = (FLAVORS, QUEUES, TRAINING_JOBS, INFERENCE_SERVICES, PODS, NODES, NAMESPACES, CLAIMS)
_ATTEMPTS = 2


@asynccontextmanager
async def connected(options: argparse.Namespace) -> AsyncIterator[ClusterClient]:
    """A client with the user's rights. Raises NoClusterError."""
    patience: float = options.request_timeout
    transport = _Told(await KubeTransport.connect(options.kubeconfig, options.context), patience)
    settings = ClientSettings(read_timeout=patience, list_timeout=patience, longest_call=patience, attempts=_ATTEMPTS)
    client = ClusterClient(transport, SystemClock(), Random(), settings)  # noqa: S311  jitter
    try:
        yield client
    finally:
        await client.close()


class _Told:
    """A transport whose user is told whom it waits for, and by whom it was not answered."""

    def __init__(self, transport: KubeTransport, patience: float) -> None:
        self._transport = transport
        self._waiting = Waiting(f"the cluster at {transport.url}", patience)

    async def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        *,
        body: object | None = None,
        content_type: str = JSON,
        within: float,
    ) -> Response:
        try:
            with self._waiting.answer_to(f"{method} {path}"):
                return await self._transport.request(
                    method, path, query, body=body, content_type=content_type, within=within
                )
        except Unreachable as error:
            raise Unreachable(unanswered(self._transport.url, str(error))) from None

    def stream(self, path: str, query: Mapping[str, str], inactivity: float) -> AsyncGenerator[dict[str, Any], None]:
        return self._transport.stream(path, query, inactivity)

    async def close(self) -> None:
        await self._transport.close()


async def picture(client: ClusterClient, clock: Clock) -> Picture:
    """Everything that the scheduler looks at. Raises NotAllowedError, or CliError for a cluster that does not answer."""
    world = World(now=clock.now)
    try:
        async with asyncio.TaskGroup() as group:
            lists = {resource: group.create_task(client.list(resource, quorum=False)) for resource in _NEEDED}
    except* Forbidden as errors:
        raise NotAllowedError(_first(errors)) from None
    except* NotFound:
        raise CliError("this cluster does not know Trainyard's kinds: install the chart there first") from None
    except* Unreachable as errors:
        raise CliError(_first(errors)) from None
    except* ClusterError as errors:
        raise CliError(f"the cluster cannot answer now: {_first(errors)}. Try again later") from None
    for resource, task in lists.items():
        for item in task.result().items:
            world.observe(resource.kind, None, item)
    return take(world, clock.now())


def _first(errors: ExceptionGroup[ClusterError]) -> str:
    first = errors.exceptions[0]
    return str(first.exceptions[0] if isinstance(first, ExceptionGroup) else first)
