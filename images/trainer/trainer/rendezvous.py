"""Waiting until the pods can find each other.

The name of pod 0 comes from a headless Service and takes a second or more to exist after the pod does. torchrun
would fail on it at once; so the name is asked for first, for a bounded time.
"""

import logging
import socket
import time
from collections.abc import Callable
from typing import Final

from trainer.environment import Environment
from trainer.errors import TrainerError

log = logging.getLogger(__name__)

_PAUSE_SECONDS: Final = 0.25


class NameNotFoundError(TrainerError):
    """The master's name did not resolve in time."""


def wait_for_master(environment: Environment) -> None:
    """Wait until pod 0 has a name, where there is more than one pod. Raises NameNotFoundError."""
    if environment.nodes > 1 and environment.master_address is not None:
        waited = wait_for_name(environment.master_address, environment.dns_wait_seconds)
        log.info("%s resolved after %.2f s", environment.master_address, waited)


def wait_for_name(
    name: str,
    seconds: float,
    *,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.monotonic,
) -> float:
    """Wait until the name resolves; returns how many seconds it took. Raises NameNotFoundError after `seconds`."""
    began = now()
    while True:
        try:
            socket.getaddrinfo(name, None)
        except OSError as error:
            waited = now() - began
            if waited >= seconds:
                raise NameNotFoundError(
                    f"the master's name {name} did not resolve in {waited:.0f} s ({error}): is the headless Service "
                    f"there, does it publish addresses that are not ready, and does the cluster's DNS answer?"
                ) from error
            sleep(_PAUSE_SECONDS)
        else:
            return now() - began
