"""A loaded model as the OpenAI routes see it: what reads its tokens, and the engine where it can also go on from them."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from server.config import Settings
from server.errors import ModelFailed, QueueFull
from server.language.decoding import Decoder, Reader, reader_of
from server.language.engine import Engine
from server.language.limits import LanguageLimits
from server.language.metrics import LanguageMetrics

Ended = Callable[[asyncio.Task[None]], None]


class Language:
    """A model of text. Owned by one event loop; one thread computes for it, steps and embeddings in turn."""

    def __init__(
        self, name: str, reader: Reader, limits: LanguageLimits, max_queue: int, metrics: LanguageMetrics, cpus: int
    ) -> None:
        self.name, self.reader = name, reader
        # max_queue: of sequences, and of requests for embeddings
        self._max_queue, self._embedding = max_queue, 0
        self._thread = ThreadPoolExecutor(1, "language", torch.set_num_threads, (cpus,))
        self.engine: Engine | None = None
        if isinstance(reader, Decoder):
            self.engine = Engine(name, reader, limits, max_queue, metrics, self._thread)
        self._loop: asyncio.Task[None] | None = None

    def start(self, ended: Ended) -> None:
        """Let the engine run, in the running event loop. ended: told when it does not any more."""
        if self.engine is not None:
            self._loop = asyncio.create_task(self.engine.run())
            self._loop.add_done_callback(ended)

    async def stop(self) -> None:
        """End the engine and, after what it is doing, the thread."""
        if self._loop is not None:
            self._loop.cancel()
            with suppress(asyncio.CancelledError):
                await self._loop
        await asyncio.to_thread(self._thread.shutdown)

    async def embed(self, texts: tuple[tuple[int, ...], ...]) -> list[Any]:
        """A vector of length 1 for each text, (dim,) FP32 in numpy. Raises QueueFull and ModelFailed."""
        if self._embedding >= self._max_queue:
            raise QueueFull(
                f"{self._embedding} requests for embeddings are waiting, which is the limit; try again later"
            )
        self._embedding += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._vectors, texts)
        finally:
            self._embedding -= 1

    def _vectors(self, texts: tuple[tuple[int, ...], ...]) -> list[Any]:
        try:
            with torch.inference_mode():
                vectors = [self._vector(text) for text in texts]
        except Exception as error:
            raise ModelFailed(f"the model raised {type(error).__name__}: {error}") from error
        if not all(bool(vector.isfinite().all()) for vector in vectors):
            raise ModelFailed("the model answered NaN or infinity for this input")
        return [vector.numpy() for vector in vectors]

    def _vector(self, text: tuple[int, ...]) -> Tensor:
        mean = self.reader.embed(torch.tensor([text], device=self.reader.device))[0].float()
        return nn.functional.normalize(mean, dim=0).cpu()


def started_language(
    name: str, module: nn.Module, card: Any, settings: Settings, metrics: LanguageMetrics, ended: Ended
) -> Language | None:
    """For an exported model on its device, running; None for one that reads no text. ended: as of `Language.start`."""
    reader = reader_of(module, card)
    if reader is None:
        return None
    max_queue = settings.limits_of(name).max_queue
    language = Language(name, reader, settings.language, max_queue, metrics, settings.threads)
    language.start(ended)
    return language


def require_cache(module: nn.Module, card: Any, limits: LanguageLimits) -> None:
    """Raise StartError where the cache of a language model would be too small for it."""
    reader = reader_of(module, card)
    if isinstance(reader, Decoder):
        limits.blocks(reader.shape, reader.context, reader.dtype, reader.device)
