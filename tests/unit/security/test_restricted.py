"""Every pod that we make is of the level `restricted` of Kubernetes' Pod Security Standards, and carries no token of the API."""

from typing import Any

import pytest

from tests.unit.security.pods import pods

ALLOWED_VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}


@pytest.fixture(params=["gateway", "server", "trainer", "tensorboard"])
def spec(request: pytest.FixtureRequest) -> dict[str, Any]:
    found: dict[str, Any] = pods()[request.param]["spec"]
    return found


def test_it_runs_as_a_user_without_rights(spec: dict[str, Any]) -> None:
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in spec["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        }


def test_it_has_nothing_of_its_node(spec: dict[str, Any]) -> None:
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
    assert {kind for volume in spec["volumes"] for kind in volume if kind != "name"} <= ALLOWED_VOLUMES
    assert not [port for container in spec["containers"] for port in container.get("ports", ()) if "hostPort" in port]


def test_it_cannot_speak_to_the_api_server(spec: dict[str, Any]) -> None:
    assert spec["automountServiceAccountToken"] is False
    assert "serviceAccountName" not in spec
    tokens = [
        source["serviceAccountToken"]["audience"]
        for volume in spec["volumes"]
        for source in volume.get("projected", {}).get("sources", ())
        if "serviceAccountToken" in source
    ]
    assert set(tokens) <= {"trainyard.dev"}
