"""Copies of requests that the stable revision has answered: the canary answers them too, and the answers are compared.

HAProxy sends a copy when it has the whole answer, over a socket of its own (copying.lua), and waits for nothing: whatever happens here,
the caller has what the stable revision said. So much is bounded on both sides: bytes, copies at a time, and the time of each; what is too
much is dropped. The canary is asked through HAProxy, so that its health checks, limits and counts hold, and callers go first there.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import randrange

import aiohttp
from yarl import URL

from gateway.answers import Answer, Incomparable, Question, Tolerance
from gateway.config import Settings
from gateway.contracts import Contracts
from gateway.members import Membership
from gateway.sections import COPY_BYTES
from gateway.traffic import Traffic

AT_ONCE = 8
LEAST_SECONDS = 10.0
"""For an answer of the canary, and twice the time that the stable revision took."""
_READ_SECONDS = 2.0
_MOST_ANSWER = 4 * COPY_BYTES
_MOST_COPY = 2 * COPY_BYTES + 32 * 1024
_BACKLOG = 16
_BUSY = (429, 503)
_OK = 200
_LENGTH_HEADER = "Inference-Header-Content-Length"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Copy:
    """A request, what the stable revision answered, and in how many seconds."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    answer: Answer
    seconds: float


def parse_copy(data: bytes) -> Copy:
    """Copy as copying.lua writes it: lines `name value`, an empty line, both bodies. Raises ValueError, KeyError."""
    head, _, bodies = data.partition(b"\n\n")
    fields = dict(line.partition(" ")[::2] for line in head.decode("latin-1").splitlines())
    request, answer = (int(fields[name]) for name in ("request", "answer"))
    if min(request, answer) < 0 or request + answer != len(bodies):
        raise ValueError(f"the bodies have {len(bodies)} bytes; expected {request} and {answer}")
    sent = {"Content-Type": fields.get("type", ""), _LENGTH_HEADER: fields.get("head", "")}
    headers = {name: value for name, value in sent.items() if value}
    length = int(fields["answer-head"]) if fields.get("answer-head") else None
    return Copy(fields["path"], headers, bodies[:request], Answer(bodies[request:], length), float(fields["seconds"]))


class Copies:
    """Takes copies, asks the canary, counts. sent, dropped, compared and different are since the start."""

    def __init__(
        self, settings: Settings, traffic: Traffic, contracts: Contracts, draw: Callable[[int], int] = randrange
    ) -> None:
        self._settings, self._traffic, self._contracts, self._draw = settings, traffic, contracts, draw
        self._tolerance = Tolerance()
        self._models: tuple[str, str] | None = None  # digests of the stable revision and of its canary
        self.in_flight = 0
        self.sent = self.dropped = self.compared = self.different = 0

    def know(self, membership: Membership | None) -> None:
        """Which models are compared, if there is one on either side."""
        members = () if membership is None else membership.members
        sides = [{one.digest for one in members if one.canary is side and one.active} for side in (False, True)]
        known = all(len(each) == 1 and "" not in each for each in sides)
        self._models = (sides[0].pop(), sides[1].pop()) if known else None
        if membership is not None:
            self._tolerance = membership.split.tolerance

    async def run(self) -> None:
        """Work until cancelled."""
        loop, taken = asyncio.get_running_loop(), set[asyncio.Task[None]]()
        connector = aiohttp.UnixConnector(str(self._settings.canary_socket), force_close=True)
        async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:

            def accept(listener: socket.socket) -> None:
                with suppress(BlockingIOError, InterruptedError):
                    connection, _ = listener.accept()
                    connection.setblocking(False)
                    task = loop.create_task(self._take(connection, session))
                    taken.add(task)
                    task.add_done_callback(taken.discard)
                    task.add_done_callback(lambda _task: connection.close())

            try:
                with _listener(self._settings.shadow_socket) as listener:
                    loop.add_reader(listener, accept, listener)
                    try:
                        await asyncio.Event().wait()
                    finally:
                        loop.remove_reader(listener)
            except OSError as error:
                _log.warning("no copies of requests are taken: %s", error)
            finally:
                for task in taken:
                    task.cancel()
                await asyncio.gather(*taken, return_exceptions=True)

    async def _take(self, connection: socket.socket, session: aiohttp.ClientSession) -> None:
        try:
            async with asyncio.timeout(_READ_SECONDS):
                copy = parse_copy(await _received(connection))
        except (ValueError, KeyError, OSError, TimeoutError) as error:
            self.dropped += 1
            _log.debug("a copy cannot be read: %r", error)
            return
        if self.in_flight >= AT_ONCE:
            self.dropped += 1
            return
        self.in_flight += 1
        try:
            await self._compare(copy, session)
        finally:
            self.in_flight -= 1

    async def _compare(self, copy: Copy, session: aiohttp.ClientSession) -> None:
        models = self._models
        contract = self._contracts.of(models[0]) if models is not None else None
        if models is None or contract is None:
            self.dropped += 1
            return
        differs: bool | None = None
        with suppress(Incomparable):
            question = Question(
                copy.path, copy.body, copy.answer, labelled=contract.labelled, tolerance=self._tolerance
            )
            self.sent += 1
            differs = await self._differs(question, copy, session)
        if differs is None:
            self.dropped += 1
            return
        self.compared += 1
        self.different += differs
        self._traffic.compare(models[1], differs=differs)

    async def _differs(self, question: Question, copy: Copy, session: aiohttp.ClientSession) -> bool | None:
        """None where the canary could not be asked. No answer, in time or at all, is another answer."""
        url = URL(f"http://canary{copy.path}", encoded=True)
        try:
            async with (
                asyncio.timeout(LEAST_SECONDS + 2 * copy.seconds),
                session.post(url, data=copy.body, headers=copy.headers) as response,
            ):
                if response.status in _BUSY:
                    return None
                body = await _limited(response.content)
        except TimeoutError:
            return True
        except (aiohttp.ClientError, OSError):
            return None
        if response.status != _OK or body is None:
            return True
        length = response.headers.get(_LENGTH_HEADER, "")
        return question.differs(Answer(body, int(length) if length.isdecimal() else None), self._draw)


@contextmanager
def _listener(path: Path) -> Iterator[socket.socket]:
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen(_BACKLOG)
        listener.setblocking(False)
        try:
            yield listener
        finally:
            path.unlink(missing_ok=True)


async def _received(connection: socket.socket) -> bytes:
    """All that comes until the other side closes. Raises ValueError where that is too much."""
    data, loop = b"", asyncio.get_running_loop()
    while part := await loop.sock_recv(connection, _MOST_COPY):
        data += part
        if len(data) > _MOST_COPY:
            raise ValueError(f"a copy has more than {_MOST_COPY} bytes")
    return data


async def _limited(content: aiohttp.StreamReader) -> bytes | None:
    """All of a body; None of one that is much longer than any that is copied."""
    body = b""
    async for part in content.iter_any():
        body += part
        if len(body) > _MOST_ANSWER:
            return None
    return body
