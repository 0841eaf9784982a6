"""What a program in a pod says to the operator, on a cluster whose pods run no programs: the pod's own token, TLS and the real endpoint.

A trainer that makes steps, hangs or cannot write is played here as kwok plays kubelets. What the operator makes of it is its own.
"""

import base64
import http.client
import json
import ssl
from dataclasses import dataclass
from typing import Any

from tests.apiserver.operator_process import SYSTEM
from tests.drills.ground import Ground
from trainyard.api.names import OPERATOR_TLS, ROLE_LABEL, SERVICE_LABEL, TOKEN_AUDIENCE


@dataclass(frozen=True)
class Answer:
    """Of the operator."""

    status: int
    body: str


def call(ground: Ground, path: str, body: Any, token: str = "") -> Answer:
    """POST to the operator's endpoint."""
    secret = ground.api.get(f"/api/v1/namespaces/{SYSTEM}/secrets/{OPERATOR_TLS}")
    authority = base64.b64decode(secret["data"]["ca.crt"]).decode()
    trusted = ssl.create_default_context(cadata=authority)
    connection = http.client.HTTPSConnection("localhost", ground.operator.https_port, timeout=15, context=trusted)
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    try:
        connection.request("POST", path, json.dumps(body), headers)
        answer = connection.getresponse()
        return Answer(answer.status, answer.read().decode())
    finally:
        connection.close()


def token_of(ground: Ground, pod: dict[str, Any]) -> str:
    """As the pod finds it in its volume."""
    bound = {"kind": "Pod", "apiVersion": "v1", "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]}
    body = {"spec": {"audiences": [TOKEN_AUDIENCE], "boundObjectRef": bound}}
    path = f"/api/v1/namespaces/{ground.namespace}/serviceaccounts/default/token"
    token: str = ground.api.request("POST", path, body)["status"]["token"]
    return token


class Trainer:
    """Rank 0 of a job that runs."""

    def __init__(self, ground: Ground, job: str) -> None:
        ground.until_phase(job, "Running", 90)
        found = ground.get("TrainingJob", job)
        assert found is not None
        self._ground, self._uid = ground, found["metadata"]["uid"]
        self._attempt = found["status"]["attempt"]
        self._token = token_of(ground, ground.pods(job)[0])

    def reports(self, step: int, **more: Any) -> None:
        """What the agent posts. more: further fields of a report."""
        told = {"jobUid": self._uid, "attempt": self._attempt, "phase": "training", "step": step, "totalSteps": 10_000}
        answer = call(self._ground, "/v1/progress", told | more, self._token)
        assert answer.status == 200, answer


class Gateway:
    """One of a service's gateways, of which kwok plays the pod."""

    def __init__(self, ground: Ground, service: str) -> None:
        found = ground.get("InferenceService", service)
        assert found is not None
        labels = {ROLE_LABEL: "gateway", SERVICE_LABEL: service}
        pod = next(each for each in ground.items("Pod") if labels.items() <= each["metadata"]["labels"].items())
        self._ground, self._token = ground, token_of(ground, pod)
        self._who = {
            "namespace": ground.namespace,
            "service": service,
            "serviceUid": found["metadata"]["uid"],
            "pod": pod["metadata"]["name"],
        }

    def sees(self, *replicas: str) -> None:
        """Tell the operator that these answer."""
        told = self._who | {"generation": 0, "members": {each: {"state": "UP"} for each in replicas}}
        answer = call(self._ground, "/v1/gateways", told, self._token)
        assert answer.status == 200, answer
