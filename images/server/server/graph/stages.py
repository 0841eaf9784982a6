"""A request through all stages: what one answers is what the next may take."""

import asyncio
import time
from collections.abc import Mapping, Sequence

from server.errors import BadRequest, RequestError
from server.graph.asking import Asker, StageFailed
from server.graph.choose import chosen
from server.graph.combine import Uncombinable, combined
from server.graph.tensors import Tensor, Tensors
from server.graph.wiring import Ensemble, Stage, Switch

REQUEST = "request"


async def through(stages: Sequence[Stage], asker: Asker, request: Tensors) -> dict[str, Tensor]:
    """Outputs of the last stage. Raises RequestError that names the stage which failed."""
    known: dict[str, Tensors] = {REQUEST: request}
    outputs, last = dict(request), REQUEST
    for stage in stages:
        inputs = taken(stage, known, last)
        started = time.perf_counter()
        try:
            outputs = await _answered(stage, asker, inputs)
        finally:
            asker.metrics.stage_seconds.labels(stage.name).observe(time.perf_counter() - started)
        known[stage.name] = outputs
        last = stage.name
    return outputs


def taken(stage: Stage, known: Mapping[str, Tensors], last: str) -> Tensors:
    """Inputs of a stage by name. Raises BadRequest where the request lacks one, StageFailed where a stage does."""
    if not stage.inputs:
        return known[last]
    found = {}
    for name, source in stage.inputs.items():
        origin, _, tensor = source.partition(".")
        if tensor not in known[origin]:
            there = ", ".join(known[origin]) or "nothing"
            if origin == REQUEST:
                raise BadRequest(f"inputs has {there}; stage {stage.name!r} takes {tensor!r}")
            raise StageFailed(stage.name, 502, f"takes {source!r}, but stage {origin!r} answered {there}")
        found[name] = known[origin][tensor]
    return found


async def _answered(stage: Stage, asker: Asker, inputs: Tensors) -> dict[str, Tensor]:
    try:
        if isinstance(stage.asks, Ensemble):
            return combined(await _all(stage.name, stage.asks, asker, inputs), stage.asks.output, stage.asks.combine)
        target = chosen(stage.asks, inputs, asker.headers) if isinstance(stage.asks, Switch) else stage.asks
        return await asker.ask(stage.name, target, inputs)
    except StageFailed:
        raise
    except Uncombinable as error:
        raise StageFailed(stage.name, 502, str(error)) from error
    except RequestError as error:
        raise StageFailed(stage.name, error.status, str(error)) from error


async def _all(stage: str, ensemble: Ensemble, asker: Asker, inputs: Tensors) -> list[dict[str, Tensor]]:
    """Answers in the order of the targets; the first failure ends the others."""
    asked = [asyncio.create_task(asker.ask(stage, target, inputs)) for target in ensemble.targets]
    try:
        return list(await asyncio.gather(*asked))
    finally:
        for one in asked:
            one.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
