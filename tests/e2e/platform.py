"""What the end-to-end tests share: the installed chart, manifests in a few words, and waiting with a reason."""

import base64
import json
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from dev import images
from dev.cluster import Cluster, CommandError

GROUP = "trainyard.dev/v1alpha1"


class Platform:
    """One namespace on the cluster with Trainyard installed."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster, self.namespace = cluster, namespace

    def apply(self, *objects: Mapping[str, Any]) -> None:
        self.cluster.kubectl(
            "apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        )

    def get(self, kind: str, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.cluster.kubectl("get", kind, name, "-n", self.namespace, "-o", "json"))
        return found

    def pods(self, selector: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(
            self.cluster.kubectl("get", "pods", "-n", self.namespace, "-l", selector, "-o", "json")
        )["items"]
        return found

    def status(self, kind: str, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.get(kind, name).get("status", {})
        return found

    def until(self, what: str, look: Callable[[], Any], seconds: float = 120) -> Any:
        """The first true answer of `look`; AssertionError with the last one after so many seconds."""
        deadline = time.monotonic() + seconds
        last: Any = None
        while time.monotonic() < deadline:
            try:
                if last := look():
                    return last
            except (KeyError, IndexError, CommandError) as error:
                last = error
            time.sleep(0.5)
        raise AssertionError(f"{what} did not happen in {seconds:.0f} s; last seen: {last!r}\n{self.picture()}")

    def phase(self, kind: str, name: str, phase: str, seconds: float = 150) -> dict[str, Any]:
        """The status once it has that phase."""

        def look() -> dict[str, Any] | None:
            status = self.status(kind, name)
            return status if status.get("phase") == phase else None

        found: dict[str, Any] = self.until(f"{kind} {name} becoming {phase}", look, seconds)
        return found

    def picture(self) -> str:
        """What a person would look at first."""
        looks = (("get", "tyj,tyi,pods", "-o", "wide"), ("get", "events", "--sort-by=.lastTimestamp"))
        return "\n".join(self.cluster.kubectl(*look, "-n", self.namespace)[-4000:] for look in looks)

    def in_worker(self, pod: str, script: str) -> str:
        """Run Python in a pod of ours."""
        return self.cluster.kubectl("exec", "-n", self.namespace, pod, "--", "python", "-c", script)

    def claim(self, name: str = "results", mode: str = "ReadWriteMany") -> dict[str, Any]:
        spec = {"accessModes": [mode], "resources": {"requests": {"storage": "1Gi"}}}
        return {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": spec,
        }

    def job(
        self,
        name: str,
        *,
        workers: int = 1,
        gpus: int = 1,
        epochs: int = 2,
        storage: str | None = "results",
        **spec: Any,
    ) -> dict[str, Any]:
        body: dict[str, Any] = {
            "queue": "research",
            "model": {"name": "cnn"},
            "dataset": {"name": "digits"},
            "workers": {"replicas": workers, "resources": {"limits": {"nvidia.com/gpu": gpus}}},
            "training": {"epochs": epochs, "batchSize": 64},
        }
        if storage:
            body["storage"] = {"claimName": storage}
        body |= spec
        return {
            "apiVersion": GROUP,
            "kind": "TrainingJob",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {key: each for key, each in body.items() if each is not None},
        }

    def service(self, name: str, model: dict[str, Any], *, replicas: int = 1, **spec: Any) -> dict[str, Any]:
        body = {
            "queue": "research",
            "model": model,
            "replicas": replicas,
            "resources": {"limits": {"nvidia.com/gpu": 1}},
            **spec,
        }
        return {
            "apiVersion": GROUP,
            "kind": "InferenceService",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": body,
        }

    def program(self, name: str, image: str, text: str, *, env: Mapping[str, str], claim: str = "") -> dict[str, Any]:
        """A pod that runs Python in one of our images, under the restricted level; a claim is at /storage."""
        container: dict[str, Any] = {
            "name": "program",
            "image": images.reference(image),
            "imagePullPolicy": "IfNotPresent",
            "command": ["python", "-c", text],
            "env": [{"name": each, "value": value} for each, value in env.items()],
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        }
        spec: dict[str, Any] = {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [container],
        }
        if claim:
            container["volumeMounts"] = [{"name": "storage", "mountPath": "/storage"}]
            spec["volumes"] = [{"name": "storage", "persistentVolumeClaim": {"claimName": claim}}]
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": spec,
        }

    def said(self, pod: str) -> list[dict[str, Any]]:
        """The lines of JSON that a pod has written so far."""
        text = self.cluster.kubectl("logs", pod, "-n", self.namespace)
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    def patch(self, kind: str, name: str, change: Mapping[str, Any]) -> None:
        self.cluster.kubectl("patch", kind, name, "-n", self.namespace, "--type=merge", "-p", json.dumps(change))

    def delete(self, kind: str, name: str) -> None:
        """And wait until it is gone; its children may go on for a while."""
        words = ("delete", kind, name, "-n", self.namespace, "--ignore-not-found", "--wait=true", "--timeout=90s")
        self.cluster.kubectl(*words)

    def events(self, name: str, reason: str) -> list[str]:
        """Messages of the events of that reason about an object of that name."""
        selector = f"involvedObject.name={name},reason={reason}"
        found = self.cluster.kubectl("get", "events", "-n", self.namespace, "--field-selector", selector, "-o", "json")
        return [str(each["message"]) for each in json.loads(found)["items"]]


def a_name() -> str:
    """Of a namespace that nobody else has."""
    return f"t-{uuid.uuid4().hex[:6]}"


def namespace(name: str) -> dict[str, Any]:
    """A Namespace that is selected by the queue `research`, under the restricted pod security level."""
    labels = {"team": "research", "pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def new_platform(cluster: Cluster, name: str = "") -> Platform:
    """A namespace of its own with a claim. name: of one that may be there already."""
    platform = Platform(cluster, name or a_name())
    platform.apply(namespace(platform.namespace), platform.claim())
    return platform


def secret(platform: Platform, name: str, entries: Mapping[str, str], kind: str = "Opaque") -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": platform.namespace},
        "type": kind,
        "data": {each: base64.b64encode(value.encode()).decode() for each, value in entries.items()},
    }


def quota(gpus: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Flavor and queue."""
    flavor = {"apiVersion": GROUP, "kind": "Flavor", "metadata": {"name": "gpu"}, "spec": {}}
    resources = [{"name": "nvidia.com/gpu", "guaranteed": gpus}]
    spec = {
        "namespaceSelector": {"matchLabels": {"team": "research"}},
        "flavors": [{"name": "gpu", "resources": resources}],
    }
    return flavor, {"apiVersion": GROUP, "kind": "Queue", "metadata": {"name": "research"}, "spec": spec}
