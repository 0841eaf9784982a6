"""What HAProxy says about itself, parsed from its runtime socket. Pure.

The tables name their columns in a `#` line, which is what is relied on: positions have changed between versions.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from gateway import BACKEND, BACKENDS, FRONTENDS, GRPC_BACKENDS

_FAILED = ("hrsp_5xx", "wretr")  # retries among them: what was sent again had failed here
_STOPPED = 0  # srv_op_state
_MAINTENANCE = 0x01 | 0x02 | 0x04  # srv_admin_state: forced, inherited, from the configuration
_DRAIN = 0x08 | 0x10
_CHECK_ENABLED = 0x04  # srv_check_state
_CHECK_PASSED = (3, 4)  # srv_check_result: passed, passed conditionally


@dataclass(frozen=True)
class Server:
    """One server of a backend. in_use counts requests it is answering or that wait for it alone.

    running is HAProxy's verdict over several checks, check_passed is the newest check alone.
    """

    name: str
    address: str
    port: int
    maintenance: bool = False
    drain: bool = False
    running: bool = True
    check_enabled: bool = True
    check_passed: bool = True
    weight: int = 100
    maxconn: int = 0
    in_use: int = 0
    digest: str = ""
    backend: str = BACKEND
    answered: int = 0  # since HAProxy started: answers below 500
    failed: int = 0  # answers from 500, and requests without one

    @property
    def grpc(self) -> bool:
        return self.backend in GRPC_BACKENDS

    @property
    def up(self) -> bool:
        """Whether new requests go to it. It has a weight only since a check has passed."""
        return self.running and self.weight > 0 and not (self.maintenance or self.drain)


@dataclass(frozen=True)
class Observed:
    """HAProxy at one moment. boot changes when the process does."""

    boot: str
    servers: tuple[Server, ...]
    digests: frozenset[str]  # names that have an entry in the digest map, whether or not there is such a server
    queued: int = 0
    requests: int = 0
    held: int = 0
    refused_holds: int = 0
    knobs: Mapping[str, str] = field(default_factory=dict)  # entries of run.map
    dropped_copies: int = 0  # that HAProxy did not hand to the sidecar

    def by_place(self) -> Mapping[tuple[str, str], Server]:
        """By backend and name: a replica on its way from one backend to the other is in both."""
        return {(server.backend, server.name): server for server in self.servers}

    def by_name(self) -> Mapping[str, Server]:
        """One server of each name, rather one that serves."""
        return {server.name: server for server in sorted(self.servers, key=lambda one: (one.up, not one.drain))}


def parse_observed(
    info: str, state: str, stat: str, connections: str, digest_map: str, run_map: str = "", counted: str = ""
) -> Observed:
    """Observed of the answers to `show info`, `show servers state`, `show stat`, `show servers conn`, `show map`, `show held; show copies`.

    The state must have been asked before the counts: then a server seen draining with none in use has got its last.
    Raises ValueError when an answer is not what it should be, such as an error line.
    """
    used = {row["bkname/svname"]: int(row["used_cur"]) for row in _table(connections)}
    stats = {(row["# pxname"], row["svname"]): row for row in csv.DictReader(stat.splitlines())}
    digests = map_entries(digest_map)
    rows = list(_table(state))
    servers = tuple(
        _server(row, stats.get((row["be_name"], row["srv_name"]), {}), used, digests)
        for row in rows
        if row["be_name"] in BACKENDS
    )
    backends = [stats[name, "BACKEND"] for name in BACKENDS if (name, "BACKEND") in stats]
    counts = dict(line.split() for line in counted.splitlines() if line.strip())
    return Observed(
        boot=boot(info),
        servers=servers,
        digests=frozenset(digests),
        queued=sum(int(backend["qcur"]) for backend in backends),
        requests=sum(int(stats[name, "FRONTEND"]["req_tot"]) for name in FRONTENDS if (name, "FRONTEND") in stats),
        held=int(counts.get("held", 0)),
        refused_holds=int(counts.get("refused", 0)),
        knobs=map_entries(run_map),
        dropped_copies=int(counts.get("dropped", 0)),
    )


def _server(
    row: Mapping[str, str], stat: Mapping[str, str], used: Mapping[str, int], digests: Mapping[str, str]
) -> Server:
    name, admin = row["srv_name"], int(row["srv_admin_state"])
    sessions, waiting = int(stat.get("scur") or 0), int(stat.get("qcur") or 0)
    return Server(
        name=name,
        address=row["srv_addr"],
        port=int(row["srv_port"]),
        maintenance=bool(admin & _MAINTENANCE),
        drain=bool(admin & _DRAIN),
        running=int(row["srv_op_state"]) != _STOPPED,
        check_enabled=bool(int(row["srv_check_state"]) & _CHECK_ENABLED),
        check_passed=int(row["srv_check_result"]) in _CHECK_PASSED,
        weight=int(row["srv_uweight"]),
        maxconn=int(stat.get("slim") or 0),
        in_use=max(sessions, used.get(f"{row['be_name']}/{name}", 0)) + waiting,
        digest=digests.get(name, ""),
        backend=row["be_name"],
        answered=sum(int(stat.get(f"hrsp_{kind}xx") or 0) for kind in (1, 2, 3, 4)),
        failed=sum(int(stat.get(column) or 0) for column in _FAILED),
    )


def boot(info: str) -> str:
    """Process of an answer to `show info`. Raises KeyError."""
    fields = dict(line.split(": ", 1) for line in info.splitlines() if ": " in line)
    return f"{fields['Pid']}@{fields['Start_time_sec']}"


def _table(text: str) -> Iterator[Mapping[str, str]]:
    """Rows of a blank-separated table whose header line starts with `#`."""
    columns: Sequence[str] | None = None
    for line in text.splitlines():
        if line.startswith("#"):
            columns = line.removeprefix("#").split()
        elif columns is not None and len(cells := line.split()) >= len(columns) - 1:
            yield dict(zip(columns, cells, strict=False))
    if columns is None:
        raise ValueError(f"expected a table, HAProxy answered {text.strip()[:200]!r}")


def map_entries(text: str) -> dict[str, str]:
    """Entries of a map: lines of `<pointer> <key> <value>`."""
    rows = (line.split() for line in text.splitlines())
    return {row[1]: row[2] for row in rows if len(row) == 3 and row[0].startswith("0x")}  # noqa: PLR2004 - the three
