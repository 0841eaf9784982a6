"""Graphs of services: what is wrong with one as things are, what routers are told, and their pods."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from tests import builders as b
from trainyard.api.graph import Graph
from trainyard.api.inference_service import InferenceService, ReplicaAdmission, ServedModel
from trainyard.inference.graph import digest_of, problem, wiring
from trainyard.inference.model import resolve
from trainyard.inference.observed import Observed
from trainyard.inference.plan import plan_inference_service
from trainyard.inference.replica import replica_pod

NOW = datetime(2026, 11, 30, tzinfo=UTC)
Stage = dict[str, Any]


def stage(name: str, service: str, **more: Any) -> Stage:
    return {"name": name, "target": {"service": service}} | more


def chain(name: str, *stages: Stage) -> InferenceService:
    document = b.inference_service(name, b.meta(uid=name), b.spec(model={"graph": {"stages": list(stages)}}))
    return InferenceService.model_validate(document)


def plain(name: str, **gateway: Any) -> InferenceService:
    return InferenceService.model_validate(b.inference_service(name, b.spec(gateway=gateway)))


def wrong(service: InferenceService, *others: InferenceService) -> str | None:
    assert service.spec.model.graph is not None
    neighbours = {each.metadata.name: each for each in (service, *others)}
    return problem(service, service.spec.model.graph, neighbours)


def test_a_graph_of_services_that_are_there_is_fine() -> None:
    both = {"targets": [{"service": "b"}, {"url": "http://own.team.svc:9000", "model": "m"}]}
    graph = chain(
        "g",
        stage("resize", "a", inputs={"image": "request.photo"}),
        {"name": "vote", "ensemble": both | {"output": "label", "combine": "Vote"}, "inputs": {"x": "resize.y"}},
    )
    assert wrong(graph, plain("a"), plain("b")) is None


@pytest.mark.parametrize(
    ("stages", "words"),
    [
        ([stage("resize", "x")], "stage 'resize' names InferenceService 'x', which does not exist"),
        ([stage("a", "a"), stage("a", "a")], "two stages are named 'a'"),
        ([stage("request", "a")], "two stages are named 'request', or one is named 'request'"),
        (
            [stage("one", "a", inputs={"x": "two.y"})],
            "stage 'one' takes 'x' from 'two.y'; expected request before the dot",
        ),
        ([stage("one", "g")], "stage 'one' names InferenceService 'g', which leads back here: g -> g"),
        ([stage("one", "secret")], "names InferenceService 'secret', which asks for keys or tokens"),
        ([stage("one", "many")], "names InferenceService 'many', which serves several models; say which with model"),
        ([stage("one", "tls")], "names InferenceService 'tls', which takes encrypted connections only"),
        (
            [
                {
                    "name": "s",
                    "switch": {"cases": [{"when": {"header": "X", "equals": "1"}, "target": {"service": "y"}}]},
                }
            ],
            "stage 's' names InferenceService 'y', which does not exist",
        ),
    ],
)
def test_what_is_wrong_is_named_by_stage(stages: list[Stage], words: str) -> None:
    others = plain("a"), plain("secret", auth={"apiKeysSecret": "k"}), plain("tls", tls={"secretName": "t"})
    several = b.inference_service("many", b.spec(model={"claimName": "models", "repository": "."}))
    found = wrong(chain("g", *stages), *others, InferenceService.model_validate(several))
    assert found is not None
    assert found.startswith("spec.model.graph: ")
    assert words in found


def test_a_circle_through_other_graphs_is_told_with_its_way() -> None:
    ours, first, second = (chain(name, stage("s", other)) for name, other in (("g", "h"), ("h", "i"), ("i", "g")))
    assert "'h', which leads back here: g -> h -> i -> g" in str(wrong(ours, first, second))
    shared = chain("g", stage("one", "h"), stage("two", "h"))
    assert wrong(shared, chain("h", stage("s", "a")), plain("a")) is None


def test_routers_are_told_addresses_and_a_changed_graph_has_another_digest() -> None:
    when = {"tensor": "n", "atLeast": 0.5}
    switch = {"cases": [{"when": when, "target": {"service": "big", "model": "m"}}], "otherwise": {"service": "small"}}
    graph = Graph.model_validate({"stages": [{"name": "pick", "switch": switch}]})
    (told,) = json.loads(wiring(graph, "team"))["stages"]
    assert told["switch"] == {
        "cases": [{"when": when, "target": {"url": "http://big.team.svc", "model": "m"}}],
        "otherwise": {"url": "http://small.team.svc", "model": "small"},
    }
    other = Graph.model_validate({"stages": [{"name": "pick", "switch": switch | {"otherwise": {"service": "tiny"}}}]})
    assert digest_of(wiring(graph, "team")) == digest_of(wiring(graph.model_copy(), "team"))
    assert digest_of(wiring(graph, "team")) != digest_of(wiring(other, "team"))


def test_a_router_is_a_pod_without_a_claim_that_starts_the_router() -> None:
    service = chain("g", stage("one", "a"))
    observed = Observed(service, neighbours={"a": plain("a"), "g": service})
    model = resolve(observed)
    assert isinstance(model, ServedModel)
    replica = ReplicaAdmission(serial=1, node="n", flavor="f", digest=model.digest, admitted_at=NOW)
    pod = replica_pod(observed, replica, model)["spec"]
    (container,) = pod["containers"]
    told = {each["name"]: each.get("value") for each in container["env"]}
    assert container["command"] == ["python", "-m", "server.graph"]
    assert json.loads(told["TRAINYARD_GRAPH"])["stages"][0]["target"]["url"] == "http://a.team.svc"
    assert told["TRAINYARD_MODEL_DIGEST"] == model.digest
    assert "TRAINYARD_MODEL_PATH" not in told
    assert [each["name"] for each in pod["volumes"]] == ["trainyard-tmp"]
    assert [each["name"] for each in container["volumeMounts"]] == ["trainyard-tmp"]


def test_a_service_that_goes_is_told_though_routers_are_there() -> None:
    service = chain("g", stage("one", "a"))
    observed = Observed(service, neighbours={"a": plain("a"), "g": service})
    model = resolve(observed)
    assert isinstance(model, ServedModel)
    held = ReplicaAdmission(serial=1, node="n", flavor="f", digest=model.digest, admitted_at=NOW)
    status = service.status.model_copy(update={"admission": [held], "model": model, "next_serial": 2})
    service = service.model_copy(update={"status": status})
    plan = plan_inference_service(replace(observed, service=service, neighbours={"g": service}), NOW)
    assert plan.status is not None
    ready = next(each for each in plan.status["conditions"] if each["type"] == "Ready")
    assert ready["status"] == "False"
    assert ready["message"] == "spec.model.graph: stage 'one' names InferenceService 'a', which does not exist"
    assert "admission" not in plan.status  # it keeps its place: the service may come back


@pytest.mark.parametrize(
    "target",
    [
        {"service": "a", "url": "https://x"},
        {"service": "a", "url": "http://x/path", "model": "m"},
        {"service": "A"},
    ],
)
def test_a_target_is_a_name_or_the_address_of_a_server(target: Any) -> None:
    with pytest.raises(ValidationError):
        Graph.model_validate({"stages": [{"name": "s", "target": target}]})
