"""What the sidecar tells the operator, and what its readiness probe rests on. Pure."""

from collections.abc import Iterable
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

    def ready(self, *, holds: bool = False) -> bool:
        """Whether this pod may get traffic: a list is applied, and somebody is there to answer, or requests can wait."""
        if self.observed is None or self.wanted is None:
            return False
        usable = holds or any(server.up for server in self.observed.servers)
        return usable and is_applied(self.wanted, self.observed)

    @property
    def waiting(self) -> bool:
        """Whether requests wait for a first replica."""
        return self.observed is not None and self.observed.held > 0

    @property
    def states(self) -> dict[str, tuple[str, bool]]:
        """State of each member, and whether it is draining with nothing in use."""
        used = in_use(self.observed)
        servers = {} if self.observed is None else self.observed.by_name()
        return {name: (state_of(one), state_of(one) == "DRAIN" and used[name] == 0) for name, one in servers.items()}

    @property
    def requests(self) -> int:
        return self.earlier_requests + self.boot_requests


def report(settings: Settings, standing: Standing, ejected: Iterable[str] = (), copies: int = 0) -> dict[str, Any]:
    """Body of the sync call; ejected get nothing for a while, because they failed. Without HAProxy there is no member to speak of, and generation 0.

    copies are in flight for the sake of comparison: no demand.
    """
    observed = standing.observed
    servers = {} if observed is None else observed.by_name()
    used = in_use(observed)
    members = {name: {"state": state_of(server), "inUse": used[name]} for name, server in servers.items()}
    return {
        "namespace": settings.namespace,
        "service": settings.service,
        "serviceUid": settings.service_uid,
        "pod": settings.pod,
        "generation": standing.applied,
        "members": members,
        "held": 0 if observed is None else observed.held,
        "queued": 0 if observed is None else observed.queued,
        "inFlight": max(0, sum(used.values()) - copies),
        "requests": standing.requests,
        "ejected": sorted(ejected),
    }


def in_use(observed: Observed | None) -> dict[str, int]:
    """Requests at each member, in both backends together."""
    used: dict[str, int] = {}
    for server in () if observed is None else observed.servers:
        used[server.name] = used.get(server.name, 0) + server.in_use
    return used


def state_of(server: Server) -> str:
    """UP gets requests, DRAIN gets no new ones, DOWN is unhealthy or not yet proven healthy."""
    if server.drain or server.maintenance:
        return "DRAIN"
    return "UP" if server.running and (server.check_passed or server.weight > 0) else "DOWN"
