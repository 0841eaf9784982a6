"""Objects for tests, as the API server would hold them: a builder and modifiers, so that a test shows only what matters to it.

training_job("a", gpus(8), queue("research"))
inference_service("s", replicas(2), served_claim("models", "digits"))
"""

from collections.abc import Callable
from typing import Any

from trainyard.api.names import API_VERSION, GPU

Object = dict[str, Any]
Modifier = Callable[[Object], None]

NAMESPACE = "team"
EVERYBODY = {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "Exists"}]}
"""A selector of all namespaces."""
DIGEST = "sha256:" + "a" * 64


def training_job(name: str, *modifiers: Modifier) -> Object:
    """A TrainingJob of one worker with one GPU in queue research."""
    return _built(
        "TrainingJob",
        {"name": name, "namespace": NAMESPACE},
        {
            "queue": "research",
            "model": {"name": "cnn"},
            "dataset": {"name": "digits"},
            "workers": {"replicas": 1, "resources": {"limits": {GPU: "1"}}},
        },
        modifiers,
    )


def inference_service(name: str, *modifiers: Modifier) -> Object:
    """An InferenceService of one replica with one GPU that serves models/digits from a claim."""
    return _built(
        "InferenceService",
        {"name": name, "namespace": NAMESPACE},
        {
            "queue": "research",
            "replicas": 1,
            "model": {"claimName": "models", "path": "digits", "digest": DIGEST},
            "resources": {"limits": {GPU: "1"}},
        },
        modifiers,
    )


def a_queue(name: str, *modifiers: Modifier, gpus: int = 8, flavor: str = "h200") -> Object:
    """A Queue with so many GPUs of one flavor, open to namespaces with team=research."""
    quota = {"name": flavor, "resources": [{"name": GPU, "guaranteed": str(gpus)}]}
    spec = {"namespaceSelector": {"matchLabels": {"team": "research"}}, "flavors": [quota]}
    return _built("Queue", {"name": name}, spec, modifiers)


def a_flavor(name: str = "h200", *modifiers: Modifier) -> Object:
    """A Flavor that every node belongs to."""
    return _built("Flavor", {"name": name}, {}, modifiers)


def a_namespace(name: str = NAMESPACE, **labels: str) -> Object:
    """A Namespace that the queues admit."""
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": labels or {"team": "research"}},
    }


