"""Which flavors a workload may run on: those that its spec names or, if it asks for a part of a GPU, those that share theirs."""

from collections.abc import Mapping, Sequence

from trainyard.api.flavor import FlavorSpec
from trainyard.api.meta import ResourceRequirements
from trainyard.api.names import GPU
from trainyard.api.placement import FlavorChoice
from trainyard.scheduling.resources import parse
from trainyard.scheduling.snapshot import PodSet

_WHOLE = 1000


def accepted(
    choices: Sequence[FlavorChoice], pods: Sequence[PodSet], flavors: Mapping[str, FlavorSpec]
) -> tuple[str, ...]:
    """Names of flavors, best first; empty leaves it to the queue."""
    if choices:
        return tuple(each.name for each in choices)
    if any(each.requests.get(GPU, 0) % _WHOLE for each in pods):
        return tuple(sorted(name for name, spec in flavors.items() if spec.fractional))
    return ()


def throughputs(choices: Sequence[FlavorChoice]) -> tuple[tuple[str, float], ...]:
    """Speed on each flavor, if the spec says it."""
    return tuple((each.name, each.throughput) for each in choices if each.throughput is not None)


def unshared(
    resources: ResourceRequirements, choices: Sequence[FlavorChoice], flavors: Mapping[str, FlavorSpec]
) -> str | None:
    """Why a part of a GPU cannot be had, with the field below resources that asks for it. Raises ValueError for a bad quantity."""
    for part, amounts in (("limits", resources.limits), ("requests", resources.requests)):
        quantity = amounts.get(GPU, "0")
        amount = parse(quantity)
        if amount % _WHOLE == 0:
            continue
        asked = f"{part}[{GPU}]: {quantity} is not a whole number of GPUs"
        if amount > _WHOLE:
            return f"{asked}; a pod gets whole ones, or a part of a single one"
        undivided = [each.name for each in choices if each.name in flavors and not flavors[each.name].fractional]
        if undivided:
            return f"{asked}, and Flavor {', '.join(undivided)} is not fractional: ask for whole ones, or leave it out of spec.flavors"
        if not choices and not any(each.fractional for each in flavors.values()):
            return f"{asked}, and no Flavor is fractional: ask for whole ones"
    return None
