"""asyncio in front, one compute thread behind: the loop that plans a step, computes it and hands out its tokens.

Everything but the forward pass happens in the event loop, between steps, so nothing needs a lock. A sequence whose caller
leaves is taken out before the next step is planned, and its blocks are free for that step.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from random import Random, SystemRandom
from typing import Final

import torch

from server.errors import BadRequest, DeadlineExceeded, ModelFailed, QueueFull, RequestError
from server.language.decoding import Decoder
from server.language.limits import LanguageLimits
from server.language.metrics import LanguageMetrics
from server.language.pages import Pages, ordered
from server.language.sampling import Chosen, Sampling, choose
from server.language.scheduler import plan_step, rank
from server.language.sequences import Applied, Ledger, Part, Sequence

_GENEROUS_SEED: Final = 2**63
_log = logging.getLogger(__name__)
Clock = Callable[[], float]


@dataclass(frozen=True)
class Wanted:
    """A prompt to go on from. most: tokens to generate at most. deadline: on the engine's clock, in seconds."""

    prompt: tuple[int, ...]
    most: int
    sampling: Sampling = field(default_factory=Sampling)
    priority: int = 0
    deadline: float | None = None


@dataclass(eq=False)
class _Stream:
    """One generation: its sequence, its generator and the tokens on their way to the caller."""

    sequence: Sequence
    wanted: Wanted
    random: Random
    asked: float
    told: float | None = None
    ready: asyncio.Queue[Chosen | RequestError | None] = field(default_factory=asyncio.Queue)

    @property
    def made(self) -> int:
        return len(self.sequence.tokens) - len(self.wanted.prompt)


