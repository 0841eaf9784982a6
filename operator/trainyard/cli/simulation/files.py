"""Files that a simulation reads, plain or compressed. Whatever is wrong with one is said with file, line, column and value."""

import csv
import gzip
import io
import lzma
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from trainyard.cli.errors import CliError
from trainyard.scheduling.traces import TraceError, TraceNode, TracePod, parse_nodes, parse_pods

_Parsed = TypeVar("_Parsed")
_NAMES = ("timestamp", "duration", "num_gpus", "cluster")
_SHAPE = re.compile(r"([1-9][0-9]{0,5})x([1-9][0-9]{0,2})")
_CPU_MILLI, _MEMORY_MIB = 96_000, 786_432
_MOST = 2**31


@dataclass(frozen=True, slots=True)
class TraceJob:
    """A job of a trace in the columns of Philly."""

    submitted: float
    """Seconds since 1970, or since the trace's own beginning."""
    seconds: float
    """How long it runs."""
    gpus: int
    queue: str


def read(path: Path) -> str:
    """The text of a file, decompressed if its name ends in .xz or .gz."""
    try:
        raw = path.read_bytes()
        if path.suffix == ".xz":
            raw = lzma.decompress(raw)
        elif path.suffix == ".gz":
            raw = gzip.decompress(raw)
        return raw.decode()
    except FileNotFoundError:
        raise CliError(f"{path}: there is no such file") from None
    except OSError as error:
        raise CliError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (lzma.LZMAError, EOFError) as error:
        raise CliError(f"{path}: is not what its name says: {error}") from None
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise CliError(f"{path}: line {line}: byte {error.start} is no UTF-8 text") from None


def nodes_of(name: str) -> tuple[TraceNode, ...]:
    """Nodes of a file in the columns of openb, or those that "100x8" stands for: 100 nodes of 8 GPUs."""
    if (shape := _SHAPE.fullmatch(name)) and not Path(name).exists():
        count, gpus = int(shape[1]), int(shape[2])
        width = len(str(count - 1))
        return tuple(TraceNode(f"node-{number:0{width}}", _CPU_MILLI, _MEMORY_MIB, gpus) for number in range(count))
    found = _parsed(Path(name), parse_nodes)
    if not sum(node.gpus for node in found):
        raise CliError(f"{name}: none of the {len(found)} nodes has a GPU; column gpu says how many each has")
    return found


def work_of(name: str) -> tuple[TracePod, ...] | tuple[TraceJob, ...]:
    """Pods in the columns of openb, or jobs in the columns of Philly, by what the header says."""
    path = Path(name)
    text = read(path)
    header = next((line for line in text.removeprefix("\ufeff").splitlines() if line.strip()), "")
    columns = {each.strip() for each in header.split(",")}
    if columns >= set(_NAMES):
        return _parsed(path, parse_jobs, text)
    if "num_gpu" not in columns:
        raise CliError(
            f"{name}: line 1: the columns are {header[:200]!r}; expected those of openb "
            f"(name,cpu_milli,memory_mib,num_gpu,gpu_milli) or of Philly ({','.join(_NAMES)})"
        )
    return _parsed(path, parse_pods, text)


def _parsed(path: Path, parse: Callable[[str], tuple[_Parsed, ...]], text: str | None = None) -> tuple[_Parsed, ...]:
    try:
        found = parse(read(path) if text is None else text)
    except TraceError as error:
        raise CliError(f"{path}: {error}") from None
    if not found:
        raise CliError(f"{path}: there is nothing below the header")
    return found


def parse_jobs(text: str) -> tuple[TraceJob, ...]:
    """Jobs in the columns `timestamp,duration,num_gpus,cluster`, in order of submission. Raises TraceError.

    A timestamp is a date with a time of day, or a number of seconds. Jobs without GPUs are no jobs of a GPU cluster: an error.
    """
    jobs = [
        TraceJob(_time(line, row), _seconds(line, row), _gpus(line, row), _text(line, row, "cluster"))
        for line, row in _rows(text)
    ]
    return tuple(sorted(jobs, key=lambda job: job.submitted))


def _rows(text: str) -> Iterator[tuple[int, Mapping[str, str]]]:
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")), strict=True, skipinitialspace=True)
    try:
        missing = [name for name in _NAMES if name not in (reader.fieldnames or ())]
        if missing:
            raise TraceError(f"line 1: no column {', '.join(missing)}; expected {', '.join(_NAMES)}")
        for row in reader:
            if None in row or None in row.values():
                raise TraceError(f"line {reader.line_num}: expected as many values as the header names columns")
            yield reader.line_num, row
    except csv.Error as error:
        raise TraceError(f"line {reader.line_num}: not CSV: {error}") from error


def _wrong(line: int, row: Mapping[str, str], column: str, expected: str) -> TraceError:
    return TraceError(f"line {line}, column {column}: {row[column][:80]!r} is not what is expected there: {expected}")


def _text(line: int, row: Mapping[str, str], column: str) -> str:
    if not row[column].strip():
        raise _wrong(line, row, column, "a name")
    return row[column].strip()


def _time(line: int, row: Mapping[str, str]) -> float:
    value = row["timestamp"].strip()
    try:
        seconds = float(value)
    except ValueError:
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise _wrong(line, row, "timestamp", "a time such as 2017-10-09 07:01:55, or seconds") from None
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if not 0 <= seconds <= 2 * _MOST:
        raise _wrong(line, row, "timestamp", "a time after 1970, or seconds from 0")
    return seconds


def _seconds(line: int, row: Mapping[str, str]) -> float:
    try:
        seconds = float(row["duration"])
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= _MOST:
        raise _wrong(line, row, "duration", f"seconds, a number from 0 to {_MOST}")
    return max(1.0, seconds)


def _gpus(line: int, row: Mapping[str, str]) -> int:
    value = row["num_gpus"].strip()
    if not (value.isascii() and value.isdecimal() and len(value) <= len(str(_MOST)) and 1 <= int(value) <= _MOST):
        raise _wrong(line, row, "num_gpus", "a whole number from 1")
    return int(value)
