"""The pod that every child of ours starts from: pinned to its node, restricted, with a token for the operator."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from trainyard.api.flavor import FlavorSpec
from trainyard.api.meta import ResourceRequirements, Toleration
from trainyard.api.names import (
    API_VERSION,
    DO_NOT_DISRUPT,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    PRIORITY_CLASS,
    SAFE_TO_EVICT,
    TOKEN_AUDIENCE,
)
from trainyard.scheduling.snapshot import UNSEEN, PodSet
from trainyard.workloads.plan import Object
from trainyard.workloads.pod_requests import pod_requests

USER = 65532
TOKEN_FOLDER = "/var/run/secrets/trainyard"  # noqa: S105  a path, not a secret
STORAGE = "/trainyard/storage"
_TOKEN_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What pods need to know of the operator and of our images."""

    trainer_image: str
    server_image: str
    gateway_image: str
    endpoint: str = ""
    """https://HOST:PORT where pods reach the operator; empty leaves them on their own."""
    certificate_authority: str = ""
    """PEM text with which they check its certificate."""
    otlp_endpoint: str = ""
    """Where services send traces of requests; empty for nowhere."""
    trace_ratio: float = 1.0
    confined: bool = False
    """Whether pods of some namespaces alone are seen."""

    @property
    def unseen(self) -> str:
        """What else may be in the way of a pod on its node, to be added to a reason; empty where every pod is seen."""
        return f"; {UNSEEN}" if self.confined else ""


def pod_set(
    role: str,
    count: int,
    resources: ResourceRequirements,
    template: Mapping[str, Any] | None,
    *,
    least: int | None = None,
) -> PodSet:
    """The pods of one role as the scheduler sees them, sidecars of the template included. Raises ValueError for nonsense.

    least: how many will do, for a set that is elastic.
    """
    spec = (template or {}).get("spec", {})
    ours = {"resources": core_resources(resources)}
    try:
        others = [each for each in spec.get("containers", ()) if each.get("name") not in ("trainer", "server")]
        requests = pod_requests({**spec, "containers": [ours, *others]})
        if spec.get("affinity", {}).get("nodeAffinity"):
            raise ValueError(
                "spec.affinity.nodeAffinity: nodes are chosen by Trainyard; say what they need with spec.nodeSelector"
            )
        tolerations = tuple(_toleration(each) for each in spec.get("tolerations", ()))
        selector = tuple(sorted(spec.get("nodeSelector", {}).items()))
        return PodSet(role, count, requests, selector, tolerations, least)
    except (AttributeError, TypeError) as error:
        # The CRD's schema keeps these out; one that was stored before must not stop the scheduler for everybody.
        raise ValueError(f"is no PodTemplateSpec: {error}") from error


def _toleration(given: Mapping[str, Any]) -> Toleration:
    try:
        return Toleration.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise ValueError(f"spec.tolerations: {field} is {first['input']!r}: {first['msg']}") from None


def owner_reference(kind: str, name: str, uid: str) -> Object:
    """Makes the garbage collector delete the child with its owner."""
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "name": name,
        "uid": uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }


def metadata(
    name: str, namespace: str, owner: Object, labels: Mapping[str, str], annotations: Mapping[str, str] | None = None
) -> Object:
    """Metadata of a child."""
    found: Object = {
        "name": name,
        "namespace": namespace,
        "labels": {**labels, MANAGED_BY_LABEL: MANAGED_BY},
        "ownerReferences": [owner],
    }
    return found | ({"annotations": dict(annotations)} if annotations else {})


def build_pod(
    template: Mapping[str, Any] | None,
    meta: Object,
    container: Object,
    volumes: list[Object],
    *,
    node: str,
    flavor: FlavorSpec | None,
    restart: str,
) -> Object:
    """A pod from the user's template, our main container and volumes, pinned to `node`.

    The template wins over our defaults, and never over what makes the pod ours: name, owner, node, main container's wiring.
    """
    template = copy.deepcopy(dict(template or {}))
    spec: Object = template.get("spec", {})
    theirs = template.get("metadata", {})
    mine = dict(meta)
    mine["labels"] = {**theirs.get("labels", {}), **meta["labels"]}
    mine["annotations"] = {
        SAFE_TO_EVICT: "false",
        DO_NOT_DISRUPT: "true",
        **theirs.get("annotations", {}),
        **meta.get("annotations", {}),
    }
    name = container["name"]
    given: Object = next((each for each in spec.get("containers", ()) if each.get("name") == name), {})
    others = [each for each in spec.get("containers", ()) if each.get("name") != name]
    pod_spec: Object = {
        "securityContext": restricted_pod(),
        "enableServiceLinks": False,
        "automountServiceAccountToken": False,
        **spec,
        "priorityClassName": PRIORITY_CLASS,
        "restartPolicy": restart,
        "containers": [_merge(container, given), *others],
        "volumes": [*volumes, *spec.get("volumes", ())],
        "affinity": pinned(spec.get("affinity", {}), node),
    }
    tolerations = (
        [each.model_dump(by_alias=True, exclude_defaults=True) for each in flavor.tolerations] if flavor else []
    )
    # A node name of the template's would take the pod past kube-scheduler, to a place that nobody counts; with a priority
    # of its own kube-scheduler would evict others for it, which queues have not decided.
    for own in ("nodeName", "priority", "preemptionPolicy"):
        pod_spec.pop(own, None)
    if tolerations:
        pod_spec["tolerations"] = [*spec.get("tolerations", ()), *tolerations]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": mine, "spec": pod_spec}


def restricted_pod() -> Object:
    """Pod security of the level `restricted`."""
    return {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "fsGroup": USER,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def restricted_container(*, read_only: bool = True) -> Object:
    """Container security of the level `restricted`."""
    return {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": read_only}


def token_volume() -> Object:
    """A token bound to this pod, of use with the operator only."""
    source = {"serviceAccountToken": {"audience": TOKEN_AUDIENCE, "expirationSeconds": _TOKEN_SECONDS, "path": "token"}}
    return {"name": "trainyard-token", "projected": {"sources": [source]}}


def token_mount() -> Object:
    return {"name": "trainyard-token", "mountPath": TOKEN_FOLDER, "readOnly": True}


def env(variables: Mapping[str, str]) -> list[Object]:
    """As core/v1 wants it."""
    return [{"name": name, "value": value} for name, value in variables.items()]


def core_resources(resources: ResourceRequirements) -> Object:
    """As core/v1 wants it."""
    return resources.model_dump(by_alias=True, exclude_defaults=True)


def _merge(container: Object, given: Mapping[str, Any]) -> Object:
    """Our main container with what the user's template adds: its lists are joined, its scalars win."""
    merged = {
        **container,
        **{
            key: value
            for key, value in given.items()
            if key not in ("env", "volumeMounts", "command", "args", "resources", "name")
        },
    }
    taken = {each["name"] for each in container.get("env", ())}
    merged["env"] = [
        *container.get("env", ()),
        *(each for each in given.get("env", ()) if each.get("name") not in taken),
    ]
    merged["volumeMounts"] = [*container.get("volumeMounts", ()), *given.get("volumeMounts", ())]
    return merged


def pinned(affinity: Mapping[str, Any], node: str) -> Object:
    """Required affinity on the node's name: kube-scheduler and kubelet still check ports, volumes, devices and taints."""
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    return {**affinity, "nodeAffinity": required}
