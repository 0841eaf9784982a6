"""Who calls our endpoints: the pod behind a projected service account token, asked of the API server and remembered.

A token is accepted only for our own audience, so one that leaked elsewhere is useless here and ours is useless there.
Answers are remembered until the token expires, since every gateway calls twice a second; refusals only briefly. Whoever tries tokens
by the thousand neither takes the operator's own requests their turn nor the good tokens their place in memory.
"""

import asyncio
import base64
import binascii
import hashlib
import logging
from collections import OrderedDict
from dataclasses import dataclass

import orjson

from trainyard.cluster.client import ClusterClient
from trainyard.cluster.resources import TOKEN_REVIEWS, Object
from trainyard.runtime.clock import Clock

log = logging.getLogger(__name__)

AUDIENCE = "trainyard.dev"
_SERVICE_ACCOUNT = "system:serviceaccount:"
_POD_NAME = "authentication.kubernetes.io/pod-name"
_POD_UID = "authentication.kubernetes.io/pod-uid"
_UNKNOWN_LIFETIME = 60.0
_REFUSAL_SECONDS = 10.0
LONGEST_TOKEN = 16384
REVIEWS_AT_ONCE = 8
"""Of the requests that the operator has under way at a time."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The pod that a token was issued to. pod_name and pod_uid are empty for a token bound to none."""

    namespace: str
    service_account: str
    pod_name: str
    pod_uid: str


class TokenRejected(Exception):  # noqa: N818 - says what happened
    """The token is not valid for us; the message says why and carries nothing of the token."""


@dataclass(frozen=True, slots=True)
class _Verdict:
    until: float
    """On the clock's monotonic time."""
    caller: Caller | None
    reason: str = ""


class TokenReviewer:
    """Turns tokens into callers. Belongs to one event loop."""

    def __init__(self, client: ClusterClient, clock: Clock, audience: str = AUDIENCE, capacity: int = 8192) -> None:
        self.failures = 0
        """Tokens refused, and reviews that the API server could not do."""
        self.reviews = 0
        """Questions put to the API server."""
        self._client = client
        self._clock = clock
        self._audience = audience
        self._capacity = capacity
        self._accepted: OrderedDict[bytes, _Verdict] = OrderedDict()
        self._rejected: OrderedDict[bytes, _Verdict] = OrderedDict()
        self._turns = asyncio.Semaphore(REVIEWS_AT_ONCE)
        self._asking: dict[bytes, asyncio.Task[_Verdict]] = {}

    async def review(self, token: str) -> Caller:
        """The caller behind a token. Raises TokenRejected, or ClusterError when the API server cannot say."""
        verdict = self._remembered(token)
        if verdict is None:
            try:
                verdict = await self._ask_once(token)
            except Exception:
                self.failures += 1
                raise
        if verdict.caller is None:
            self.failures += 1
            raise TokenRejected(verdict.reason)
        return verdict.caller

    def _remembered(self, token: str) -> _Verdict | None:
        key = _key(token)
        for verdicts in (self._accepted, self._rejected):
            verdict = verdicts.get(key)
            if verdict is None:
                continue
            if verdict.until <= self._clock.monotonic():
                del verdicts[key]
                return None
            verdicts.move_to_end(key)
            return verdict
        return None

    async def _ask_once(self, token: str) -> _Verdict:
        """Many calls with one token at the same time are one question."""
        key = _key(token)
        task = self._asking.get(key)
        if task is None:
            task = asyncio.create_task(self._ask(token))
            self._asking[key] = task
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        return await asyncio.shield(task)

    async def _ask(self, token: str) -> _Verdict:
        if not token or len(token) > LONGEST_TOKEN:
            return self._refused("no token, or one that is too long")
        review = {
            "apiVersion": TOKEN_REVIEWS.api_version,
            "kind": TOKEN_REVIEWS.kind,
            "spec": {"token": token, "audiences": [self._audience]},
        }
        async with self._turns:
            self.reviews += 1
            status = (await self._client.create(TOKEN_REVIEWS, review)).get("status") or {}
        verdict = self._judge(token, status)
        verdicts = self._rejected if verdict.caller is None else self._accepted
        verdicts[_key(token)] = verdict
        if len(verdicts) > self._capacity:
            verdicts.popitem(last=False)
        return verdict

    def _judge(self, token: str, status: Object) -> _Verdict:
        if not status.get("authenticated"):
            return self._refused(str(status.get("error") or "the API server does not know the token"))
        if self._audience not in (status.get("audiences") or []):
            return self._refused(f"the token is not meant for {self._audience}")
        user = status.get("user") or {}
        name = str(user.get("username") or "")
        if not name.startswith(_SERVICE_ACCOUNT) or name.count(":") != _SERVICE_ACCOUNT.count(":") + 1:
            return self._refused("the token does not belong to a service account")
        namespace, _, account = name.removeprefix(_SERVICE_ACCOUNT).partition(":")
        extra = user.get("extra") or {}
        caller = Caller(namespace, account, _first(extra.get(_POD_NAME)), _first(extra.get(_POD_UID)))
        return _Verdict(self._clock.monotonic() + self._lifetime(token), caller)

    def _refused(self, reason: str) -> _Verdict:
        return _Verdict(self._clock.monotonic() + _REFUSAL_SECONDS, None, reason)

    def _lifetime(self, token: str) -> float:
        """Seconds until an authenticated token expires, read from its own claims, which the review just vouched for."""
        try:
            payload = token.split(".")[1]
            claims = orjson.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
            return max(0.0, float(claims["exp"]) - self._clock.now().timestamp())
        except (IndexError, KeyError, TypeError, ValueError, binascii.Error):
            return _UNKNOWN_LIFETIME


def _key(token: str) -> bytes:
    """Tokens themselves are not kept in memory."""
    return hashlib.sha256(token.encode()).digest()


def _first(values: object) -> str:
    return str(values[0]) if isinstance(values, list) and values else ""
