"""Who gets traffic, and when a replica that is taken away has finished: pure functions over replicas and gateway reports.

A generation is a hash of the list, so an operator that restarts names the same list by the same number.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from math import ceil
from typing import Any

import orjson

from trainyard.api.inference_service import InferenceService, ReplicaAdmission
from trainyard.inference.observed import GRPC_PORT, PORT, GatewayReport
from trainyard.inference.rollout.routing import is_canary, split
from trainyard.workloads.pod_state import PodState

FRESH_SECONDS = 5.0
_MOST_START_SECONDS = 86_400  # gateways take no more
_GENERATION_BITS = 52  # whole numbers that every JSON reader holds exactly


@dataclass(frozen=True, slots=True)
class Membership:
    """The list that gateways follow."""

    generation: int
    members: tuple[Mapping[str, Any], ...]
    split: Mapping[str, Any] | None = None
    """Share of a canary, while there is one."""
    start_seconds: int = 0
    """How long a first replica takes, 0: not known. What callers are told who could not be held; no reason for a new generation."""

    def body(self) -> dict[str, Any]:
        """As the sync call answers it."""
        return {
            "generation": self.generation,
            "members": list(self.members),
            "split": self.split,
            "startSeconds": self.start_seconds,
        }


def membership(service: InferenceService, pods: Iterable[PodState]) -> Membership:
    """Every replica with an address; one that is to go is drained, one that is lost is left out."""
    by_serial = {pod.index: pod for pod in pods}
    members = []
    for each in sorted(service.status.admission, key=lambda one: one.serial):
        pod = by_serial.get(each.serial)
        if pod is None or not pod.address or pod.finished or each.release == "now":
            continue
        leaving = each.release == "drain" or pod.deleting_since is not None
        members.append(
            {
                "name": pod.name,
                "address": pod.address,
                "port": PORT,
                "grpcPort": GRPC_PORT,
                "state": "drain" if leaving else "active",
                "weight": 100,
                "digest": each.digest,
                "canary": is_canary(service, each.digest),
            }
        )
    share = split(service)
    mark = hashlib.sha256(orjson.dumps([members, share], option=orjson.OPT_SORT_KEYS)).digest()
    generation = (int.from_bytes(mark[:8], "big") >> (64 - _GENERATION_BITS)) or 1
    return Membership(generation, tuple(members), share, _start_seconds(service))


def _start_seconds(service: InferenceService) -> int:
    """What nine of ten starts took at most, rounded up."""
    scaling = service.status.scaling
    start = scaling.cold_start if scaling else None
    return min(_MOST_START_SECONDS, ceil(start.p90_seconds)) if start else 0


def drained(
    replica: ReplicaAdmission,
    pod: PodState,
    wanted: Membership,
    gateways: Iterable[PodState],
    reports: Mapping[str, GatewayReport],
    now: datetime,
    limit: float,
) -> bool:
    """Whether no gateway can still send the replica anything, and nothing is in flight there; or its time is up."""
    if replica.drain_started_at is None:
        return False
    if (now - replica.drain_started_at).total_seconds() >= limit:
        return True
    running = [each for each in gateways if each.running]
    if not running:
        return True
    return all(_done(reports.get(each.name), wanted, pod.name, now) for each in running)


def _done(report: GatewayReport | None, wanted: Membership, member: str, now: datetime) -> bool:
    if report is None or (now - report.received).total_seconds() > FRESH_SECONDS:
        return False
    return report.generation == wanted.generation and report.in_use.get(member, 0) == 0


def in_use(member: str, reports: Mapping[str, GatewayReport]) -> int:
    """Requests at a replica over all gateways: the idlest is taken away first."""
    return sum(report.in_use.get(member, 0) for report in reports.values())
