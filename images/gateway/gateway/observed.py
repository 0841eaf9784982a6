"""What HAProxy says about itself, parsed from its runtime socket. Pure.

The tables name their columns in a `#` line, which is what is relied on: positions have changed between versions.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from gateway import BACKEND, FRONTEND

_STOPPED = 0  # srv_op_state
_MAINTENANCE = 0x01 | 0x02 | 0x04  # srv_admin_state: forced, inherited, from the configuration
_DRAIN = 0x08 | 0x10
_CHECK_ENABLED = 0x04  # srv_check_state
_CHECK_PASSED = (3, 4)  # srv_check_result: passed, passed conditionally


@dataclass(frozen=True)
class Server:
    """One server of the backend. in_use counts requests it is answering or that wait for it alone.

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

    def by_name(self) -> Mapping[str, Server]:
        return {server.name: server for server in self.servers}


def parse_observed(info: str, state: str, stat: str, connections: str, digest_map: str) -> Observed:
    """Observed of the answers to `show info`, `show servers state`, `show stat`, `show servers conn`, `show map`.

    The state must have been asked before the counts: then a server seen draining with none in use has got its last.
    Raises ValueError when an answer is not what it should be, such as an error line.
    """
    used = {row["bkname/svname"]: int(row["used_cur"]) for row in _table(connections)}
    stats = {(row["# pxname"], row["svname"]): row for row in csv.DictReader(stat.splitlines())}
    digests = _map_entries(digest_map)
    servers = tuple(
        _server(row, stats.get((BACKEND, row["srv_name"]), {}), used, digests)
        for row in _table(state)
        if row["be_name"] == BACKEND
    )
    frontend, backend = stats[FRONTEND, "FRONTEND"], stats[BACKEND, "BACKEND"]
    return Observed(
        boot=_boot(info),
        servers=servers,
        digests=frozenset(digests),
        queued=int(backend["qcur"]),
        requests=int(frontend["req_tot"]),
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
        in_use=max(sessions, used.get(f"{BACKEND}/{name}", 0)) + waiting,
        digest=digests.get(name, ""),
    )


def _boot(info: str) -> str:
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


def _map_entries(text: str) -> dict[str, str]:
    """Entries of a map: lines of `<pointer> <key> <value>`."""
    rows = (line.split() for line in text.splitlines())
    return {row[1]: row[2] for row in rows if len(row) == 3 and row[0].startswith("0x")}  # noqa: PLR2004 - the three
