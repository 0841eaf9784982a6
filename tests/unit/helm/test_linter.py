"""checkov finds nothing in the chart of which linter.yaml does not say why it stays."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from dev.chart.lint import Finding, checkov, exceptions, findings
from tests.unit.helm.rendering import MONITORING, render

EVERYTHING = (
    "operator.replicas=2",
    "networkPolicy.enabled=true",
    "dashboards.enabled=true",
    "defaultQueue.create=true",
    "nodeHealth.level=act",
    "nodeHealth.dcgm.enabled=true",
    "audit.claimName=audit",
    f"images.operator.digest=sha256:{'0a' * 32}",
    *MONITORING,
)


@pytest.fixture
def found() -> Callable[..., list[Finding]]:
    if not checkov().exists():
        pytest.skip(f"checkov is not installed ({checkov()}): `python -m dev.cluster prepare` installs it")

    def look(*settings: str) -> list[Finding]:
        objects = [
            each for each in render(*settings, release="trainyard") if each["kind"] != "CustomResourceDefinition"
        ]
        return findings("---\n".join(yaml.safe_dump(each) for each in objects))

    return look


def test_every_finding_has_a_reason_and_every_reason_a_finding(found: Callable[..., list[Finding]]) -> None:
    seen = {*found(), *found(*EVERYTHING)}
    assert seen - exceptions().keys() == set(), "found, and helm/trainyard/linter.yaml does not say why it stays"
    assert exceptions().keys() - seen == set(), "not found any more"


def test_what_is_switched_on_answers_what_is_found_in_the_defaults(found: Callable[..., list[Finding]]) -> None:
    on = found(*EVERYTHING)
    assert Finding("CKV2_K8S_6", "Pod/trainyard") not in on
    assert Finding("CKV_K8S_43", "Deployment/trainyard") not in on


def test_an_exception_without_a_reason_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "linter.yaml"
    file.write_text("exceptions: [{check: CKV_K8S_11, resources: [Deployment/x], reason: ''}]")
    with pytest.raises(ValueError, match="CKV_K8S_11 has no reason"):
        exceptions(file)
