"""What the API server refused, remembered for a while; and what makes two pods alike to whoever refuses."""

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson

from trainyard.api.names import GROUP
from trainyard.runtime.clock import Clock
from trainyard.workloads.plan import Object

REFUSED_SECONDS = 60.0


def fingerprint(pod: Object) -> str:
    """Equal for pods that differ only in what we give each of them: name, rank, node and our variables.

    Whatever a user can write stays in, or one job's mistake would be held against its neighbours.
    """
    meta, spec = pod["metadata"], pod["spec"]
    theirs = {name: value for name, value in meta.get("labels", {}).items() if not name.startswith(GROUP)}
    containers = [
        {**each, "env": [variable for variable in each.get("env", ()) if not _ours(variable)]}
        for each in spec["containers"]
    ]
    affinity = {name: value for name, value in spec.get("affinity", {}).items() if name != "nodeAffinity"}
    rest = {key: value for key, value in spec.items() if key not in ("affinity", "hostname", "subdomain")}
    body = [meta["namespace"], theirs, meta.get("annotations"), affinity, {**rest, "containers": containers}]
    return hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _ours(variable: Mapping[str, Any]) -> bool:
    return str(variable.get("name", "")).startswith(("TRAINYARD_", "PET_"))


class Refusals:
    """Messages by what was refused."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._answers: dict[str, tuple[str, float]] = {}

    def known(self, mark: str) -> str | None:
        """The message of a refusal, None if there was none lately."""
        found = self._answers.get(mark)
        if found is None or found[1] <= self._clock.monotonic():
            self._answers.pop(mark, None)
            return None
        return found[0]

    def left(self, mark: str) -> float:
        """Seconds until it is tried again; 0 for what was not refused."""
        found = self._answers.get(mark)
        return max(0.0, found[1] - self._clock.monotonic()) if found else 0.0

    def refuse(self, mark: str, message: str) -> None:
        if len(self._answers) >= 4096:  # noqa: PLR2004
            self._answers.clear()
        self._answers[mark] = (message, self._clock.monotonic() + REFUSED_SECONDS)
