"""Answers of the OpenAI routes, whole and in pieces. Pure."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from server.language.sampling import Chosen
from server.language.tokens import Writer, shown


@dataclass
class Choice:
    """One answer while it is written."""

    index: int
    writer: Writer
    tokens: list[Chosen] = field(default_factory=list)
    text: str = ""
    offset: int = 0
    opened: bool = False
    """Whether a piece of it was sent."""

    def add(self, token: Chosen) -> str:
        """Text that is certain with one more token."""
        self.tokens.append(token)
        piece = self.writer.write(token.token)
        self.text += piece
        return piece

    def end(self) -> str:
        """The rest of the text."""
        piece = self.writer.end()
        self.text += piece
        return piece

    @property
    def reason(self) -> str:
        return "stop" if self.writer.stopped else "length"


@dataclass(frozen=True)
class Form:
    """How one route writes. Both have the same life: pieces in a stream, or choices in one answer."""

    id: str
    model: str
    created: int
    chat: bool
    logprobs: bool

    def whole(self, choices: Sequence[Choice], prompt_tokens: int) -> dict[str, Any]:
        """The answer to a request that wants no stream."""
        written = [self._choice(each, each.text, each.tokens, each.reason, "message") for each in choices]
        kind = "chat.completion" if self.chat else "text_completion"
        return self._about(kind) | {"choices": written, "usage": usage(choices, prompt_tokens)}

    def piece(self, choice: Choice, text: str, tokens: Sequence[Chosen], reason: str | None = None) -> dict[str, Any]:
        """Of a stream: text of one choice, and at its end why it ended."""
        written = self._choice(choice, text, tokens, reason, "delta")
        choice.opened = True
        return self._chunk() | {"choices": [written]}

    def counts(self, choices: Sequence[Choice], prompt_tokens: int) -> dict[str, Any]:
        """The last of a stream that was asked for usage."""
        return self._chunk() | {"choices": [], "usage": usage(choices, prompt_tokens)}

    def _chunk(self) -> dict[str, Any]:
        return self._about("chat.completion.chunk" if self.chat else "text_completion")

    def _about(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}

    def _choice(
        self, choice: Choice, text: str, tokens: Sequence[Chosen], reason: str | None, part: str
    ) -> dict[str, Any]:
        content: dict[str, Any] = {"text": text}
        if self.chat:
            # In a stream the role is told once: clients append what they get to what they have.
            content = {part: {"content": text} if choice.opened else {"role": "assistant", "content": text}}
        logprobs = None
        if self.logprobs:
            logprobs = {"content": [_chat_logprob(each) for each in tokens]} if self.chat else _logprobs(choice, tokens)
        return {"index": choice.index} | content | {"logprobs": logprobs, "finish_reason": reason}


def usage(choices: Sequence[Choice], prompt_tokens: int) -> dict[str, int]:
    """Tokens of a request, prompts counted once each."""
    generated = sum(len(each.tokens) for each in choices)
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": generated,
        "total_tokens": prompt_tokens + generated,
    }


def embeddings(model: str, vectors: Sequence[Any], tokens: int, *, base64: bool) -> dict[str, Any]:
    """Answer with a vector for each text, as numbers or as base64 of little-endian FP32."""
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": b64encode(vector.astype("<f4").tobytes()).decode() if base64 else vector.tolist(),
        }
        for index, vector in enumerate(vectors)
    ]
    counted = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": model, "usage": counted}


def described(model: str, created: int) -> dict[str, Any]:
    """An entry of /v1/models; created: when it was loaded, in seconds."""
    return {"id": model, "object": "model", "created": created, "owned_by": "trainyard"}


def error(message: str, kind: str, parameter: str | None, code: str | None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": parameter, "code": code}}


def _chat_logprob(chosen: Chosen) -> dict[str, Any]:
    own = (chosen.token, chosen.logprob or 0.0)
    top = [_told(*each) for each in chosen.alternatives]
    return _told(*own) | {"top_logprobs": top}


def _told(token: int, logprob: float) -> dict[str, Any]:
    return {"token": shown(token), "logprob": logprob, "bytes": [token]}


def _logprobs(choice: Choice, tokens: Sequence[Chosen]) -> dict[str, Any]:
    """Offsets count tokens, each a byte of the answer."""
    first = choice.offset
    choice.offset += len(tokens)
    return {
        "tokens": [shown(each.token) for each in tokens],
        "token_logprobs": [each.logprob for each in tokens],
        "top_logprobs": [{shown(token): logprob for token, logprob in each.alternatives} for each in tokens],
        "text_offset": list(range(first, first + len(tokens))),
    }
