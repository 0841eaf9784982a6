"""The official clients of the protocol against a real server: HTTP in JSON and binary, gRPC raw."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http

ROWS = np.random.default_rng(5).random((3, 1, 4, 4), dtype=np.float32)


@contextmanager
def connected(kind: Any, port: int) -> Iterator[Any]:
    client = kind.InferenceServerClient(f"127.0.0.1:{port}")
    try:
        yield client
    finally:
        client.close()


async def asked(running: Any, kind: Any, question: Callable[[Any], Any], **settings: Any) -> Any:
    """What `question` of a client of this kind returns; it blocks, so it runs in a thread."""
    async with running(grpc_port=0, **settings) as client:
        port = client.server.port if kind is triton_http else client.server.grpc_port

        def ask() -> Any:
            with connected(kind, port) as caller:
                return question(caller)

        return await asyncio.to_thread(ask)


def inputs(kind: Any, rows: Any = ROWS, **form: Any) -> list[Any]:
    tensor = kind.InferInput("image", list(rows.shape), "FP32")
    tensor.set_data_from_numpy(rows, **form)
    return [tensor]


def logits_and_labels(result: Any) -> tuple[Any, list[str]]:
    labels = [label if isinstance(label, str) else label.decode() for label in result.as_numpy("label").tolist()]
    return result.as_numpy("logits"), labels


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
async def test_http_answers_alike_in_json_and_binary(running: Any, binary_in: bool, binary_out: bool) -> None:
    def question(client: Any) -> Any:
        outputs = [triton_http.InferRequestedOutput(name, binary_data=binary_out) for name in ("logits", "label")]
        result = client.infer("digits", inputs(triton_http, binary_data=binary_in), outputs=outputs, request_id="7")
        return result.get_response()["id"], *logits_and_labels(result)

    identifier, logits, labels = await asked(running, triton_http, question)
    assert identifier == "7"
    assert logits.shape == (3, 3)
    assert labels == [["zero", "one", "two"][index] for index in logits.argmax(axis=1)]


@pytest.mark.parametrize("compression", ["gzip", "deflate"])
async def test_http_takes_compressed_binary_bodies(running: Any, compression: str) -> None:
    def question(client: Any) -> Any:
        result = client.infer("digits", inputs(triton_http), request_compression_algorithm=compression)
        return result.as_numpy("logits").shape

    assert await asked(running, triton_http, question) == (3, 3)


async def test_grpc_answers_what_http_answers(running: Any) -> None:
    def question(kind: Any) -> Callable[[Any], Any]:
        return lambda client: logits_and_labels(client.infer("digits", inputs(kind)))

    over_http = await asked(running, triton_http, question(triton_http))
    over_grpc = await asked(running, triton_grpc, question(triton_grpc))
    np.testing.assert_array_equal(over_http[0], over_grpc[0])
    assert over_http[1] == over_grpc[1]


@pytest.mark.parametrize("kind", [triton_http, triton_grpc], ids=["http", "grpc"])
async def test_classes_are_ranked_with_their_labels(running: Any, kind: Any) -> None:
    def question(client: Any) -> Any:
        outputs = [kind.InferRequestedOutput("logits", class_count=2)]
        ranked = client.infer("digits", inputs(kind), outputs=outputs).as_numpy("logits")
        return ranked, client.infer("digits", inputs(kind)).as_numpy("logits")

    ranked, logits = await asked(running, kind, question)
    best = [[text.decode().split(":") for text in row] for row in ranked]
    order = (-logits).argsort(axis=1)[:, :2]
    assert [[int(index) for _, index, _ in row] for row in best] == order.tolist()
    assert best[0][0][2] == ["zero", "one", "two"][order[0][0]]


@pytest.mark.parametrize("kind", [triton_http, triton_grpc], ids=["http", "grpc"])
async def test_health_metadata_and_index(running: Any, kind: Any) -> None:
    def question(client: Any) -> Any:
        form = {"as_json": True} if kind is triton_grpc else {}
        probes = (client.is_server_live(), client.is_server_ready(), client.is_model_ready("digits"))
        index = client.get_model_repository_index(**form)
        index = index if isinstance(index, list) else index["models"]
        return probes, client.get_server_metadata(**form), client.get_model_metadata("digits", **form), index

    probes, server, model, index = await asked(running, kind, question)
    assert probes == (True, True, True)
    assert server["extensions"] == ["binary_tensor_data", "classification", "parameters", "statistics"]
    assert model["inputs"][0]["name"] == "image"
    assert [int(size) for size in model["inputs"][0]["shape"]] == [-1, 1, 4, 4]
    assert [(one["name"], one["version"], one["state"]) for one in index] == [("digits", "1", "READY")]


@pytest.mark.parametrize("kind", [triton_http, triton_grpc], ids=["http", "grpc"])
async def test_statistics_count_what_was_asked(running: Any, kind: Any) -> None:
    def question(client: Any) -> Any:
        for _ in range(2):
            client.infer("digits", inputs(kind))
        with pytest.raises(kind.InferenceServerException):
            client.infer("digits", inputs(kind, rows=ROWS[:, :, :2]))
        form = {"as_json": True} if kind is triton_grpc else {}
        return client.get_inference_statistics("digits", **form)["model_stats"]

    (stats,) = await asked(running, kind, question)
    counts = {name: int(one["count"]) for name, one in stats["inference_stats"].items() if "count" in one}
    assert counts == {
        "success": 2,
        "fail": 1,
        "queue": 2,
        "compute_input": 2,
        "compute_infer": 2,
        "compute_output": 2,
    }
    assert int(stats["inference_count"]) == 6
    assert int(stats["execution_count"]) == 2
    assert [int(one["batch_size"]) for one in stats["batch_stats"]] == [3]
    assert all(int(one["ns"]) > 0 for name, one in stats["inference_stats"].items() if name in counts)


async def test_grpc_errors_have_codes_and_the_words_of_rest(running: Any) -> None:
    def question(client: Any) -> Any:
        refusals = []
        for name, rows in (("other", ROWS), ("digits", ROWS[:, :, :2])):
            with pytest.raises(triton_grpc.InferenceServerException) as refusal:
                client.infer(name, inputs(triton_grpc, rows=rows))
            refusals.append((refusal.value.status(), refusal.value.message()))
        return refusals

    unknown, wrong = await asked(running, triton_grpc, question)
    assert unknown == ("StatusCode.NOT_FOUND", "model 'other' is not here; expected 'digits'")
    assert wrong[0] == "StatusCode.INVALID_ARGUMENT"
    assert wrong[1].startswith("inputs[image].shape is [3,1,2,4]; expected [-1, 1, 4, 4]")


async def test_grpc_refuses_what_was_meant_for_another_service(running: Any) -> None:
    def question(client: Any) -> Any:
        with pytest.raises(triton_grpc.InferenceServerException) as refusal:
            client.is_server_live(headers={"x-trainyard-service": "uid-2"})
        return refusal.value.status()

    assert await asked(running, triton_grpc, question, service_uid="uid-1") == "StatusCode.FAILED_PRECONDITION"
