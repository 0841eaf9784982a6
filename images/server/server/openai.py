"""Routes that OpenAI's clients know: models, completions, chat completions and embeddings.

Only models of text answer there; what their parameters may be is in language/requests.py. Errors have the form that these
clients read. A stream is server-sent events: headers go out with the first token, so whatever is refused is refused by
status; an error after that is an event, and the stream ends without [DONE].
"""

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, aclosing
from typing import Any

import orjson
from aiohttp import web

from server.bodies import Bodies
from server.errors import BodyTooLarge, DeadlineExceeded, RequestError
from server.inference import Inference
from server.language import replies, requests
from server.language.engine import Engine, Wanted
from server.language.replies import Choice, Form
from server.language.requests import Generation, InvalidRequest, UnknownModel
from server.language.sampling import Chosen
from server.language.serving import Language
from server.language.tokens import BYTES, Writer
from server.outcome import CLIENT_LEFT
from server.replies import ok
from server.state import Serving
from server.terms import Terms, terms_of

_KINDS = {400: "invalid_request_error", 404: "invalid_request_error", 429: "rate_limit_error", 504: "timeout"}
_EVENTS = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
_log = logging.getLogger(__name__)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Piece = tuple[Choice, str, list[Chosen]]


class OpenAiRoutes:
    """Handlers of what OpenAI's clients ask, but for /v1/models, which V1 shares with them."""

    def __init__(self, inference: Inference, bodies: Bodies) -> None:
        self._inference = inference
        self._bodies = bodies

    def add_to(self, app: web.Application) -> None:
        for path, handler in (
            ("/v1/completions", self._completions),
            ("/v1/chat/completions", self._chat),
            ("/v1/embeddings", self._embeddings),
        ):
            app.router.add_post(path, self._counted(handler), expect_handler=self._bodies.expect)

    def _counted(self, handler: Handler) -> Handler:
        """The handler as a request in flight, counted by its status, whose errors are told as OpenAI's clients read them."""

        async def counted(request: web.Request) -> web.StreamResponse:
            started, code = time.perf_counter(), CLIENT_LEFT
            metrics = self._inference.metrics
            try:
                with self._inference.state.request():
                    response = await self._told(handler, request)
                    code = str(response.status)
                    return response
            finally:
                metrics.requests(code).inc()
                metrics.latency.observe(time.perf_counter() - started)

        return counted

    @staticmethod
    async def _told(handler: Handler, request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except RequestError as error:
            return refusal(error)
        except (ConnectionError, asyncio.CancelledError, web.HTTPException):
            raise
        except Exception:  # noqa: BLE001 - the caller gets a 500 in the form it reads, the log gets the traceback
            _log.exception("%s failed", request.path)
            return refusal(RequestError("internal error; see the server's log"))

    async def _completions(self, request: web.Request) -> web.StreamResponse:
        return await self._text(request, requests.COMPLETION_FIELDS, requests.completion, "prompt", chat=False)

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        return await self._text(request, requests.CHAT_FIELDS, requests.chat, "messages", chat=True)

    async def _text(
        self,
        request: web.Request,
        known: frozenset[str],
        check: Callable[[Mapping[str, Any], int], Generation],
        field: str,
        *,
        chat: bool,
    ) -> web.StreamResponse:
        """Text in either form. check: the fields and the vocabulary to a checked request; field: where the text stands."""
        fields = requests.body_of(await self._body(request), known)
        serving = self._inference.find(fields["model"])
        with serving.in_use():
            engine = _engine(serving)
            asked = check(fields, engine.decoder.vocabulary)
            requests.within(asked.prompts, engine.most - 1, field)
            return await self._generate(request, asked, engine, chat=chat)

    async def _embeddings(self, request: web.Request) -> web.StreamResponse:
        fields = requests.body_of(await self._body(request), requests.EMBEDDING_FIELDS)
        serving = self._inference.find(fields["model"])
        with serving.in_use():
            language = _language(serving)
            asked = requests.embedding(fields, language.reader.vocabulary)
            requests.within(asked.inputs, language.reader.context, "input")
            terms = self._terms(request)
            try:
                async with asyncio.timeout(terms.seconds):
                    vectors = await language.embed(asked.inputs)
            except TimeoutError as error:
                raise DeadlineExceeded("the deadline passed before the embeddings were computed") from error
        tokens = sum(map(len, asked.inputs))
        return ok(replies.embeddings(asked.model, vectors, tokens, base64=asked.base64))

    async def _body(self, request: web.Request) -> bytes:
        limit = self._inference.settings.request_seconds
        try:
            async with asyncio.timeout(limit):
                return await self._bodies.read(request)
        except TimeoutError as error:
            raise DeadlineExceeded(f"the request took longer than {limit:g} s, which is the server's limit") from error

    def _terms(self, request: web.Request) -> Terms:
        """What the caller says, and no longer than the server's limit."""
        terms = terms_of(request.headers)
        return Terms(terms.priority, min(terms.seconds, self._inference.settings.request_seconds))

    async def _generate(
        self, request: web.Request, asked: Generation, engine: Engine, *, chat: bool
    ) -> web.StreamResponse:
        terms = self._terms(request)
        wanted = [
            self._wanted(asked, prompt, number, engine, terms)
            for prompt in asked.prompts
            for number in range(asked.choices)
        ]
        engine.require_room(len(wanted))
        writers = [Choice(index, Writer(asked.stops, asked.stop_tokens)) for index in range(len(wanted))]
        kind = "chatcmpl" if chat else "cmpl"
        logprobs = asked.sampling.logprobs is not None
        form = Form(f"{kind}-{uuid.uuid4().hex}", asked.model, int(time.time()), chat, logprobs)
        prompt_tokens = sum(map(len, asked.prompts))
        async with aclosing(_together(engine, wanted, writers)) as pieces:
            if asked.stream:
                return await _stream(request, form, pieces, writers, prompt_tokens if asked.usage else None)
            async for _ in pieces:
                pass
        return ok(form.whole(writers, prompt_tokens))

    @staticmethod
    def _wanted(asked: Generation, prompt: tuple[int, ...], number: int, engine: Engine, terms: Terms) -> Wanted:
        room = engine.most - len(prompt)
        if asked.most is not None and asked.most > room:
            raise InvalidRequest(
                f"max_tokens is {asked.most}; expected at most {room} after a prompt of {len(prompt)} tokens",
                "max_tokens",
                code="context_length_exceeded",
            )
        deadline = engine.clock() + terms.seconds
        return Wanted(prompt, asked.most or room, asked.sampling.for_choice(number), terms.priority, deadline)


def _engine(serving: Serving) -> Engine:
    engine = _language(serving).engine
    if engine is None:
        raise UnknownModel(f"model {serving.name!r} reads text but writes none; it answers /v1/embeddings")
    if engine.decoder.vocabulary != BYTES:
        raise UnknownModel(f"model {serving.name!r} has {engine.decoder.vocabulary} tokens that stand for no text")
    return engine


def _language(serving: Serving) -> Language:
    if serving.language is None:
        raise UnknownModel(
            f"model {serving.name!r} is no language model that this server runs; ask it by /v2/models/{serving.name}/infer"
        )
    return serving.language


def refusal(error: RequestError) -> web.Response:
    """An error as OpenAI's clients read it."""
    parameter, code = getattr(error, "parameter", None), getattr(error, "code", None)
    body = replies.error(str(error), _KINDS.get(error.status, "server_error"), parameter, code)
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    response = web.Response(
        status=error.status, body=orjson.dumps(body), content_type="application/json", headers=headers
    )
    if isinstance(error, BodyTooLarge):
        response.force_close()  # the rest of the body is not worth reading
    return response


async def _together(engine: Engine, wanted: list[Wanted], choices: list[Choice]) -> AsyncGenerator[Piece, None]:
    """Pieces of several generations as they come; the first error ends all. Closing it ends what still runs."""
    ready: asyncio.Queue[Piece | BaseException | None] = asyncio.Queue()

    async def follow(one: Wanted, choice: Choice) -> None:
        try:
            async with aclosing(engine.generate(one)) as tokens:
                async for token in tokens:
                    ready.put_nowait((choice, choice.add(token), [token]))
                    if choice.writer.stopped:
                        break
            ready.put_nowait((choice, choice.end(), []))
            ready.put_nowait(None)
        except RequestError as error:
            ready.put_nowait(error)

    async with AsyncExitStack() as stack:
        for one, choice in zip(wanted, choices, strict=True):
            task = asyncio.create_task(follow(one, choice))
            stack.push_async_callback(_cancelled, task)
        left = len(wanted)
        while left:
            piece = await ready.get()
            if isinstance(piece, BaseException):
                raise piece
            if piece is None:
                left -= 1
            else:
                yield piece


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _stream(
    request: web.Request,
    form: Form,
    pieces: AsyncIterator[Piece],
    choices: list[Choice],
    prompt_tokens: int | None,
) -> web.StreamResponse:
    """Events; prompt_tokens: to count at the end, None for no counts."""
    first = await anext(pieces)
    response = web.StreamResponse(headers=_EVENTS)
    await response.prepare(request)
    held: dict[int, list[Chosen]] = {}

    async def send(piece: Piece) -> None:
        choice, text, tokens = piece
        waiting = held.setdefault(choice.index, [])
        waiting += tokens
        reason = None if tokens else choice.reason
        if text or reason:  # a token that is part of a character waits for the rest of it
            await _event(response, form.piece(choice, text, waiting, reason))
            held[choice.index] = []

    try:
        await send(first)
        async for piece in pieces:
            await send(piece)
    except RequestError as error:
        body = replies.error(str(error), _KINDS.get(error.status, "server_error"), None, None)
        await _event(response, body)
    else:
        if prompt_tokens is not None:
            await _event(response, form.counts(choices, prompt_tokens))
        await response.write(b"data: [DONE]\n\n")
    await response.write_eof()
    return response


async def _event(response: web.StreamResponse, body: dict[str, Any]) -> None:
    await response.write(b"data: " + orjson.dumps(body) + b"\n\n")
