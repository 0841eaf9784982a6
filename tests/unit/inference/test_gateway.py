"""What `spec.gateway` makes of the gateway's Deployment and Service."""

from typing import Any

import orjson
import pytest

from tests import builders as b
from trainyard.api.inference_service import InferenceService
from trainyard.inference.gateway import gateway_children
from trainyard.inference.gateway_options import hold_seconds, variables
from trainyard.inference.names import grpc_address, url
from trainyard.inference.observed import Observed
from trainyard.workloads.plan import Object
from trainyard.workloads.ports import ports_of

DEFAULTS = {
    "TRAINYARD_RETRIES": "1",
    "TRAINYARD_QUEUE_SECONDS": "10",
    "TRAINYARD_MAX_BODY_BYTES": "16777216",
    "TRAINYARD_RESPONSE_SECONDS": "332",
}


def service(**gateway: Any) -> InferenceService:
    return InferenceService.model_validate(b.inference_service("s", b.meta(uid="u"), b.spec(gateway=gateway)))


def child(kind: str, **gateway: Any) -> Object:
    return next(each for each in gateway_children(Observed(service(**gateway))) if each["kind"] == kind)


def test_nothing_is_held_mounted_or_asked_for_by_default() -> None:
    assert variables(service()) == DEFAULTS
    pod = child("Deployment")["spec"]["template"]["spec"]
    assert [each["name"] for each in pod["volumes"]] == ["lb", "tmp", "trainyard-token"]


@pytest.mark.parametrize(
    ("gateway", "expected"),
    [
        ({"retries": 0}, {"TRAINYARD_RETRIES": "0"}),
        ({"grpc": True}, {"TRAINYARD_GRPC": "1"}),
        ({"holdSeconds": 60}, {"TRAINYARD_HOLD_SECONDS": "60", "TRAINYARD_HOLD_LIMIT": "1000"}),
        ({"affinity": {"header": "X-Session-Id"}}, {"TRAINYARD_AFFINITY_HEADER": "X-Session-Id"}),
        ({"affinity": {"prefixBytes": 512}}, {"TRAINYARD_AFFINITY_PREFIX_BYTES": "512"}),
        (
            {"rateLimits": {"perClient": {"requests": 5, "seconds": 10}}},
            {"TRAINYARD_RATE_REQUESTS": "5", "TRAINYARD_RATE_SECONDS": "10"},
        ),
        ({"auth": {"apiKeysSecret": "keys"}}, {"TRAINYARD_KEYS_DIR": "/etc/trainyard/keys"}),
        ({"tls": {"secretName": "cert"}}, {"TRAINYARD_TLS_DIR": "/etc/trainyard/tls"}),
        (
            {"jwt": {"publicKeySecret": "login", "issuer": "https://login.test", "audience": "digits"}},
            {
                "TRAINYARD_JWT_KEY": "/etc/trainyard/jwt/public.pem",
                "TRAINYARD_JWT_ISSUER": "https://login.test",
                "TRAINYARD_JWT_AUDIENCE": "digits",
            },
        ),
    ],
    ids=lambda value: next(iter(value)),
)
def test_each_option_reaches_the_gateway(gateway: dict[str, Any], expected: dict[str, str]) -> None:
    assert variables(service(**gateway)).items() >= expected.items()


@pytest.mark.parametrize(
    ("slo", "expected"),
    [
        ({"latencyMs": 250}, {"TRAINYARD_SLO_MS": "250"}),
        ({"latencyMs": 250, "of": "FirstByte"}, {"TRAINYARD_SLO_MS": "250", "TRAINYARD_SLO_FIRST_BYTE": "1"}),
    ],
)
def test_the_gateways_count_by_the_objective(slo: dict[str, Any], expected: dict[str, str]) -> None:
    found = variables(InferenceService.model_validate(b.inference_service("s", b.meta(uid="u"), b.spec(slo=slo))))
    assert found == DEFAULTS | expected


@pytest.mark.parametrize(
    ("autoscaling", "seconds"),
    [
        (None, 0),
        ({"minReplicas": 1, "maxReplicas": 4}, 0),
        ({"minReplicas": 0, "maxReplicas": 4}, 300),
        (
            {
                "maxReplicas": 4,
                "schedules": [{"name": "night", "start": "20:00", "end": "06:00", "minReplicas": 0}],
            },
            300,
        ),
    ],
)
def test_a_service_that_may_be_empty_holds_requests(autoscaling: dict[str, Any] | None, seconds: int) -> None:
    made = b.inference_service("s", b.meta(uid="u"), b.spec(autoscaling=autoscaling) if autoscaling else b.spec())
    assert hold_seconds(InferenceService.model_validate(made)) == seconds
    assert hold_seconds(service(holdSeconds=7)) == 7


def test_a_service_is_made_anew_only_if_its_ports_differ() -> None:
    plain, both = (
        {each["metadata"]["name"]: ports_of(each) for each in gateway_children(Observed(asking)) if is_service(each)}
        for asking in (service(), service(grpc=True))
    )
    kept = gateway_children(Observed(service(grpc=True), services=both))
    assert not [each for each in kept if is_service(each)]
    changed = gateway_children(Observed(service(grpc=True), services=plain))
    assert [each["metadata"]["name"] for each in changed if is_service(each)] == ["s"]


def is_service(child: Object) -> bool:
    return bool(child["kind"] == "Service")


def test_secrets_are_mounted_whole_for_both_containers_and_never_in_the_environment() -> None:
    deployment = child("Deployment", auth={"apiKeysSecret": "keys"}, tls={"secretName": "cert"})
    pod = deployment["spec"]["template"]["spec"]
    mounted = {each["name"]: each["secret"]["secretName"] for each in pod["volumes"] if "secret" in each}
    assert mounted == {"keys": "keys", "tls": "cert"}
    for container in pod["containers"]:
        places = {each["name"]: each for each in container["volumeMounts"]}
        assert places["keys"] == {"name": "keys", "mountPath": "/etc/trainyard/keys", "readOnly": True}
        assert places["tls"]["mountPath"] == "/etc/trainyard/tls"
        assert not any("subPath" in each for each in container["volumeMounts"])
        assert b"secretKeyRef" not in orjson.dumps(container)


def test_the_service_leads_to_what_the_gateway_offers_and_its_address_says_so() -> None:
    def ports(**gateway: Any) -> dict[str, tuple[int, int]]:
        found = child("Service", **gateway)["spec"]["ports"]
        return {each["name"]: (each["port"], each["targetPort"]) for each in found}

    plain = {"http": (80, 8080)}
    assert ports() == plain
    assert ports(tls={"secretName": "cert"}) == plain | {"https": (443, 8443)}
    assert ports(grpc=True) == plain | {"grpc": (8001, 8001)}
    assert (grpc_address(service()), grpc_address(service(grpc=True))) == ("", "s.team.svc:8001")
    assert (url(service()), url(service(tls={"secretName": "cert"}))) == ("http://s.team.svc", "https://s.team.svc")
