"""What a pod asks of its node, added up as kube-scheduler does: one rule for pods that exist and for those we are about to make."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from trainyard.scheduling.resources import Amounts, add, parse_all


def pod_requests(spec: Mapping[str, Any]) -> Amounts:
    """Thousandths by resource for a core/v1 PodSpec: the same object for pods that ask the same. Raises ValueError that names a bad quantity.

    Init containers run one after the other, those that always restart go on running beside all that follows.
    """
    beside: dict[str, int] = {}
    peak: dict[str, int] = {}
    for container in spec.get("initContainers", ()):
        asked = _of_container(container)
        peak = _most((peak, add((beside, asked))))
        if container.get("restartPolicy") == "Always":
            beside = add((beside, asked))
    running = add((beside, *(_of_container(each) for each in spec.get("containers", ()))))
    # What is asked for the pod as a whole stands in place of what its containers ask for, whatever they do.
    whole = {**_most((running, peak)), **_of_container(spec)}
    return _once(tuple(add((whole, parse_all(spec.get("overhead", {})))).items()))


@lru_cache(1024)
def _once(amounts: tuple[tuple[str, int], ...]) -> Amounts:
    return dict(amounts)


def _of_container(container: Mapping[str, Any]) -> dict[str, int]:
    resources = container.get("resources", {})
    return parse_all({**resources.get("limits", {}), **resources.get("requests", {})})


def _most(amounts: Iterable[Amounts]) -> dict[str, int]:
    largest: dict[str, int] = {}
    for each in amounts:
        for name, amount in each.items():
            largest[name] = max(largest.get(name, 0), amount)
    return largest
