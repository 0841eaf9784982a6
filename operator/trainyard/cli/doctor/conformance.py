"""What of Kubernetes Trainyard depends on, and whether a cluster has it: by the groups that it serves and its version."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from trainyard.cli.doctor.finding import Feature, Finding, problem
from trainyard.cli.doctor.seen import Installation

OLDEST = (1, 29)
"""As Chart.yaml says."""


@dataclass(frozen=True, slots=True)
class Need:
    """group: with its version, as in apps/v1. since: the first minor version of Kubernetes that has it, where no group tells."""

    feature: str
    used_for: str
    group: str = ""
    since: tuple[int, int] = (0, 0)
    required: bool = True


NEEDS: tuple[Need, ...] = (
    Need("CustomResourceDefinitions", "Flavor, Queue, TrainingJob and InferenceService", "apiextensions.k8s.io/v1"),
    Need("validation by CEL", "wrong manifests are refused with a message", since=(1, 29)),
    Need("Leases", "election of a leader", "coordination.k8s.io/v1"),
    Need("TokenReview", "trainers and gateways prove who they are", "authentication.k8s.io/v1"),
    Need("SubjectAccessReview", "who may ask the operator what", "authorization.k8s.io/v1"),
    Need("server-side apply", "Deployments of gateways and TensorBoards", since=(1, 22)),
    Need("node affinity on metadata.name", "pods go to the nodes that were decided on", since=(1, 12)),
    Need("PriorityClass with preemptionPolicy", "kube-scheduler evicts nobody", "scheduling.k8s.io/v1"),
    Need("PodDisruptionBudget", "drains leave a gateway", "policy/v1"),
    Need("EndpointSlice", "gateways find replicas while the operator is away", "discovery.k8s.io/v1"),
    Need("taint out-of-service", "pods of machines that are off for good are let go", since=(1, 28), required=False),
    Need("ValidatingAdmissionPolicy", "own rules of an administrator for templates", since=(1, 30), required=False),
    Need(
        "Prometheus operator",
        "ServiceMonitor, PodMonitor and PrometheusRule of the chart",
        "monitoring.coreos.com/v1",
        required=False,
    ),
)


def version_of(text: str) -> tuple[int, int] | None:
    """Major and minor of v1.34.1-gke.5; None if it says none."""
    found = re.match(r"v?(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else None


def features(seen: Installation) -> list[Feature]:
    """Each with whether it is there. Of what could not be read nothing is claimed."""
    version = version_of(seen.version)
    told = []
    for need in NEEDS:
        if need.group and seen.groups:
            there = need.group in seen.groups
        elif not need.group and version is not None:
            there = version >= need.since
        else:
            continue
        told.append(Feature(feature=need.feature, used_for=need.used_for, required=need.required, there=there))
    return told


def kubernetes_has_what_is_needed(seen: Installation) -> Iterator[Finding]:
    """As a finding: what is required and missing."""
    version, oldest = version_of(seen.version), ".".join(map(str, OLDEST))
    if version is not None and version < OLDEST:
        yield problem(
            "Kubernetes",
            f"the API server is of version {seen.version}",
            f"Trainyard is made for {oldest} and later",
            f"upgrade the cluster to {oldest} or later",
        )
    for each in features(seen):
        if each.required and not each.there:
            yield problem(
                "Kubernetes",
                f"{each.feature} is not there",
                f"needed for: {each.used_for}",
                f"upgrade the cluster to {oldest} or later",
            )
