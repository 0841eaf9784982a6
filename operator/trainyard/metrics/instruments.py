"""Counters and histograms that are told what happens. Its methods fit the observers that the other parts call.

Everything here lives as long as the process and is keyed by what is known in the code or, at most, by queue; what
belongs to one object is rendered by `collector` instead.
"""

import platform
from collections.abc import Callable, Collection
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from trainyard.api.audit import Action
from trainyard.api.failure import FailureClass
from trainyard.api.incident import Incident
from trainyard.api.invariants import Invariant
from trainyard.api.node_health import NodeState
from trainyard.api.reasons import Reason, Waiting
from trainyard.metrics import definitions as d
from trainyard.metrics.exposition import HttpHandler, metrics_handler
from trainyard.nodes.xid import XIDS, XidClass, xid
from trainyard.runtime.audit_chain import Entry
from trainyard.scheduling.snapshot import Admit, Decision
from trainyard.workloads.keys import Key

OTHER = "other"
_REASONS = frozenset(each.value for kind in (Reason, Waiting, Invariant) for each in kind)
_QUEUES = 1000
_PAIRED = 32
"""Of so many queues each pair has its count of preemptions from the start; beyond them it would be too many series of zeros."""


class Metrics:
    """The instruments of one operator, in the registry that is handed in: there is no global one."""

    def __init__(self, registry: CollectorRegistry, revision: str = "") -> None:
        self.registry = registry
        self._reconciles = self._counter(d.RECONCILES)
        self._reconcile_seconds = self._histogram(d.RECONCILE_SECONDS)
        self._reconcile_wait = self._histogram(d.RECONCILE_WAIT_SECONDS)
        self._kube_requests = self._counter(d.KUBE_REQUESTS)
        self._kube_seconds = self._histogram(d.KUBE_SECONDS)
        self._kube_bytes = self._counter(d.KUBE_BYTES)
        self._cycle = self._histogram(d.CYCLE_SECONDS)
        self._events = self._counter(d.EVENTS)
        self._loop_lag = self._histogram(d.LOOP_LAG)
        self._start_stages = self._histogram(d.START_STAGE)
        self._admission_wait = self._histogram(d.ADMISSION_WAIT)
        self._completions = self._counter(d.COMPLETIONS)
        self._failures = self._counter(d.FAILURES)
        self._stragglers = self._counter(d.STRAGGLERS)
        self._eta_error = self._histogram(d.ETA_ERROR)
        self._detection = self._histogram(d.INCIDENT_DETECTION)
        self._recovery = self._histogram(d.INCIDENT_RECOVERY)
        self._lost = self._counter(d.INCIDENT_LOST)
        for kind in d.INCIDENT_LOST.values["class"]:
            self._detection.labels(kind)
            self._recovery.labels(kind)
            self._lost.labels(kind)
        self._preemptions = self._counter(d.PREEMPTIONS)
        self._preempted_seconds = self._counter(d.PREEMPTED_SECONDS)
        self._violations = self._counter(d.VIOLATIONS)
        self._records = self._counter(d.AUDIT_RECORDS)
        self._records_lost = self._counter(d.AUDIT_RECORDS_LOST)
        self._audit_stalled = self._gauge(d.AUDIT_STALLED)
        for action in Action:
            self._records.labels(action.value)
        self._energy = self._counter(d.ENERGY)
        self._cost = self._counter(d.COST)
        self._carbon = self._counter(d.CARBON)
        self._tenants: set[tuple[str, str]] = set()
        self._node_changes = self._counter(d.NODE_CHANGES)
        for state in NodeState:
            self._node_changes.labels(state.value)
        self._xids = self._counter(d.XIDS)
        for row in XIDS.values():
            self._xids.labels(str(row.code), row.kind.value)
        self._xids.labels(OTHER, XidClass.UNKNOWN.value)
        breaker = d.NODE_BREAKER
        self._node_breaker = Gauge(breaker.name, breaker.meaning, registry=registry)
        for invariant in d.VIOLATIONS.values["invariant"]:
            self._violations.labels(invariant)
        for stage in d.START_STAGES:
            self._start_stages.labels(stage)
        for result in d.CYCLE_SECONDS.values["result"]:
            self._cycle.labels(result)
        for kind in d.RECONCILED:
            self._reconcile_seconds.labels(kind)
            self._reconcile_wait.labels(kind)
            for result in d.RECONCILES.values["result"]:
                self._reconciles.labels(kind, result)
        self._certificate_start, self._certificate_end = map(self._gauge, (d.CERTIFICATE_START, d.CERTIFICATE_END))
        self._queues: set[str] = set()
        self._paired: list[str] = []
        self._gauge(d.BUILD_INFO).labels(
            _version("trainyard"), revision, platform.python_version(), _version("kopf")
        ).set(1)

    def kube_call(self, verb: str, resource: object, code: int, seconds: float, size: int) -> None:
        """A request to the API server ended. A `cluster.client.CallObserver`; `resource` prints as plural and group."""
        name, status = str(resource), str(code)
        self._kube_requests.labels(verb, name, status).inc()
        self._kube_bytes.labels(verb, name).inc(size)
        if verb != "watch":
            self._kube_seconds.labels(verb, name, status).observe(seconds)

    def reconciled(self, key: Key, *, waited: float, worked: float, failed: bool) -> None:
        """A reconcile ended. A `runtime.work_queue.QueueObserver`."""
        self._reconciles.labels(key.kind, "error" if failed else "ok").inc()
        self._reconcile_seconds.labels(key.kind).observe(worked)
        self._reconcile_wait.labels(key.kind).observe(max(0.0, waited))

    def cycle(self, seconds: float, decisions: Collection[Decision]) -> None:
        """An admission cycle ended with these decisions."""
        result = "idle"
        if decisions:
            result = "admitted" if any(isinstance(each, Admit) for each in decisions) else "waiting"
        self._cycle.labels(result).observe(seconds)

    def admitted(self, queue: str, seconds_waited: float) -> None:
        """A job or replica got its place after that long."""
        self._admission_wait.labels(self._known(queue)).observe(max(0.0, seconds_waited))

    def has_queue(self, queue: str) -> None:
        """The queue is there. Its counters begin at 0: Prometheus sees no increase in a series that begins with its first event."""
        name = self._known(queue)
        self._admission_wait.labels(name)
        self._eta_error.labels(name)
        for result in d.COMPLETIONS.values["result"]:
            self._completions.labels(name, result)
        for kind in FailureClass:
            self._failures.labels(name, kind.value)
        self._stragglers.labels(name)
        self._preempted_seconds.labels(name)
        self._pair(name)

    def completed(self, queue: str, result: Literal["complete", "failed"]) -> None:
        """A job ended for good."""
        self._completions.labels(self._known(queue), result).inc()

    def failed(self, queue: str, kind: FailureClass) -> None:
        """An attempt of a job ended by a failure."""
        self._failures.labels(self._known(queue), kind.value).inc()

    def straggler(self, queue: str) -> None:
        """A worker was found to hold its job up."""
        self._stragglers.labels(self._known(queue)).inc()

    def interrupted(self, incident: Incident) -> None:
        """An incident is over."""
        if incident.planned:
            return
        self._detection.labels(incident.cause).observe(incident.after(incident.detected_at) or 0.0)
        if (seconds := incident.after(incident.recovered_at)) is not None:
            self._recovery.labels(incident.cause).observe(seconds)
        self._lost.labels(incident.cause).inc(max(0.0, incident.lost_gpu_seconds))

    def started(self, stage: str, seconds: float) -> None:
        """A stage of a replica's start took so long."""
        self._start_stages.labels(stage).observe(max(0.0, seconds))

    def missed(self, queue: str, seconds: float) -> None:
        """Somebody started so far from the time that was first told."""
        self._eta_error.labels(self._known(queue)).observe(seconds)

    def preempting(self, queue: str, by_queue: str) -> None:
        """Somebody was asked to make way."""
        self._preemptions.labels(self._known(queue), self._known(by_queue)).inc()

    def preempted(self, queue: str, gpu_seconds: float) -> None:
        """A job made way, and so much work is lost."""
        self._preempted_seconds.labels(self._known(queue)).inc(max(0.0, gpu_seconds))

    def drew(self, queue: str, namespace: str, joules: float, cost: float, grams: float | None) -> None:
        """What holds a place there drew and cost so much more, as is estimated."""
        whose = self._tenant(queue, namespace)
        self._energy.labels(*whose, "estimated").inc(max(0.0, joules))
        self._cost.labels(*whose).inc(max(0.0, cost))
        if grams is not None:
            self._carbon.labels(*whose).inc(max(0.0, grams))

    def measured(self, queue: str, namespace: str, joules: float) -> None:
        """Trainers of a job measured so much more."""
        self._energy.labels(*self._tenant(queue, namespace), "measured").inc(max(0.0, joules))

    def violated(self, invariant: Invariant) -> None:
        """The auditor found something."""
        self._violations.labels(invariant.value).inc()

    def recorded(self, entry: Entry) -> None:
        """Something was put on record."""
        self._records.labels(str(entry.action)).inc(entry.facts.get("times", 1))

    def record_lost(self) -> None:
        """The audit file did not take a record."""
        self._records_lost.inc()

    def audit_stalled(self, seconds: Callable[[], float]) -> None:
        """For how long the audit file has not taken what waits for it."""
        self._audit_stalled.set_function(seconds)

    def node_became(self, state: NodeState) -> None:
        """A node stands so from now on."""
        self._node_changes.labels(state.value).inc()

    def xid(self, code: int) -> None:
        """A GPU's driver reported an error. Codes that nobody knows share a series: any program may write them."""
        self._xids.labels(str(code) if code in XIDS else OTHER, xid(code).kind.value).inc()

    def node_breaker(self, is_open: bool) -> None:
        """So many nodes are to be taken out of use that none is, or that is over."""
        self._node_breaker.set(is_open)

    def event(self, event_type: Literal["Normal", "Warning"], reason: str) -> None:
        """A Kubernetes Event was asked for."""
        self._events.labels(event_type, reason if reason in _REASONS else OTHER).inc()

    def loop_lag(self, seconds: float) -> None:
        """The event loop woke a sleeper that much too late."""
        self._loop_lag.observe(max(0.0, seconds))

    def handler(self) -> HttpHandler:
        """Serves this registry; for `runtime.health.HealthServer`."""
        return metrics_handler(self.registry)

    def certificate(self, name: str, start: datetime, end: datetime) -> None:
        """A certificate of the endpoint is in use. name: one of CERTIFICATES."""
        self._certificate_start.labels(name).set(start.timestamp())
        self._certificate_end.labels(name).set(end.timestamp())

    def _pair(self, name: str) -> None:
        """Begin the counts of who makes way for whom, with those known already."""
        if name in self._paired or len(self._paired) >= _PAIRED:
            return
        self._paired.append(name)
        for other in self._paired:
            self._preemptions.labels(name, other)
            self._preemptions.labels(other, name)

    def _known(self, queue: str) -> str:
        """The queue's name, for so many of them. These series outlive their queue, so somebody who makes and deletes queues in a loop ends in one series."""
        if queue not in self._queues and len(self._queues) >= _QUEUES:
            return OTHER
        self._queues.add(queue)
        return queue

    def _tenant(self, queue: str, namespace: str) -> tuple[str, str]:
        """The same of a queue and a namespace that uses it."""
        whose = (self._known(queue), namespace)
        if whose not in self._tenants and len(self._tenants) >= _QUEUES:
            return OTHER, OTHER
        self._tenants.add(whose)
        return whose

    def _counter(self, metric: d.Metric) -> Counter:
        return Counter(metric.family, metric.meaning, metric.labels, registry=self.registry)

    def _gauge(self, metric: d.Metric) -> Gauge:
        return Gauge(metric.name, metric.meaning, metric.labels, registry=self.registry)

    def _histogram(self, metric: d.Metric) -> Histogram:
        return Histogram(metric.name, metric.meaning, metric.labels, buckets=metric.buckets, registry=self.registry)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # an image holds the sources without the metadata
        return "unknown"
