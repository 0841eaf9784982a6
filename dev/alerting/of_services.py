"""Alerts about InferenceServices: as the operator sees them, as their gateways do, and as their servers do."""

from dev.alerting import slo
from dev.alerting.rule import Alert, Group, Severity

_S = "namespace, inference_service"
_NAME = "{{ $labels.namespace }}/{{ $labels.inference_service }}"
_WHY = "trainyard why tyi/SERVICE -n NAMESPACE"
_YAML = "kubectl get tyi SERVICE -n NAMESPACE -o yaml"
_PODS = "kubectl get pods -n NAMESPACE -l trainyard.dev/service=SERVICE -o wide"
_GATEWAY_LOGS = (
    "kubectl logs -n NAMESPACE -l trainyard.dev/service=SERVICE,trainyard.dev/role=gateway -c sidecar --tail=100"
)
_REPLICA_LOGS = "kubectl logs -n NAMESPACE -l trainyard.dev/service=SERVICE,trainyard.dev/role=replica --tail=100"
_EVENTS = "kubectl get events -n NAMESPACE --sort-by=.lastTimestamp"


def _replicas(state: str) -> str:
    return f'max by ({_S}) (trainyard_inference_service_replicas{{state="{state}"}})'


def _gateways(state: str) -> str:
    return f'max by ({_S}) (trainyard_inference_service_gateways{{state="{state}"}})'


def _rolls(phase: str) -> str:
    return f'max by ({_S}) (trainyard_inference_service_rollout_phase{{phase="{phase}"}}) == 1'


