"""The commands against an API server that a test fills: over TLS, with a token, in namespace vision."""

import base64
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.unit.cli.stub_api import TOKEN, StubApi, certificates, kubeconfig, serving, tls
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
