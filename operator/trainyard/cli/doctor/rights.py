"""What the operator must be allowed to do, as far as it stops without it. A test compares it with the roles of the chart."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum

from trainyard.api.names import OPERATOR_LEASE, OPERATOR_TLS
from trainyard.cli.backup.document import MEMORY

OURS = "trainyard.dev"


class Where(StrEnum):
    """In which namespaces a right is needed."""

    CLUSTER = "of the cluster"  # on what lives in no namespace
    NAMES = "of the namespaces themselves"  # which are asked for by name where the operator is confined to some
    SERVED = "where jobs are looked after"
    OWN = "in the operator's namespace"


@dataclass(frozen=True, slots=True)
class Right:
    """One verb on one resource."""

    verb: str
    group: str
    resource: str
    where: Where = Where.SERVED
    name: str = ""

    def __str__(self) -> str:
        what = f"{self.resource}.{self.group}" if self.group else self.resource
        return f"{self.verb} {what}" + (f" {self.name!r}" if self.name else "")


@dataclass(frozen=True, slots=True)
class Question:
    """A right at one place. namespace: empty for all."""

    right: Right
    namespace: str = ""
    name: str = ""

    def __str__(self) -> str:
        at = f" in {self.namespace}" if self.namespace and self.right.where is Where.SERVED else ""
        named = f" {self.name!r}" if self.right.where is Where.NAMES and self.name else ""
        return f"{self.right}{named}{at}"


def questions(system: str, served: Collection[str]) -> Iterator[Question]:
    """What to ask of the operator's account. served: the namespaces to which it is confined; empty: all."""
    for right in NEEDED:
        match right.where:
            case Where.CLUSTER:
                yield Question(right)
            case Where.NAMES:
                yield from (Question(right, name=each) for each in served or ("",))
            case Where.SERVED:
                yield from (Question(right, each) for each in served or ("",))
            case Where.OWN:
                yield Question(right, system, right.name)


def _rights(verbs: str, group: str, *resources: str, where: Where = Where.SERVED) -> tuple[Right, ...]:
    return tuple(Right(verb, group, resource, where) for resource in resources for verb in verbs.split())


_OF_CLUSTER, _OF_NAMESPACES = ("flavors", "queues"), ("trainingjobs", "inferenceservices")
NEEDED: tuple[Right, ...] = (
    *_rights("list watch", OURS, *_OF_CLUSTER, where=Where.CLUSTER),
    *_rights("patch", OURS, *(f"{each}/status" for each in _OF_CLUSTER), where=Where.CLUSTER),
    *_rights("list watch", OURS, *_OF_NAMESPACES),
    *_rights("patch", OURS, *(f"{each}/status" for each in _OF_NAMESPACES)),
    *_rights("list watch create delete", "", "pods"),
    *_rights("list watch", "", "nodes", where=Where.CLUSTER),
    *_rights("list watch", "", "namespaces", where=Where.NAMES),
    *_rights("list watch", "", "persistentvolumeclaims"),
    *_rights("create", "", "persistentvolumeclaims", "events"),
    *_rights("list watch create", "", "services"),
    *_rights("list watch create patch", "apps", "deployments"),
    *_rights("list watch create", "policy", "poddisruptionbudgets"),
    *_rights("create", "authentication.k8s.io", "tokenreviews", where=Where.CLUSTER),
    *_rights("create", "authorization.k8s.io", "subjectaccessreviews", where=Where.CLUSTER),
    Right("patch", "coordination.k8s.io", "leases", Where.OWN, OPERATOR_LEASE),
    Right("patch", "", "pods", Where.OWN),
    Right("get", "", "secrets", Where.OWN, OPERATOR_TLS),
    *(Right("patch", "", "configmaps", Where.OWN, each) for each in MEMORY),
)
