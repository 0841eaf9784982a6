"""What the gateways reported last. In memory: the next report is half a second away."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import Field, ValidationError

from trainyard.api.meta import Model, problems
from trainyard.inference.observed import GatewayReport
from trainyard.inference.rollout.contract import Contract
from trainyard.inference.rollout.counting import MOST_REVISIONS, Counter, TrafficReport


class MemberReport(Model):
    """One member as HAProxy sees it."""

    state: str = Field(default="", max_length=32)
    in_use: int = Field(default=0, ge=0)


class SyncReport(Model):
    """Body of POST /v1/gateways. Fields that are not known are ignored."""

    namespace: str = Field(max_length=63)
    service: str = Field(max_length=63)
    service_uid: str = Field(max_length=64)
    pod: str = Field(max_length=253)
    generation: int = Field(ge=0)
    held: int = Field(default=0, ge=0)
    queued: int = Field(default=0, ge=0)
    in_flight: int = Field(default=0, ge=0)
    requests: int = Field(default=0, ge=0)
    members: dict[str, MemberReport] = Field(default_factory=dict, max_length=4096)
    traffic: TrafficReport | None = None
    contracts: dict[str, Contract] = Field(default_factory=dict, max_length=MOST_REVISIONS)
    """What each model takes and gives, by its digest, as the gateway read it from a replica."""


class BadSync(ValueError):  # noqa: N818 - says what it is
    """The body is not a report; the message names the field, the value and what was expected."""


def parse_sync(body: Any) -> SyncReport:
    """Raises BadSync."""
    try:
        return SyncReport.model_validate(body)
    except ValidationError as error:
        raise BadSync(problems(error)) from None


class GatewayBoard:
    """The newest report of each gateway pod, by service uid."""

    def __init__(self) -> None:
        self._reports: dict[str, dict[str, GatewayReport]] = {}
        self._contracts: dict[str, dict[str, Contract]] = {}
        self.traffic = Counter()

    def contracts(self, uid: str) -> Mapping[str, Contract]:
        """What each model of a service takes and gives, by digest."""
        return self._contracts.get(uid, {})

    def of(self, uid: str) -> Mapping[str, GatewayReport]:
        return self._reports.get(uid, {})

    def put(self, report: SyncReport, now: datetime) -> bool:
        """Take a report. True when the gateway follows another list than before, or begins to hold requests."""
        pods = self._reports.setdefault(report.service_uid, {})
        if report.traffic is not None:
            self.traffic.put(report.service_uid, report.pod, report.traffic)
        self._learn(report)
        old = pods.get(report.pod)
        pods[report.pod] = GatewayReport(
            now,
            report.generation,
            {name: member.in_use for name, member in report.members.items()},
            held=report.held,
            queued=report.queued,
            in_flight=report.in_flight,
            requests=report.requests,
            up=frozenset(name for name, member in report.members.items() if member.state == "UP"),
        )
        return old is None or old.generation != report.generation or (report.held > 0 and not old.held)

    def _learn(self, report: SyncReport) -> None:
        """The newest last; of those that were not told for longest some are forgotten."""
        known = self._contracts.setdefault(report.service_uid, {})
        for digest, contract in report.contracts.items():
            known.pop(digest, None)
            known[digest] = contract
        while len(known) > MOST_REVISIONS:
            known.pop(next(iter(known)))

    def keep_only(self, uid: str, pods: set[str]) -> None:
        """Forget gateway pods that are gone."""
        self.traffic.keep_only(uid, pods)
        if uid in self._reports:
            self._reports[uid] = {name: report for name, report in self._reports[uid].items() if name in pods}

    def forget(self, uid: str) -> None:
        self._reports.pop(uid, None)
        self._contracts.pop(uid, None)
        self.traffic.forget(uid)
