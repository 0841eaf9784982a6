"""Checks of what runs and waits: images that cannot be pulled, what is stuck, what was written wrongly, gateways, restores left half done."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta

from pydantic import ValidationError

from trainyard.api.meta import problems
from trainyard.api.names import RESTORING
from trainyard.api.reasons import ConditionType, Waiting
from trainyard.cli.doctor.finding import Finding, problem, shown, warning
from trainyard.cli.doctor.seen import Installation, name_of, time_of
from trainyard.cluster.resources import Object
from trainyard.workloads import conditions
from trainyard.workloads.understood import KINDS

_NOT_PULLED = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"})
_STUCK = timedelta(minutes=10)
"""So long after its grace period a pod that ends is stuck."""


def images_are_pulled(seen: Installation) -> Iterator[Finding]:
    """One finding for each image, whoever waits for it."""
    waiting: dict[str, list[str]] = defaultdict(list)
    said: dict[str, str] = {}
    for pod in seen.of_kind("Pod"):
        for each in _containers(pod):
            told = (each.get("state") or {}).get("waiting") or {}
            if told.get("reason") in _NOT_PULLED:
                waiting[each["image"]].append(name_of(pod))
                said[each["image"]] = str(told.get("message") or told["reason"])[:300]
    for image, pods in sorted(waiting.items()):
        yield problem(
            f"image {image}",
            f"{len(pods)} pods cannot pull it: {said[image]}",
            f"they do not start: {shown(pods)}",
            "check the name, images.registry and images.pullSecrets of the chart, and that nodes reach the registry",
        )


def _containers(pod: Object) -> list[Object]:
    status = pod.get("status") or {}
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


def nothing_is_stuck(seen: Installation) -> Iterator[Finding]:
    """What is being deleted goes."""
    stuck: dict[str, list[str]] = defaultdict(list)
    for pod in seen.of_kind("Pod"):
        since = time_of(pod["metadata"].get("deletionTimestamp"))  # the end of its grace period
        if since is not None and seen.now - since > _STUCK:
            stuck[str(pod["spec"].get("nodeName") or "no node")].append(name_of(pod))
    for node, pods in sorted(stuck.items()):
        yield problem(
            f"pods on {node}",
            f"{len(pods)} should have ended more than ten minutes ago: {shown(pods)}",
            "they hold their GPUs, and their jobs wait for them to go",
            f"kubectl describe node {node}; if the machine is off for good: kubectl taint node {node} node.kubernetes.io/out-of-service=nodeshutdown:NoExecute",
        )
    for kind in KINDS:
        for each in seen.of_kind(kind):
            since = time_of(each["metadata"].get("deletionTimestamp"))
            left = each["metadata"].get("finalizers") or []
            if since is not None and seen.now - since > _STUCK and left:
                yield problem(
                    f"{kind} {name_of(each)}",
                    f"it was deleted at {since:%Y-%m-%d %H:%M}Z and is held by {shown(left)}",
                    "nothing of its name can be created",
                    "see whose finalizer that is (Trainyard sets none), and why its owner does not take it away",
                )


def objects_are_understood(seen: Installation) -> Iterator[Finding]:
    """Each can be read by this version."""
    for kind, model in KINDS.items():
        for each in seen.of_kind(kind):
            try:
                model.model_validate(each)
            except ValidationError as error:
                yield problem(
                    f"{kind} {name_of(each)}",
                    f"it cannot be understood: {problems(error)[:300]}",
                    "the operator leaves it alone",
                    "it was written by another version: kubectl edit it, or delete it and create it anew",
                )


def nothing_is_written_wrongly(seen: Installation) -> Iterator[Finding]:
    """Jobs that can never start as they are."""
    wrong = {
        f"{job.metadata.namespace}/{job.metadata.name}": stated.message
        for job in seen.jobs()
        if (stated := conditions.find(job.status.conditions, ConditionType.ADMITTED))
        and stated.status == "False"
        and stated.reason in (Waiting.MISCONFIGURED, Waiting.EXCEEDS_MAX_QUOTA, Waiting.NO_MATCHING_FLAVOR)
    }
    for name, message in list(wrong.items())[:_MOST]:
        yield warning(
            f"TrainingJob {name}",
            message[:300],
            "it can never start as things are",
            f"trainyard why {name.partition('/')[2]} -n {name.partition('/')[0]}",
        )
    if len(wrong) > _MOST:
        yield warning(
            "TrainingJobs",
            f"{len(wrong) - _MOST} more can never start",
            "they wait for ever",
            "kubectl get tyj -A shows the reasons",
        )


_MOST = 10


def gateways_answer(seen: Installation) -> Iterator[Finding]:
    """Who has replicas that answer has a gateway that does."""
    for service in seen.services():
        status = service.status
        if status.ready_replicas and not status.gateways:
            yield problem(
                f"InferenceService {service.metadata.namespace}/{service.metadata.name}",
                f"{status.ready_replicas} replicas answer, and none of its gateways is ready",
                "no request gets through",
                f"kubectl -n {service.metadata.namespace} describe pods -l trainyard.dev/service={service.metadata.name},trainyard.dev/role=gateway",
            )


def restores_are_over(seen: Installation) -> Iterator[Finding]:
    """No object is still marked."""
    left = [
        f"{kind} {name_of(each)}"
        for kind in KINDS
        for each in seen.of_kind(kind)
        if RESTORING in (each["metadata"].get("annotations") or {})
    ]
    if left:
        yield warning(
            "restore",
            f"{len(left)} objects are still marked as being restored: {shown(left)}",
            "the operator leaves them alone",
            "run the same `trainyard restore` again; it goes on where it was broken off",
        )
