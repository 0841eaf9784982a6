"""How workloads and places are named in answers."""

from collections import Counter

from trainyard.api.answers import NodeShare
from trainyard.scheduling.snapshot import Assignment, WorkloadKey


def who(key: WorkloadKey) -> str:
    """As in "TrainingJob team/pretrain"."""
    replica = f" (replica {key.slot})" if key.kind == "InferenceService" else ""
    return f"{key.kind} {key.namespace}/{key.name}{replica}"


def shares(place: Assignment) -> list[NodeShare]:
    """Pods by node, in rank order."""
    counts = Counter(node for names in place.nodes.values() for node in names)
    return [NodeShare(node=name, pods=count) for name, count in counts.items()]
