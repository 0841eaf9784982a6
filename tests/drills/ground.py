"""What a drill has to itself: nodes, a flavor of them, a queue and a namespace, all of one name."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

from dev.cluster.kwok import LABEL_BLOCK, KwokNodes
from dev.operator_process import OperatorProcess
from dev.prometheus import Prometheus
from tests import builders as b
from tests.apiserver.yard import Yard

_KNOWN_WITHIN = 60.0


@dataclass
class Ground(Yard):
    """A yard with nodes of its own. `namespace`, the drill's name, is the name of all."""

    operator: OperatorProcess = field(kw_only=True)
    second: OperatorProcess = field(kw_only=True)
    """Of another release, scraped like the first; it does not run until somebody starts it."""
    audit_file: Path = field(kw_only=True)
    """Of the operator."""
    prometheus: Prometheus = field(kw_only=True)
    undo: ExitStack = field(kw_only=True)
    """What to do when the commands of the runbook have run."""
    over: Event = field(default_factory=Event, kw_only=True)
    """Set then, too."""
    pool: ThreadPoolExecutor = field(kw_only=True)
    troubles: list[str] = field(default_factory=list, kw_only=True)
    """Of what is kept up."""

    @property
    def flavor(self) -> str:
        return self.namespace

    def node(self, number: int = 1) -> str:
        return f"{self.namespace}-{number:04d}"

    def lay_out(self, nodes: int = 1, *, gpus: int = 8, quota: int | None = None, **queue: Any) -> "Ground":
        """Make all of it, and wait until Prometheus knows: what counts from now on is growth then.

        quota: of the queue, all GPUs if it is not given. queue: further fields of its spec.
        """
        self.undo.callback(self.clear)
        made = KwokNodes(nodes, gpus=gpus, prefix=self.namespace)
        self.cluster.add_kwok(made)
        self.create(b.a_namespace(self.namespace, yard=self.namespace))
        self.create(b.a_flavor(self.flavor, b.selects(**{LABEL_BLOCK: f"{self.namespace}-block-0"})))
        self.add_queue(self.queue, nodes * gpus if quota is None else quota, **queue)
        self.prometheus.wait_for(f'trainyard_queue_admitted_workloads{{queue="{self.queue}"}}', timeout=_KNOWN_WITHIN)
        return self

    def add_queue(self, name: str, quota: int, **spec: Any) -> None:
        """A queue that admits the namespace."""
        queue = b.a_queue(name, b.open_to(yard=self.namespace), b.spec(**spec), gpus=quota, flavor=self.flavor)
        self.create(queue)

    def clear(self) -> None:
        """Leave nothing that the operator would have to look after, while others are played."""
        for kind in ("TrainingJob", "InferenceService"):
            self.api.delete(self.path(kind))

    def kubelet_dies(self, node: str) -> None:
        """kwok lets go of a node whose lease another one holds, and nobody renews it."""
        held = {"spec": {"holderIdentity": "nobody", "leaseDurationSeconds": 1_000_000}}
        self.api.patch(f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{node}", held)

    def keeps(self, doing: Callable[[], object], every: float = 1.0) -> None:
        """Do it again and again, until the drill is over."""

        def again() -> None:
            while not self.over.wait(every):
                try:
                    doing()
                except Exception as error:  # noqa: BLE001 - told when the alert does not come
                    self.troubles.append(repr(error))

        self.pool.submit(again)
