"""Callers are who the API server says they are, and it is not asked more often than needed."""

import asyncio
import base64
import json
from datetime import UTC, datetime
from random import Random

import pytest

from tests.simulation.fake_api import FakeApi
from tests.simulation.fake_faults import on
from trainyard.cluster.client import ClusterClient
from trainyard.cluster.errors import ServerError
from trainyard.cluster.resources import PODS, TOKEN_REVIEWS, Object
from trainyard.cluster.tokens import Caller, TokenRejected, TokenReviewer
from trainyard.runtime.clock import LoopClock

pytestmark = pytest.mark.looptime

CLOCK = LoopClock(datetime(2026, 11, 23, tzinfo=UTC))


def token_of(seconds: float, name: str = "p") -> str:
    """A token that expires in so many seconds. The fake server knows tokens by heart, so no signature is needed."""
    claims = {"exp": int(CLOCK.now().timestamp() + seconds), "sub": name}
    return ".".join(("e30", base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("="), "sig"))


def status_of(
    pod: str = "p", audience: str = "trainyard.dev", username: str = "system:serviceaccount:team:runner"
) -> Object:
    extra = {
        "authentication.kubernetes.io/pod-name": [pod],
        "authentication.kubernetes.io/pod-uid": [f"uid-{pod}"],
    }
    return {"authenticated": True, "audiences": [audience], "user": {"username": username, "extra": extra}}


class Scene:
    def __init__(self, capacity: int = 100) -> None:
        self.api = FakeApi(CLOCK)
        self.client = ClusterClient(self.api.connect(), CLOCK, Random(1))
        self.reviewer = TokenReviewer(self.client, CLOCK, capacity=capacity)


async def test_a_token_tells_its_pod() -> None:
    scene = Scene()
    token = token_of(3600)
    scene.api.tokens[token] = status_of()
    assert await scene.reviewer.review(token) == Caller("team", "runner", "p", "uid-p")
    assert scene.api.requests[0].body["spec"]["audiences"] == ["trainyard.dev"]
    assert scene.reviewer.failures == 0


async def test_an_answer_is_remembered_until_the_token_expires_and_not_longer() -> None:
    scene = Scene()
    token = token_of(3600)
    scene.api.tokens[token] = status_of()
    for _ in range(10):
        await scene.reviewer.review(token)
        await asyncio.sleep(300)
    assert scene.reviewer.reviews == 1
    del scene.api.tokens[token]
    await asyncio.sleep(900)
    with pytest.raises(TokenRejected):
        await scene.reviewer.review(token)
    assert scene.reviewer.reviews == 2


async def test_a_refusal_is_remembered_only_briefly() -> None:
    scene = Scene()
    token = token_of(3600)
    for _ in range(5):
        with pytest.raises(TokenRejected, match="unknown token"):
            await scene.reviewer.review(token)
    assert (scene.reviewer.reviews, scene.reviewer.failures) == (1, 5)
    scene.api.tokens[token] = status_of()
    await asyncio.sleep(11)
    assert (await scene.reviewer.review(token)).pod_name == "p"


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (status_of(audience="https://kubernetes.default.svc"), "not meant for trainyard.dev"),
        (status_of(username="alice"), "does not belong to a service account"),
        (status_of(username="system:serviceaccount:a:b:c"), "does not belong to a service account"),
        ({"authenticated": False, "error": "token expired"}, "token expired"),
    ],
)
async def test_a_token_that_is_not_for_us_is_refused_with_a_reason(status: Object, reason: str) -> None:
    scene = Scene()
    token = token_of(3600)
    scene.api.tokens[token] = status
    with pytest.raises(TokenRejected, match=reason) as caught:
        await scene.reviewer.review(token)
    assert token not in str(caught.value)


async def test_what_cannot_be_a_token_is_not_even_asked_about() -> None:
    scene = Scene()
    for token in ("", "x" * 20_000):
        with pytest.raises(TokenRejected):
            await scene.reviewer.review(token)
    assert scene.api.requests == []


async def test_many_calls_at_once_are_one_question() -> None:
    scene = Scene()
    token = token_of(3600)
    scene.api.tokens[token] = status_of()
    callers = await asyncio.gather(*(scene.reviewer.review(token) for _ in range(50)))
    assert len(callers) == 50
    assert scene.reviewer.reviews == 1


async def test_one_caller_that_hangs_up_does_not_cancel_the_question_of_the_others() -> None:
    scene = Scene()
    token = token_of(3600)
    scene.api.tokens[token] = status_of()
    first = asyncio.create_task(scene.reviewer.review(token))
    second = asyncio.create_task(scene.reviewer.review(token))
    await asyncio.sleep(0.001)
    first.cancel()
    assert (await second).pod_name == "p"


async def test_memory_is_bounded() -> None:
    scene = Scene(capacity=10)
    for number in range(50):
        token = token_of(3600, f"p{number}")
        scene.api.tokens[token] = status_of(f"p{number}")
        await scene.reviewer.review(token)
    assert len(scene.reviewer._accepted) == 10
    for number in range(50):
        with pytest.raises(TokenRejected):
            await scene.reviewer.review(token_of(3600, f"stranger{number}"))
    assert len(scene.reviewer._rejected) == 10


async def test_tokens_that_are_tried_by_the_thousand_push_no_good_one_out_of_memory() -> None:
    scene = Scene(capacity=10)
    good = token_of(3600)
    scene.api.tokens[good] = status_of()
    await scene.reviewer.review(good)
    for number in range(50):
        with pytest.raises(TokenRejected):
            await scene.reviewer.review(token_of(3600, f"stranger{number}"))
    asked = scene.reviewer.reviews
    await scene.reviewer.review(good)
    assert scene.reviewer.reviews == asked


async def test_a_flood_of_tokens_leaves_the_operators_own_requests_their_turn() -> None:
    scene = Scene()
    scene.api.faults.hang(on(TOKEN_REVIEWS), times=None)
    flood = [asyncio.create_task(scene.reviewer.review(token_of(3600, f"p{number}"))) for number in range(500)]
    await asyncio.sleep(0.5)
    async with asyncio.timeout(1):
        await scene.client.get(PODS, "team", "p")
    for each in flood:
        each.cancel()
    await asyncio.gather(*flood, return_exceptions=True)


async def test_a_server_that_cannot_say_is_an_error_and_not_a_refusal() -> None:
    scene = Scene()
    token = token_of(3600)
    scene.api.tokens[token] = status_of()
    scene.api.faults.fail(on(TOKEN_REVIEWS), 500, times=4)
    with pytest.raises(ServerError):
        await scene.reviewer.review(token)
    assert scene.reviewer.failures == 1
    assert (await scene.reviewer.review(token)).pod_name == "p"


async def test_a_token_without_readable_claims_is_remembered_for_a_minute() -> None:
    scene = Scene()
    scene.api.tokens["opaque"] = status_of()
    await scene.reviewer.review("opaque")
    await asyncio.sleep(59)
    await scene.reviewer.review("opaque")
    assert scene.reviewer.reviews == 1
    await asyncio.sleep(2)
    await scene.reviewer.review("opaque")
    assert scene.reviewer.reviews == 2
