"""Which attempt of a job owns its storage.

After a partition the pods of an old attempt may still run and still reach the claim. The ATTEMPT file holds the
number of the newest attempt that started; whoever is about to commit something reads it again first. A leftover
may write files into its own attempt's folder, but can neither commit them nor overwrite anybody else's.
"""

import fcntl
from pathlib import Path
from typing import Final

from trainer.durable import write_atomically
from trainer.errors import SupersededError

ATTEMPT_FILE: Final = "ATTEMPT"


def current_attempt(directory: Path) -> int:
    """Number of the newest attempt that started, 0 before the first."""
    try:
        text = (directory / ATTEMPT_FILE).read_text().strip()
    except FileNotFoundError:
        return 0
    return int(text) if text.isdecimal() else 0


def claim_attempt(directory: Path, attempt: int) -> None:
    """Make this attempt the owner. Raises SupersededError when a newer one is. Makes the folder when it is missing."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / f".{ATTEMPT_FILE}.lock").open("w") as lock:
        # Two agents that start together must not both read the old number and the older one write last.
        fcntl.flock(lock, fcntl.LOCK_EX)
        require_current(directory, attempt)
        if current_attempt(directory) < attempt:
            write_atomically(directory / ATTEMPT_FILE, f"{attempt}\n".encode())


def require_current(directory: Path, attempt: int) -> None:
    """Raise SupersededError when a newer attempt has started."""
    newest = current_attempt(directory)
    if newest > attempt:
        raise SupersededError(
            f"this is attempt {attempt}, but attempt {newest} owns {directory}: nothing more is written"
        )
