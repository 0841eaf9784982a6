"""What an operator knows beyond what objects say, kept in a ConfigMap: one that starts anew, or another one, goes on with it.

That is how long jobs run and wait, how attempts end on nodes, and what interrupted jobs that are gone. Written seldom, and only if there is news; whoever cannot
read or write it begins anew, and says so in the log.
"""

import asyncio
import json
import logging
from collections.abc import Mapping
from typing import Any, Protocol

from trainyard.api.names import LEARNED, LEARNED_KEY
from trainyard.cluster.errors import AlreadyExists, ClusterError, Conflict, NotFound
from trainyard.cluster.resources import CONFIG_MAPS, Resource
from trainyard.scheduling.unwritten import Unwritten

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


class Kept(Protocol):
    """What is to be kept."""

    @property
    def unwritten(self) -> Unwritten[Any]: ...

    def to_dict(self) -> dict[str, Any]: ...

    def recall(self, kept: Mapping[str, Any], /) -> None:
        """The inverse; what is not written down yet and is no part of it is added. Raises ValueError if it is damaged."""
        ...


class Memory:
    """Of one operator."""

    def __init__(
        self,
        client: Client,
        kept: Kept,
        namespace: str,
        name: str = LEARNED,
        key: str = LEARNED_KEY,
    ) -> None:
        """name, key: of the ConfigMap, and what stands in it."""
        self._client, self._kept, self._namespace = client, kept, namespace
        self._name, self._key = name, key
        self._exists = False
        self._version: str | None = None
        """Of the ConfigMap as this process knows it."""

    async def recall(self) -> None:
        """Call before anything is learned, and when somebody else wrote: what is new here is learned again on top of that."""
        try:
            found = await self._client.get(CONFIG_MAPS, self._namespace, self._name)
            self._exists, self._version = found is not None, _version(found)
            text = ((found or {}).get("data") or {}).get(self._key)
            if text:
                self._kept.recall(json.loads(text))
        except (ClusterError, ValueError) as error:
            log.warning(
                "what was kept before is not known; it is begun anew",
                extra={"configmap": f"{self._namespace}/{self._name}", "why": str(error)},
            )

    async def run(self) -> None:
        """Write now and then, until cancelled."""
        while True:
            await asyncio.sleep(SAVE_SECONDS)
            await self.save()

    async def save(self) -> None:
        """Write what was learned since the last time, if anything was; if somebody else wrote meanwhile, together with that."""
        try:
            try:
                await self._save()
            except Conflict:
                log.warning(
                    "somebody else wrote what is kept, a restore perhaps: it is taken over, and what is new here added",
                    extra={"configmap": self._name},
                )
                await self.recall()
                await self._save()
        except ClusterError as error:
            log.warning(
                "what was learned could not be kept; tried again later",
                extra={"configmap": self._name, "why": str(error)},
            )

    async def _save(self) -> None:
        unwritten = self._kept.unwritten
        if not unwritten.has_news:
            return
        learned = unwritten.learned
        text = json.dumps(self._kept.to_dict(), separators=(",", ":"))
        if len(text) > _MOST_BYTES:
            log.warning(
                "what was learned is too much for a ConfigMap and is not kept",
                extra={"configmap": f"{self._namespace}/{self._name}", "bytes": len(text)},
            )
            unwritten.written(learned)
            return
        await self._write({"data": {self._key: text}})
        unwritten.written(learned)

    async def _write(self, content: dict[str, Any]) -> None:
        if not self._exists:
            meta = {"name": self._name, "namespace": self._namespace}
            try:
                made = await self._client.create(
                    CONFIG_MAPS, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, **content}
                )
            except AlreadyExists as error:
                raise Conflict(error.message) from None
            self._exists, self._version = True, _version(made)
            return
        as_known: dict[str, Any] = {"metadata": {"resourceVersion": self._version}} if self._version else {}
        try:
            made = await self._client.patch(CONFIG_MAPS, self._namespace, self._name, as_known | content)
        except NotFound:  # somebody deleted it
            self._exists = False
            await self._write(content)
            return
        self._exists, self._version = True, _version(made)


def _version(found: Mapping[str, Any] | None) -> str | None:
    return ((found or {}).get("metadata") or {}).get("resourceVersion")
