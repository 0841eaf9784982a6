"""What was learned of how long jobs run and wait, kept in a ConfigMap: an operator that starts anew, or another one, goes on with it.

Written seldom, and only if something was learned; whoever cannot read or write it learns anew, and says so in the log.
"""

import asyncio
import json
import logging
from typing import Any, Protocol

from trainyard.api.names import LEARNED, LEARNED_KEY
from trainyard.cluster.errors import AlreadyExists, ClusterError
from trainyard.cluster.resources import CONFIG_MAPS, Resource
from trainyard.workloads.outlook import Outlooks

log = logging.getLogger(__name__)

SAVE_SECONDS = 300.0
_MOST_BYTES = 900_000
"""A ConfigMap holds 1 MiB."""


class Client(Protocol):
    """As much of the cluster's client as is needed."""

    async def get(self, resource: Resource, namespace: str | None, name: str) -> dict[str, Any] | None: ...

    async def create(self, resource: Resource, obj: dict[str, Any]) -> dict[str, Any]: ...

    async def patch(
        self, resource: Resource, namespace: str | None, name: str, patch: dict[str, Any]
    ) -> dict[str, Any]: ...


class Memory:
    """Of one operator."""

    def __init__(self, client: Client, outlooks: Outlooks, namespace: str) -> None:
        self._client, self._outlooks, self._namespace = client, outlooks, namespace
        self._exists = False
        self._saved = 0

    async def recall(self) -> None:
        """Call before anything is learned."""
        try:
            found = await self._client.get(CONFIG_MAPS, self._namespace, LEARNED)
            self._exists = found is not None
            text = ((found or {}).get("data") or {}).get(LEARNED_KEY)
            if text:
                self._outlooks.recall(json.loads(text))
        except (ClusterError, ValueError) as error:
            log.warning(
                "what was learned before is not known; it is learned anew",
                extra={"configmap": f"{self._namespace}/{LEARNED}", "why": str(error)},
            )
        self._saved = self._outlooks.learned

    async def run(self) -> None:
        """Write now and then, until cancelled."""
        while True:
            await asyncio.sleep(SAVE_SECONDS)
            await self.save()

    async def save(self) -> None:
        """Write what was learned since the last time, if anything was."""
        learned = self._outlooks.learned
        if learned == self._saved:
            return
        text = json.dumps(self._outlooks.to_dict(), separators=(",", ":"))
        if len(text) > _MOST_BYTES:
            log.warning("what was learned is too much for a ConfigMap and is not kept", extra={"bytes": len(text)})
            self._saved = learned
            return
        try:
            await self._write({"data": {LEARNED_KEY: text}})
            self._saved = learned
        except ClusterError as error:
            log.warning("what was learned could not be kept; tried again later", extra={"why": str(error)})

    async def _write(self, content: dict[str, Any]) -> None:
        if not self._exists:
            meta = {"name": LEARNED, "namespace": self._namespace}
            try:
                await self._client.create(
                    CONFIG_MAPS, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, **content}
                )
            except AlreadyExists:
                pass
            else:
                self._exists = True
                return
        await self._client.patch(CONFIG_MAPS, self._namespace, LEARNED, content)
        self._exists = True
