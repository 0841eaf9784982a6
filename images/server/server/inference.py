"""What every protocol does with an inference request: find the model, count, limit the time, check, wait, encode."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from server.config import Settings
from server.errors import Mismatch, NotReady
from server.metrics import Metrics
from server.outcome import Outcome
from server.protocol import InferRequest
from server.repository import Repository
from server.state import Phase, Serving, State
from server.tensors import Array
from server.terms import terms_of
from server.time_limit import TimeLimit
from server.tracing import TRACE

SERVICE_HEADER = "X-Trainyard-Service"
DIGEST_HEADER = "X-Trainyard-Digest"
LARGE = 256 * 1024  # bytes of a request that take long enough to check to be worth another thread
Body = TypeVar("Body")
Answer = TypeVar("Answer")
Results = Mapping[str, Array]


class Inference:
    """Shared by REST and gRPC."""

    def __init__(self, settings: Settings, state: State, repository: Repository, metrics: Metrics) -> None:
        self.settings = settings
        self.state = state
        self.repository = repository
        self.metrics = metrics
        self.time_limit = TimeLimit(settings.request_seconds)

    def find(self, name: str, version: str | None = None) -> Serving:
        if self.repository.empty and self.state.phase is Phase.LOADING:
            raise NotReady("the model is still loading; try again later")
        serving = self.repository.find(name, version)
        if (trace := TRACE.get()) is not None:
            trace.serves(serving.name, serving.version)
        return serving

    def require_ready(self) -> None:
        if self.state.phase is not Phase.READY:
            raise NotReady(f"the server is {self.state.phase}; expected {Phase.READY}")

    def require_meant_for_us(self, headers: Mapping[str, str]) -> None:
        """Refuse what was meant for another service: its address may be ours now. Raises Mismatch."""
        uid = headers.get(SERVICE_HEADER)
        if uid and uid != self.settings.service_uid:
            raise Mismatch(f"{SERVICE_HEADER} is {uid!r}; this server has {self.settings.service_uid!r}")
        digest = headers.get(DIGEST_HEADER)
        own = [serving.model.card.digest for serving in self.repository.serving] if digest else []
        if own and digest not in own:
            raise Mismatch(f"{DIGEST_HEADER} is {digest!r}; this server has {' and '.join(map(repr, own))}")

    async def answer(
        self,
        headers: Mapping[str, str],
        find: Callable[[], Serving],
        read: Callable[[], Awaitable[tuple[Body, int]]],
        decode: Callable[[Body, Serving], InferRequest],
        encode: Callable[[InferRequest, Serving, Results], Answer],
    ) -> Answer:
        """Answer one request, in flight and counted until then. read: the body and its bytes. Raises RequestError."""
        with Outcome(self.metrics.requests, self.metrics.latency), self.state.request(), self.time_limit():
            serving = find()
            with serving.in_use():
                return await self._timed(serving, headers, read, decode, encode)

    async def _timed(
        self,
        serving: Serving,
        headers: Mapping[str, str],
        read: Callable[[], Awaitable[tuple[Body, int]]],
        decode: Callable[[Body, Serving], InferRequest],
        encode: Callable[[InferRequest, Serving, Results], Answer],
    ) -> Answer:
        received = time.perf_counter_ns()
        try:
            body, size = await read()
            begun = time.perf_counter_ns()
            if size < LARGE:
                asked = decode(body, serving)
            else:
                asked = await asyncio.to_thread(decode, body, serving)  # probes must be answered meanwhile
            terms = terms_of(headers, asked.timeout)
            decoded = time.perf_counter_ns()
            results = await serving.batcher.submit(asked.array, terms.after((decoded - received) / 1e9))
            computed = time.perf_counter_ns()
            answer = encode(asked, serving, results)
        except BaseException:
            serving.statistics.fail.add(time.perf_counter_ns() - received)
            raise
        ended = time.perf_counter_ns()
        serving.statistics.answered(len(asked.array), decoded - begun, computed - decoded, ended - computed)
        if (trace := TRACE.get()) is not None:
            trace.stages({"read": (received, begun), "decode": (begun, decoded), "encode": (computed, ended)})
        return answer
