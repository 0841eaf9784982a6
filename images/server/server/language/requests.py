"""Bodies of the OpenAI routes, checked. Pure.

What a client asks and this server does not do is refused by name, never ignored. A parameter that is named with the value
that changes nothing - a penalty of 0, no tools - is let through, since clients send such defaults by themselves.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from server.errors import BadRequest, NotFound
from server.language.sampling import MOST_LOGPROBS, Sampling
from server.language.tokens import BYTES, ROLES, TURN_ENDS, Turn, conversation, to_tokens

DEFAULT_TOKENS = 16
MOST_CHOICES, MOST_PROMPTS, MOST_STOPS = 16, 64, 16
MOST_SEED = 2**63 - 1
_SHOWN = 60
_SAMPLING = frozenset(
    {"model", "max_tokens", "temperature", "top_p", "top_k", "n", "stream", "stream_options"}
    | {"stop", "stop_token_ids", "seed", "logprobs", "user"}
)
COMPLETION_FIELDS = _SAMPLING | {"prompt"}
CHAT_FIELDS = _SAMPLING | {"messages", "max_completion_tokens", "top_logprobs"}
EMBEDDING_FIELDS = frozenset({"model", "input", "encoding_format", "user"})
NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "best_of": (1,),
    "echo": (False,),
    "suffix": ("",),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "tools": ([],),
    "tool_choice": ("none",),
    "store": (False,),
    "service_tier": ("auto", "default"),
}
"""Parameters that are not supported, each with the values that say so; null says so of every parameter."""


class InvalidRequest(BadRequest):
    """400 that names the parameter."""

    def __init__(self, message: str, parameter: str | None, code: str | None = None) -> None:
        super().__init__(message)
        self.parameter, self.code = parameter, code


class UnknownModel(NotFound):
    """404 for a model that is not here, or does not speak."""

    parameter, code = "model", "model_not_found"


@dataclass(frozen=True)
class Generation:
    """A checked request. most: tokens of an answer, None for as many as fit. stops: strings. choices: for each prompt."""

    model: str
    prompts: tuple[tuple[int, ...], ...]
    most: int | None
    sampling: Sampling
    stops: tuple[str, ...]
    stop_tokens: frozenset[int]
    choices: int
    stream: bool
    usage: bool
    """Whether a stream ends with the counts."""


@dataclass(frozen=True)
class Embedding:
    """Texts to embed, and whether as base64."""

    model: str
    inputs: tuple[tuple[int, ...], ...]
    base64: bool


def body_of(data: bytes, accepted: frozenset[str]) -> dict[str, Any]:
    """The fields that are set. Raises InvalidRequest for what is no object of accepted ones."""
    try:
        fields = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"the request body is not valid JSON: {error}", None) from error
    if not isinstance(fields, dict):
        raise InvalidRequest(f"the request body is {_shown(fields)}; expected a JSON object", None)
    fields = {name: value for name, value in fields.items() if value is not None}
    for name in fields.keys() - accepted:
        if fields[name] not in NEUTRAL.get(name, ()):
            names = ", ".join(sorted(accepted))
            raise InvalidRequest(
                f"{name} is not supported here; supported are {names}", name, code="unsupported_parameter"
            )
    if not isinstance(fields.get("model"), str):
        raise InvalidRequest(f"model is {_shown(fields.get('model'))}; expected the name of a model", "model")
    if not isinstance(fields.get("user", ""), str):
        raise InvalidRequest(f"user is {_shown(fields['user'])}; expected a string", "user")
    return fields


def completion(fields: Mapping[str, Any], vocabulary: int) -> Generation:
    """Of POST /v1/completions. Raises InvalidRequest."""
    prompts = texts(fields.get("prompt"), "prompt", vocabulary)
    most = _whole(fields, "max_tokens", 1, 2**31) or DEFAULT_TOKENS
    return _generation(fields, prompts, most, _whole(fields, "logprobs", 0, MOST_LOGPROBS))


def chat(fields: Mapping[str, Any], vocabulary: int) -> Generation:
    """Of POST /v1/chat/completions: the conversation becomes one prompt. Raises InvalidRequest."""
    messages = fields.get("messages")
    if not isinstance(messages, list) or not messages:
        raise InvalidRequest(f"messages is {_shown(messages)}; expected a list of messages", "messages")
    text = conversation(_turn(message, f"messages[{index}]") for index, message in enumerate(messages))
    newer, older = (_whole(fields, name, 1, 2**31) for name in ("max_completion_tokens", "max_tokens"))
    if newer and older and newer != older:
        raise InvalidRequest("max_tokens and max_completion_tokens differ; expected one of them", "max_tokens")
    told, top = _flag(fields, "logprobs"), _whole(fields, "top_logprobs", 0, MOST_LOGPROBS)
    if top is not None and not told:
        raise InvalidRequest(f"top_logprobs is {top} without logprobs; expected logprobs to be true", "top_logprobs")
    prompts = texts(text, "messages", vocabulary)
    return _generation(fields, prompts, newer or older, (top or 0) if told else None, (TURN_ENDS,))


def embedding(fields: Mapping[str, Any], vocabulary: int) -> Embedding:
    """Of POST /v1/embeddings. Raises InvalidRequest."""
    form = fields.get("encoding_format", "float")
    if form not in ("float", "base64"):
        raise InvalidRequest(f"encoding_format is {_shown(form)}; expected float or base64", "encoding_format")
    return Embedding(fields["model"], texts(fields.get("input"), "input", vocabulary), form == "base64")


def texts(value: object, name: str, vocabulary: int) -> tuple[tuple[int, ...], ...]:
    """Tokens of a text, of several, of a list of tokens or of several such lists. Raises InvalidRequest."""
    several = isinstance(value, list) and not all(type(each) is int for each in value)
    found = value if several and isinstance(value, list) else [value]
    if len(found) > MOST_PROMPTS:
        raise InvalidRequest(f"{name} holds {len(found)} texts; expected at most {MOST_PROMPTS}", name)
    return tuple(
        _text(each, f"{name}[{index}]" if several else name, name, vocabulary) for index, each in enumerate(found)
    )


def _text(value: object, where: str, name: str, vocabulary: int) -> tuple[int, ...]:
    if isinstance(value, str):
        if vocabulary != BYTES:
            raise InvalidRequest(
                f"{where} is text, but the model has {vocabulary} tokens of its own, not the 256 bytes; expected tokens",
                name,
            )
        tokens = to_tokens(value)
    elif isinstance(value, list) and all(type(each) is int and 0 <= each < vocabulary for each in value):
        tokens = value
    else:
        raise InvalidRequest(
            f"{where} is {_shown(value)}; expected text, or whole numbers from 0 to {vocabulary - 1}", name
        )
    if not tokens:
        raise InvalidRequest(f"{where} is empty; expected at least one token", name)
    return tuple(tokens)


def _turn(message: object, where: str) -> Turn:
    if not isinstance(message, dict):
        raise InvalidRequest(f"{where} is {_shown(message)}; expected an object", "messages")
    role, content = message.get("role"), message.get("content")
    if not isinstance(role, str) or role not in ROLES:
        raise InvalidRequest(f"{where}.role is {_shown(role)}; expected one of {', '.join(ROLES)}", "messages")
    if unknown := {key for key, value in message.items() if value} - {"role", "content", "name"}:
        raise InvalidRequest(f"{where}.{min(unknown)} is not supported; expected role and content", "messages")
    if isinstance(content, list):
        if not all(
            isinstance(part, dict) and part.keys() == {"type", "text"} and part["type"] == "text" for part in content
        ):
            raise InvalidRequest(
                f"{where}.content holds parts that are no text; this model reads text only", "messages"
            )
        content = "".join(str(part["text"]) for part in content)
    if not isinstance(content, str):
        raise InvalidRequest(f"{where}.content is {_shown(content)}; expected text", "messages")
    return Turn(role, content)


def _generation(
    fields: Mapping[str, Any],
    prompts: tuple[tuple[int, ...], ...],
    most: int | None,
    logprobs: int | None,
    stops: tuple[str, ...] = (),
) -> Generation:
    options = fields.get("stream_options", {})
    stream = _flag(fields, "stream")
    if options != {} and (not stream or not isinstance(options, dict) or options.keys() - {"include_usage"}):
        raise InvalidRequest(
            f"stream_options is {_shown(options)}; expected include_usage, of a stream", "stream_options"
        )
    return Generation(
        model=fields["model"],
        prompts=prompts,
        most=most,
        sampling=Sampling(
            temperature=_number(fields, "temperature", 0.0, 2.0, 1.0),
            top_p=_number(fields, "top_p", 0.0, 1.0, 1.0),
            top_k=_whole(fields, "top_k", 0, 2**31) or 0,
            seed=_whole(fields, "seed", -MOST_SEED, MOST_SEED),
            logprobs=logprobs,
        ),
        stops=_stops(fields.get("stop", [])) + stops,
        stop_tokens=_stop_tokens(fields.get("stop_token_ids", [])),
        choices=_whole(fields, "n", 1, MOST_CHOICES) or 1,
        stream=stream,
        usage=bool(options) and _flag(options, "include_usage"),
    )


def _stops(value: object) -> tuple[str, ...]:
    stops = [value] if isinstance(value, str) else value
    if (
        not isinstance(stops, list)
        or len(stops) > MOST_STOPS
        or not all(isinstance(each, str) and each for each in stops)
    ):
        raise InvalidRequest(f"stop is {_shown(value)}; expected a text or up to {MOST_STOPS} of them", "stop")
    return tuple(stops)


def _stop_tokens(value: object) -> frozenset[int]:
    if not isinstance(value, list) or not all(type(each) is int for each in value):
        raise InvalidRequest(f"stop_token_ids is {_shown(value)}; expected a list of whole numbers", "stop_token_ids")
    return frozenset(value)


def _flag(fields: Mapping[str, Any], name: str) -> bool:
    value = fields.get(name, False)
    if not isinstance(value, bool):
        raise InvalidRequest(f"{name} is {_shown(value)}; expected true or false", name)
    return value


def _whole(fields: Mapping[str, Any], name: str, least: int, most: int) -> int | None:
    value = fields.get(name)
    if value is None:
        return None
    if type(value) is not int or not least <= value <= most:
        raise InvalidRequest(f"{name} is {_shown(value)}; expected a whole number from {least} to {most}", name)
    return value


def _number(fields: Mapping[str, Any], name: str, least: float, most: float, default: float) -> float:
    value = fields.get(name, default)
    if type(value) not in (int, float) or not least <= value <= most:
        raise InvalidRequest(f"{name} is {_shown(value)}; expected a number from {least} to {most}", name)
    return float(value)


def _shown(value: object) -> str:
    text = orjson.dumps(value).decode()
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def within(prompts: Sequence[tuple[int, ...]], most: int, name: str) -> None:
    """Raise InvalidRequest for a text of more than `most` tokens."""
    for prompt in prompts:
        if len(prompt) > most:
            raise InvalidRequest(
                f"{name} has {len(prompt)} tokens; expected at most {most} with this model",
                name,
                code="context_length_exceeded",
            )
