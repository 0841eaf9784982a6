"""What the operator must be allowed to do, as far as it stops without it. A test compares it with the roles of the chart."""

from dataclasses import dataclass

from trainyard.api.names import OPERATOR_LEASE, OPERATOR_TLS
from trainyard.cli.backup.document import MEMORY

OURS = "trainyard.dev"


@dataclass(frozen=True, slots=True)
class Right:
    """One verb on one resource, in all namespaces or in that of the operator."""

    verb: str
    group: str
    resource: str
    everywhere: bool = True
    name: str = ""

    def __str__(self) -> str:
        what = f"{self.resource}.{self.group}" if self.group else self.resource
        return f"{self.verb} {what}" + (f" {self.name!r}" if self.name else "")


def _rights(verbs: str, group: str, *resources: str) -> tuple[Right, ...]:
    return tuple(Right(verb, group, resource) for resource in resources for verb in verbs.split())


_KINDS = ("flavors", "queues", "trainingjobs", "inferenceservices")
NEEDED: tuple[Right, ...] = (
    *_rights("list watch", OURS, *_KINDS),
    *_rights("patch", OURS, *(f"{each}/status" for each in _KINDS)),
    *_rights("list watch create delete", "", "pods"),
    *_rights("list watch", "", "nodes", "namespaces", "persistentvolumeclaims"),
    *_rights("create", "", "persistentvolumeclaims", "events"),
    *_rights("list watch create", "", "services"),
    *_rights("list watch create patch", "apps", "deployments"),
    *_rights("create", "authentication.k8s.io", "tokenreviews"),
    *_rights("create", "authorization.k8s.io", "subjectaccessreviews"),
    Right("patch", "coordination.k8s.io", "leases", everywhere=False, name=OPERATOR_LEASE),
    Right("patch", "", "pods", everywhere=False),
    Right("get", "", "secrets", everywhere=False, name=OPERATOR_TLS),
    *(Right("patch", "", "configmaps", everywhere=False, name=each) for each in MEMORY),
)
