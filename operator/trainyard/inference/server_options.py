"""What `spec.model`, `spec.batching` and `spec.requestLimits` make of the environment of a model server. Pure."""

from typing import Any

import orjson

from trainyard.api.inference_service import InferenceService, ServedModel
from trainyard.inference.graph import wiring
from trainyard.workloads.pod_template import STORAGE

REPOSITORY_SECONDS = 10
"""How often each server looks at its repository: what changes there is served by all of them soon after."""


def variables(service: InferenceService, model: ServedModel) -> dict[str, str]:
    """Environment of the server; what is left out keeps its own default."""
    limits = service.spec.request_limits
    return {
        **_model(service, model),
        **_batching(service),
        "TRAINYARD_MAX_BODY_BYTES": str(limits.max_body_bytes),
        "TRAINYARD_REQUEST_SECONDS": str(limits.seconds),
    }


def _model(service: InferenceService, model: ServedModel) -> dict[str, str]:
    folder = f"{STORAGE}/{model.path}"
    if model.repository:
        return {"TRAINYARD_REPOSITORY": folder, "TRAINYARD_REPOSITORY_SECONDS": str(REPOSITORY_SECONDS)}
    graph, named = service.spec.model.graph, {"TRAINYARD_MODEL_NAME": service.metadata.name}
    if model.digest:
        named["TRAINYARD_MODEL_DIGEST"] = model.digest
    if graph is not None:
        return {"TRAINYARD_GRAPH": wiring(graph, service.metadata.namespace), **named}
    return {"TRAINYARD_MODEL_PATH": folder, **named}


def _batching(service: InferenceService) -> dict[str, str]:
    batching = service.spec.batching
    found = {
        "TRAINYARD_MAX_BATCH": str(batching.max_batch),
        "TRAINYARD_MAX_QUEUE": str(batching.max_queue or 2 * service.spec.gateway.max_concurrency),
        "TRAINYARD_LATENCY_BUDGET_MS": str(batching.latency_budget_ms),
    }
    if batching.compile:
        found["TRAINYARD_COMPILE"] = "1"
    if batching.models:
        found["TRAINYARD_MODEL_LIMITS"] = orjson.dumps(_by_model(service), option=orjson.OPT_SORT_KEYS).decode()
    if language := batching.language:
        found["TRAINYARD_MAX_RUNNING"] = str(language.max_running)
        found |= {"TRAINYARD_STEP_TOKENS": str(language.step_tokens)} if language.step_tokens else {}
        found |= {"TRAINYARD_CACHE_MIB": str(language.cache_mib)} if language.cache_mib else {}
    return found


def _by_model(service: InferenceService) -> dict[str, Any]:
    return {
        each.name: each.model_dump(by_alias=True, exclude={"name"}, exclude_none=True)
        for each in service.spec.batching.models
    }
