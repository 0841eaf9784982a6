"""Pods and nodes as the scheduler counts them, made of the objects of Kubernetes. Pure."""

from collections.abc import Mapping
from typing import Any

from trainyard.api.meta import Taint
from trainyard.api.names import FLAVOR_LABEL, INDEX_LABEL, QUEUE_LABEL, ROLE_LABEL
from trainyard.nodes import care
from trainyard.scheduling.resources import parse_all
from trainyard.scheduling.snapshot import NodeView, PodView, Standing
from trainyard.workloads import node_health
from trainyard.workloads.identity import labels_of, owner
from trainyard.workloads.pod_requests import pod_requests

Object = Mapping[str, Any]
WELL = Standing()
_PINNED = "metadata.name"


def pod_view(pod: Object) -> PodView:
    """A pod as the scheduler counts it."""
    metadata, spec, labels = pod["metadata"], pod["spec"], labels_of(pod)
    role = labels.get(ROLE_LABEL, "")
    owner_uid = owner(pod)[1]
    return PodView(
        uid=metadata["uid"],
        namespace=metadata.get("namespace", ""),
        name=metadata["name"],
        node=spec.get("nodeName") or _pinned_node(spec),
        requests=pod_requests(spec),
        owner_uid=owner_uid,
        role=f"replica-{labels.get(INDEX_LABEL)}" if role == "replica" else role,
        # A label alone proves nothing: anybody may put one on a pod of their own.
        queue=labels.get(QUEUE_LABEL, "") if owner_uid else "",
        flavor=labels.get(FLAVOR_LABEL, "") if owner_uid else "",
        finished=pod.get("status", {}).get("phase") in ("Succeeded", "Failed"),
    )


def _pinned_node(spec: Mapping[str, Any]) -> str:
    required = (
        spec.get("affinity", {}).get("nodeAffinity", {}).get("requiredDuringSchedulingIgnoredDuringExecution", {})
    )
    for term in required.get("nodeSelectorTerms", ()):
        for field in term.get("matchFields", ()):
            if field.get("key") == _PINNED and len(field.get("values", ())) == 1:
                return str(field["values"][0])
    return ""


def node_view(node: Object, standing: Standing = WELL) -> NodeView:
    """A node as the scheduler sees it. standing: as it was last looked at; what is broken since then counts at once."""
    metadata, spec, status = node["metadata"], node.get("spec", {}), node.get("status", {})
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions", ()))
    return NodeView(
        name=metadata["name"],
        labels=metadata.get("labels", {}),
        allocatable=parse_all(status.get("allocatable", {})),
        taints=tuple(Taint.model_validate(each) for each in spec.get("taints", ())),
        ready=ready,
        unschedulable=bool(spec.get("unschedulable")),
        broken=standing.words if standing.taken_out else care.broken(node, standing.settled),
        leaving=node_health.leaving(node) or care.leaving(standing),
        standing=standing,
    )
