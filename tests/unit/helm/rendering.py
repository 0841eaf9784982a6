"""Runs Helm on the chart and finds objects in what it makes."""

import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.chart import CHART
from dev.cluster.binaries import binaries

Object = dict[str, Any]
MONITORING = tuple(f"metrics.{each}.enabled=true" for each in ("serviceMonitor", "podMonitor", "prometheusRule"))


@cache
def _helm() -> Path:
    found = binaries().folder / "helm"
    if not found.exists():
        pytest.skip(f"helm is not built yet ({found}): a local cluster builds it, as does `python -m dev.cluster up`")
    return found


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [str(_helm()), *arguments]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)


@cache
def render(*settings: str, release: str = "yard") -> list[Object]:
    """All objects of the chart with these --set arguments."""
    sets = [argument for each in settings for argument in ("--set", each)]
    done = helm("template", release, str(CHART), "-n", "trainyard-system", "--kube-version", "1.34.0", *sets)
    assert done.returncode == 0, done.stderr
    return [each for each in yaml.safe_load_all(done.stdout) if each]


def only(kind: str, *settings: str, ending: str = "") -> Object:
    """The one object of that kind, whose name ends so."""
    found = [each for each in render(*settings) if each["kind"] == kind and each["metadata"]["name"].endswith(ending)]
    assert len(found) == 1
    return found[0]


def pod(*settings: str) -> Object:
    spec: Object = only("Deployment", *settings)["spec"]["template"]["spec"]
    return spec
