"""The load balancer of a service: a Deployment of HAProxy with its sidecar, a Service in front, a headless one behind."""

from trainyard.api.gateway import Gateway
from trainyard.api.inference_service import InferenceService
from trainyard.inference.gateway_options import TLS_PORT, mounts, variables, volumes
from trainyard.inference.names import gateway_labels, gateway_name, headless_name, replica_labels
from trainyard.inference.observed import GRPC_PORT, PORT, Observed
from trainyard.inference.replica import owner
from trainyard.inference.traces import trace_variables
from trainyard.workloads.deployments import as_wanted, deployment
from trainyard.workloads.plan import Object
from trainyard.workloads.pod_template import (
    env,
    metadata,
    restricted_container,
    restricted_pod,
    token_mount,
    token_volume,
)
from trainyard.workloads.ports import ports_of

READY_PORT = 8081
METRICS_PORT = 8404
_STOP_SECONDS = 75


def gateway_children(observed: Observed) -> tuple[Object, ...]:
    """Children of the gateway that do not exist as they should."""
    service = observed.service
    services = (_front(service), _behind(service))
    found = [each for each in services if observed.services.get(each["metadata"]["name"]) != ports_of(each)]
    wanted = _deployment(observed)
    if not as_wanted(observed.deployment, wanted):
        found.append(wanted)
    if service.spec.gateway.replicas > 1 and not observed.budget:
        found.append(_budget(service))
    return tuple(found)


def _front(service: InferenceService) -> Object:
    meta = metadata(service.metadata.name, service.metadata.namespace, owner(service), gateway_labels(service))
    ports = [{"name": "http", "port": 80, "targetPort": PORT}]
    if service.spec.gateway.tls:
        ports.append({"name": "https", "port": 443, "targetPort": TLS_PORT})
    if service.spec.gateway.grpc:
        ports.append({"name": "grpc", "port": GRPC_PORT, "targetPort": GRPC_PORT})
    spec = {"selector": gateway_labels(service), "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}


def _behind(service: InferenceService) -> Object:
    """What a gateway asks DNS for when it never reached the operator."""
    meta = metadata(headless_name(service), service.metadata.namespace, owner(service), replica_labels(service))
    spec = {"clusterIP": "None", "selector": replica_labels(service), "ports": [{"name": "http", "port": PORT}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}


def _budget(service: InferenceService) -> Object:
    meta = metadata(gateway_name(service), service.metadata.namespace, owner(service), gateway_labels(service))
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": meta,
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": gateway_labels(service)}},
    }


def _deployment(observed: Observed) -> Object:
    service = observed.service
    labels = gateway_labels(service)
    template: Object = {
        "metadata": {"labels": labels},
        "spec": {
            "securityContext": restricted_pod(),
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": _STOP_SECONDS,
            "topologySpreadConstraints": [
                {
                    "maxSkew": 1,
                    "topologyKey": "kubernetes.io/hostname",
                    "whenUnsatisfiable": "ScheduleAnyway",
                    "labelSelector": {"matchLabels": labels},
                }
            ],
            "tolerations": [_leaves_soon("not-ready"), _leaves_soon("unreachable")],
            "containers": [_haproxy(observed), _sidecar(observed)],
            "volumes": [
                {"name": "lb", "emptyDir": {}},
                {"name": "tmp", "emptyDir": {}},
                token_volume(),
                *volumes(service),
            ],
        },
    }
    spec = {
        "replicas": service.spec.gateway.replicas,
        "selector": {"matchLabels": labels},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "template": template,
    }
    meta = metadata(gateway_name(service), service.metadata.namespace, owner(service), labels)
    return deployment(meta, spec)


def _leaves_soon(taint: str) -> Object:
    """A gateway on a lost node is replaced after 15 s instead of Kubernetes' 300."""
    return {"key": f"node.kubernetes.io/{taint}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 15}


def _haproxy(observed: Observed) -> Object:
    return {
        **_container(observed, "haproxy", ["python", "-m", "gateway.haproxy"]),
        "ports": [
            {"name": "http", "containerPort": PORT},
            {"name": "metrics", "containerPort": METRICS_PORT},
            *_more_ports(observed.service.spec.gateway),
        ],
        "livenessProbe": {
            "httpGet": {"path": "/healthz", "port": METRICS_PORT},
            "periodSeconds": 10,
            "failureThreshold": 6,
            "timeoutSeconds": 5,
        },
        "volumeMounts": _mounts(observed),
    }


def _sidecar(observed: Observed) -> Object:
    return {
        **_container(observed, "sidecar", ["python", "-m", "gateway"]),
        "ports": [{"name": "sidecar", "containerPort": READY_PORT}],
        "readinessProbe": {
            "httpGet": {"path": "/readyz", "port": READY_PORT},
            "periodSeconds": 1,
            "failureThreshold": 2,
            "timeoutSeconds": 2,
        },
        "livenessProbe": {
            "httpGet": {"path": "/healthz", "port": READY_PORT},
            "periodSeconds": 10,
            "failureThreshold": 6,
            "timeoutSeconds": 5,
        },
        "volumeMounts": [*_mounts(observed), token_mount()],
    }


def _more_ports(gateway: Gateway) -> list[Object]:
    tls: list[Object] = [{"name": "https", "containerPort": TLS_PORT}] if gateway.tls else []
    return tls + ([{"name": "grpc", "containerPort": GRPC_PORT}] if gateway.grpc else [])


def _mounts(observed: Observed) -> list[Object]:
    own = [{"name": "lb", "mountPath": "/run/lb"}, {"name": "tmp", "mountPath": "/tmp"}]
    return [*own, *mounts(observed.service)]


def _container(observed: Observed, name: str, command: list[str]) -> Object:
    service, around = observed.service, observed.surroundings
    wiring = {
        "HOME": "/tmp",
        "TRAINYARD_NAMESPACE": service.metadata.namespace,
        "TRAINYARD_SERVICE": service.metadata.name,
        "TRAINYARD_SERVICE_UID": service.metadata.uid,
        "TRAINYARD_MEMBERS_DNS": f"{headless_name(service)}.{service.metadata.namespace}.svc:{PORT}",
        "TRAINYARD_SERVER_MAXCONN": str(service.spec.gateway.max_concurrency),
        "TRAINYARD_GATEWAYS": str(service.spec.gateway.replicas),
        "TRAINYARD_QUEUE_LIMIT": str(service.spec.gateway.queue_limit),
        "TRAINYARD_SYNC_URL": f"{around.endpoint}/v1/gateways" if around.endpoint else "",
        "TRAINYARD_SYNC_CA": around.certificate_authority,
        **variables(service),
        **trace_variables(observed),
    }
    pod_name = {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    return {
        "name": name,
        "image": around.gateway_image,
        "imagePullPolicy": "IfNotPresent",
        "command": command,
        "env": [*env(wiring), pod_name],
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}},
        "securityContext": restricted_container(),
    }
