"""Alerts on how fast a service uses up what its objective (spec.slo) allows to go wrong: the budget.

Two windows each: the long one says that it matters, the short one that it still goes on, so an alert ends soon after its
cause. Windows and factors are those of Google's Site Reliability Workbook, chapter 5: for a budget of 30 days, 14.4 times
the even rate spends 2 % of it within an hour, 6 times 5 % within six hours, 3 times 10 % within a day, once 10 % within
three days.
"""

from dataclasses import dataclass

from dev.alerting.rule import Alert, Recording, Severity

_SERVICE = "namespace, inference_service"
_OBJECTIVE = "inference_service:trainyard_inference_service_slo_objective:max"
_SLOW_GUARD, _FAST_GUARD = 10, 5


@dataclass(frozen=True, slots=True)
class Burn:
    """The budget is used `factor` times as fast as it lasts, over both windows."""

    factor: float
    long: str
    short: str


_FAST = (Burn(14.4, "1h", "5m"), Burn(6, "6h", "30m"))
_SLOW = (Burn(3, "1d", "2h"), Burn(1, "3d", "6h"))


def _errors(window: str) -> str:
    return f"inference_service:trainyard_gateway_slo_errors:ratio_rate{window}"


def _summed(function: str, metric: str, window: str) -> str:
    return f"sum by ({_SERVICE}) ({function}({metric}[{window}]))"


def _bad(window: str) -> str:
    requests = _summed("increase", "trainyard_gateway_slo_requests_total", window)
    return f"{requests} - on ({_SERVICE}) {_summed('increase', 'trainyard_gateway_slo_good_total', window)}"


def _limit(burn: Burn) -> str:
    return f"inference_service:trainyard_gateway_slo_errors:limit{burn.long}"


def _limit_of(burn: Burn) -> str:
    """Share of bad requests. A low objective is never missed 14 times: there, half as many good ones as wanted are enough."""
    burnt, halved = f"{burn.factor:g} * (1 - {_OBJECTIVE})", f"1 - {_OBJECTIVE} / 2"
    return f"({burnt} < {halved}) or ({halved})"


def _burns(burn: Burn, least: int) -> str:
    """least: with fewer bad requests in the long window a quiet service would wake somebody for each single one."""
    return f"""(
  {_errors(burn.long)} > on ({_SERVICE}) {_limit(burn)}
  and on ({_SERVICE}) {_errors(burn.short)} > on ({_SERVICE}) {_limit(burn)}
  and on ({_SERVICE}) {_bad(burn.long)} >= {least}
)"""


RECORDINGS = (
    Recording(_OBJECTIVE, f"max by ({_SERVICE}) (trainyard_inference_service_slo_objective_ratio)"),
    *(Recording(_limit(burn), _limit_of(burn)) for burn in (*_FAST, *_SLOW)),
    *(
        Recording(
            _errors(window),
            f"1 - {_summed('rate', 'trainyard_gateway_slo_good_total', window)}"
            f" / on ({_SERVICE}) {_summed('rate', 'trainyard_gateway_slo_requests_total', window)}",
        )
        for window in ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
    ),
)
_DIAGNOSIS = (
    "trainyard why tyi/SERVICE -n NAMESPACE",
    "kubectl get pods -n NAMESPACE -l trainyard.dev/service=SERVICE -o wide",
    "kubectl logs -n NAMESPACE -l trainyard.dev/service=SERVICE,trainyard.dev/role=replica --tail=100",
    "kubectl get tyi SERVICE -n NAMESPACE -o yaml",
)
ALERTS = (
    Alert(
        name="TrainyardSloBurnsFast",
        severity=Severity.CRITICAL,
        expr="\nor\n".join(_burns(each, _FAST_GUARD) for each in _FAST),
        after="2m",
        summary="{{ $labels.namespace }}/{{ $labels.inference_service }} misses its objective: {{ $value | humanizePercentage }} of the requests are not answered well",
        description="So many requests fail or are late that a month's budget would be gone within two days (14.4 times the even rate for an hour) or five (6 times for six hours).",
        impact="Users of the service notice.",
        diagnosis=_DIAGNOSIS,
        remedy="A rollout that goes on: set spec.model back. Too few replicas: trainyard why says which limit was met (maxReplicas, quota). Replicas that fail: their log. Late answers with free replicas: a slow node, see TrainyardReplicaSlow.",
    ),
    Alert(
        name="TrainyardSloBurnsSlowly",
        severity=Severity.WARNING,
        expr="\nor\n".join(_burns(each, _SLOW_GUARD) for each in _SLOW),
        after="15m",
        summary="{{ $labels.namespace }}/{{ $labels.inference_service }} will miss its objective this month: {{ $value | humanizePercentage }} of the requests are not answered well",
        description="Requests fail or are late all the time, a few: three times the even rate for a day, or just above it for three days.",
        impact="The objective will be missed if it goes on.",
        diagnosis=_DIAGNOSIS,
        remedy="Compare the time of answers by replica (trainyard_server_request_seconds) and the wait in the gateway. Give it more replicas, or an objective that it can keep.",
    ),
    Alert(
        name="TrainyardSloNotMeasured",
        severity=Severity.WARNING,
        expr=f"{_OBJECTIVE} unless on ({_SERVICE}) sum by ({_SERVICE}) (trainyard_gateway_slo_requests_total)",
        after="30m",
        summary="{{ $labels.namespace }}/{{ $labels.inference_service }} has an objective, and nobody counts its requests",
        description="The service has spec.slo, and Prometheus has no counts of its gateways with the labels namespace and inference_service.",
        impact="Alerts on the objective cannot fire.",
        diagnosis=(
            "kubectl get pods -n NAMESPACE -l trainyard.dev/service=SERVICE,trainyard.dev/role=gateway",
            "kubectl get podmonitors -A",
        ),
        remedy="Scrape the gateways: metrics.podMonitor.enabled in the chart's values, or the job in examples/monitoring/prometheus.yml. Gateways of an older version count nothing: they are replaced when the operator is upgraded.",
    ),
)