def a_claim(name: str, *modes: str, namespace: str = NAMESPACE) -> Object:
    """A PersistentVolumeClaim, ReadWriteMany by default."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"accessModes": list(modes or ("ReadWriteMany",))},
    }


def _built(kind: str, metadata: Object, spec: Object, modifiers: tuple[Modifier, ...]) -> Object:
    obj: Object = {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}
    for modify in modifiers:
        modify(obj)
    return obj


# Of any kind.


def namespace(name: str) -> Modifier:
    return lambda obj: obj["metadata"].update(namespace=name)


def meta(**fields: Any) -> Modifier:
    """Fields of metadata, as the API server sets them: uid="u", generation=2, creationTimestamp="..."."""
    return lambda obj: obj["metadata"].update(fields)


def spec(**fields: Any) -> Modifier:
    """Fields of the spec, camelCase."""
    return lambda obj: obj["spec"].update(fields)


def status(**fields: Any) -> Modifier:
    """Fields of the status, camelCase."""
    return lambda obj: obj.setdefault("status", {}).update(fields)


def queue(name: str) -> Modifier:
    return spec(queue=name)


def priority(value: int) -> Modifier:
    return spec(priority=value)


def gpus(count: int) -> Modifier:
    """GPUs of each pod."""

    def modify(obj: Object) -> None:
        part = obj["spec"]["workers"] if obj["kind"] == "TrainingJob" else obj["spec"]
        part["resources"] = {"limits": {GPU: str(count)}}

    return modify


# Of a TrainingJob.


def workers(count: int) -> Modifier:
    return lambda obj: obj["spec"]["workers"].update(replicas=count)


def elastic(least: int, most: int) -> Modifier:
    """From so many workers to so many."""
    return lambda obj: obj["spec"]["workers"].update(replicas=most, minReplicas=least)


def resources(**limits: str) -> Modifier:
    """Limits of each worker in place of a GPU."""
    return lambda obj: obj["spec"]["workers"].update(resources={"limits": limits})


def template(**parts: Any) -> Modifier:
    """spec.workers.template, or spec.template of a service."""

    def modify(obj: Object) -> None:
        part = obj["spec"]["workers"] if obj["kind"] == "TrainingJob" else obj["spec"]
        part.setdefault("template", {}).update(parts)

    return modify


def annotated(**notes: str) -> Modifier:
    """Annotations on every pod."""

    def modify(obj: Object) -> None:
        part = obj["spec"]["workers"] if obj["kind"] == "TrainingJob" else obj["spec"]
        part.setdefault("template", {}).setdefault("metadata", {}).setdefault("annotations", {}).update(notes)

    return modify


def runs(seconds: float, code: int = 0, message: str = "") -> Modifier:
    """Every worker ends after so many seconds, in simulations."""
    return annotated(**{"sim/run-seconds": str(seconds), "sim/exit-code": str(code), "sim/exit-message": message})


def storage(claim: str = "results") -> Modifier:
    return spec(storage={"claimName": claim})


def own_claim(*modes: str, reclaim: str = "Retain") -> Modifier:
    return spec(storage={"claimTemplate": {"accessModes": list(modes or ("ReadWriteMany",))}, "reclaim": reclaim})


def role(name: str, count: int = 1, gpu: int = 0, seconds: float | None = None, code: int = 0) -> Modifier:
    """One more role that runs `NAME.py`; in simulations each of its pods ends after so many seconds."""

    def modify(obj: Object) -> None:
        made: Object = {"name": name, "replicas": count, "entrypoint": {"command": ["python", f"{name}.py"]}}
        if gpu:
            made["resources"] = {"limits": {GPU: str(gpu)}}
        if seconds is not None:
            notes = {"sim/run-seconds": str(seconds), "sim/exit-code": str(code)}
            made["template"] = {"metadata": {"annotations": notes}}
        obj["spec"]["roles"] = [*obj["spec"].get("roles", []), made]

    return modify


VARIANTS: tuple[Object, ...] = ({"name": "half", "method": "Pruned"}, {"name": "bytes", "method": "Int8Weights"})


def compresses(parent: str = "", variants: list[Object] | None = None, **source: str) -> Modifier:
    """Makes variants of what it trains, or of another job's model, or of one on a claim; they are kept on claim results."""

    def modify(obj: Object) -> None:
        asked: Object = {"maximumLoss": 0.01, "variants": list(VARIANTS if variants is None else variants)}
        given = {"trainingJob": parent} if parent else source
        if given:
            del obj["spec"]["model"], obj["spec"]["dataset"]
            asked["parent"] = given
        obj["spec"] |= {"compression": asked, "storage": {"claimName": "results"}}

    return modify


def suspended(value: bool = True) -> Modifier:
    return spec(suspend=value)


def ttl(seconds: int) -> Modifier:
    return spec(ttlSecondsAfterFinished=seconds)


def spares(count: int) -> Modifier:
    """Set spec.workers.spares."""
    return lambda obj: obj["spec"].setdefault("workers", {}).update(spares=count)


def max_restarts(count: int) -> Modifier:
    return spec(restart={"maxRestarts": count})


# Of an InferenceService.


def replicas(count: int) -> Modifier:
    return spec(replicas=count)


def served_claim(claim: str, path: str, digest: str = DIGEST) -> Modifier:
    return spec(model={"claimName": claim, "path": path, "digest": digest})


def served_job(name: str, variant: str = "") -> Modifier:
    return spec(model={"trainingJob": name} | ({"variant": variant} if variant else {}))


def drain(seconds: int) -> Modifier:
    return spec(drainSeconds=seconds)


# Of a Queue or Flavor.


def hold() -> Modifier:
    return spec(stopPolicy="Hold")


def open_to(**labels: str) -> Modifier:
    return spec(namespaceSelector={"matchLabels": labels})


def selects(**labels: str) -> Modifier:
    return spec(nodeSelector=labels)
