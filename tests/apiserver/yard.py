"""A namespace and a queue of one's own in the shared cluster, and few words for what tests do there."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from dev.cluster import Cluster
from dev.cluster.api import NOT_FOUND, Api, ApiError
from tests import builders as b

OURS = "/apis/trainyard.dev/v1alpha1"
COLLECTED = 45
"""Seconds in which the garbage collector deletes children: it looks for new kinds every 30."""
KWOK_COMPLETE_AFTER = "trainyard.dev/kwok-complete-after"
FLAVOR = "h200"
_PLURALS = {
    "TrainingJob": f"{OURS}/{{ns}}trainingjobs",
    "InferenceService": f"{OURS}/{{ns}}inferenceservices",
    "Queue": f"{OURS}/queues",
    "Flavor": f"{OURS}/flavors",
    "Pod": "/api/v1/{ns}pods",
    "PersistentVolumeClaim": "/api/v1/{ns}persistentvolumeclaims",
    "ResourceQuota": "/api/v1/{ns}resourcequotas",
    "Service": "/api/v1/{ns}services",
    "Deployment": "/apis/apps/v1/{ns}deployments",
    "Namespace": "/api/v1/namespaces",
    "Node": "/api/v1/nodes",
    "Event": "/api/v1/{ns}events",
    "Lease": "/apis/coordination.k8s.io/v1/{ns}leases",
}
Object = dict[str, Any]


def completes_after(duration: str) -> b.Modifier:
    """Workers end with exit code 0 after so long, e.g. "2s"."""
    return b.annotated(**{KWOK_COMPLETE_AFTER: duration})


@dataclass
class Yard:
    """What one test has to itself."""

    cluster: Cluster
    namespace: str = field(default_factory=lambda: f"yard-{uuid4().hex[:6]}")

    @property
    def api(self) -> Api:
        return self.cluster.api

    @property
    def queue(self) -> str:
        """The queue of the namespace's name."""
        return self.namespace

    def open(self, gpus: int = 32, **labels: str) -> "Yard":
        """Make the namespace and a queue that admits it alone."""
        self.create(b.a_namespace(self.namespace, yard=self.namespace, **labels))
        queue = b.a_queue(self.queue, gpus=gpus, flavor=FLAVOR)
        queue["spec"]["namespaceSelector"] = {"matchLabels": {"yard": self.namespace}}
        self.create(queue)
        return self

    def close(self) -> None:
        self.delete("Namespace", self.namespace)
        self.delete("Queue", self.queue)

    # Objects.

    def path(self, kind: str, namespace: str | None = None) -> str:
        return _PLURALS[kind].format(ns=f"namespaces/{namespace or self.namespace}/")

    def create(self, obj: Object, *, dry_run: bool = False) -> Object:
        """Create an object here. Raises ApiError with the API server's words."""
        namespace = obj["metadata"].get("namespace")
        query = "fieldValidation=Strict" + ("&dryRun=All" if dry_run else "")
        made: Object = self.api.request("POST", f"{self.path(obj['kind'], namespace)}?{query}", obj)
        return made

    def job(self, name: str, *modifiers: b.Modifier, dry_run: bool = False) -> Object:
        """Create a TrainingJob in the namespace and queue of this yard."""
        mine = (b.namespace(self.namespace), b.queue(self.queue))
        return self.create(b.training_job(name, *mine, *modifiers), dry_run=dry_run)

    def get(self, kind: str, name: str) -> Object | None:
        try:
            found: Object = self.api.get(f"{self.path(kind)}/{name}")
        except ApiError as error:
            if error.code != NOT_FOUND:
                raise
            return None
        return found

    def patch(self, kind: str, name: str, body: Object, subresource: str = "") -> Object:
        changed: Object = self.api.patch(f"{self.path(kind)}/{name}{subresource}", body)
        return changed

    def delete(self, kind: str, name: str) -> None:
        self.api.delete(f"{self.path(kind)}/{name}")

    def items(self, kind: str) -> list[Object]:
        return list(self.api.get(self.path(kind))["items"])

    def kubectl(self, *args: str, stdin: str | None = None) -> str:
        return self.cluster.kubectl("-n", self.namespace, *args, input=stdin)

    # What is seen of them.

    def status(self, name: str, kind: str = "TrainingJob") -> Object:
        return dict((self.get(kind, name) or {}).get("status", {}))

    def phase(self, name: str) -> str:
        return str(self.status(name).get("phase", ""))

    def condition(self, name: str, of: str, kind: str = "TrainingJob") -> Object:
        conditions = self.status(name, kind).get("conditions", [])
        return next((each for each in conditions if each["type"] == of), {})

    def pods(self, job: str) -> list[Object]:
        pods = [
            each for each in self.items("Pod") if each["metadata"].get("labels", {}).get("trainyard.dev/job") == job
        ]
        return sorted(pods, key=lambda pod: str(pod["metadata"]["name"]))

    def events(self, about: str) -> list[tuple[str, str]]:
        """Reason and message of each event on an object."""
        return [
            (each["reason"], each.get("message", ""))
            for each in self.items("Event")
            if each["involvedObject"]["name"] == about
        ]

    def until(self, true: Callable[[], object], seconds: float = 60, about: str = "") -> None:
        """Wait for something to hold. Fails with what is there instead."""
        deadline = time.monotonic() + seconds
        while not true():
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {seconds} s; {self._picture(about)}")
            time.sleep(0.1)

    def until_phase(self, name: str, phase: str, seconds: float = 60) -> None:
        self.until(lambda: self.phase(name) == phase, seconds, name)

    def waits(self, name: str, reason: str, seconds: float = 60) -> str:
        """Wait until the job waits for that reason; returns the message."""
        self.until(lambda: self.condition(name, "Admitted").get("reason") == reason, seconds, name)
        admitted = self.condition(name, "Admitted")
        assert admitted["status"] == "False"
        assert self.status(name)["reason"] == reason
        return str(admitted["message"])

    def _picture(self, about: str) -> str:
        pods = [f"{pod['metadata']['name']} {pod.get('status', {}).get('phase')}" for pod in self.items("Pod")]
        return f"status {json.dumps(self.status(about))}, pods {pods}" if about else f"pods {pods}"
