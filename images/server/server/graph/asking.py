"""One target asked over HTTP, on behalf of one request and with what is left of its deadline."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson

from server.errors import RequestError
from server.graph.metrics import RouterMetrics
from server.graph.tensors import Tensor, Tensors, tensors_of
from server.graph.wiring import Target
from server.outcome import CLIENT_LEFT
from server.terms import DEADLINE_HEADER, PRIORITY_HEADER

DEPTH_HEADER = "X-Trainyard-Graph-Depth"
FORWARDED = (PRIORITY_HEADER, "X-Request-Id", "traceparent", "tracestate")
_OK, _FAILED = 200, 400
_AT_ONCE = 64 * 1024
_SHOWN = 500


class StageFailed(RequestError):  # noqa: N818 - named like its siblings
    """A stage has no answer: the status that it gave, and its name before its words."""

    def __init__(self, stage: str, status: int, message: str, retry_after: int | None = None) -> None:
        super().__init__(f"stage {stage!r}: {message}")
        self.status, self.retry_after = status, retry_after


@dataclass(frozen=True)
class Asker:
    """Of one request.

    until: its deadline on the loop's clock; depth: graphs that it has come through; most_bytes: of an answer, as of a request.
    """

    session: aiohttp.ClientSession
    metrics: RouterMetrics
    headers: Mapping[str, str]
    until: float
    depth: int
    most_bytes: int

    async def ask(self, stage: str, target: Target, inputs: Tensors) -> dict[str, Tensor]:
        """Outputs by name. Raises StageFailed; a caller that leaves ends the request to the target, too."""
        code = CLIENT_LEFT
        try:
            outputs = await self._asked(stage, target, inputs)
            code = "200"
        except StageFailed as error:
            code = str(error.status)
            raise
        finally:
            self.metrics.stage_requests.labels(stage, code).inc()
        return outputs

    async def _asked(self, stage: str, target: Target, inputs: Tensors) -> dict[str, Tensor]:
        left = self.until - asyncio.get_running_loop().time()
        if left <= 0:
            raise StageFailed(stage, 504, "the deadline passed before it was asked")
        body = orjson.dumps({"inputs": [tensor.as_json(name) for name, tensor in inputs.items()]})
        try:
            async with asyncio.timeout(left), self._posted(target, body, left) as response:
                answer = await self._read(stage, target, response)
        except TimeoutError as error:
            raise StageFailed(stage, 504, f"the deadline passed while {target.url} was asked") from error
        except aiohttp.ClientError as error:
            raise StageFailed(stage, 502, f"{target.url} gave no answer: {error}") from error
        if response.status != _OK:
            status = response.status if response.status >= _FAILED else 502
            raise StageFailed(
                stage, status, _words(answer, response.status), _whole(response.headers.get("Retry-After"))
            )
        try:
            return tensors_of(_fields(answer).get("outputs"), "outputs")
        except (RequestError, ValueError) as error:
            raise StageFailed(stage, 502, f"{target.url} answered no tensors: {error}") from error

    async def _read(self, stage: str, target: Target, response: aiohttp.ClientResponse) -> bytes:
        """The answer, of which no more is held than a request may have. What is longer is not read to its end, and its connection closed."""
        answer, length = bytearray(), response.content_length or 0
        while length <= self.most_bytes and (part := await response.content.read(_AT_ONCE)):
            answer += part
            length = max(length, len(answer))
        if length <= self.most_bytes:
            return bytes(answer)
        response.close()
        said = response.content_length or "more"
        raise StageFailed(stage, 502, f"{target.url} answers {said} bytes; expected at most {self.most_bytes}")

    def _posted(self, target: Target, body: bytes, left: float) -> Any:
        told = {name: self.headers[name] for name in FORWARDED if name in self.headers}
        told |= {
            DEADLINE_HEADER: str(max(1, int(left * 1e3))),
            DEPTH_HEADER: str(self.depth + 1),
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",  # a few bytes may unfold to any number
        }
        url = f"{target.url}/v2/models/{target.model}/infer"
        return self.session.post(url, data=body, headers=told, allow_redirects=False)


def _fields(answer: bytes) -> dict[str, Any]:
    fields = orjson.loads(answer)
    if not isinstance(fields, dict):
        raise ValueError("the body is no JSON object")  # noqa: TRY004 - of what came in, as the other one
    return fields


def _words(answer: bytes, status: int) -> str:
    """What the target said of its failure, in the protocol's form or as it is."""
    try:
        said = _fields(answer).get("error")
    except ValueError:
        said = answer.decode(errors="replace").strip()
    return said[:_SHOWN] if isinstance(said, str) and said else f"answered {status} without a reason"


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() and len(text) < len("10000000") else None
