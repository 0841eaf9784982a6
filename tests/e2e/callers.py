"""Callers of a service in a pod of the cluster, who never stop and send nothing twice: through the Service, as others ask."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.e2e.asking import IMAGE_BODY
from tests.e2e.platform import Platform

_PROGRAM = Path(__file__).with_name("callers_program.py")


class Callers:
    """So many that think for so long, on average, between an answer and the next question."""

    def __init__(self, platform: Platform, service: str, *, callers: int = 16, think_seconds: float = 0.1) -> None:
        self.platform, self._name, self._service = platform, f"callers-of-{service}", service
        self._env = {
            "URL": f"http://{service}.{platform.namespace}.svc/v2/models/{service}/infer",
            "BODY": IMAGE_BODY.decode(),
            "CALLERS": str(callers),
            "THINK_SECONDS": str(think_seconds),
        }

    def start(self) -> None:
        """Begin, and wait for a good answer."""
        self.platform.apply(self.platform.program(self._name, "server", _PROGRAM.read_text(), env=self._env))
        self.platform.until("callers that are answered", lambda: self.answers()["200"])

    def stop(self) -> None:
        """They are no more, and neither is what they said."""
        self.platform.cluster.kubectl(
            "delete", "pod", self._name, "-n", self.platform.namespace, "--wait=true", "--timeout=60s"
        )

    def said(self) -> list[dict[str, Any]]:
        """All that they told so far: a line a second, and one for each request that failed."""
        return self.platform.said(self._name)

    def answers(self) -> Counter[str]:
        """How many of each status, or error, there were so far."""
        total: Counter[str] = Counter()
        for line in self.said():
            total.update(line.get("answers", {}))
        return total

    def failures(self) -> list[Mapping[str, Any]]:
        """Requests that failed: status or error, when they were sent and ended, and what was said."""
        return [line for line in self.said() if "failed" in line]
