"""How urgent a request is: its priority and its deadline, from headers and from Triton's `timeout` parameter. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

from server.errors import BadRequest
from server.lineup import MAX_PRIORITY

PRIORITY_HEADER = "X-Trainyard-Priority"
DEADLINE_HEADER = "X-Trainyard-Deadline-Ms"
_WHOLE = re.compile(r"-?[0-9]{1,15}")


@dataclass(frozen=True, slots=True)
class Terms:
    """priority: higher first, 0 by default. seconds: from the receipt of the request until its answer is worthless."""

    priority: int = 0
    seconds: float = inf

    def after(self, elapsed: float) -> "Terms":
        """What is left of them so many seconds after the receipt."""
        return self if self.seconds == inf else Terms(self.priority, max(0.0, self.seconds - elapsed))


PLAIN = Terms()


def terms_of(headers: Mapping[str, str], timeout_microseconds: int | None = None) -> Terms:
    """Terms of a request; of two deadlines the earlier counts. Raises BadRequest."""
    priority, milliseconds = headers.get(PRIORITY_HEADER), headers.get(DEADLINE_HEADER)
    if priority is None and milliseconds is None and timeout_microseconds is None:
        return PLAIN
    seconds = inf if timeout_microseconds is None else timeout_microseconds / 1e6
    if milliseconds is not None:
        seconds = min(seconds, _whole(DEADLINE_HEADER, milliseconds, 0, 10**9) / 1e3)
    level = 0 if priority is None else _whole(PRIORITY_HEADER, priority, -MAX_PRIORITY, MAX_PRIORITY)
    return Terms(level, seconds)


def timeout_of(parameters: object) -> int | None:
    """Microseconds of the request parameter `timeout`, as Triton has it. Raises BadRequest."""
    if not isinstance(parameters, Mapping) or "timeout" not in parameters:
        return None
    value = parameters["timeout"]
    if type(value) is not int or value < 0:
        raise BadRequest(f"parameters.timeout is {value!r}; expected a whole number of microseconds")
    return value or None  # Triton: 0 is none


def _whole(header: str, text: str, least: int, most: int) -> int:
    text = text.strip()
    if not _WHOLE.fullmatch(text) or not least <= int(text) <= most:
        raise BadRequest(f"{header} is {text!r}; expected a whole number from {least} to {most}")
    return int(text)
