"""What a caller asks for: the cluster's name, size and provider.

Pure. `providers` turns a spec into a running cluster.
"""

import re
from dataclasses import dataclass

from dev.cluster.errors import SpecError

PROVIDERS = ("kind", "local", "current")
MAX_REAL_NODES = 50  # one /24 of pods each below the cluster's /16; the rest of it is for kwok's pods
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,28}[a-z0-9])?")


@dataclass(frozen=True)
class ClusterSpec:
    """A cluster to bring up.

    nodes: real ones, each with a kubelet and a containerd, advertising gpus_per_node GPUs of gpu_model.
    kwok_nodes: simulated ones with kwok_gpus each. provider: None lets `providers.choose` decide.
    not_ready_seconds: without a heartbeat for so long a node is not ready; simulated ones send theirs twice in that time.
    audit: the API server writes a line for each request to `Cluster.audit_log`.
    images: real nodes have all of `dev.images`, built first if need be; without, only the cluster's own probe image.
    """

    name: str
    nodes: int = 0
    gpus_per_node: int = 0
    gpu_model: str = "H200"
    kwok_nodes: int = 0
    kwok_gpus: int = 8
    provider: str | None = None
    not_ready_seconds: int = 20
    audit: bool = False
    images: bool = True

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise SpecError(f"cluster name {self.name!r}: use at most 30 of a-z, 0-9 and '-', as in a DNS label")
        for field in ("nodes", "gpus_per_node", "kwok_nodes", "kwok_gpus"):
            if getattr(self, field) < 0:
                raise SpecError(f"{field} is {getattr(self, field)}: it must be zero or more")
        if self.not_ready_seconds < 1:
            raise SpecError(f"not_ready_seconds is {self.not_ready_seconds}: it must be one or more")
        if self.nodes > MAX_REAL_NODES:
            raise SpecError(
                f"nodes is {self.nodes}: one machine takes at most {MAX_REAL_NODES} real ones, use kwok_nodes"
            )
        if self.provider is not None and self.provider not in PROVIDERS:
            raise SpecError(f"provider {self.provider!r}: expected one of {', '.join(PROVIDERS)}")
