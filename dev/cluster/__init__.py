"""A real Kubernetes for development and tests: `up(ClusterSpec(...))`, use it, `down()`.

Three providers stand behind one interface; docs/local-cluster.md tells a user about them.
"""

from dev.cluster.cluster import Cluster, Node
from dev.cluster.errors import BuildError, ClusterError, CommandError, MissingTool, SpecError, StartError
from dev.cluster.kwok import KwokNodes
from dev.cluster.lifecycle import attach, down, up
from dev.cluster.residue import residue
from dev.cluster.spec import ClusterSpec

__all__ = [
    "BuildError",
    "Cluster",
    "ClusterError",
    "ClusterSpec",
    "CommandError",
    "KwokNodes",
    "MissingTool",
    "Node",
    "SpecError",
    "StartError",
    "attach",
    "down",
    "residue",
    "up",
]
