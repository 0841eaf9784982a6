"""The commands against an API server that a test fills: over TLS, with a token, in namespace vision."""

import base64
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.unit.cli.stub_api import TOKEN, StubApi, certificates, kubeconfig, serving, tls
from tests.unit.cli.yards import GROUPS, SYSTEM, sound
from trainyard.cli.__main__ import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def api(tmp_path: Path, no_proxy: None) -> Iterator[StubApi]:
    made, bundle = StubApi(), certificates()
    with serving(made.answer, tls(bundle, tmp_path)) as made.url:
        authority = base64.b64encode(bundle.authority).decode()
        cluster = {"server": made.url, "certificate-authority-data": authority}
        kubeconfig(tmp_path / "config", cluster, {"token": TOKEN})
        yield made


@pytest.fixture
def run(api: StubApi, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command: exit code, what it printed, what it complained of."""

    def made(*words: str) -> tuple[int, str, str]:
        code = main([*words, "--kubeconfig", str(tmp_path / "config")])
        said = capsys.readouterr()
        return code, said.out, said.err

    return made


@pytest.fixture
def yard(api: StubApi) -> StubApi:
    """A sound installation, as of now."""
    objects = sound()
    kinds = objects.pop("CustomResourceDefinition")
    objects["Lease"][0]["spec"]["renewTime"] = datetime.now(UTC).isoformat()
    api.add(*(each for found in objects.values() for each in found))
    data = {"tls.crt": base64.b64encode(certificates().certificate).decode(), "tls.key": "S0VZ"}
    api.add({"kind": "Secret", "metadata": {"name": "trainyard-operator-tls", "namespace": SYSTEM}, "data": data})
    api.objects["/version"] = {"gitVersion": "v1.34.1"}
    api.objects["/apis"] = {"groups": [{"versions": [{"groupVersion": each} for each in GROUPS]}]}
    api.script["/apis/apiextensions.k8s.io/v1/customresourcedefinitions"] = [{"items": kinds}]
    api.errors["POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews"] = [(201, {"status": {"allowed": True}})]
    api.errors["GET", f"/api/v1/namespaces/{SYSTEM}/pods/trainyard-0%3A8080/proxy/metrics"] = [(200, "up 1\n")]
    api.logs["trainyard-0"] = ["2026-11-30T12:00:00Z leads"]
    return api
