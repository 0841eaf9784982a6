"""Everything that can end a trainer, as one tree, with the exit code that the operator acts on.

    TrainerError
    |-- ConfigurationError   64  the job asks for something that is not there: restarting cannot help
    |-- DataError            65  the data set cannot be used: restarting cannot help
    |-- StopRequested        75  asked to stop, and stopped in order: start again when there is room
    `-- SupersededError      76  a newer attempt of this job owns the storage: this one must write nothing more

A program that hangs is ended by the agent with exit code 77, and started again.
Every other failure leaves as exit code 1, or 128 + n for signal n, and is restarted by the job's policy.
The numbers follow sysexits.h where it has a word for the case.
"""

from collections.abc import Iterable
from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of a trainer pod; the operator's failure policy reads them."""

    OK = 0
    FAILURE = 1
    CONFIGURATION = 64
    DATA = 65
    STOPPED = 75
    SUPERSEDED = 76
    HANG = 77


SIGNAL_BASE = 128


def of_signal(signal_number: int) -> int:
    """Exit code that a shell gives a process that died of this signal, e.g. 137 for SIGKILL."""
    return SIGNAL_BASE + signal_number


class TrainerError(Exception):
    """A failure with a cause that is fit for a condition's message."""

    exit_code: ExitCode = ExitCode.FAILURE


class ConfigurationError(TrainerError):
    """A field has a value that can never work; says which, what it was and what there is."""

    exit_code = ExitCode.CONFIGURATION

    def __init__(self, field: str, value: object, expected: str, available: Iterable[str] = ()) -> None:
        self.field = field
        self.available = tuple(sorted(available))
        listed = f"; there is: {', '.join(self.available)}" if self.available else ""
        super().__init__(f"{field}: {value!r} is not usable: expected {expected}{listed}")


class DataError(TrainerError):
    """The data set was found but cannot be trained on."""

    exit_code = ExitCode.DATA


class StopRequested(TrainerError):  # noqa: N818 - an order that was followed is no error
    """The worker was asked to stop, and has."""

    exit_code = ExitCode.STOPPED


class SupersededError(TrainerError):
    """The ATTEMPT file names a newer attempt, so this one is a leftover and may not commit anything."""

    exit_code = ExitCode.SUPERSEDED
