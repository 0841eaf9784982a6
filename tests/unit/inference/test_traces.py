"""Which services send traces of requests, and where, as the containers of gateway and replicas hear it."""

from typing import Any

import pytest
from pydantic import ValidationError

from tests import builders as b
from trainyard.api.inference_service import InferenceService, ReplicaAdmission, ServedModel
from trainyard.inference.gateway import gateway_children
from trainyard.inference.observed import Observed
from trainyard.inference.replica import replica_pod
from trainyard.inference.traces import trace_variables
from trainyard.workloads.pod_template import Surroundings

OWN, OPERATORS = "http://mine:4318", "http://collector.monitoring:4318"


def observed(telemetry: dict[str, Any], endpoint: str = "", ratio: float = 1.0) -> Observed:
    made = b.inference_service("s", b.meta(uid="u"), b.spec(telemetry=telemetry))
    around = Surroundings("trainer", "server", "gateway", otlp_endpoint=endpoint, trace_ratio=ratio)
    return Observed(InferenceService.model_validate(made), surroundings=around)


@pytest.mark.parametrize(
    ("telemetry", "endpoint", "expected"),
    [
        ({}, "", None),
        ({"sampleRatio": 0.5}, "", None),
        ({"otlpEndpoint": OWN}, "", (OWN, "0.100000")),
        ({}, OPERATORS, (OPERATORS, "0.100000")),
        ({"otlpEndpoint": OWN, "sampleRatio": 0.000001}, OPERATORS, (OWN, "0.000001")),
        ({"sampleRatio": 0}, OPERATORS, (OPERATORS, "0.000000")),
        ({"otlpEndpoint": ""}, OPERATORS, None),
    ],
)
def test_a_service_says_more_than_the_operator(
    telemetry: dict[str, Any], endpoint: str, expected: tuple[str, str] | None
) -> None:
    found = trace_variables(observed(telemetry, endpoint, 0.1))
    names = ("TRAINYARD_OTLP_ENDPOINT", "TRAINYARD_TRACE_RATIO")
    assert (tuple(found[name] for name in names) if found else None) == expected


def test_gateway_and_replicas_hear_the_same() -> None:
    seen = observed({"otlpEndpoint": OWN})
    deployment = next(each for each in gateway_children(seen) if each["kind"] == "Deployment")
    replica = ReplicaAdmission.model_validate(
        {"serial": 1, "node": "n0", "flavor": "f", "admittedAt": "2026-11-23T00:00:00Z"}
    )
    pod = replica_pod(seen, replica, ServedModel(claim_name="models", path="digits"))
    containers = [*deployment["spec"]["template"]["spec"]["containers"], *pod["spec"]["containers"]]
    assert len(containers) == 3
    for container in containers:
        told = {each["name"]: each.get("value") for each in container["env"]}
        assert told.items() >= trace_variables(seen).items()


@pytest.mark.parametrize("endpoint", ["collector:4318", "http://", "http://a b", "http://a/?key=secret"])
def test_a_bad_address_is_refused_by_name(endpoint: str) -> None:
    with pytest.raises(ValidationError, match=r"telemetry\.otlpEndpoint"):
        observed({"otlpEndpoint": endpoint})
