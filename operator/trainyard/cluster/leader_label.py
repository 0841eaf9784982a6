"""The label by which the operator's Service finds the pod that leads.

A standby is as ready as a leader, so that rollouts, drains and disruption budgets work as for any other Deployment; but
only the leader answers trainers and gateways. Readiness cannot tell them apart, a label can.
"""

import asyncio
import logging
from collections.abc import Callable

from trainyard.api.names import LEADS_LABEL
from trainyard.cluster.client import ClusterClient
from trainyard.cluster.errors import ClusterError
from trainyard.cluster.resources import PODS

log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.2
_RETRY_SECONDS = 5.0


class LeaderLabel:
    """Keeps the label of one pod equal to whether its process leads, and writes only when that changes.

    What an earlier process of the same pod left there is unknown, so the label is written once at the start, too.
    """

    def __init__(self, namespace: str, pod: str, leads: Callable[[], bool]) -> None:
        self._namespace, self._pod, self._leads = namespace, pod, leads
        self._shown: bool | None = None
        self._error = "not written yet"

    def problem(self) -> str | None:
        """Why the Service may take this pod for what it is not, or None."""
        if self._shown == self._leads():
            return None
        return f"label {LEADS_LABEL} of pod {self._namespace}/{self._pod}: {self._error}"

    async def run(self, client: ClusterClient) -> None:
        """Follow until cancelled. Errors are logged and waited out."""
        while True:
            followed = await self._follow(client)
            await asyncio.sleep(_LOOK_SECONDS if followed else _RETRY_SECONDS)

    async def _follow(self, client: ClusterClient) -> bool:
        leads = self._leads()
        if leads == self._shown:
            return True
        labels = {LEADS_LABEL: "true" if leads else None}
        try:
            await client.patch(PODS, self._namespace, self._pod, {"metadata": {"labels": labels}})
        except ClusterError as error:
            self._error = str(error)
            log.warning("the pod cannot be labelled, it is tried again", extra={"why": self.problem()})
            return False
        self._shown, self._error = leads, "about to change"
        return True
