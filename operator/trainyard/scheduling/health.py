"""Which nodes of a flavor are sick, and when that judgement is not to be trusted.

A node that a monitor calls broken takes no new pods. One that `trainyard.nodes` doubts, or on which several workloads failed lately, and far more than on the others, is
the last choice: programs fail everywhere. If more than half of a flavor's nodes are sick, the cause is hardly in the nodes: the breaker
opens, and those called broken become a last choice too instead of standing idle. A node that held jobs up lately is not sick: it comes
last among places that are equal otherwise (`slow_nodes`). What a node cannot do at all, being cordoned, tainted or not ready, is in
`eligibility`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from trainyard.api.flavor import FlavorSpec
from trainyard.scheduling.eligibility import of_flavor
from trainyard.scheduling.snapshot import NodeView

SUSPECT_AFTER = 2
"""Workloads that failed on a node lately: a single one may have failed by itself."""
SUSPECT_RATIO = 3.0
"""So many times as many as on the other nodes of the flavor, on average."""
BREAKER_LEAST = 3
"""So many nodes must be sick at least: two broken ones of three are two broken nodes."""


@dataclass(frozen=True, slots=True)
class Health:
    """Of the nodes of one flavor."""

    broken: Mapping[str, str] = field(default_factory=dict)
    """By name, the condition that says so."""
    suspects: Mapping[str, int] = field(default_factory=dict)
    """By name, how many workloads failed there lately, where that is remarkable."""
    not_ready: int = 0
    nodes: int = 0
    """Of this flavor in all."""
    slow: Mapping[str, int] = field(default_factory=dict)
    """By name, how strongly jobs say that it held them up lately."""
    doubted: Mapping[str, str] = field(default_factory=dict)
    """By name, why a node is the last choice although nothing is broken."""
    risky: Mapping[str, int] = field(default_factory=dict)
    """By name, how much its errors foretell a failure."""

    @property
    def sick(self) -> int:
        return self.not_ready + len(self.broken.keys() | self.suspects.keys())

    @property
    def breaker_open(self) -> bool:
        """So many are sick that the cause is hardly in the nodes."""
        return self.sick >= BREAKER_LEAST and self.sick * 2 > self.nodes

    @property
    def out(self) -> frozenset[str]:
        """Nodes that take no new pods."""
        return frozenset() if self.breaker_open else frozenset(self.broken)

    @property
    def choices(self) -> tuple[frozenset[str], ...]:
        """Nodes to be left alone in a first attempt to find a place, in a second, and so on."""
        last = frozenset(self.broken).union(self.suspects, self.doubted)
        return (last, self.out) if last != self.out else (self.out,)

    @property
    def spared(self) -> Mapping[str, int]:
        """By name, how far behind equal ones a node comes, for whatever reason."""
        if not self.risky:
            return self.slow
        return {name: self.slow.get(name, 0) + self.risky.get(name, 0) for name in self.slow.keys() | self.risky}

    def words(self) -> str:
        """As in "n1 (GPUMissing) takes no pods"; empty if all are well."""
        parts = []
        if self.broken:
            named = ", ".join(f"{name} ({why})" for name, why in sorted(self.broken.items())[:3])
            more = f" and {len(self.broken) - 3} more" if len(self.broken) > 3 else ""  # noqa: PLR2004  as many as are named
            verb = "would be the last choice" if self.breaker_open else "broken, takes no pods until that is over"
            parts.append(f"{named}{more}: {verb}")
        if self.doubted:
            named = ", ".join(f"{name} ({why})" for name, why in sorted(self.doubted.items())[:3])
            more = f" and {len(self.doubted) - 3} more" if len(self.doubted) > 3 else ""  # noqa: PLR2004  as many as are named
            parts.append(f"{named}{more}: the last choice")
        if self.breaker_open:
            parts.append(f"{self.sick} of {self.nodes} nodes are sick: look for a common cause")
        return "; ".join(parts)

    def words_of_slow(self) -> str:
        """As in "n1, n2 held jobs up lately and come last"; empty if none did. The slowest first."""
        names = sorted(self.slow, key=lambda name: (-self.slow[name], name))
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""  # noqa: PLR2004  as many as are named
        return f"{', '.join(names[:3])}{more} held jobs up lately and come last" if names else ""

    def words_of_risky(self) -> str:
        """As in "n3 has errors that foretell a failure and comes last"; empty if none has. The worst first."""
        names = sorted(self.risky, key=lambda name: (-self.risky[name], name))
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""  # noqa: PLR2004  as many as are named
        return f"{', '.join(names[:3])}{more} had errors that foretell a failure and come last" if names else ""


def judge(
    nodes: Iterable[NodeView], flavor: FlavorSpec, failures: Mapping[str, int], slow: Mapping[str, int] | None = None
) -> Health:
    """failures: by node, how many workloads failed there lately. slow: how strongly jobs say that it held them up."""
    mine = [node for node in nodes if node.allocatable and of_flavor(node, flavor)]  # one that left offers nothing
    ready = [node for node in mine if node.ready]
    return Health(
        broken={node.name: node.broken for node in ready if node.broken},
        suspects=_suspects([node.name for node in ready], failures),
        not_ready=len(mine) - len(ready),
        nodes=len(mine),
        slow={node.name: slow[node.name] for node in ready if node.name in slow} if slow else {},
        risky={node.name: node.standing.risk for node in ready if node.standing.risk},
        doubted={node.name: node.standing.doubt for node in ready if node.standing.doubt and not node.broken},
    )


def _suspects(names: list[str], failures: Mapping[str, int]) -> dict[str, int]:
    counts = {name: failures.get(name, 0) for name in names}
    total, others = sum(counts.values()), max(1, len(names) - 1)
    return {
        name: count
        for name, count in counts.items()
        if count >= SUSPECT_AFTER and count >= SUSPECT_RATIO * (total - count) / others
    }
