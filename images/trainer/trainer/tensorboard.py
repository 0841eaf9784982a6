"""What TensorBoard draws: event files in the job's folder, one for each start of the program.

They are written wherever there is storage, whether spec.tensorboard is on or not: they cost next to nothing, and whoever
turns it on when the job is over wants to see what was. A thread appends what there is every few seconds, so that training
never waits for a volume; the first error ends the logs, with one warning. Of the `tensorboard` package only its messages
are used, in that thread: its own writer blocks when its queue is full, and takes half a second to import.
"""

import logging
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from trainer.environment import Environment
from trainer.fencing import require_current
from trainer.progress import Reporter

log = logging.getLogger(__name__)

FOLDER: Final = "tensorboard"
TRAIN: Final = "train"
HELD_OUT: Final = "held_out"
_SECONDS: Final = 2.0
_ALL_KEPT: Final = 1000
"""Points of a curve that are all written; after these at most one a second, which bounds the files of a long job."""
_MOST_WAITING: Final = 10_000
"""Points that wait for a volume that hangs; the oldest are lost first."""
_VERSION: Final = "brain.Event:2"


class Point(NamedTuple):
    """Values of some curves after a step. time: seconds since 1970."""

    time: float
    step: int
    values: Mapping[str, Any]


class Curves:
    """The curves of one start of the program. Nothing here raises, and nothing but `close` waits."""

    def __init__(self, file: Path, *, may_write: Callable[[], None], warn: Callable[[str], None], every: float) -> None:
        """may_write: raises when somebody else writes by now. every: seconds between two writes."""
        self._file, self._may_write, self._warn, self._every = file, may_write, warn, every
        self._points: deque[Point] = deque(maxlen=_MOST_WAITING)
        self._kept: dict[str, tuple[int, float]] = {}
        """By curve: points so far, and when the last one was."""
        self._after: int | None = None
        self._begun = self._ended = False
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tensorboard", daemon=True)
        self._thread.start()

    def begin(self, after: int) -> None:
        """Training goes on after this step: what an earlier start said of later steps is not drawn any more."""
        self._after = after

    def add(self, step: int, group: str, values: Mapping[str, Any]) -> None:
        """Draw these after the step, each as group/name; None is left out. Without `begin` the first step is where it begins."""
        if self._ended:
            return
        now = time.monotonic()
        kept = {
            curve: value
            for name, value in values.items()
            if value is not None and self._keeps(curve := f"{group}/{name}", now)
        }
        if kept:
            if self._after is None:
                self._after = step - 1
            self._points.append(Point(time.time(), step, kept))

    def close(self, timeout: float = 5.0) -> None:
        """Write what waits; gives up after the timeout."""
        self._closing.set()
        self._thread.join(timeout)

    def _keeps(self, curve: str, now: float) -> bool:
        count, last = self._kept.get(curve, (0, 0.0))
        if count >= _ALL_KEPT and now - last < 1.0:
            return False
        self._kept[curve] = (count + 1, now)
        return True

    def _run(self) -> None:
        try:
            while not self._closing.wait(self._every):
                self._write()
            self._write()
        except Exception as error:  # noqa: BLE001 - training must not notice, whatever it is
            self._ended = True
            self._points.clear()
            self._warn(f"TensorBoard logs end here, training goes on: {type(error).__name__}: {error}")

    def _write(self) -> None:
        points = [self._points.popleft() for _ in range(len(self._points))]
        if not points or self._after is None:
            return
        self._may_write()
        records = [_record(each) for each in points]
        if not self._begun:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            records = [*_opening(points[0].time, self._after), *records]
        # Opened each time: other nodes see what was written to a network volume when the file is closed.
        with self._file.open("ab") as stream:
            stream.write(b"".join(records))
        self._begun = True


def curves_for(environment: Environment, reporter: Reporter) -> Curves | None:
    """The curves of this start of the program; None without storage. Each role of a job is a run of its own."""
    directory, attempt = environment.directory, environment.attempt
    if directory is None:
        return None

    def warn(message: str) -> None:
        log.warning("%s", message)
        reporter.update(warning=message)

    # TensorBoard reads the files of a run in the order of their names, and goes by the last for what several tell.
    name = f"events.out.tfevents.{attempt:06}.{environment.round:04}.{time.time_ns()}"
    return Curves(
        directory / FOLDER / environment.role / name,
        may_write=lambda: require_current(directory, attempt),
        warn=warn,
        every=_SECONDS,
    )


def _opening(at: float, after: int) -> list[bytes]:
    """How a file begins: its version, and from which step on those before it do not count."""
    from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # noqa: PLC0415 - see the module

    start = SessionLog(status=SessionLog.START)
    return [
        _framed(Event(wall_time=at, file_version=_VERSION).SerializeToString()),
        _framed(Event(wall_time=at, step=after + 1, session_log=start).SerializeToString()),
    ]


def _record(point: Point) -> bytes:
    from tensorboard.compat.proto.event_pb2 import Event  # noqa: PLC0415 - see the module
    from tensorboard.compat.proto.summary_pb2 import Summary  # noqa: PLC0415

    drawn = [Summary.Value(tag=curve, simple_value=float(value)) for curve, value in point.values.items()]
    return _framed(Event(wall_time=point.time, step=point.step, summary=Summary(value=drawn)).SerializeToString())


def _framed(message: bytes) -> bytes:
    """A record of a TFRecord file: length and message, each with its masked CRC32C."""
    length = struct.pack("<Q", len(message))
    return length + _masked(length) + message + _masked(message)


def _masked(content: bytes) -> bytes:
    crc = 0xFFFFFFFF
    for byte in content:
        crc = crc >> 8 ^ _CASTAGNOLI[(crc ^ byte) & 0xFF]
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _of_byte(crc: int) -> int:
    for _ in range(8):
        crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc


_CASTAGNOLI: Final = tuple(map(_of_byte, range(256)))
