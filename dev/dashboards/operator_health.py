"""The operator itself: does one lead, does it see the cluster, does it keep up."""

from dev.dashboards.board import CLUSTERS, OPERATOR, Board, Row, scope
from dev.dashboards.panel import NEVER, Color, Limit, Look, Panel, Query, Unit, falling, growing, number
from dev.dashboards.query import RANGE, top
from trainyard.metrics import definitions as d

_VARIABLES = (CLUSTERS,)
_S = scope(*_VARIABLES)
_REFUSALS = "TokenRefused|CallForbidden|Forged|Strayed|PrivilegesRefused|PodsRefused"

_NOW = (
    number(
        "How many lead?",
        "Operators that hold the Lease. 1 in each cluster; with none nothing new starts and nobody restarts what fails.",
        Unit.COUNT,
        f"sum ({_S.series(d.LEADER)})",
        Limit(None, Color.BAD),
        Limit(1, Color.GOOD),
        empty="none",
    ),
    number(
        "How many are there?",
        "Operators that are scraped, those that stand by included.",
        Unit.COUNT,
        f"count ({_S.series(d.BUILD_INFO)})",
        Limit(None, Color.BAD),
        Limit(1, Color.GOOD),
        empty="none",
    ),
    number(
        "How old is its picture of the cluster?",
        "Since the API server was last heard of, on the watch that has been quiet the longest.",
        Unit.SECONDS,
        f"max ({_S.series(d.WATCH_AGE)})",
        *growing(300, 600),
    ),
    number(
        "How late is the most urgent work?",
        "How long the longest waiting key has been due; 0 when none waits.",
        Unit.SECONDS,
        f"max ({_S.series(d.QUEUE_AGE)})",
        *growing(5, 60),
    ),
    number(
        "How many invariants were violated?",
        "Findings of the auditor within the dashboard's time range: promises that only a fault of Trainyard breaks. An event and the log tell the object.",
        Unit.COUNT,
        _S.increase(d.VIOLATIONS, window=RANGE),
        *NEVER,
    ),
    number(
        "How many statuses are behind?",
        "Objects whose status does not describe their newest spec. For more than moments: the operator cannot read them, or does not come to them.",
        Unit.COUNT,
        f"sum ({_S.once(d.UNOBSERVED)})",
        *growing(1, 100),
    ),
    number(
        "How many series are left out?",
        "Series left out of a scrape because their family is at its cap.",
        Unit.COUNT,
        f"max ({_S.series(d.SERIES_DROPPED)})",
        *NEVER,
        width=8,
        empty="none",
    ),
    number(
        "How long is the certificate valid?",
        "What is left of the life of the endpoint's serving certificate. It is renewed when a third is left, ten days of thirty.",
        Unit.SECONDS,
        f"min ({_S.once(d.CERTIFICATE_END, certificate='serving')}) - time()",
        *falling(86400, 9 * 86400),
        width=8,
    ),
    number(
        "How long is its authority valid?",
        "What is left of the life of the authority that clients of the endpoint trust. Nobody renews it: see the runbook TrainyardCertificateExpires.",
        Unit.SECONDS,
        f"min ({_S.once(d.CERTIFICATE_END, certificate='authority')}) - time()",
        *falling(30 * 86400, 365 * 86400),
        width=8,
    ),
)
_WORK = (
    Panel(
        "How much does it reconcile?",
        "Reconciles a second by kind and result. Errors are tried again, later each time; the log says which.",
        Unit.PER_SECOND,
        (Query(_S.rate(d.RECONCILES, ["kind", "result"]), "{{kind}}, {{result}}"),),
        Look.STACK,
    ),
    Panel(
        "How long does a reconcile take?",
        "95th percentile by kind, from start to end.",
        Unit.SECONDS,
        (Query(_S.quantile(0.95, d.RECONCILE_SECONDS, ["kind"]), "{{kind}}"),),
        limits=growing(1, 5),
    ),
    Panel(
        "How long does work wait?",
        "95th percentile by kind, from a key becoming due to the start of its reconcile.",
        Unit.SECONDS,
        (Query(_S.quantile(0.95, d.RECONCILE_WAIT_SECONDS, ["kind"]), "{{kind}}"),),
        limits=growing(1, 5),
    ),
    Panel(
        "How much work waits?",
        "Keys that are due and wait for a worker, by kind.",
        Unit.COUNT,
        (Query(f"max by (kind) ({_S.series(d.QUEUE_DEPTH)})", "{{kind}}"),),
    ),
    Panel(
        "How long does a decision about places take?",
        "95th percentile of an admission cycle by result. A cycle decides for half a second at most and goes on in the next.",
        Unit.SECONDS,
        (Query(_S.quantile(0.95, d.CYCLE_SECONDS, ["result"]), "{{result}}"),),
        limits=growing(0.5, 1),
    ),
    Panel(
        "What blocks its loop?",
        "How late the event loop wakes a sleeper. Above half a second the Lease is in danger: give it more CPU.",
        Unit.SECONDS,
        (
            Query(_S.quantile(0.5, d.LOOP_LAG), "half of them, at most"),
            Query(_S.quantile(0.99, d.LOOP_LAG), "99 of 100, at most"),
        ),
        limits=growing(0.1, 0.5),
    ),
)
_SIGHT = (
    Panel(
        "Which watches are quiet?",
        "Since the API server was last heard of, by resource. Bookmarks and lists come within minutes even when nothing changes.",
        Unit.SECONDS,
        (Query(top(f"max by (resource) ({_S.series(d.WATCH_AGE)})"), "{{resource}}"),),
        limits=growing(300, 600),
    ),
    Panel(
        "Which namespaces does it not see?",
        "Namespaces to which it is confined that are missing, refused to it, or not read yet. In them nothing is admitted, restarted or scaled.",
        Unit.COUNT,
        (
            Query(
                top(f"max by (namespace, state) ({_S.series(d.NAMESPACE_VIEW, state='missing|refused|unread')})"),
                "{{namespace}}: {{state}}",
            ),
        ),
        empty="none",
    ),
    Panel(
        "Which statuses are behind?",
        "Objects whose status does not describe their newest spec, by kind.",
        Unit.COUNT,
        (Query(f"max by (kind) ({_S.series(d.UNOBSERVED)})", "{{kind}}"),),
    ),
    Panel(
        "How much does it remember?",
        "Objects in the caches, by resource.",
        Unit.COUNT,
        (Query(top(f"max by (resource) ({_S.series(d.CACHE_OBJECTS)})"), "{{resource}}"),),
    ),
    Panel(
        "Did watches miss changes?",
        "Objects that a list found different from the cache.",
        Unit.COUNT,
        (Query(top(_S.increase(d.CACHE_REPAIRED, ["resource"], "$__interval")), "{{resource}}"),),
        Look.BARS,
    ),
    Panel(
        "What does it ask of the API server?",
        "Requests a second by verb, without watches' events.",
        Unit.REQUESTS,
        (Query(_S.rate(d.KUBE_REQUESTS, ["verb"]), "{{verb}}"),),
        Look.STACK,
    ),
    Panel(
        "What does the API server refuse?",
        "Requests a second that were not answered with success, by resource and code; 0 is no answer, 409 a conflict that is tried again, 429 too many requests.",
        Unit.REQUESTS,
        (Query(top(_S.rate(d.KUBE_REQUESTS, ["resource", "code"], code="0|[345].*")), "{{resource}} {{code}}"),),
        empty="nothing",
    ),
    Panel(
        "How fast does the API server answer?",
        "95th percentile by verb, from sending to the whole answer.",
        Unit.SECONDS,
        (Query(_S.quantile(0.95, d.KUBE_SECONDS, ["verb"]), "{{verb}}"),),
        limits=growing(1, 5),
    ),
    Panel(
        "What goes over the wire?",
        "Bytes a second exchanged with the API server, by resource; the ten largest.",
        Unit.BYTES_PER_SECOND,
        (Query(top(_S.rate(d.KUBE_BYTES, ["resource"])), "{{resource}}"),),
        Look.STACK,
    ),
    Panel(
        "What does it tell users?",
        "Kubernetes Events that were asked for, by reason, and those that were never written.",
        Unit.COUNT,
        (
            Query(top(_S.increase(d.EVENTS, ["reason"], "$__interval")), "{{reason}}"),
            Query(_S.increase(d.EVENTS_DROPPED, window="$__interval"), "never written"),
        ),
        Look.BARS,
        colors={"never written": Color.BAD},
    ),
)
_ALARMS = (
    Panel(
        "Who tries what is not allowed?",
        "What was put on record of refused callers, refused pods, and programs that touch files of other jobs, by action; docs/security.md says what each means, and the records who it was.",
        Unit.COUNT,
        (Query(_S.increase(d.AUDIT_RECORDS, ["action"], "$__interval", action=_REFUSALS), "{{action}}"),),
        Look.BARS,
        empty="nobody",
    ),
)
BOARD = Board(
    OPERATOR,
    "Operator",
    "Does an operator lead, does it see the cluster, and does it keep up?",
    _VARIABLES,
    (Row("Now", _NOW), Row("Work", _WORK), Row("Sight", _SIGHT), Row("Alarms", _ALARMS)),
)
