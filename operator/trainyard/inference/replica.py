"""The pod of one replica: our model server, its model mounted read-only."""

from trainyard.api.inference_service import InferenceService, ReplicaAdmission, ServedModel
from trainyard.api.names import DIGEST, FLAVOR_LABEL, INDEX_LABEL, QUEUE_LABEL, SHAPE
from trainyard.inference.names import pod_name, replica_labels
from trainyard.inference.observed import CONTAINER, GRPC_PORT, PORT, Observed
from trainyard.inference.server_options import variables
from trainyard.inference.traces import trace_variables
from trainyard.workloads.plan import Object
from trainyard.workloads.pod_template import (
    STORAGE,
    build_pod,
    core_resources,
    env,
    metadata,
    owner_reference,
    restricted_container,
)

SERVER_DRAIN_SECONDS = 5


def replica_pod(observed: Observed, replica: ReplicaAdmission, model: ServedModel) -> Object:
    """The pod of `replica`, pinned to its node."""
    service = observed.service
    labels = {
        **replica_labels(service),
        INDEX_LABEL: str(replica.serial),
        QUEUE_LABEL: service.spec.queue,
        FLAVOR_LABEL: replica.flavor,
    }
    marks = {DIGEST: replica.digest, SHAPE: replica.shape}
    meta = metadata(pod_name(service, replica.serial), service.metadata.namespace, owner(service), labels, marks)
    served = model.model_copy(update={"digest": replica.digest})
    pod = build_pod(
        service.spec.template,
        meta,
        _container(observed, served),
        _volumes(model),
        node=replica.node,
        flavor=observed.flavors.get(replica.flavor),
        restart="Always",
    )
    pod["spec"].setdefault("terminationGracePeriodSeconds", service.spec.drain_seconds + SERVER_DRAIN_SECONDS)
    return pod


def owner(service: InferenceService) -> Object:
    return owner_reference("InferenceService", service.metadata.name, service.metadata.uid)


def _container(observed: Observed, model: ServedModel) -> Object:
    service = observed.service
    wiring = {
        "HOME": "/tmp",
        "TRAINYARD_SERVICE_UID": service.metadata.uid,
        "TRAINYARD_PORT": str(PORT),
        "TRAINYARD_GRPC_PORT": str(GRPC_PORT),  # always, so that a gateway may offer it without new replicas
        "TRAINYARD_DRAIN_SECONDS": str(SERVER_DRAIN_SECONDS),
        **variables(service, model),
        **trace_variables(observed),
    }
    return {
        "name": CONTAINER,
        "image": observed.surroundings.server_image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-m", "server.graph" if service.spec.model.graph else "server"],
        "env": env(wiring),
        "ports": [{"name": "http", "containerPort": PORT}, {"name": "grpc", "containerPort": GRPC_PORT}],
        "resources": core_resources(service.spec.resources),
        "volumeMounts": [*_mounts(model), {"name": "trainyard-tmp", "mountPath": "/tmp"}],
        "startupProbe": _probe("/v2/health/ready", period=1, failures=600),
        "readinessProbe": _probe("/v2/health/ready", period=2, failures=2),
        "livenessProbe": _probe("/v2/health/live", period=10, failures=6),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": restricted_container(),
    }


def _probe(path: str, *, period: int, failures: int) -> Object:
    return {
        "httpGet": {"path": path, "port": PORT},
        "periodSeconds": period,
        "failureThreshold": failures,
        "timeoutSeconds": 5,
    }


def _mounts(model: ServedModel) -> list[Object]:
    """A graph has nothing on a claim."""
    return [{"name": "trainyard-storage", "mountPath": STORAGE, "readOnly": True}] if model.claim_name else []


def _volumes(model: ServedModel) -> list[Object]:
    claim = {"claimName": model.claim_name, "readOnly": True}
    stored = [{"name": "trainyard-storage", "persistentVolumeClaim": claim}] if model.claim_name else []
    return [*stored, {"name": "trainyard-tmp", "emptyDir": {}}]
