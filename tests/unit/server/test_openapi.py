"""The server keeps to the document that it gives out: requests made from it, good and bad, find no contradiction."""

import asyncio
import json
import warnings
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable

EXAMPLES = 12
OPENAI = ("/v1/models", "/v1/completions", "/v1/chat/completions", "/v1/embeddings")
TEXT = {
    "architecture": {
        "model": "llama",
        "parameters": {"inputShape": [32], "outputs": 256, "vocabulary": 256, "perToken": True}
        | {"dim": 16, "layers": 1, "heads": 2, "keyValueHeads": 1, "hidden": 16},
    },
    "inputs": [{"name": "input", "datatype": "INT64", "shape": [-1, 32]}],
    "outputs": [{"name": "logits", "datatype": "FP32", "shape": [-1, 32, 256]}],
    "preprocessing": None,
    "labels": None,
}


@pytest.mark.slow
async def test_no_request_made_from_the_document_contradicts_it(running: Any) -> None:
    async with running(seconds=300) as client:
        _, document = await client.get("/openapi.json")
        operations = await asyncio.to_thread(_check, _of_one_model(document, "digits"), client.base)
    assert operations == sum(1 for path in document["paths"].values() for verb in path if verb in ("get", "post"))


@pytest.mark.slow
async def test_nor_does_one_that_a_language_model_answers(running: Any) -> None:
    async with running(card=TEXT, seconds=300) as client:
        _, document = await client.get("/openapi.json")
        known = _of_one_model(document, "digits")
        known["paths"] = {path: known["paths"][path] for path in OPENAI}
        assert await asyncio.to_thread(_check, known, client.base) == len(OPENAI)


def _of_one_model(document: dict[str, Any], name: str) -> dict[str, Any]:
    """The document with the model that is served for its name: a name made up would seldom be that."""
    known: dict[str, Any] = json.loads(json.dumps(document))
    for path in known["paths"].values():
        for parameter in path.get("parameters", ()):
            if parameter["name"] == "model":
                parameter["schema"] = {"type": "string", "enum": [name]}
    for schema in ("Completion", "ChatCompletion", "Embeddings"):
        known["components"]["schemas"][schema]["properties"]["model"] = {"type": "string", "enum": [name]}
    return known


def _check(document: dict[str, Any], base: str) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tool's own dependencies
        import schemathesis  # noqa: PLC0415 - half a second that no other test should pay

        schema: Any = schemathesis.openapi.from_dict(document)
        count = 0
        for result in schema.get_all_operations():
            operation = result.ok()
            assert operation is not None, result
            count += 1
            strategies = [operation.as_strategy(generation_mode=mode) for mode in schemathesis.GenerationMode]
            for strategy in strategies:
                _ask(strategy, base)
        return count


def _ask(strategy: Any, base: str) -> None:
    # Not every request that the protocol allows fits a model's own card; the others are asked for in other tests.
    from schemathesis.specs.openapi.checks import positive_data_acceptance  # noqa: PLC0415

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def ask(case: Any) -> None:
        case.call_and_validate(base_url=base, timeout=10, excluded_checks=[positive_data_acceptance])

    with suppress(Unsatisfiable):  # an operation that takes nothing has nothing to get wrong
        ask()
