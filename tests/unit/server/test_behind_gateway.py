"""Real clients, a real HAProxy and two real servers: what gRPC comes to through a gateway."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc as triton_grpc
from gateway.members import Member
from tritonclient.utils import InferenceServerException

from tests.unit.gateway.grpc_rig import grpc_gateway
from tests.unit.gateway.rig import HOST, UID, needs_haproxy
from tests.unit.gateway.test_callers import pair

pytestmark = needs_haproxy
ROWS = np.random.default_rng(5).random((3, 1, 4, 4), dtype=np.float32)


def inputs(rows: Any = ROWS) -> list[Any]:
    tensor = triton_grpc.InferInput("image", list(rows.shape), "FP32")
    tensor.set_data_from_numpy(rows)
    return [tensor]


async def asked(address: str, question: Callable[[Any], Any], **options: Any) -> Any:
    def ask() -> Any:
        client = triton_grpc.InferenceServerClient(address, **options)
        try:
            return question(client)
        finally:
            client.close()

    return await asyncio.to_thread(ask)


def a_member(name: str, client: Any) -> Member:
    digest = client.server.repository.serving[0].model.card.digest
    return Member(name, HOST, client.server.port, digest=digest, grpc_port=client.server.grpc_port)


def inferences(client: Any) -> int:
    return int(client.server.repository.serving[0].statistics.success.count)


async def test_inferences_of_one_client_are_spread_over_two_servers(running: Any) -> None:
    ours = {"grpc_port": 0, "service_uid": UID}
    async with running(**ours) as one, running(**ours) as two, grpc_gateway() as (gateway, _):
        await gateway.follow(a_member("one", one), a_member("two", two))

        def question(client: Any) -> Any:
            assert client.is_server_ready()
            assert client.get_model_metadata("digits").inputs[0].name == "image"
            return [client.infer("digits", inputs()).as_numpy("logits") for _ in range(10)]

        answers = await asked(gateway.settings.grpc_bind, question)
        assert all(np.array_equal(each, answers[0]) for each in answers)
        assert (inferences(one), inferences(two)) == (5, 5)


async def test_over_tls_the_servers_own_words_reach_the_caller(running: Any, tmp_path: Path) -> None:
    folder = pair(tmp_path / "tls", "localhost")
    tls = {
        "ssl": True,
        "root_certificates": str(folder / "tls.crt"),
        "channel_args": [("grpc.ssl_target_name_override", "localhost")],
    }
    async with running(grpc_port=0, service_uid=UID) as one, grpc_gateway(tls_folder=folder) as (gateway, _):
        await gateway.follow(a_member("one", one))

        def question(client: Any) -> tuple[str, str]:
            assert client.infer("digits", inputs()).as_numpy("logits").shape == (3, 3)
            try:
                client.infer("letters", inputs())
            except InferenceServerException as error:
                return error.status(), error.message()
            raise AssertionError("it is not refused")

        status, words = await asked(gateway.settings.grpc_bind, question, **tls)
        assert (status, words) == ("StatusCode.NOT_FOUND", "model 'letters' is not here; expected 'digits'")


async def test_a_server_of_another_service_or_model_gets_nothing(running: Any) -> None:
    other, ours = running(grpc_port=0, service_uid="another"), running(grpc_port=0, service_uid=UID)
    async with other as stranger, ours as own, grpc_gateway() as (gateway, _):
        wrong = replace(a_member("wrong", own), digest="sha256:" + "0" * 64)
        await gateway.follow(a_member("stranger", stranger), wrong, a_member("own", own), awaited={"own"})

        def question(client: Any) -> None:
            for _ in range(4):
                client.infer("digits", inputs())

        await asked(gateway.settings.grpc_bind, question)
        assert (inferences(stranger), inferences(own)) == (0, 4)
