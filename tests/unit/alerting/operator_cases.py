"""Of the alerts about the operator."""

from tests.unit.alerting.case import Case, latency, series

LEADER, STANDBY = series("operator_leader", pod="a"), series("operator_leader", pod="b")
_PODS = [series("operator_leader", pod=each) for each in "abcd"]
_AGE = series("watch_last_activity_age_seconds", resource="pods")
_CACHE = series("cache_objects", resource="pods")


def _requests(code: str) -> str:
    return series("kube_requests_total", verb="get", resource="pods", code=code)


def _reconciles(result: str) -> str:
    return series("reconcile_total", kind="TrainingJob", result=result)


def _view(state: str) -> str:
    return series("namespace_view", namespace="research", state=state)


def _certificate(name: str, since_days: int, until_days: int) -> dict[str, str]:
    """Of a certificate that is valid from then until then; the rules are tried on the first day of 1970."""
    days = {"start": since_days, "expiry": until_days}
    return {
        series(f"certificate_{end}_timestamp_seconds", certificate=name): f"{86_400 * day}x60"
        for end, day in days.items()
    }


CASES = (
    Case(
        "TrainyardOperatorDown",
        at="30m",
        fires={series("build_info", version="1"): "1x10 _x20"},
        quiet=({series("build_info", version="1"): "1x10 _x3 1x30"},),
    ),
    Case(
        "TrainyardNoLeader",
        at="10m",
        fires={LEADER: "0x20", STANDBY: "0x20"},
        quiet=({LEADER: "0x20", STANDBY: "1x20"}, {LEADER: "1x7 0x1 1x20"}, {}),
    ),
    Case(
        "TrainyardTwoLeaders",
        at="10m",
        fires={LEADER: "1x20", STANDBY: "1x20"},
        quiet=({LEADER: "1x20", STANDBY: "0x20"}, {LEADER: "1x9 stale", STANDBY: "0x8 1x20"}),
    ),
    Case(
        "TrainyardLeaderChangesOften",
        at="60m",
        fires={each: f"_x{12 * place} 1x9 stale" for place, each in enumerate(_PODS)},
        # Two pods, the second of which is new; and one that stands by.
        quiet=({_PODS[0]: "1x30 stale", _PODS[1]: "_x31 1x30", STANDBY: "0x60"},),
    ),
    Case(
        "TrainyardLeaderChangesOften",
        at="60m",
        fires={LEADER: "1x60", series("event_loop_lag_seconds_count"): "0+10x15 0+10x15 0+10x15 0+10x15"},
        quiet=({LEADER: "1x60", series("event_loop_lag_seconds_count"): "0+10x30 0+10x30"},),
    ),
    Case(
        "TrainyardWatchStale",
        at="30m",
        fires={_AGE: "0+60x60"},
        quiet=({_AGE: "0+60x8 0+60x8 0+60x8 0+60x8"},),
        labels={"resource": "pods"},
    ),
    Case(
        "TrainyardCacheNotFilled",
        at="10m",
        fires={_CACHE: "0x20", LEADER: "1x20"},
        quiet=({_CACHE: "0x20", LEADER: "0x20"}, {_CACHE: "7x20", _AGE: "1x20", LEADER: "1x20"}),
        labels={"resource": "pods"},
    ),
    Case(
        "TrainyardNamespaceUnseen",
        at="20m",
        fires={_view("refused"): "_x9 1x30", _view("seen"): "1x8 stale"},
        quiet=({_view("unread"): "1x3 stale", _view("seen"): "_x4 1x30"}, {_view("seen"): "1x30"}, {}),
        labels={"namespace": "research", "state": "refused"},
    ),
    Case(
        "TrainyardApiServerErrors",
        at="30m",
        fires={_requests("200"): "0+90x40", _requests("0"): "0+10x40"},
        quiet=({_requests("200"): "0+99x40", _requests("503"): "0+1x40"}, {_requests("200"): "5x40"}),
    ),
    Case(
        "TrainyardRequestsForbidden",
        at="20m",
        fires={_requests("403"): "_x10 1x30"},  # a single one, with which the series begins
        quiet=({_requests("404"): "0+1x40"}, {_requests("403"): "1x40"}),
        labels={"verb": "get", "resource": "pods"},
    ),
    Case(
        "TrainyardReconcilesFail",
        at="40m",
        fires={_reconciles("ok"): "0+80x60", _reconciles("error"): "0+20x60"},
        quiet=({_reconciles("ok"): "0+80x60", _reconciles("error"): "0+2x60"}, {_reconciles("ok"): "0+80x60"}),
        labels={"kind": "TrainingJob"},
    ),
    Case(
        "TrainyardObjectKeepsFailing",
        at="70m",
        fires={_reconciles("ok"): "0+800x80", _reconciles("error"): "0+1x80"},
        quiet=({_reconciles("ok"): "0+800x80", _reconciles("error"): "0+1x10 10x70"},),
        labels={"kind": "TrainingJob"},
    ),
    Case(
        "TrainyardReconcileLate",
        at="20m",
        fires={series("reconcile_oldest_age_seconds", kind="TrainingJob"): "0+30x40"},
        quiet=({series("reconcile_oldest_age_seconds", kind="TrainingJob"): "1x40"},),
        labels={"kind": "TrainingJob"},
    ),
    Case(
        "TrainyardCertificateExpires",
        at="6h",
        step="10m",
        fires=_certificate("serving", since_days=-21, until_days=9),
        quiet=(
            _certificate("serving", since_days=-19, until_days=11),
            _certificate("authority", since_days=-3000, until_days=650),
        ),
        labels={"certificate": "serving"},
    ),
    Case(
        "TrainyardCertificateExpires",
        at="6h",
        step="10m",
        fires=_certificate("authority", since_days=-3590, until_days=60),
        quiet=(_certificate("authority", since_days=-60, until_days=3590),),
        labels={"certificate": "authority"},
    ),
    Case(
        "TrainyardStatusBehind",
        at="30m",
        fires={series("objects_unobserved", kind="TrainingJob"): "2x40"},
        quiet=({series("objects_unobserved", kind="TrainingJob"): "0x14 2x10 0x1 2x10"},),
        labels={"kind": "TrainingJob"},
    ),
    Case(
        "TrainyardEventLoopBlocked",
        at="30m",
        fires=latency("event_loop_lag_seconds", "0+50x40", "0+60x40"),
        quiet=(latency("event_loop_lag_seconds", "0+60x40", "0+60x40"),),
    ),
    Case(
        "TrainyardAdmissionSlow",
        at="40m",
        fires=latency("admission_cycle_seconds", "0+5x60", "0+10x60", result="waiting"),
        quiet=(latency("admission_cycle_seconds", "0+10x60", "0+10x60", result="waiting"),),
    ),
    Case(
        "TrainyardSchedulerStalled",
        at="30m",
        fires={series("queue_pending_workloads", queue="q", reason="PendingEvaluation"): "1x40"},
        quiet=(
            {series("queue_pending_workloads", queue="q", reason="WaitingForQuota"): "1x40"},
            {series("queue_pending_workloads", queue="q", reason="PendingEvaluation"): "1x20 0x2 1x20"},
        ),
        labels={"queue": "q"},
    ),
    Case(
        "TrainyardInvariantViolated",
        at="10m",
        fires={series("invariant_violations_total", invariant="OverQuota"): "0x5 1x20"},
        quiet=({series("invariant_violations_total", invariant="OverQuota"): "0x20"},),
        labels={"invariant": "OverQuota"},
    ),
    Case(
        "TrainyardKeptPlaceBroken",
        at="10m",
        fires={series("kept_places_total", result="broken"): "0x5 1x20"},
        quiet=({series("kept_places_total", result="moved_later"): "0x5 1x20"},),
        labels={"result": "broken"},
    ),
    Case(
        "TrainyardEventsDropped",
        at="60m",
        fires={series("events_dropped_total"): "0+3x80"},
        quiet=({series("events_dropped_total"): "0+3x20 60x60"},),
    ),
    Case(
        "TrainyardSeriesLeftOut",
        at="30m",
        fires={series("metric_series_dropped", family="trainyard_training_job_info"): "7x40"},
        quiet=({},),
        labels={"family": "trainyard_training_job_info"},
    ),
)
