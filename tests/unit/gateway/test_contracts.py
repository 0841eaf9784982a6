"""What each model takes and gives, as the sidecar reads it from replicas."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import orjson
import pytest
from aiohttp import web
from gateway.config import Settings
from gateway.contracts import Contract, Contracts, NoContract, Tensor, parse_contract
from gateway.members import Member, Membership, Wish

from tests.unit.gateway.rig import HOST, until
from trainyard.inference.board import parse_sync

DIGEST = "sha256:" + "a" * 64
METADATA = {
    "name": "digits",
    "versions": ["1"],
    "platform": "pytorch",
    "inputs": [{"name": "image", "datatype": "FP32", "shape": [-1, 784]}],
    "outputs": [{"name": "logits", "datatype": "FP32", "shape": [-1, 10]}],
}


class Server:
    """A replica that is asked for its metadata."""

    def __init__(self, body: bytes = orjson.dumps(METADATA)) -> None:
        self.body, self.status, self.asked = body, 200, 0
        self.headers: dict[str, str] = {}
        self.port = 0

    async def answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        self.headers = dict(request.headers)
        assert request.path == "/v2/models/digits"
        return web.Response(body=self.body, status=self.status)

    def member(self, wish: Wish = Wish.ACTIVE) -> Member:
        return Member(f"m-{self.port}", HOST, self.port, wish, digest=DIGEST)


@asynccontextmanager
async def reading(*servers: Server, wish: Wish = Wish.ACTIVE) -> AsyncIterator[Contracts]:
    runners = []
    for server in servers:
        app = web.Application()
        app.router.add_get("/{path:.*}", server.answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, HOST, 0).start()
        server.port = runner.addresses[0][1]
        runners.append(runner)
    found = Contracts(Settings("digits", "uid-1"))
    found.know(Membership(1, tuple(server.member(wish) for server in servers)))
    work = asyncio.create_task(found.run())
    try:
        yield found
    finally:
        work.cancel()
        with suppress(asyncio.CancelledError):
            await work
        for runner in runners:
            await runner.cleanup()


async def test_one_replica_of_a_model_is_asked_once_and_must_be_the_one_meant() -> None:
    one, two = Server(), Server()
    async with reading(one, two) as found:
        await until(lambda: found.of(DIGEST), "it is read")
        await asyncio.sleep(1.2)
        assert (one.asked, two.asked) == (1, 0)
        assert (one.headers["X-Trainyard-Service"], one.headers["X-Trainyard-Digest"]) == ("uid-1", DIGEST)


async def test_one_that_still_loads_is_asked_again_and_another_meanwhile() -> None:
    loading, up = Server(), Server()
    loading.status = 503
    async with reading(loading) as found:
        await until(lambda: loading.asked > 1, "it is asked again")
        assert found.report() == {}
        loading.status = 200
        await until(lambda: found.of(DIGEST), "it has loaded")
    loading.status = 503
    async with reading(loading, up) as found:
        await until(lambda: found.of(DIGEST), "the other one says it")


async def test_nobody_asks_a_replica_that_leaves() -> None:
    server = Server()
    async with reading(server, wish=Wish.DRAIN):
        await asyncio.sleep(0.2)
        assert server.asked == 0


async def test_what_is_told_is_what_the_operator_takes() -> None:
    async with reading(Server()) as found:
        await until(lambda: found.of(DIGEST), "it is read")
        body = {"namespace": "n", "service": "s", "serviceUid": "u", "pod": "g", "generation": 1}
        (contract,) = parse_sync({**body, "contracts": found.report()}).contracts.values()
        assert contract.inputs[0].shape == (-1, 784)
        found.know(Membership(2, ()))
        assert found.report() == {}, "nobody serves it any more"


def test_a_contract_is_taken_from_the_metadata() -> None:
    assert parse_contract(orjson.dumps(METADATA)) == Contract(
        "pytorch", (Tensor("image", "FP32", (-1, 784)),), (Tensor("logits", "FP32", (-1, 10)),)
    )


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"oh", "not JSON"),
        (b"[]", "expected an object"),
        (orjson.dumps({**METADATA, "inputs": None}), "inputs is no list"),
        (orjson.dumps({**METADATA, "inputs": [{}] * 65}), "inputs is no list"),
        (orjson.dumps({**METADATA, "outputs": [7]}), r"outputs\[0\] is a int"),
        (orjson.dumps({**METADATA, "outputs": [{"name": "a", "datatype": "FP32", "shape": [-2]}]}), r"shape is \[-2\]"),
        (orjson.dumps({**METADATA, "outputs": [{"name": 1, "datatype": "FP32", "shape": []}]}), r"outputs\[0\].name"),
        (orjson.dumps({**METADATA, "platform": "x" * 99}), "platform is"),
    ],
)
def test_what_the_operator_would_refuse_is_not_told(body: bytes, said: str) -> None:
    with pytest.raises(NoContract, match=said):
        parse_contract(body)


async def test_an_endless_answer_is_cut_short() -> None:
    async with reading(Server(b" " * 40_000)) as found:
        await asyncio.sleep(0.3)
        assert found.report() == {}
