"""Reads a cluster once, with the user's own rights, into the same picture that the operator has."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

from trainyard.cli.errors import CliError, NotAllowedError
from trainyard.cluster.client import ClusterClient
from trainyard.cluster.errors import ClusterError, Forbidden, NotFound
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
from trainyard.cluster.transport import KubeTransport
from trainyard.questions.picture import Picture, take
from trainyard.runtime.clock import Clock, SystemClock
from trainyard.workloads.world import World

_NEEDED = (FLAVORS, QUEUES, TRAINING_JOBS, INFERENCE_SERVICES, PODS, NODES, NAMESPACES, CLAIMS)
_ATTEMPTS = 2


@asynccontextmanager
async def connected(kubeconfig: Path | None, context: str | None) -> AsyncIterator[ClusterClient]:
    """A client with the user's rights. Raises NoClusterError."""
    transport = await KubeTransport.connect(kubeconfig, context)
    client = ClusterClient(transport, SystemClock(), Random(), ClientSettings(attempts=_ATTEMPTS))  # noqa: S311  jitter
    try:
        yield client
    finally:
        await client.close()


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
    except* ClusterError as errors:
        raise CliError(f"the cluster does not answer: {_first(errors)}") from None
    for resource, task in lists.items():
        for item in task.result().items:
            world.observe(resource.kind, None, item)
    return take(world, clock.now())


def _first(errors: ExceptionGroup[ClusterError]) -> str:
    first = errors.exceptions[0]
    return str(first.exceptions[0] if isinstance(first, ExceptionGroup) else first)
