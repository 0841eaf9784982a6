"""Replicas whose answers fail get nothing for a while. Pure.

A replica is out for 10 s, doubled each time up to 300 s. It is put out only when it fails at half of its answers at
least and clearly more often than the others do, so that a bad request, which fails everywhere, takes out nobody; and
never are more than half of those that could answer out at a time.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from gateway.members import Membership
from gateway.observed import Server

WINDOW_SECONDS = 3.0
LEAST_FAILED = 5
_FAILING = 0.5
_WORSE = 2.0
_FIRST_SECONDS = 10.0
_MOST_SECONDS = 300.0
_FORGET_SECONDS = 300.0  # of good conduct, and the next ejection is short again


@dataclass(frozen=True)
class Sentence:
    """One replica's ejections: until when, in seconds of the clock, and the how-manieth."""

    until: float
    times: int

    @property
    def seconds(self) -> float:
        return min(_MOST_SECONDS, float(_FIRST_SECONDS * 2 ** (self.times - 1)))


@dataclass(frozen=True)
class Ejections:
    """Who is out, and the counts of the window that is open."""

    sentences: Mapping[str, Sentence] = field(default_factory=dict)
    total: int = 0
    since: float = 0.0
    counts: Mapping[tuple[str, str], tuple[int, int]] = field(default_factory=dict)

    def out(self, now: float) -> frozenset[str]:
        return frozenset(name for name, each in self.sentences.items() if each.until > now)

    def seen(
        self, servers: Iterable[Server], now: float, grpc_failures: Mapping[tuple[str, str], int] = MappingProxyType({})
    ) -> "Ejections":
        """Ejections after another look. Judges once a window; counts that went back are those of a new HAProxy.

        grpc_failures: answers of this window, by backend and name, that HAProxy counts as good ones.
        """
        if now - self.since < WINDOW_SECONDS:
            return self
        servers = list(servers)
        counts = {(one.backend, one.name): (one.answered, one.failed) for one in servers}
        sentences = {name: each for name, each in self.sentences.items() if now - each.until < _FORGET_SECONDS}
        total = self.total
        for name in self._failing(servers, now, grpc_failures):
            times = sentences[name].times + 1 if name in sentences else 1
            sentences[name] = Sentence(now + Sentence(0.0, times).seconds, times)
            total += 1
        return replace(self, sentences=sentences, total=total, since=now, counts=counts)

    def _failing(self, servers: list[Server], now: float, grpc_failures: Mapping[tuple[str, str], int]) -> list[str]:
        out, found = set(self.out(now)), list[str]()
        for backend in sorted({one.backend for one in servers}):
            able = [
                one for one in servers if one.backend == backend and one.running and not (one.drain or one.maintenance)
            ]
            room = len(able) // 2 - sum(one.name in out for one in able)
            judged = {one.name: self._change(one, grpc_failures) for one in able if one.name not in out}
            bad = [name for name in judged if _is_bad(name, judged)]
            bad.sort(key=lambda name: (-_share(*judged[name]), name))
            found += bad[: max(0, room)]
            out.update(found)  # who fails at gRPC and at REST is put out once
        return found

    def _change(self, server: Server, grpc_failures: Mapping[tuple[str, str], int]) -> tuple[int, int]:
        answered, failed = self.counts.get((server.backend, server.name), (0, 0))
        if server.answered < answered or server.failed < failed:
            answered, failed = 0, 0
        hidden = min(server.answered - answered, grpc_failures.get((server.backend, server.name), 0))
        return server.answered - answered - hidden, server.failed - failed + hidden


def without(wanted: Membership, out: frozenset[str]) -> Membership:
    """The membership with the ejected at weight 0: they keep their connections and their health checks."""
    members = tuple(replace(one, weight=0) if one.name in out else one for one in wanted.members)
    return replace(wanted, members=members)


def _share(answered: int, failed: int) -> float:
    return failed / max(1, answered + failed)


def _is_bad(name: str, judged: Mapping[str, tuple[int, int]]) -> bool:
    answered, failed = judged[name]
    others = [change for other, change in judged.items() if other != name]
    elsewhere = _share(sum(each[0] for each in others), sum(each[1] for each in others))
    share = _share(answered, failed)
    return failed >= LEAST_FAILED and share >= _FAILING and share >= _WORSE * elsewhere
