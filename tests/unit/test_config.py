"""Settings come from the environment, once, and a bad one is named."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from trainyard.config import Config


def test_defaults_are_enough() -> None:
    config = Config()
    assert (config.https_port, config.endpoint, config.endpoint_host) == (8443, "", "localhost")


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAINYARD_ENDPOINT", "https://operator.ns.svc:8443/")
    monkeypatch.setenv("TRAINYARD_KUBECONFIG", "/tmp/kubeconfig")
    config = Config()
    assert (config.endpoint, config.endpoint_host) == ("https://operator.ns.svc:8443", "operator.ns.svc")
    assert config.kubeconfig == Path("/tmp/kubeconfig")


@pytest.mark.fault(96)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ENDPOINT", "http://x"),
        ("HTTPS_PORT", "70000"),
        ("WORKERS", "0"),
        ("OTLP_ENDPOINT", "x:4318"),
        ("TRACE_RATIO", "2"),
        ("NAMESPACES", '["Research"]'),
        ("NAMESPACES", '["a", "b", "a"]'),
    ],
)
def test_a_bad_value_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"TRAINYARD_{name}", value)
    with pytest.raises(ValidationError, match=name.lower()):
        Config()
