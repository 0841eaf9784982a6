"""Where images are kept on this machine, and the lock that lets two commands take turns.

Everything is below one folder of the user's cache: buildah's store, the template stores made from it, and logs.
Nothing of ours is in the system's container storage, and deleting the folder is always safe.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]

Progress = Callable[[str], None]


def images_folder() -> Path:
    """The folder of the cache that holds images; made if it is not there."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(base) / "trainyard" / "images"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def images_lock(progress: Progress) -> Iterator[None]:
    """Held while images are built, stored or cloned. The kernel gives it back when the process ends in any way.

    A builder inherits it: should this process be killed, the next waits for the builder that is still at work.
    """
    with (images_folder() / "lock").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("waiting for another command that works on the images")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def timed(title: str, progress: Progress) -> Iterator[None]:
    """Says a step when it begins, and how long it took when it ended well."""
    begun = time.monotonic()
    progress(f"{title} ...")
    yield
    progress(f"{title}: {time.monotonic() - begun:.1f} s")