_REPLICAS = (
    Alert(
        name="TrainyardServiceDown",
        severity=Severity.CRITICAL,
        expr=f"{_replicas('ready')} == 0 and on ({_S}) {_replicas('desired')} > 0",
        after="10m",
        summary=f"{_NAME} has no ready replica",
        description="Replicas are wanted, and none has been ready for ten minutes. At zero replicas by autoscaling this does not fire.",
        impact="Requests are answered with 503, or wait where the gateway holds them.",
        diagnosis=(_WHY, _PODS, _REPLICA_LOGS, _EVENTS),
        remedy="No place: trainyard why says what holds the quota and what would help. Pods that do not get ready: the log names the model file or the limit of memory. A new model: set spec.model back.",
    ),
    Alert(
        name="TrainyardServiceReplicasMissing",
        severity=Severity.WARNING,
        expr=f"{_replicas('desired')} - on ({_S}) {_replicas('ready')} > 0",
        after="30m",
        summary=f"{_NAME} lacks {{{{ $value }}}} replicas",
        description="Fewer replicas are ready than wanted, for half an hour.",
        impact="The others take more than their share; answers get slower.",
        diagnosis=(_WHY, _PODS, _EVENTS),
        remedy="Waiting for quota: raise the guarantee of its queue or spec.priority. Waiting for a node or an image: the pod's events say so.",
    ),
    Alert(
        name="TrainyardStartsSlow",
        severity=Severity.INFO,
        expr='histogram_quantile(0.95, sum by (le, stage) (increase(trainyard_inference_service_start_stage_seconds_bucket{stage!="quota"}[6h]))) > 300',
        after="0m",
        summary="Starts of replicas spend {{ $value | humanizeDuration }} in stage {{ $labels.stage }}",
        description="Of the starts within six hours one in twenty took longer than five minutes in this stage. Waiting for quota is not counted.",
        impact="Autoscaling is late by that time, and a first request from zero waits.",
        diagnosis=("kubectl get tyi -A", _WHY, "kubectl get events -A --sort-by=.lastTimestamp"),
        remedy="image: pull it onto the nodes beforehand. load: faster storage for the claim, a smaller variant of the model, no TRAINYARD_COMPILE. scheduling: the pod waits for its node or volume.",
    ),
)
_ROLLOUTS = (
    Alert(
        name="TrainyardRolledBack",
        severity=Severity.WARNING,
        expr=_rolls("RolledBack"),
        after="0m",
        summary=f"{_NAME} gave up its new model",
        description="The new model in spec.model was rolled back: it failed more often, was slower, did not start, or breaks the contract with callers. The old one serves. The alert ends when spec.model changes.",
        impact="None for callers; what is served is not what spec.model says.",
        diagnosis=(_WHY, "kubectl get tyi SERVICE -n NAMESPACE -o jsonpath='{.status.rollout}'"),
        remedy="status.rollout.reason and message have the evidence. Set spec.model back to the old model, or to a better one; the same digest is not tried again.",
    ),
    Alert(
        name="TrainyardRolloutPaused",
        severity=Severity.INFO,
        expr=_rolls("Paused"),
        after="15m",
        summary=f"The rollout of {_NAME} is paused",
        description="There was no evidence either way within a step's time, or the rollout waits to be promoted by hand.",
        impact="Two models serve, on more replicas than one would need.",
        diagnosis=(_WHY, _YAML),
        remedy="By hand: spec.rollout.autoPromote: true. Too few requests: lower spec.rollout.minimumRequests or raise the steps; or set spec.model back.",
    ),
)
_GATEWAYS = (
    Alert(
        name="TrainyardGatewaysDown",
        severity=Severity.CRITICAL,
        expr=f"{_gateways('ready')} == 0 and on ({_S}) {_gateways('desired')} > 0 and on ({_S}) {_replicas('ready')} > 0",
        after="5m",
        summary=f"{_NAME} has ready replicas and no gateway",
        description="Replicas are ready, and no gateway pod has been for five minutes.",
        impact="The service does not answer.",
        diagnosis=(_PODS, _GATEWAY_LOGS, _EVENTS),
        remedy="Pods that wait: no node has room for them, they need no GPU. Pods that are not ready: the log says whether HAProxy refuses its configuration (a Secret of auth, jwt or tls that is not there) or no replica passes its check.",
    ),
    Alert(
        name="TrainyardGatewaysMissing",
        severity=Severity.WARNING,
        expr=f"{_gateways('desired')} - on ({_S}) {_gateways('ready')} > 0 and on ({_S}) {_gateways('ready')} > 0",
        after="15m",
        summary=f"{_NAME} lacks {{{{ $value }}}} gateways",
        description="Fewer gateway pods are ready than wanted, for a quarter of an hour.",
        impact="None until the others fail.",
        diagnosis=(_PODS, _EVENTS),
        remedy="The pod's events say what it waits for.",
    ),
    Alert(
        name="TrainyardGatewayNotScraped",
        severity=Severity.WARNING,
        expr=f"{_gateways('ready')} > 0 unless on ({_S}) max by ({_S}) (trainyard_gateway_ready)",
        after="30m",
        summary=f"Gateways of {_NAME} are not scraped",
        description="Gateways are ready, and Prometheus has nothing of them with the labels namespace and inference_service.",
        impact="Alerts about requests, queues and ejections of this service cannot fire.",
        diagnosis=("kubectl get podmonitors -A", _PODS),
        remedy="metrics.podMonitor.enabled in the chart's values, or the job in examples/monitoring/prometheus.yml. A network policy of the namespace must let Prometheus in.",
    ),
    Alert(
        name="TrainyardGatewayWithoutOperator",
        severity=Severity.WARNING,
        expr=f"max by ({_S}) (trainyard_gateway_operator_away) == 1 and on () sum(trainyard_operator_leader) > 0",
        after="5m",
        summary=f"A gateway of {_NAME} does not reach the operator",
        description="An operator leads, and the gateway has had no answer of it for five minutes; it goes on with the replicas that it knows.",
        impact="New replicas get no requests; those that go are found by checks alone.",
        diagnosis=(_GATEWAY_LOGS, "kubectl get pods -n trainyard-system -l app.kubernetes.io/component=operator"),
        remedy="The log of the sidecar says why; usually a network policy keeps the namespace from port 8443 of the operator's Service.",
    ),
    Alert(
        name="TrainyardReplicasEjected",
        severity=Severity.WARNING,
        expr=f"sum by ({_S}) (increase(trainyard_gateway_ejections_total[15m])) >= 3",
        after="0m",
        summary=f"Replicas of {_NAME} were left out {{{{ $value | humanize }}}} times within 15 minutes",
        description="A gateway leaves out a replica whose answers fail for 10 s, then longer. It did so several times.",
        impact="Some requests failed; the others have more to do.",
        diagnosis=(_PODS, _REPLICA_LOGS, _GATEWAY_LOGS),
        remedy="One replica: delete its pod, and look at its node. All of them: the model or its memory limit.",
    ),
    Alert(
        name="TrainyardReplicaSlow",
        severity=Severity.INFO,
        expr=f"max by ({_S}, member) (trainyard_gateway_slowness) > 2",
        after="30m",
        summary=f'Replica {{{{ $labels.member }}}} of {_NAME} takes {{{{ $value | printf "%.1f" }}}} times as long as the others',
        description="One replica is clearly slower than the median for half an hour. It gets as many fewer requests.",
        impact="Less capacity than the number of replicas says.",
        diagnosis=(_PODS, "kubectl top pods -n NAMESPACE -l trainyard.dev/service=SERVICE"),
        remedy="Look at its node for throttling and neighbours; delete the pod to have it placed anew. A mixed fleet: name one kind of GPU in spec.flavors.",
    ),
    Alert(
        name="TrainyardHeldRequestsRefused",
        severity=Severity.WARNING,
        expr=f"sum by ({_S}) (increase(trainyard_gateway_held_refused_total[10m])) > 0",
        after="0m",
        summary=f"{_NAME} refuses requests that wait for a first replica",
        description="As many requests as may wait for a first replica were waiting, and more came; they got 429.",
        impact="Callers are told to come back later.",
        diagnosis=(_WHY, _PODS),
        remedy="If no replica starts, see TrainyardServiceDown. If starts are slow, spec.autoscaling.minReplicas: 1; if callers can wait, a larger spec.gateway.holdLimit.",
    ),
    Alert(
        name="TrainyardQueueSaturated",
        severity=Severity.WARNING,
        expr=f"max by ({_S}) (avg_over_time(trainyard_gateway_queued[5m]) / trainyard_gateway_queue_limit) > 0.5",
        after="5m",
        summary=f"The queue of {_NAME} is {{{{ $value | humanizePercentage }}}} full",
        description="More than half of the requests that may wait in a gateway do so, on the average of five minutes. At the limit they get 429.",
        impact="Answers are late, and soon refused.",
        diagnosis=(_WHY, _PODS),
        remedy="trainyard why says which limit keeps it from more replicas: raise spec.autoscaling.maxReplicas or spec.replicas, or its queue's guarantee.",
    ),
    Alert(
        name="TrainyardGatewayRestartsHaproxy",
        severity=Severity.WARNING,
        expr=f"sum by ({_S}) (increase(trainyard_gateway_haproxy_restarts_total[1h])) >= 3",
        after="0m",
        summary=f"HAProxy of {_NAME} ended {{{{ $value | humanize }}}} times within an hour",
        description="HAProxy in a gateway's pod ended and was started again, several times.",
        impact="Requests that it carried broke off each time.",
        diagnosis=(
            _PODS,
            "kubectl logs -n NAMESPACE -l trainyard.dev/service=SERVICE,trainyard.dev/role=gateway -c haproxy --tail=100 --previous",
        ),
        remedy="OOMKilled: give the gateway more memory. Failed liveness checks: its node is short of CPU.",
    ),
)
_SERVERS = (
    Alert(
        name="TrainyardServerErrors",
        severity=Severity.WARNING,
        expr=f'sum by ({_S}) (rate(trainyard_server_requests_total{{code=~"5.."}}[5m])) / sum by ({_S}) (rate(trainyard_server_requests_total[5m])) > 0.05',
        after="10m",
        summary=f"{{{{ $value | humanizePercentage }}}} of the answers of {_NAME}'s replicas are errors",
        description="Model servers answer more than one request in twenty with 5xx: the model fails, or deadlines pass.",
        impact="Those requests fail, unless another replica answers them.",
        diagnosis=(_REPLICA_LOGS, _PODS, _YAML),
        remedy="500: the log has the model's error. 503: replicas start or drain. 504: deadlines pass in the queue, so more replicas or longer deadlines.",
    ),
    Alert(
        name="TrainyardServerQueueSlow",
        severity=Severity.INFO,
        expr=f"histogram_quantile(0.95, sum by (le, {_S}) (rate(trainyard_server_queue_seconds_bucket[5m]))) > 1",
        after="10m",
        summary=f"Requests wait {{{{ $value | humanizeDuration }}}} inside replicas of {_NAME}",
        description="One request in twenty waits more than a second in a replica for its turn: the gateway sends a replica more than it computes at once.",
        impact="Waiting in a replica is not shared: another may be idle.",
        diagnosis=(_WHY, _YAML),
        remedy="Lower spec.gateway.maxConcurrency, so that requests wait in the gateway for whichever replica is free first.",
    ),
    Alert(
        name="TrainyardTokenCacheFull",
        severity=Severity.WARNING,
        expr=f"max by ({_S}) (trainyard_server_language_cache_used_ratio) > 0.95 and on ({_S}) sum by ({_S}) (trainyard_server_language_waiting) > 0",
        after="10m",
        summary=f"The cache of keys and values of {_NAME} is full and sequences wait",
        description="Sequences hold nearly all blocks of a replica's cache, and others wait for blocks.",
        impact="First tokens are late; sequences may be sent back and computed anew.",
        diagnosis=(_REPLICA_LOGS, _WHY),
        remedy="More replicas, or a lower spec.gateway.maxConcurrency, or more memory for the cache (images/server/README.md).",
    ),
)
SERVICES = Group("Inference services", slo.RECORDINGS, (*_REPLICAS, *_ROLLOUTS, *slo.ALERTS, *_GATEWAYS, *_SERVERS))
