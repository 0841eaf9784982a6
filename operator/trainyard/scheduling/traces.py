"""Cluster traces as people publish them, in the columns of openb: text in, frozen records out. Opens no file.

Nodes: `sn,cpu_milli,memory_mib,gpu,model`. Pods: `name,cpu_milli,memory_mib,num_gpu,gpu_milli` and, where there are any,
`gpu_spec` (models, joined by |) and `creation_time,deletion_time,scheduled_time` (seconds). Other columns are ignored.
Source: kubernetes-scheduler-simulator, the artifact of Weng et al., USENIX ATC 2023.
"""

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from trainyard.api.names import GPU
from trainyard.scheduling.resources import Amounts
from trainyard.scheduling.snapshot import NodeView

MODEL_LABEL = "nvidia.com/gpu.product"
"""Where nodes of a trace say their GPU model, as NVIDIA's feature discovery does on real ones."""
_MIB = 2**20 * 1000
_MOST = 2**31
_PODS_OF_A_NODE = 1_000_000
"""Traces say nothing of a limit on pods, so there is none to speak of."""


class TraceError(ValueError):
    """A trace that cannot be read: says the line, the column, what stands there, and what was expected."""


@dataclass(frozen=True, slots=True)
class TraceNode:
    """A node of a trace."""

    name: str
    cpu_milli: int
    memory_mib: int
    gpus: int
    model: str = ""

    def view(self) -> NodeView:
        """The node as the scheduler sees nodes."""
        offers = {
            "cpu": self.cpu_milli,
            "memory": self.memory_mib * _MIB,
            "pods": _PODS_OF_A_NODE,
            GPU: self.gpus * 1000,
        }
        return NodeView(self.name, {MODEL_LABEL: self.model} if self.model else {}, offers)


@dataclass(frozen=True, slots=True)
class TracePod:
    """A pod of a trace. Times are seconds from the trace's own beginning; None if it does not say."""

    name: str
    cpu_milli: int
    memory_mib: int
    gpu_milli: int
    """In all: 250 is a quarter of one device, 4000 are four devices."""
    models: tuple[str, ...] = ()
    """GPU models that it accepts; empty accepts all."""
    created: float | None = None
    scheduled: float | None = None
    deleted: float | None = None

    def requests(self) -> Amounts:
        """What it asks for, in thousandths."""
        asked = {"cpu": self.cpu_milli, "memory": self.memory_mib * _MIB, GPU: self.gpu_milli}
        return {name: amount for name, amount in asked.items() if amount}


def parse_nodes(text: str) -> tuple[TraceNode, ...]:
    """Nodes of a trace. Raises TraceError for text that is none, and for two nodes of one name."""
    nodes: dict[str, TraceNode] = {}
    for row in _rows(text, ("sn", "cpu_milli", "memory_mib", "gpu")):
        node = TraceNode(
            row.text("sn"), row.whole("cpu_milli"), row.whole("memory_mib"), row.whole("gpu"), row.get("model")
        )
        if node.name in nodes:
            raise row.error("sn", "a name that no other node has")
        nodes[node.name] = node
    return tuple(nodes.values())


def parse_pods(text: str) -> tuple[TracePod, ...]:
    """Pods of a trace, in the order of the file. Raises TraceError for text that is none."""
    return tuple(_pod(row) for row in _rows(text, ("name", "cpu_milli", "memory_mib", "num_gpu", "gpu_milli")))


def _pod(row: "_Row") -> TracePod:
    devices, milli = row.whole("num_gpu"), row.whole("gpu_milli")
    if milli > 1000:  # noqa: PLR2004  thousandths of a device
        raise row.error("gpu_milli", "at most 1000, the thousandths that are asked of each device")
    if devices > 1 and milli not in (0, 1000):
        raise row.error("gpu_milli", "1000 where num_gpu is over 1: a part can be had of one device only")
    if devices and not milli:
        raise row.error("gpu_milli", "over 0 where num_gpu is")
    created, scheduled, deleted = (row.seconds(f"{event}_time") for event in ("creation", "scheduled", "deletion"))
    if created is not None and deleted is not None and deleted < created:
        raise row.error("deletion_time", f"no earlier than creation_time, {created:g}")
    models = tuple(sorted(filter(None, row.get("gpu_spec").split("|"))))
    memory = row.whole("memory_mib")
    return TracePod(
        row.text("name"), row.whole("cpu_milli"), memory, devices * milli, models, created, scheduled, deleted
    )


@dataclass(frozen=True, slots=True)
class _Row:
    """A line of a trace by column."""

    line: int
    cells: Mapping[str, str]

    def get(self, column: str) -> str:
        return self.cells.get(column, "").strip()

    def text(self, column: str) -> str:
        value = self.get(column)
        if not value:
            raise self.error(column, "a name")
        return value

    def whole(self, column: str) -> int:
        value = self.get(column)
        # isdecimal alone also takes digits of other scripts, which no trace writes on purpose.
        if not (value.isascii() and value.isdecimal() and len(value) <= len(str(_MOST)) and int(value) <= _MOST):
            raise self.error(column, f"a whole number from 0 to {_MOST}")
        return int(value)

    def seconds(self, column: str) -> float | None:
        value = self.get(column)
        if not value:
            return None
        try:
            number = float(value)
        except ValueError:
            number = -1.0
        if not 0 <= number <= _MOST:
            raise self.error(column, f"seconds, a number from 0 to {_MOST}")
        return number

    def error(self, column: str, expected: str) -> TraceError:
        return TraceError(
            f"line {self.line}, column {column}: {self.get(column)[:80]!r} is not what is expected there: {expected}"
        )


def _rows(text: str, needed: tuple[str, ...]) -> Iterator[_Row]:
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff")), strict=True)
    header: list[str] | None = None
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if header is None:
                header = _header(cells, reader.line_num, needed)
                continue
            if len(cells) != len(header):
                raise TraceError(
                    f"line {reader.line_num}: {len(cells)} values where the header names {len(header)} columns"
                )
            yield _Row(reader.line_num, dict(zip(header, cells, strict=True)))
    except csv.Error as error:
        raise TraceError(f"line {reader.line_num}: not CSV: {error}") from error
    if header is None:
        raise TraceError(f"line 1: the text is empty; expected a header with the columns {', '.join(needed)}")


def _header(cells: list[str], line: int, needed: tuple[str, ...]) -> list[str]:
    names = [cell.strip() for cell in cells]
    missing = [name for name in needed if name not in names]
    if missing:
        there = ", ".join(names)[:200]
        raise TraceError(
            f"line {line}: no column {', '.join(missing)}; there are: {there}. Expected {', '.join(needed)}"
        )
    return names