class Engine:
    """Generates for many callers at once with one decoder. `run` must be running for tokens to come."""

    def __init__(
        self,
        name: str,
        decoder: Decoder,
        limits: LanguageLimits,
        max_queue: int,
        metrics: LanguageMetrics,
        thread: Executor,
        *,
        clock: Clock = time.monotonic,
    ) -> None:
        """max_queue: sequences that may wait. thread: of one worker."""
        steps = limits.steps()
        blocks = limits.blocks(decoder.shape, decoder.context, decoder.dtype, decoder.device)
        self.name, self.decoder, self.clock = name, decoder, clock
        self._ledger = Ledger(blocks, steps)
        self._pages = Pages(decoder.shape, blocks, steps.block, decoder.dtype, decoder.device)
        self._max_queue, self._metrics = max_queue, metrics
        self._streams: dict[int, _Stream] = {}
        self._left: list[_Stream] = []
        self._arrived = asyncio.Event()
        self._thread = thread
        self._next = 0

    @property
    def most(self) -> int:
        """Tokens that a prompt and its answer may have together."""
        return min(self.decoder.context, self._ledger.capacity)

    @property
    def held(self) -> int:
        """Blocks that sequences hold."""
        return self._ledger.pool.count - self._ledger.pool.free

    @property
    def sequences(self) -> int:
        """How many wait or run."""
        return len(self._streams)

    def require_room(self, count: int) -> None:
        """Raise QueueFull where so many more sequences cannot wait, BadRequest where they never could."""
        most = self._max_queue + self._ledger.limits.running
        if count > most:
            raise BadRequest(
                f"{count} answers are asked at once; expected at most {most}: send fewer prompts or choices"
            )
        waiting = len(self._ledger.waiting)
        free = max(0, self._ledger.limits.running - len(self._ledger.running))
        if waiting + count > self._max_queue + free:
            raise QueueFull(f"{waiting} sequences are waiting, the limit is {self._max_queue}; try again later")

    async def generate(self, wanted: Wanted) -> AsyncGenerator[Chosen, None]:
        """Tokens as they come; a caller that stops iterating frees its blocks.

        Raises BadRequest for a prompt that does not fit and QueueFull, both before the first token, DeadlineExceeded
        and ModelFailed at any time.
        """
        prompt, most = len(wanted.prompt), self.most
        if not prompt or prompt + wanted.most > most or wanted.most < 1:
            raise BadRequest(f"the prompt has {prompt} tokens and {wanted.most} are asked; expected 1 to {most} in all")
        self.require_room(1)
        stream = self._enter(wanted)
        try:
            while (token := await stream.ready.get()) is not None:
                if isinstance(token, RequestError):
                    raise token
                yield token
        finally:
            if stream.sequence.id in self._streams:
                self._left.append(stream)
                self._arrived.set()

    async def run(self) -> None:
        """Compute steps until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            self._forget_who_left()
            applied = self._ledger.apply(plan_step(self._ledger.view(self.clock()), self._ledger.limits))
            self._tell_of(applied)
            if not applied.parts:
                self._arrived.clear()
                if not self._left:
                    await self._wait()
                continue
            started = time.perf_counter()
            parts = ordered(applied.parts)
            how = [self._streams[part.sequence.id].wanted.sampling for part in parts if part.ends]
            draws = [self._streams[part.sequence.id].random.random() for part in parts if part.ends]
            chosen = await loop.run_in_executor(self._thread, self._compute, parts, how, draws)
            self._metrics.step.labels(self.name).observe(time.perf_counter() - started)
            self._hand_out(parts, chosen)

    def _enter(self, wanted: Wanted) -> _Stream:
        self._next += 1
        now = self.clock()
        sequence = Sequence(self._next, rank(now, wanted.priority), list(wanted.prompt), wanted.deadline)
        seed = wanted.sampling.seed
        random = Random(SystemRandom().randrange(_GENEROUS_SEED) if seed is None else seed)  # noqa: S311 - no secret
        stream = self._streams[sequence.id] = _Stream(sequence, wanted, random, now)
        self._ledger.add(sequence)
        self._metrics.prompt_tokens.labels(self.name).inc(len(wanted.prompt))
        self._arrived.set()
        return stream

    async def _wait(self) -> None:
        """Until somebody comes or leaves, or the deadline of one who waits is over."""
        deadlines = [each.deadline for each in self._ledger.waiting.values() if each.deadline is not None]
        try:
            async with asyncio.timeout(max(0.0, min(deadlines) - self.clock()) + 0.001 if deadlines else None):
                await self._arrived.wait()
        except TimeoutError:
            return

    def _forget_who_left(self) -> None:
        for stream in self._left:
            if self._streams.pop(stream.sequence.id, None) is not None:
                self._ledger.remove(stream.sequence)
        self._left.clear()

    def _tell_of(self, applied: Applied) -> None:
        for sequence in applied.expired:
            stream = self._streams.pop(sequence.id)
            stream.ready.put_nowait(DeadlineExceeded(f"the deadline passed after {stream.made} tokens"))
        self._metrics.expired.labels(self.name).inc(len(applied.expired))
        self._metrics.preemptions.labels(self.name).inc(len(applied.preempted))
        self._metrics.cached_tokens.labels(self.name).inc(applied.found)
        self._metrics.running.labels(self.name).set(len(self._ledger.running))
        self._metrics.waiting.labels(self.name).set(len(self._ledger.waiting))
        self._metrics.cache_used.labels(self.name).set(self.held / self._ledger.pool.count)

    def _compute(self, parts: tuple[Part, ...], how: list[Sampling], draws: list[float]) -> list[Chosen | None] | None:
        """Next token of each part that ends, None for one that is no number; None in all where the model raised."""
        try:
            with torch.inference_mode():
                logits = self.decoder.logits(self._pages.step(parts), self._pages)
                return choose(logits, how, draws) if how else []
        except Exception:  # noqa: BLE001 - the loop must outlive any fault; callers get a 500
            _log.exception("a step of %d sequences failed", len(parts))
            return None

    def _hand_out(self, parts: tuple[Part, ...], chosen: list[Chosen | None] | None) -> None:
        if chosen is None:
            for part in parts:
                self._fail(part.sequence, "the model raised; see the server's log")
            return
        answers = iter(chosen)
        for part in parts:
            if not part.ends:
                self._ledger.advance(part)
                continue
            answer = next(answers)
            if answer is None:
                self._fail(part.sequence, "the model answered NaN or infinity for this prompt")
                continue
            self._ledger.advance(part)
            self._hand(self._streams[part.sequence.id], answer)

    def _hand(self, stream: _Stream, answer: Chosen) -> None:
        now, sequence = self.clock(), stream.sequence
        sequence.tokens.append(answer.token)
        stream.ready.put_nowait(answer)
        if stream.told is None:
            self._metrics.first_token.labels(self.name).observe(now - stream.asked)
        else:
            self._metrics.next_token.labels(self.name).observe(now - stream.told)
        stream.told = now
        self._metrics.generated_tokens.labels(self.name).inc()
        if stream.made == stream.wanted.most:
            stream.ready.put_nowait(None)
            self._end(sequence)

    def _fail(self, sequence: Sequence, why: str) -> None:
        self._streams[sequence.id].ready.put_nowait(ModelFailed(why))
        self._ledger.pool.forget(sequence.blocks)
        self._pages.clear(sequence.blocks)
        self._end(sequence)

    def _end(self, sequence: Sequence) -> None:
        del self._streams[sequence.id]
        self._ledger.remove(sequence)
