"""Text of a byte model: its tokens, how a conversation is written for it, and where an answer stops.

Our text models read bytes: token n is byte n of the text in UTF-8, and no token stands for an end. So a prompt has as
many tokens as bytes, and an answer ends at its length, at a stop string, or where the context is full.
"""

import codecs
from collections.abc import Iterable
from dataclasses import dataclass

BYTES = 256
"""Vocabulary of the models that text can be told to and from."""
ROLES = {"system": "System", "developer": "System", "user": "User", "assistant": "Assistant"}
TURN_ENDS = "\nUser:"
"""Where an answer in a conversation stops in any case: the model goes on to write the user's part."""


@dataclass(frozen=True)
class Turn:
    """Part of a conversation; role is one of ROLES."""

    role: str
    content: str


def to_tokens(text: str) -> list[int]:
    return list(text.encode())


def conversation(turns: Iterable[Turn]) -> str:
    """A conversation as text: a line for each turn, `User: ...`, and `Assistant:` for the model to go on from."""
    return "".join(f"{ROLES[turn.role]}: {turn.content}\n" for turn in turns) + "Assistant:"


def shown(token: int) -> str:
    r"""A single token in a list of logprobs: a byte that is no character of its own is written bytes:\x.."""
    return chr(token) if token < 128 else f"bytes:\\x{token:02x}"  # noqa: PLR2004 - the end of ASCII


class Writer:
    """Bytes in, text out as soon as it is certain: whole characters, and nothing that may be part of a stop string."""

    def __init__(self, stops: tuple[str, ...] = (), stop_tokens: frozenset[int] = frozenset()) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stops, self._stop_tokens = stops, stop_tokens
        self._pending = ""
        self.stopped = False

    def write(self, token: int) -> str:
        """Text that is certain after the token. `stopped` is true when it ended the answer; the stop is left out."""
        if token in self._stop_tokens:
            self.stopped = True
            text, self._pending = self._pending, ""
            return text
        self._pending += self._decoder.decode(bytes([token]))
        return self._certain()

    def end(self) -> str:
        """What was still held back, where an answer ends without a stop."""
        if self.stopped:
            return ""
        self._pending += self._decoder.decode(b"", final=True)
        text, self._pending = self._certain() + self._pending, ""
        return text

    def _certain(self) -> str:
        found = [place for stop in self._stops if (place := self._pending.find(stop)) >= 0]
        if found:
            self.stopped = True
            text, self._pending = self._pending[: min(found)], ""
            return text
        held = max((_begun(self._pending, stop) for stop in self._stops), default=0)
        certain = len(self._pending) - held
        text, self._pending = self._pending[:certain], self._pending[certain:]
        return text


def _begun(text: str, stop: str) -> int:
    """Characters at the end of text that may be the beginning of stop."""
    return next((count for count in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:count])), 0)
