"""What the spec makes of the environment of a model server, and that the server understands it."""

import json
from pathlib import Path
from typing import Any

import pytest
from server.config import Settings, from_environment
from server.limits import Limits

from tests import builders as b
from trainyard.api.inference_service import InferenceService, ServedModel
from trainyard.inference.gateway_options import variables as gateway_variables
from trainyard.inference.model import named
from trainyard.inference.observed import Observed
from trainyard.inference.server_options import variables

REPOSITORY = {"claimName": "models", "repository": "team/all"}


def service(**fields: Any) -> InferenceService:
    return InferenceService.model_validate(b.inference_service("s", b.meta(uid="u"), b.spec(**fields)))


def settings(**fields: Any) -> Settings:
    """As the server reads them."""
    asked = service(**fields)
    model = named(Observed(asked))
    assert isinstance(model, ServedModel)
    return from_environment(variables(asked, model))


def test_without_a_word_a_server_has_its_own_defaults_and_a_queue_that_fits_the_gateway() -> None:
    found, own = settings(), Settings()
    assert (found.limits, found.language) == (Limits(own.max_batch, 64, own.latency_budget_ms), own.language)
    assert (found.max_body_bytes, found.request_seconds) == (own.max_body_bytes, own.request_seconds)
    assert (found.model_name, found.model_digest, found.repository) == ("s", b.DIGEST, None)


@pytest.mark.parametrize(
    ("fields", "attribute", "expected"),
    [
        ({"batching": {"maxBatch": 8, "maxQueue": 5, "latencyBudgetMs": 20}}, "limits", Limits(8, 5, 20)),
        ({"batching": {"compile": True}}, "compile", True),
        ({"gateway": {"maxConcurrency": 7}}, "max_queue", 14),
        ({"requestLimits": {"maxBodyBytes": 2048}}, "max_body_bytes", 2048),
        ({"requestLimits": {"seconds": 7}}, "request_seconds", 7.0),
        ({"model": REPOSITORY}, "repository", Path("/trainyard/storage/team/all")),
        ({"model": REPOSITORY}, "repository_seconds", 10.0),
        ({"model": REPOSITORY}, "model_name", None),
        (
            {"model": REPOSITORY, "batching": {"maxBatch": 8, "models": [{"name": "a", "maxQueue": 3}, {"name": "b"}]}},
            "model_limits",
            {"a": Limits(8, 3, 0), "b": Limits(8, 64, 0)},
        ),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) and "a" not in value else "",
)
def test_each_field_reaches_the_server(fields: dict[str, Any], attribute: str, expected: object) -> None:
    assert getattr(settings(**fields), attribute) == expected


def test_limits_of_a_language_model_reach_the_server() -> None:
    found = settings(batching={"language": {"maxRunning": 128, "stepTokens": 1024, "cacheMiB": 512}}).language
    assert (found.running, found.budget, found.cache_bytes) == (128, 1024, 512 << 20)
    assert settings(batching={"language": {"maxRunning": 600}}).language.budget == 600


def test_the_gateway_takes_as_long_bodies_and_waits_longer_than_the_server_so_that_the_servers_reason_is_heard() -> (
    None
):
    found = gateway_variables(service(requestLimits={"maxBodyBytes": 4096, "seconds": 60}, gateway={"queueSeconds": 3}))
    assert found["TRAINYARD_MAX_BODY_BYTES"] == "4096"
    assert int(found["TRAINYARD_RESPONSE_SECONDS"]) > 60 + 60 / 20
    assert found["TRAINYARD_QUEUE_SECONDS"] == "3"
