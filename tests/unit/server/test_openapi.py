"""The server keeps to the document that it gives out: requests made from it, good and bad, find no contradiction."""

import asyncio
import warnings
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable

EXAMPLES = 12


@pytest.mark.slow
async def test_no_request_made_from_the_document_contradicts_it(running: Any) -> None:
    async with running() as client:
        status, document = await client.get("/openapi.json")
        assert status == 200
        operations = await asyncio.to_thread(_check, document, client.base)
    assert operations == sum(1 for path in document["paths"].values() for verb in path if verb in ("get", "post"))


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
