"""Queues and flavors of a simulation: from a file of manifests, or one for each queue that the trace names."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from trainyard.api.flavor import Flavor, FlavorSpec
from trainyard.api.names import GPU
from trainyard.api.queue import Queue, QueueSpec
from trainyard.cli.errors import CliError
from trainyard.cli.manifests import Manifest, manifests
from trainyard.cli.simulation.replay import NAMESPACE, Job, Site
from trainyard.scheduling.quota_tree import parents
from trainyard.scheduling.snapshot import NodeView

FLAVOR = "gpu"
_ROOT = "all"
_EVERYBODY = {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "Exists"}]}
_KINDS: Mapping[str, type[Queue | Flavor]] = {"Queue": Queue, "Flavor": Flavor}


def site(nodes: Sequence[NodeView], jobs: Sequence[Job], path: Path | None) -> Site:
    """Where the jobs run. Without a file each queue is guaranteed its part of the GPUs, by the GPU time of its jobs."""
    namespaces = {NAMESPACE: {"kubernetes.io/metadata.name": NAMESPACE}}
    if path is None:
        total = sum(node.allocatable.get(GPU, 0) for node in nodes) // 1000
        return Site(tuple(nodes), _by_use(jobs, total), {FLAVOR: FlavorSpec()}, namespaces)
    queues, flavors = _from(path)
    leaves = queues.keys() - parents(queues)
    missing = sorted({job.queue for job in jobs} - leaves)
    if missing:
        raise CliError(
            f"{path}: no queue that takes jobs is named {', '.join(missing[:5])}, as jobs of the trace ask for; "
            f"there are: {', '.join(sorted(leaves)) or 'none'}"
        )
    # Whom a queue admits in its cluster is no matter here.
    opened = {
        name: QueueSpec.model_validate({**spec.model_dump(by_alias=True), "namespaceSelector": _EVERYBODY})
        for name, spec in queues.items()
    }
    return Site(tuple(nodes), opened, flavors, namespaces)


def _by_use(jobs: Sequence[Job], gpus: int) -> dict[str, QueueSpec]:
    """Guarantees add up to all GPUs, by largest remainder."""
    used: dict[str, float] = defaultdict(float)
    for job in jobs:
        used[job.queue] += job.seconds * job.gpus
    whole = sum(used.values()) or 1.0
    exact = {name: gpus * amount / whole for name, amount in sorted(used.items())}
    shares = {name: int(amount) for name, amount in exact.items()}
    for name in sorted(exact, key=lambda each: shares[each] - exact[each])[: gpus - sum(shares.values())]:
        shares[name] += 1
    return {_ROOT: _queue(0, None), **{name: _queue(share, _ROOT) for name, share in shares.items() if name != _ROOT}}


def _queue(guaranteed: int, parent: str | None) -> QueueSpec:
    quota = {"name": FLAVOR, "resources": [{"name": GPU, "guaranteed": str(guaranteed)}]}
    return QueueSpec.model_validate({"parent": parent, "namespaceSelector": _EVERYBODY, "flavors": [quota]})


def _from(path: Path) -> tuple[dict[str, QueueSpec], dict[str, FlavorSpec]]:
    queues: dict[str, QueueSpec] = {}
    flavors: dict[str, FlavorSpec] = {}
    for each in manifests(path):
        thing = _thing(each)
        if isinstance(thing, Queue):
            queues[thing.metadata.name] = thing.spec
        else:
            flavors[thing.metadata.name] = thing.spec
    if not queues:
        raise CliError(f"{path}: there is no Queue in it")
    for name in sorted(_named(queues.values()) - flavors.keys()):
        flavors[name] = FlavorSpec()
    return queues, flavors


def _thing(manifest: Manifest) -> Queue | Flavor:
    kind = _KINDS.get(str(manifest.value.get("kind")))
    if kind is None:
        raise manifest.error(("kind",), "Queue or Flavor")
    try:
        return kind.model_validate(manifest.value)
    except ValidationError as error:
        raise manifest.invalid(error) from None


def _named(queues: Iterable[QueueSpec]) -> set[str]:
    return {flavor.name for queue in queues for flavor in queue.flavors}
