"""What each model takes and gives, read from one of its replicas and told to the operator, which compares old and new.

Gateways read it because they reach the replicas anyway: the operator has no other business with them, and a NetworkPolicy of the
namespace may let nobody else in. A digest is read once; what is told is checked here, so that a strange replica spoils no report.
"""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson

from gateway.answers import LABEL
from gateway.config import Settings
from gateway.members import Member, Membership

LOOK_SECONDS = 1.0
_TIMEOUT_SECONDS = 2.0
_MOST_BYTES = 32 * 1024
_MOST_TENSORS = 64
_MOST_SIZES = 16
_LONGEST_NAME = 256
_LONGEST_WORD = 32
_log = logging.getLogger(__name__)


class NoContract(ValueError):  # noqa: N818 - says what is missing
    """The answer does not say what a model takes and gives; the message says why not."""


@dataclass(frozen=True)
class Tensor:
    """A named tensor; -1 in shape stands for any size."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}


@dataclass(frozen=True)
class Contract:
    """What one model takes and gives."""

    platform: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    @property
    def labelled(self) -> bool:
        """Whether the model names a class for each row."""
        return any(each.name == LABEL and len(each.shape) == 1 for each in self.outputs)

    def as_json(self) -> dict[str, Any]:
        inputs, outputs = ([each.as_json() for each in side] for side in (self.inputs, self.outputs))
        return {"platform": self.platform, "inputs": inputs, "outputs": outputs}


def parse_contract(body: bytes) -> Contract:
    """Contract of an answer to GET /v2/models/NAME. Raises NoContract."""
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise NoContract(f"the metadata is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise NoContract(f"the metadata is a {type(fields).__name__}; expected an object")
    platform = _word(fields.get("platform", ""), "platform", _LONGEST_WORD)
    return Contract(platform, _tensors(fields, "inputs"), _tensors(fields, "outputs"))


class Contracts:
    """What is known, by digest."""

    def __init__(self, settings: Settings) -> None:
        self._service = settings.service
        self._uid = settings.service_uid
        self._wanted: Membership | None = None
        self._known: dict[str, Contract] = {}

    def know(self, membership: Membership | None) -> None:
        """Whom to ask. What is no longer served is forgotten."""
        self._wanted = membership
        present = {one.digest for one in membership.members} if membership is not None else set()
        self._known = {digest: found for digest, found in self._known.items() if digest in present}

    def of(self, digest: str) -> Contract | None:
        return self._known.get(digest)

    def report(self) -> dict[str, Any]:
        """Part of the sync call."""
        return {digest: found.as_json() for digest, found in self._known.items()}

    async def run(self) -> None:
        """Read what is not known yet, until cancelled."""
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(force_close=True)) as session:
            while True:
                for digest, members in self._unread().items():
                    await self._read(session, digest, members)
                await asyncio.sleep(LOOK_SECONDS)

    def _unread(self) -> dict[str, list[Member]]:
        found: dict[str, list[Member]] = {}
        for one in () if self._wanted is None else self._wanted.members:
            if one.digest and one.active and one.digest not in self._known:
                found.setdefault(one.digest, []).append(one)
        return found

    async def _read(self, session: aiohttp.ClientSession, digest: str, members: Iterable[Member]) -> None:
        """Ask one replica after the other; one that still loads is asked again at the next turn."""
        for one in members:
            try:
                self._known[digest] = await self._ask(session, one)
            except (aiohttp.ClientError, TimeoutError, OSError):
                continue
            except NoContract as error:
                _log.warning("cannot tell what %s takes and gives: %s", one.name, error)
                continue
            return

    async def _ask(self, session: aiohttp.ClientSession, one: Member) -> Contract:
        """The replica refuses where it serves another service or model."""
        host = f"[{one.address}]" if ":" in one.address else one.address
        headers = {"X-Trainyard-Service": self._uid, "X-Trainyard-Digest": one.digest}
        url = f"http://{host}:{one.port}/v2/models/{self._service}"
        async with session.get(url, headers=headers, raise_for_status=True) as response:
            body = await response.content.read(_MOST_BYTES + 1)
            while len(body) <= _MOST_BYTES and (more := await response.content.read(_MOST_BYTES)):
                body += more
        if len(body) > _MOST_BYTES:
            raise NoContract(f"the metadata has more than {_MOST_BYTES} bytes")
        return parse_contract(body)


def _tensors(fields: dict[str, Any], side: str) -> tuple[Tensor, ...]:
    entries = fields.get(side)
    if not isinstance(entries, list) or len(entries) > _MOST_TENSORS:
        raise NoContract(f"{side} is no list of at most {_MOST_TENSORS} tensors")
    return tuple(_tensor(entry, f"{side}[{index}]") for index, entry in enumerate(entries))


def _tensor(entry: object, where: str) -> Tensor:
    if not isinstance(entry, dict):
        raise NoContract(f"{where} is a {type(entry).__name__}; expected an object")
    shape = entry.get("shape")
    whole = isinstance(shape, list) and all(type(size) is int and size >= -1 for size in shape)
    if not isinstance(shape, list) or not whole or len(shape) > _MOST_SIZES:
        raise NoContract(f"{where}.shape is {str(shape)[:60]}; expected at most {_MOST_SIZES} whole numbers from -1")
    name = _word(entry.get("name"), f"{where}.name", _LONGEST_NAME)
    return Tensor(name, _word(entry.get("datatype"), f"{where}.datatype", _LONGEST_WORD), tuple(shape))


def _word(value: object, where: str, longest: int) -> str:
    if not isinstance(value, str) or len(value) > longest:
        raise NoContract(f"{where} is {str(value)[:60]!r}; expected a text of at most {longest} characters")
    return value
