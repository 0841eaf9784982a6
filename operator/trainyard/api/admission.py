"""The durable form of an admission: which flavor, and which node each pod gets.

Kept short, since the largest gang has 8,192 pods: node names share a common prefix and neighbouring pods on one node are one run.
"""

import os

from pydantic import Field

from trainyard.api.meta import Model, PreciseTime, Word, list_map


class Run(Model):
    """Pods that follow each other in rank order on one node."""

    node: Word = Field(default="", max_length=253, description="Name of the node without the common prefix.")
    count: int = Field(ge=1, description="How many pods.")


class RoleAssignment(Model):
    """Nodes of one role's pods, in rank order."""

    name: Word = Field(max_length=63, description="The role, e.g. worker.")
    prefix: Word = Field(default="", max_length=253, description="What the names of all nodes below begin with.")
    runs: list[Run] = Field(max_length=8192, description="Nodes with the number of consecutive ranks on each.")

    def nodes(self) -> list[str]:
        """One node name per pod, in rank order."""
        return [self.prefix + run.node for run in self.runs for _ in range(run.count)]


class JobAdmission(Model):
    """The place a job was given: it stands before the first pod is created and is gone only when the place is given back."""

    epoch: int = Field(description="Leadership under which it was decided: the Lease's transition count.")
    queue: Word = Field(description="Queue whose quota is held.")
    flavor: Word = Field(description="Flavor whose quota is held.")
    time: PreciseTime = Field(description="When it was decided.")
    roles: list[RoleAssignment] = Field(
        max_length=16, description="Nodes of each role.", json_schema_extra=list_map("name")
    )


class AvoidedNode(Model):
    """A node on which a pod of this job could not be placed; not tried again for a while."""

    name: str = Field(description="Name of the node.")
    until: PreciseTime = Field(description="When it may be tried again.")
    blameless: bool = Field(
        default=False,
        description="Whether that says nothing of the node: the pod was sent away, or others had taken its place.",
    )


def compact(role: str, nodes: list[str]) -> RoleAssignment:
    """The shortest record of `nodes` (one per pod, in rank order)."""
    # By character on purpose: node names are no paths.
    prefix = os.path.commonprefix(nodes)  # noqa: RUF071
    runs: list[Run] = []
    for node in nodes:
        suffix = node[len(prefix) :]
        if runs and runs[-1].node == suffix:
            runs[-1] = Run(node=suffix, count=runs[-1].count + 1)
        else:
            runs.append(Run(node=suffix, count=1))
    return RoleAssignment(name=role, prefix=prefix, runs=runs)
