"""A manifest of examples/serving on the cluster: what it takes for granted, and what became of it."""

import json
import ssl
from pathlib import Path
from typing import Any

import yaml

from dev.cluster.certificates import Authority
from tests.e2e.asking import Gateway
from tests.e2e.models import Models
from tests.e2e.platform import secret
from tests.tokens import new_key, public_pem

EXAMPLES = Path(__file__).parents[2] / "examples" / "serving"


class Applied:
    """A manifest on the cluster, with what it takes for granted."""

    def __init__(self, models: Models, file: str, folder: Path) -> None:
        self.models, self.platform, self.file = models, models.platform, file
        self.documents: list[dict[str, Any]] = list(yaml.safe_load_all((EXAMPLES / file).read_text()))
        self.service = next(each for each in self.documents if each["kind"] == "InferenceService")
        self.name: str = self.service["metadata"]["name"]
        self.login, self.authority = new_key(), Authority(folder)

    def apply(self) -> None:
        text = "---\n".join(yaml.safe_dump(each) for each in self.documents)
        self.platform.cluster.kubectl("apply", "-n", self.platform.namespace, "-f", "-", input=text)

    def certify(self) -> None:
        """The Secret that spec.gateway.tls names."""
        self.authority.create()
        certificate, key = self.authority.issue(
            "served", self.name, hosts=[f"{self.name}.{self.platform.namespace}.svc"]
        )
        entries = {"tls.crt": certificate.read_text(), "tls.key": key.read_text()}
        name = self.service["spec"]["gateway"]["tls"]["secretName"]
        self.platform.apply(secret(self.platform, name, entries, "kubernetes.io/tls"))

    def publish_login_key(self) -> None:
        """The Secret that spec.gateway.jwt names."""
        entries = {"public.pem": public_pem(self.login).decode()}
        self.platform.apply(secret(self.platform, self.service["spec"]["gateway"]["jwt"]["publicKeySecret"], entries))

    def take_the_digest_of_our_model(self) -> None:
        """The one in the manifest is of a model that its reader has."""
        model = self.service["spec"]["model"]
        model["digest"] = self.models.digests[model["path"]]

    def train_its_job(self) -> None:
        """The one of examples/training that it names."""
        job = self.service["spec"]["model"]["trainingJob"]
        file = EXAMPLES.parent / "training" / f"{job}.yaml"
        self.platform.cluster.kubectl("apply", "-n", self.platform.namespace, "-f", str(file))
        self.platform.phase("tyj", job, "Complete", 400)

    def delete(self) -> None:
        """Its services; what they took for granted stays."""
        for each in self.documents:
            if each["kind"] == "InferenceService":
                self.platform.delete("tyi", each["metadata"]["name"])

    def message(self) -> str:
        """Why it is ready, or is not."""
        stated = self.status().get("conditions", ())
        return next((str(each["message"]) for each in stated if each["type"] == "Ready"), "")

    def gateway(self, *, tls: bool = False) -> Gateway:
        context = ssl.create_default_context(cafile=self.authority.certificate) if tls else None
        return Gateway(self.platform, self.name, context)

    def status(self) -> dict[str, Any]:
        return self.platform.status("tyi", self.name)

    def ready(self, replicas: int | None = None) -> dict[str, Any]:
        """The status, once so many replicas answer, by default those of the manifest."""
        wanted = self.service["spec"].get("replicas", 1) if replicas is None else replicas

        def look() -> dict[str, Any] | None:
            status = self.status()
            return status if status.get("phase") == "Ready" and status["readyReplicas"] == wanted else None

        found: dict[str, Any] = self.platform.until(f"{wanted} replicas of {self.name}", look, 240)
        return found

    def rollout(self, field: str, value: Any) -> dict[str, Any]:
        """status.rollout, once a field of it has that value."""

        def look() -> dict[str, Any] | None:
            found: dict[str, Any] = self.status().get("rollout") or {}
            return found if found.get(field) == value else None

        found: dict[str, Any] = self.platform.until(f"status.rollout.{field} being {value}", look, 240)
        return found

    def pods(self, role: str) -> list[dict[str, Any]]:
        """Of the service: replica or gateway."""
        return self.platform.pods(f"trainyard.dev/service={self.name},trainyard.dev/role={role}")

    def completions(self, headers: dict[str, str] | None = None) -> dict[str, Any]:
        """An answer to a prompt."""
        body = {"model": self.name, "prompt": "The import statement", "max_tokens": 3}
        answer = self.gateway().ask("/v1/completions", json.dumps(body).encode(), headers)
        assert answer.status == 200, answer
        found: dict[str, Any] = answer.body
        return found
