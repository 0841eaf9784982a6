"""Checks of what an administrator has written: flavors and their nodes, queues and who may use them."""

from collections.abc import Iterator

from trainyard.api.flavor import Flavor
from trainyard.api.names import GPU
from trainyard.api.queue import Queue
from trainyard.api.reasons import ConditionType
from trainyard.cli.doctor.finding import Finding, note, problem, shown, warning
from trainyard.cli.doctor.seen import Installation
from trainyard.cluster.resources import Object
from trainyard.scheduling.eligibility import of_flavor
from trainyard.scheduling.resources import add, parse, show
from trainyard.scheduling.snapshot import NodeView
from trainyard.workloads import conditions
from trainyard.workloads.views import node_view


def flavors_have_nodes(seen: Installation) -> Iterator[Finding]:
    """Each flavor has some that offer what is counted on it."""
    if not seen.knows("Flavor") or not seen.knows("Node"):
        return
    if not seen.flavors():
        yield problem(
            "flavors",
            "there is none",
            "a queue has nothing to give",
            "kubectl apply -f examples/platform.yaml shows one",
        )
    nodes = [node_view(each) for each in seen.of_kind("Node")]
    for flavor in seen.flavors():
        mine = [each for each in nodes if of_flavor(each, flavor.spec)]
        about = f"Flavor {flavor.metadata.name}"
        if not mine:
            labels = ", ".join(f"{key}={value}" for key, value in flavor.spec.node_selector.items())
            yield problem(
                about,
                f"no node has its labels ({labels or 'it asks for none, and there is no node'})",
                "whoever asks for it waits for ever",
                "kubectl get nodes --show-labels; change spec.nodeSelector or label the nodes",
            )
            continue
        lacking = [each for each in flavor.spec.resources if not any(node.allocatable.get(each) for node in mine)]
        if lacking:
            yield problem(
                about,
                f"none of its {len(mine)} nodes offers {shown(lacking)}",
                "quotas of it can never be used",
                "see that the device plugin runs there: kubectl describe node; or take it out of spec.resources",
            )
        yield from _sick(about, mine)


def _sick(about: str, mine: list[NodeView]) -> Iterator[Finding]:
    sick = [f"{each.name} ({each.broken or 'not ready'})" for each in mine if each.broken or not each.ready]
    if sick:
        tell = problem if len(sick) == len(mine) else warning
        yield tell(
            about,
            f"{len(sick)} of {len(mine)} nodes are sick: {shown(sick)}",
            "they take no new pods",
            "kubectl describe node, and whoever looks after the machines",
        )


def nodes_have_flavors(seen: Installation) -> Iterator[Finding]:
    """No GPU is left out by mistake."""
    if not seen.knows("Flavor") or not seen.flavors():
        return
    nodes = [node_view(each) for each in seen.of_kind("Node")]
    idle = [
        each
        for each in nodes
        if each.allocatable.get(GPU) and not any(of_flavor(each, flavor.spec) for flavor in seen.flavors())
    ]
    if idle:
        gpus = show(sum(each.allocatable[GPU] for each in idle))
        yield warning(
            "nodes",
            f"{len(idle)} with {gpus} GPUs belong to no flavor: {shown([each.name for each in idle])}",
            "no job is ever placed there",
            "label them as a flavor asks, or make a flavor for them",
        )


def queues_are_sound(seen: Installation) -> Iterator[Finding]:
    """The operator calls each ready, and somebody may use it."""
    queues = seen.queues()
    if seen.knows("Queue") and not queues:
        yield problem(
            "queues", "there is none", "no job can start", "kubectl apply -f examples/platform.yaml shows one"
        )
    parents = {each.spec.parent for each in queues}
    for queue in queues:
        about, spec = f"Queue {queue.metadata.name}", queue.spec
        ready = conditions.find(queue.status.conditions, ConditionType.READY)
        if ready is not None and ready.status == "False":
            yield problem(
                about,
                ready.message,
                "it admits nothing",
                "kubectl edit queue; `kubectl explain tyq.spec` explains each field",
            )
        if spec.stop_policy != "None":
            yield note(
                about,
                f"its stopPolicy is {spec.stop_policy}",
                "it admits nothing new",
                f'kubectl patch queue {queue.metadata.name} --type merge -p \'{{"spec":{{"stopPolicy":"None"}}}}\' when that is over',
            )
        if queue.metadata.name not in parents:
            yield from _of_leaf(seen, queue, about)


def _of_leaf(seen: Installation, queue: Queue, about: str) -> Iterator[Finding]:
    selector = queue.spec.namespace_selector
    spaces: list[Object] = list(seen.of_kind("Namespace"))
    if not selector.match_labels and not selector.match_expressions:
        yield warning(
            about,
            "its namespaceSelector is empty",
            "no namespace may use it",
            "name the labels of those that may; all: kubernetes.io/metadata.name Exists",
        )
    elif spaces and not any(selector.matches(each["metadata"].get("labels", {})) for each in spaces):
        yield warning(
            about,
            "no namespace has the labels that it selects",
            "nobody may use it",
            "kubectl get namespaces --show-labels; label those that may use it",
        )
    if not _quotas(seen, queue):
        yield warning(
            about,
            "neither it nor a queue above it has quotas (spec.flavors)",
            "it has nothing to give",
            "add spec.flavors with what it is guaranteed",
        )


def _quotas(seen: Installation, queue: Queue | None) -> bool:
    """Whether it, or one above it, has some; a cycle of parents is another finding."""
    known, passed = {each.metadata.name: each for each in seen.queues()}, set()
    while queue is not None and queue.metadata.name not in passed:
        if queue.spec.flavors:
            return True
        passed.add(queue.metadata.name)
        queue = known.get(queue.spec.parent or "")
    return False


def guarantees_are_covered(seen: Installation) -> Iterator[Finding]:
    """What is guaranteed in all is there."""
    if not seen.knows("Node"):
        return
    nodes = [node_view(each) for each in seen.of_kind("Node")]
    for flavor in seen.flavors():
        offered = add(each.allocatable for each in nodes if of_flavor(each, flavor.spec))
        for resource in flavor.spec.resources:
            guaranteed = sum(_guaranteed(queue, flavor, resource) for queue in seen.queues())
            if guaranteed > offered.get(resource, 0):
                yield warning(
                    f"Flavor {flavor.metadata.name}",
                    f"queues are guaranteed {show(guaranteed)} {resource}, and its nodes offer {show(offered.get(resource, 0))}",
                    "not every guarantee can be kept at the same time",
                    "lower guaranteed of some queues, or bring back the nodes that are missing",
                )


def _guaranteed(queue: Queue, flavor: Flavor, resource: str) -> int:
    try:
        return sum(
            parse(each.guaranteed)
            for quota in queue.spec.flavors
            if quota.name == flavor.metadata.name
            for each in quota.resources
            if each.name == resource
        )
    except ValueError:
        return 0
