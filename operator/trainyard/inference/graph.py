"""A graph of services: what is wrong with it as things are, and what routers are told of it. Pure."""

import hashlib
from collections.abc import Iterator, Mapping

import orjson

from trainyard.api.graph import REQUEST, Graph, Target
from trainyard.api.inference_service import InferenceService
from trainyard.workloads.plan import Object

_WHERE = "spec.model.graph"


def problem(service: InferenceService, graph: Graph, neighbours: Mapping[str, InferenceService]) -> str | None:
    """Why the graph cannot answer; None where nothing is known against it. neighbours: services of the namespace by name."""
    known = {REQUEST}
    for stage in graph.stages:
        if stage.name in known:
            return (
                f"{_WHERE}: two stages are named {stage.name!r}, or one is named {REQUEST!r}; expected different names"
            )
        for name, source in stage.inputs.items():
            origin = source.partition(".")[0]
            if origin not in known:
                before = " or ".join(sorted(known))
                return (
                    f"{_WHERE}: stage {stage.name!r} takes {name!r} from {source!r}; expected {before} before the dot"
                )
        known.add(stage.name)
    for stage_name, target in _asked(graph):
        if target.service is not None and (words := _unusable(target, service, neighbours)):
            return f"{_WHERE}: stage {stage_name!r} names InferenceService {target.service!r}, which {words}"
    return None


def wiring(graph: Graph, namespace: str) -> str:
    """The graph as JSON for routers: every target by its address."""

    def resolved(target: Target) -> Object:
        return {
            "url": target.url or f"http://{target.service}.{namespace}.svc",
            "model": target.model or target.service,
        }

    stages = []
    for stage in graph.stages:
        told: Object = {"name": stage.name, "inputs": stage.inputs}
        if stage.target is not None:
            told["target"] = resolved(stage.target)
        if (ensemble := stage.ensemble) is not None:
            members = [resolved(target) for target in ensemble.targets]
            told["ensemble"] = {"targets": members, "output": ensemble.output, "combine": ensemble.combine}
        if stage.switch is not None:
            cases = [
                {"when": case.when.model_dump(by_alias=True, exclude_none=True), "target": resolved(case.target)}
                for case in stage.switch.cases
            ]
            otherwise = stage.switch.otherwise
            told["switch"] = {"cases": cases, "otherwise": None if otherwise is None else resolved(otherwise)}
        stages.append(told)
    return orjson.dumps({"stages": stages}, option=orjson.OPT_SORT_KEYS).decode()


def digest_of(wired: str) -> str:
    """What tells two graphs apart, in the form of a model's digest."""
    return f"sha256:{hashlib.sha256(wired.encode()).hexdigest()}"


def _asked(graph: Graph) -> Iterator[tuple[str, Target]]:
    for stage in graph.stages:
        for target in stage.targets():
            yield stage.name, target


def _unusable(target: Target, service: InferenceService, neighbours: Mapping[str, InferenceService]) -> str | None:
    name = target.service or ""
    asked = neighbours.get(name)
    if name != service.metadata.name and asked is None:
        return "does not exist"
    if path := _way_back(name, service.metadata.name, neighbours):
        return f"leads back here: {' -> '.join([service.metadata.name, *path])}"
    spec = (asked or service).spec
    if spec.model.repository is not None and target.model is None:
        return "serves several models; say which with model"
    gateway = spec.gateway
    if gateway.tls is not None:
        return "takes encrypted connections only, for which a router has no certificates"
    if gateway.auth is not None or gateway.jwt is not None:
        return "asks for keys or tokens, of which a router has none"
    return None


def _way_back(name: str, home: str, neighbours: Mapping[str, InferenceService]) -> list[str] | None:
    """Services from name to home, each asking the next; None where no way leads there."""
    ways, seen = [[name]], {name}
    while ways:
        way = ways.pop()
        if way[-1] == home:
            return way
        there = neighbours.get(way[-1])
        graph = there.spec.model.graph if there is not None else None
        for _, target in _asked(graph) if graph is not None else ():
            if target.service is not None and target.service not in seen:
                seen.add(target.service)
                ways.append([*way, target.service])
    return None
