"""What the sidecar tells the operator, and what its readiness probe rests on. Pure."""

from dataclasses import dataclass, replace
from typing import Any

from gateway.config import Settings
from gateway.members import Membership
from gateway.observed import Observed, Server
from gateway.plan import is_applied


@dataclass(frozen=True)
class Standing:
    """What is true of this gateway now. observed is None while HAProxy does not answer.

    applied is the newest generation that HAProxy was seen to follow, 0 when there is none or HAProxy is away.
    """

    wanted: Membership | None = None
    observed: Observed | None = None
    applied: int = 0
    boot: str = ""  # of the HAProxy process last seen
    boot_requests: int = 0  # that it had answered when last seen
    earlier_requests: int = 0  # of the processes before it
    haproxy_restarts: int = 0

    def seen(self, observed: Observed | None, wanted: Membership | None) -> "Standing":
        """Standing after another look at HAProxy. A generation counts as applied only by what was seen."""
        if observed is None:
            return replace(self, observed=None, wanted=wanted, applied=0)
        restarted = self.boot not in ("", observed.boot)
        applied = 0 if restarted else self.applied
        if wanted is not None and is_applied(wanted, observed):
            applied = wanted.generation
        return Standing(
            wanted=wanted,
            observed=observed,
            applied=applied,
            boot=observed.boot,
            boot_requests=observed.requests,
            earlier_requests=self.earlier_requests + (self.boot_requests if restarted else 0),
            haproxy_restarts=self.haproxy_restarts + restarted,
        )

    @property
    def ready(self) -> bool:
        """Whether this pod may get traffic: a list is applied, and somebody is there to answer."""
        if self.observed is None or self.wanted is None:
            return False
        return is_applied(self.wanted, self.observed) and any(server.up for server in self.observed.servers)

    @property
    def states(self) -> dict[str, tuple[str, bool]]:
        """State of each server, and whether it is draining with nothing in use."""
        servers = () if self.observed is None else self.observed.servers
        return {one.name: (state_of(one), state_of(one) == "DRAIN" and one.in_use == 0) for one in servers}

    @property
    def requests(self) -> int:
        return self.earlier_requests + self.boot_requests


def report(settings: Settings, standing: Standing) -> dict[str, Any]:
    """Body of the sync call. Without HAProxy there is no member to speak of, and generation 0."""
    observed = standing.observed
    servers = () if observed is None else observed.servers
    members = {server.name: {"state": state_of(server), "inUse": server.in_use} for server in servers}
    return {
        "namespace": settings.namespace,
        "service": settings.service,
        "serviceUid": settings.service_uid,
        "pod": settings.pod,
        "generation": standing.applied,
        "members": members,
        "held": 0,
        "queued": 0 if observed is None else observed.queued,
        "inFlight": sum(server.in_use for server in servers),
        "requests": standing.requests,
    }


def state_of(server: Server) -> str:
    """UP gets requests, DRAIN gets no new ones, DOWN is unhealthy or not yet proven healthy."""
    if server.drain or server.maintenance:
        return "DRAIN"
    return "UP" if server.running and (server.check_passed or server.weight > 0) else "DOWN"
