"""Of the alerts about InferenceServices."""

from tests.unit.alerting.case import SERVICE, Case, Shown, latency, of_gateway, of_server, of_service, series

_OBJECTIVE = of_service("slo_objective_ratio")


def _replicas(**states: str) -> dict[str, str]:
    return {of_service("replicas", state=state): values for state, values in states.items()}


def _gateways(**states: str) -> dict[str, str]:
    return {of_service("gateways", state=state): values for state, values in states.items()}


def _slo(requests: str, good: str, objective: str = "0.99x2000") -> Shown:
    return {
        _OBJECTIVE: objective,
        of_gateway("slo_requests_total"): requests,
        of_gateway("slo_good_total"): good,
    }


CASES = (
    Case(
        "TrainyardServiceDown",
        at="20m",
        fires=_replicas(desired="2x30", ready="0x30"),
        quiet=(
            _replicas(desired="2x30", ready="1x30"),
            _replicas(desired="0x30", ready="0x30"),  # scaled to zero
            _replicas(desired="1x30", ready="0x5 1x30"),  # started from zero
        ),
        labels=SERVICE,
    ),
    Case(
        "TrainyardServiceReplicasMissing",
        at="40m",
        fires=_replicas(desired="3x50", ready="2x50"),
        quiet=(_replicas(desired="3x50", ready="2x10 3x40"), _replicas(desired="2x50", ready="3x50")),
        labels=SERVICE,
    ),
    Case(
        "TrainyardStartsSlow",
        at="60m",
        fires=latency("inference_service_start_stage_seconds", "0x60", "0x30 4x40", stage="load"),
        quiet=(
            latency("inference_service_start_stage_seconds", "0x30 4x40", "0x30 4x40", stage="load"),
            latency("inference_service_start_stage_seconds", "0x60", "0x30 4x40", stage="quota"),
        ),
        labels={"stage": "load"},
    ),
    Case(
        "TrainyardRolledBack",
        at="10m",
        fires={of_service("rollout_phase", phase="RolledBack"): "0x5 1x20"},
        quiet=({of_service("rollout_phase", phase="RolledBack"): "1x5 0x20"},),
        labels=SERVICE,
    ),
    Case(
        "TrainyardRolloutPaused",
        at="30m",
        fires={of_service("rollout_phase", phase="Paused"): "1x40"},
        quiet=({of_service("rollout_phase", phase="Progressing"): "1x40"},),
        labels=SERVICE,
    ),
    Case(
        "TrainyardSloBurnsFast",
        at="70m",
        fires=_slo("0+100x200", "0+80x200"),
        quiet=(
            _slo("0+100x200", "0+99x200"),  # as many as may
            _slo("0+100x35 3600+100x100", "0+80x35 2900+100x100"),  # it is over
            _slo("0x60 1x2 2x100", "0x100"),  # two requests in an hour
            _slo("50x200", "50x200"),  # no traffic: 0 of 0
            {of_gateway("slo_requests_total"): "0+100x200", of_gateway("slo_good_total"): "0x200"},  # no objective
        ),
        labels=SERVICE,
    ),
    Case(  # another of the two pairs of windows, an objective of three nines, and a gateway that was replaced
        "TrainyardSloBurnsFast",
        at="390m",
        step="5m",
        fires={
            _OBJECTIVE: "0.999x100",
            of_gateway("slo_requests_total"): "0+1000x40 stale",
            of_gateway("slo_good_total"): "0+993x40 stale",
            of_gateway("slo_requests_total", "gateway-2"): "_x41 0+1000x50",
            of_gateway("slo_good_total", "gateway-2"): "_x41 0+993x50",
        },
        quiet=(_slo("0+1000x100", "0+997x100", "0.999x100"),),
        labels=SERVICE,
    ),
    Case(  # an objective that is so low that it is never missed fourteen times
        "TrainyardSloBurnsFast",
        at="70m",
        fires=_slo("0+100x200", "0+30x200", "0.9x200"),
        quiet=(_slo("0+100x200", "0+60x200", "0.9x200"),),
        labels=SERVICE,
    ),
    Case(
        "TrainyardSloBurnsSlowly",
        at="80h",
        step="15m",
        fires=_slo("0+1000x330", "0+985x330"),
        quiet=(_slo("0+1000x330", "0+995x330"), _slo("0+1000x330", "0+900x165 148500+1000x165")),
        labels=SERVICE,
    ),
    Case(
        "TrainyardSloNotMeasured",
        at="40m",
        fires={_OBJECTIVE: "0.99x50", of_gateway("ready"): "1x50"},
        quiet=(_slo("0x50", "0x50"), {of_gateway("ready"): "1x50"}),
        labels=SERVICE,
    ),
    Case(
        "TrainyardGatewaysDown",
        at="20m",
        fires=_gateways(desired="2x30", ready="0x30") | _replicas(ready="1x30"),
        quiet=(
            _gateways(desired="2x30", ready="1x30") | _replicas(ready="1x30"),
            _gateways(desired="2x30", ready="0x30") | _replicas(ready="0x30"),  # that is TrainyardServiceDown
        ),
        labels=SERVICE,
    ),
    Case(
        "TrainyardGatewaysMissing",
        at="30m",
        fires=_gateways(desired="2x40", ready="1x40"),
        quiet=(_gateways(desired="2x40", ready="2x40"), _gateways(desired="2x40", ready="0x40")),
        labels=SERVICE,
    ),
    Case(
        "TrainyardGatewayNotScraped",
        at="40m",
        fires=_gateways(ready="2x50"),
        quiet=({of_gateway("ready"): "1x50"} | _gateways(ready="2x50"), _gateways(ready="0x50")),
        labels=SERVICE,
    ),
    Case(
        "TrainyardGatewayWithoutOperator",
        at="20m",
        fires={of_gateway("operator_away"): "0x5 1x20", of_gateway("operator_away", "gateway-2"): "0x30"},
        quiet=(
            {of_gateway("operator_away"): "0x15 1x2 0x20"},
            {of_gateway("operator_away"): "1x30", series("operator_leader", pod="a"): "0x30"},  # nobody leads
        ),
        labels=SERVICE,
        also={series("operator_leader", pod="a"): "1x30"},
    ),
    Case(
        "TrainyardReplicasEjected",
        at="20m",
        fires={of_gateway("ejections_total"): "0x10 2x20", of_gateway("ejections_total", "gateway-2"): "0x10 2x20"},
        quiet=({of_gateway("ejections_total"): "0x10 1x20"}, {of_gateway("ejections_total"): "7x30"}),
        labels=SERVICE,
    ),
    Case(
        "TrainyardReplicaSlow",
        at="40m",
        fires={of_gateway("slowness", member="digits-3"): "3x50"},
        quiet=(
            {of_gateway("slowness", member="digits-3"): "1.5x50"},
            {of_gateway("slowness", member="digits-3"): "3x10"},
        ),
        labels=SERVICE | {"member": "digits-3"},
    ),
    Case(
        "TrainyardHeldRequestsRefused",
        at="20m",
        fires={of_gateway("held_refused_total"): "0x15 4x20"},
        quiet=({of_gateway("held_refused_total"): "4x30"}, {of_gateway("held_refused_total"): "4x15 0x20"}),
        labels=SERVICE,
    ),
    Case(
        "TrainyardQueueSaturated",
        at="30m",
        fires={of_gateway("queued"): "50x40"},
        quiet=({of_gateway("queued"): "3x40"}, {of_gateway("queued"): "0x25 64x1 0x20"}),
        labels=SERVICE,
        also={of_gateway("queue_limit"): "64x40"},
    ),
    Case(
        "TrainyardGatewayRestartsHaproxy",
        at="60m",
        fires={of_gateway("haproxy_restarts_total"): "0x10 1x10 2x10 3x40"},
        quiet=({of_gateway("haproxy_restarts_total"): "0x10 1x60"},),
        labels=SERVICE,
    ),
    Case(
        "TrainyardServerErrors",
        at="30m",
        fires={of_server("requests_total", code="200"): "0+90x40", of_server("requests_total", code="500"): "0+10x40"},
        quiet=(
            {of_server("requests_total", code="200"): "0+90x40", of_server("requests_total", code="429"): "0+10x40"},
            {of_server("requests_total", code="200"): "0+999x40", of_server("requests_total", code="500"): "0+1x40"},
        ),
        labels=SERVICE,
    ),
    Case(
        "TrainyardServerQueueSlow",
        at="30m",
        fires=latency("server_queue_seconds", "0+80x40", "0+100x40", **SERVICE),
        quiet=(latency("server_queue_seconds", "0+100x40", "0+100x40", **SERVICE),),
        labels=SERVICE,
    ),
    Case(
        "TrainyardTokenCacheFull",
        at="30m",
        fires={
            of_server("language_cache_used_ratio", model="m"): "0.99x40",
            of_server("language_waiting", model="m"): "3x40",
        },
        quiet=(
            {
                of_server("language_cache_used_ratio", model="m"): "0.99x40",
                of_server("language_waiting", model="m"): "0x40",
            },
            {
                of_server("language_cache_used_ratio", model="m"): "0.5x40",
                of_server("language_waiting", model="m"): "3x40",
            },
        ),
        labels=SERVICE,
    ),
)
