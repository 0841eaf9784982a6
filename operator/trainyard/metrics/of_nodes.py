"""The state of every node, what its GPUs are doing, and which nodes hold jobs up."""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime

from trainyard.api.flavor import FlavorSpec
from trainyard.api.names import GPU
from trainyard.metrics import definitions as d
from trainyard.metrics.sample import Sample
from trainyard.scheduling.eligibility import of_flavor, tolerated
from trainyard.scheduling.snapshot import NodeView, Snapshot

NO_FLAVOR = "none"


def node_samples(snapshot: Snapshot, now: datetime) -> Iterator[Sample]:
    """Four states for each node that has GPUs; they add up to what it offers."""
    used: Counter[str] = Counter()
    for pod in snapshot.pods:
        if not pod.finished:
            used[pod.node] += pod.requests.get(GPU, 0)
    for node in snapshot.nodes:
        yield Sample(d.NODE_STATE, (node.name, _state(node)), 1)
        if total := node.allocatable.get(GPU, 0):
            flavor = flavor_of(node, snapshot.flavors)
            allocated = min(used[node.name], total)
            states = {"allocated": allocated, "free": 0, "cordoned": 0, "unhealthy": 0}
            states[_rest(node, snapshot.flavors.get(flavor))] = total - allocated
            for state, amount in states.items():
                yield Sample(d.NODE_GPUS, (node.name, flavor, state), amount / 1000)
        if node.standing.since is not None:
            seconds = max(0.0, (now - node.standing.since).total_seconds())
            yield Sample(d.NODE_HEALTH, (node.name, node.standing.state.value), seconds)
        if node.standing.lemon:
            yield Sample(d.NODE_LEMON, (node.name,), node.standing.lemon)
        if node.standing.risk:
            yield Sample(d.NODE_RISK, (node.name,), node.standing.risk)
        if node.name in snapshot.slow:
            yield Sample(d.NODE_SLOWNESS, (node.name,), snapshot.slow[node.name])


def flavor_of(node: NodeView, flavors: Mapping[str, FlavorSpec]) -> str:
    """The flavor with the narrowest selector, so that sums over flavors count no node twice."""
    fitting = [name for name, flavor in flavors.items() if of_flavor(node, flavor)]
    return min(fitting, key=lambda name: (-len(flavors[name].node_selector), name), default=NO_FLAVOR)


def _state(node: NodeView) -> str:
    told = {"not_ready": not node.ready, "broken": node.broken, "leaving": node.leaving, "cordoned": node.unschedulable}
    return next((state for state, holds in told.items() if holds), "ready")


def _rest(node: NodeView, flavor: FlavorSpec | None) -> str:
    """State of the GPUs that no pod holds."""
    if not node.ready or node.broken:
        return "unhealthy"
    if node.unschedulable or node.leaving or not tolerated(node, tuple(flavor.tolerations) if flavor else ()):
        return "cordoned"
    return "free"
