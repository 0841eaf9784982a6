"""Of the alerts about queues and nodes."""

from tests.unit.alerting.case import JOB, Case, of_job, series

_GPU = {"queue": "q", "flavor": "h200", "resource": "nvidia.com/gpu"}
_OTHER = _GPU | {"flavor": "l4"}


def _waits(reason: str) -> str:
    return series("queue_pending_workloads", queue="q", reason=reason)


def _sick(state: str) -> str:
    return series("flavor_sick_nodes", flavor="h200", state=state)


def _gpus(state: str, node: str = "n") -> str:
    return series("node_gpus", node=node, flavor="h200", state=state)


def _xid(code: str, kind: str) -> str:
    return series("gpu_xids_total", xid=code, class_=kind)


def _stands(state: str) -> str:
    return series("node_health_seconds", node="n", state=state)


CASES = (
    Case(
        "TrainyardNeverAdmissible",
        at="20m",
        fires={_waits("ExceedsMaxQuota"): "2x30"},
        quiet=({_waits("WaitingForQuota"): "2x30"}, {_waits("ExceedsMaxQuota"): "0x30"}),
        labels={"queue": "q", "reason": "ExceedsMaxQuota"},
    ),
    Case(
        "TrainyardQueueBelowGuarantee",
        at="90m",
        fires={
            _waits("WaitingForQuota"): "1x100",
            series("quota_used", **_GPU): "2x100",
            series("quota_guaranteed", **_GPU): "8x100",
        },
        quiet=(
            {
                _waits("WaitingForQuota"): "1x100",
                series("quota_used", **_GPU): "6x100",
                series("quota_guaranteed", **_GPU): "8x100",
            },
            {  # the flavor that is free is another than the one that is asked for
                _waits("WaitingForQuota"): "1x100",
                series("quota_used", **_GPU): "8x100",
                series("quota_guaranteed", **_GPU): "8x100",
                series("quota_used", **_OTHER): "0x100",
                series("quota_guaranteed", **_OTHER): "8x100",
            },
            {  # a queue that has no guarantee gets nothing of it
                _waits("WaitingForQuota"): "1x100",
                series("quota_used", **_GPU): "0x100",
                series("quota_guaranteed", **_GPU): "0x100",
            },
            {
                _waits("OnHold"): "1x100",
                series("quota_used", **_GPU): "2x100",
                series("quota_guaranteed", **_GPU): "8x100",
            },
        ),
        labels={"queue": "q"},
    ),
    Case(
        "TrainyardQueueWaitsLong",
        at="50m",
        fires={series("queue_oldest_pending_seconds", queue="q"): "90000+60x60", _waits("WaitingForQuota"): "1x60"},
        quiet=(
            {series("queue_oldest_pending_seconds", queue="q"): "3600+60x60", _waits("WaitingForQuota"): "1x60"},
            {series("queue_oldest_pending_seconds", queue="q"): "90000+60x60", _waits("OnHold"): "1x60"},
        ),
        labels={"queue": "q"},
    ),
    Case(
        "TrainyardQuotaExceeded",
        at="20m",
        fires={series("quota_used", **_GPU): "9x30", series("quota_limit", **_GPU): "8x30"},
        quiet=(
            {series("quota_used", **_GPU): "8x30", series("quota_limit", **_GPU): "8x30"},
            {series("quota_used", **_GPU): "9x30"},
        ),
        labels=_GPU,
    ),
    Case(
        "TrainyardQuotaHeldIdle",
        at="30m",
        fires={of_job("phase", phase="Admitted"): "1x40", of_job("gpus"): "8x40"},
        quiet=(
            {of_job("phase", phase="Admitted"): "1x10 0x30", of_job("gpus"): "8x40"},
            {of_job("phase", phase="Admitted"): "1x40", of_job("gpus"): "0x40"},
            {of_job("phase", phase="Pending"): "1x40", of_job("gpus"): "8x40"},
        ),
        labels=JOB,
    ),
    Case(
        "TrainyardPreemptionsOften",
        at="60m",
        fires={series("preemptions_total", queue="q", by_queue="r"): "0+1x60"},
        quiet=({series("preemptions_total", queue="q", by_queue="r"): "0+1x15 15x45"},),
        labels={"queue": "q"},
    ),
    Case(
        "TrainyardQueueBudgetUsedUp",
        at="10m",
        fires={
            series("queue_budget_gpu_seconds", queue="q"): "3600x20",
            series("queue_budget_used_gpu_seconds", queue="q"): "3600x20",
        },
        quiet=(
            {
                series("queue_budget_gpu_seconds", queue="q"): "3600x20",
                series("queue_budget_used_gpu_seconds", queue="q"): "3599x20",
            },
        ),
        labels={"queue": "q"},
    ),
    Case(
        "TrainyardNodesNotReady",
        at="20m",
        fires={_sick("not_ready"): "1x30"},
        quiet=({_sick("not_ready"): "0x30"}, {_sick("not_ready"): "1x5 0x30"}),
        labels={"flavor": "h200"},
    ),
    Case(
        "TrainyardNodesBroken",
        at="30m",
        fires={_sick("broken"): "1x40"},
        quiet=({_sick("suspect"): "1x40"},),
        labels={"flavor": "h200"},
    ),
    Case(
        "TrainyardNodesSuspect",
        at="40m",
        fires={_sick("suspect"): "1x50"},
        quiet=({_sick("suspect"): "1x10 0x40"},),
        labels={"flavor": "h200"},
    ),
    Case(
        "TrainyardBreakerOpen",
        at="10m",
        fires={series("flavor_breaker_open", flavor="h200"): "0x3 1x20"},
        quiet=({series("flavor_breaker_open", flavor="h200"): "0x20"},),
        labels={"flavor": "h200"},
    ),
    Case(
        "TrainyardFleetDegraded",
        at="30m",
        fires={_gpus("unhealthy"): "8x40", _gpus("free", "m"): "40x40"},
        quiet=(
            {_gpus("unhealthy"): "1x40", _gpus("free", "m"): "40x40"},
            {_gpus("cordoned"): "8x40", _gpus("free", "m"): "40x40", _gpus("unhealthy", "m"): "0x40"},
        ),
    ),
    Case(
        "TrainyardNodeFaultFatal",
        at="10m",
        fires={_xid("79", "node"): "0x3 1x20"},
        quiet=({_xid("31", "application"): "0x3 1x20"}, {_xid("79", "node"): "1x20"}),
        labels={"xid": "79"},
    ),
    Case(
        "TrainyardNodeRepairSlow",
        at="20m",
        fires={_stands("quarantined"): "14000+60x40"},
        quiet=({_stands("quarantined"): "0+60x40"}, {_stands("suspect"): "90000+60x40"}),
        labels={"node": "n", "state": "quarantined"},
    ),
    Case(
        "TrainyardNodeBreakerOpen",
        at="10m",
        fires={series("node_breaker_open"): "0x3 1x20"},
        quiet=({series("node_breaker_open"): "0x20"},),
    ),
    Case(
        "TrainyardNodeLemon",
        at="90m",
        fires={series("node_lemon_ratio", node="n"): "3.5x100"},
        quiet=(
            {series("node_lemon_ratio", node="n"): "2.5x100"},
            {series("node_lemon_ratio", node="n"): "3.5x20 1x80"},
        ),
        labels={"node": "n"},
    ),
    Case(
        "TrainyardGpusFragmented",
        at="90m",
        fires={series("flavor_fragmented_gpus", flavor="h200"): "12x100", _gpus("free"): "16x100"},
        quiet=(
            {series("flavor_fragmented_gpus", flavor="h200"): "4x100", _gpus("free"): "16x100"},
            {series("flavor_fragmented_gpus", flavor="h200"): "4x100", _gpus("free"): "4x100"},  # hardly any is free
        ),
        labels={"flavor": "h200"},
    ),
    Case(
        "TrainyardNodeSlow",
        at="40m",
        fires={series("node_slowness", node="n"): "4x50"},
        quiet=({series("node_slowness", node="n"): "2x50"}, {}),
        labels={"node": "n"},
    ),
)
