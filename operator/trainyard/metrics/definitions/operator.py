"""Of the operator itself."""

from trainyard.api.audit import Action
from trainyard.api.invariants import Invariant
from trainyard.api.sight import View
from trainyard.metrics.definitions.metric import Group, counter, gauge, histogram

_SHORT = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_LAG = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

BUILD_INFO = gauge(
    "build_info",
    Group.OPERATOR,
    "Always 1; what runs.",
    "version",
    "revision",
    "python",
    "kopf",
)
LEADER = gauge("operator_leader", Group.OPERATOR, "1 on the holder of the Lease, 0 on a standby.", "pod")
WATCH_AGE = gauge(
    "watch_last_activity_age_seconds",
    Group.OPERATOR,
    "Since the API server was last heard of on this watch; absent before the first complete list.",
    "resource",
)
CACHE_OBJECTS = gauge("cache_objects", Group.OPERATOR, "Objects in the cache.", "resource")
CACHE_REPAIRED = counter(
    "cache_repaired",
    Group.OPERATOR,
    "Objects that a list found different from the cache: changes that the watch had missed.",
    "resource",
)
NAMESPACE_VIEW = gauge(
    "namespace_view",
    Group.OPERATOR,
    "1 for how the leader sees a namespace to which it is confined, the first of these that holds; no series for the others, and none "
    "at all without operator.namespaces. In one that is not seen nothing is done.",
    "namespace",
    "state",
    state=tuple(each.value for each in View),
)
KINDS = ("Flavor", "InferenceService", "Queue", "TrainingJob")
RECONCILED = (*KINDS, "Node")
"""Nodes have keys in the same queue."""
UNOBSERVED = gauge(
    "objects_unobserved",
    Group.OPERATOR,
    "Objects whose status does not describe their newest spec yet: for moments after a change, for good where the object cannot be read.",
    "kind",
    kind=KINDS,
)
RECONCILES = counter(
    "reconcile", Group.OPERATOR, "Reconciles that ended.", "kind", "result", kind=RECONCILED, result=("ok", "error")
)
RECONCILE_SECONDS = histogram(
    "reconcile_duration_seconds", Group.OPERATOR, "One reconcile, from start to end.", _SHORT, "kind", kind=RECONCILED
)
RECONCILE_WAIT_SECONDS = histogram(
    "reconcile_wait_seconds",
    Group.OPERATOR,
    "From a key becoming due to the start of its reconcile.",
    _SHORT,
    "kind",
    kind=RECONCILED,
)
QUEUE_DEPTH = gauge(
    "reconcile_queue_depth", Group.OPERATOR, "Keys that are due and wait for a worker.", "kind", kind=RECONCILED
)
QUEUE_AGE = gauge(
    "reconcile_oldest_age_seconds",
    Group.OPERATOR,
    "How long the longest waiting key has been due; 0 when none waits.",
    "kind",
    kind=RECONCILED,
)
KUBE_REQUESTS = counter(
    "kube_requests",
    Group.OPERATOR,
    "Requests to the API server by HTTP status, those of kopf among them; 0 for no answer. A watch of ours is counted when it ends, one of kopf's when it begins.",
    "verb",
    "resource",
    "code",
)
KUBE_SECONDS = histogram(
    "kube_request_duration_seconds",
    Group.OPERATOR,
    "Requests to the API server, from sending to the whole answer; watches are left out.",
    _SHORT,
    "verb",
    "resource",
    "code",
)
KUBE_BYTES = counter(
    "kube_transferred_bytes",
    Group.OPERATOR,
    "Bytes exchanged with the API server, of each request the larger of the two bodies.",
    "verb",
    "resource",
)
CYCLE_SECONDS = histogram(
    "admission_cycle_seconds",
    Group.OPERATOR,
    "One admission cycle: admitted when it gave somebody a place, waiting when all wait, idle when nobody does.",
    _SHORT,
    "result",
    result=("admitted", "waiting", "idle"),
)
EVENTS = counter(
    "events_emitted",
    Group.OPERATOR,
    "Kubernetes Events that were asked for.",
    "type",
    "reason",
    type=("Normal", "Warning"),
)
EVENTS_DROPPED = counter(
    "events_dropped",
    Group.OPERATOR,
    "Events never written: over a rate, the queue full, or refused by the API server.",
)
LOOP_LAG = histogram(
    "event_loop_lag_seconds", Group.OPERATOR, "How late the event loop wakes a sleeper: what blocks it.", _LAG
)
SERIES_DROPPED = gauge(
    "metric_series_dropped",
    Group.OPERATOR,
    "Series left out of this scrape because their family is at its cap; absent when none are.",
    "family",
)
CERTIFICATES = ("authority", "serving")
CERTIFICATE_START = gauge(
    "certificate_start_timestamp_seconds",
    Group.OPERATOR,
    "From when on a certificate of the operator's HTTPS endpoint is valid, in Unix time; of the leader only.",
    "certificate",
    certificate=CERTIFICATES,
)
CERTIFICATE_END = gauge(
    "certificate_expiry_timestamp_seconds",
    Group.OPERATOR,
    "Until when it is, in Unix time. The serving one is renewed when a third of its life is left.",
    "certificate",
    certificate=CERTIFICATES,
)
VIOLATIONS = counter(
    "invariant_violations",
    Group.OPERATOR,
    "Findings of the auditor: promises that only a fault of Trainyard breaks. Must stay 0; an event and the log tell the object.",
    "invariant",
    invariant=tuple(each.value for each in Invariant),
)
AUDIT_RECORDS = counter(
    "audit_records",
    Group.OPERATOR,
    "What was put on record in the audit trail; callers that were refused as often as it happened.",
    "action",
    action=tuple(each.value for each in Action),
)
AUDIT_RECORDS_LOST = counter(
    "audit_records_lost",
    Group.OPERATOR,
    "Records that are in the log alone, since the audit file did not take them.",
)
AUDIT_STALLED = gauge(
    "audit_stalled_seconds",
    Group.OPERATOR,
    "Seconds for which the audit file has not taken what waits for it; 0 when nothing waits.",
)
