"""The doctor and the bundle on a real API server: its CustomResourceDefinitions, reviews and lists are as they come."""

import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.apiserver.yard import Yard

pytestmark = pytest.mark.apiserver


def ask(yard: Yard, *words: str) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-m", "trainyard.cli", *words, "--kubeconfig", str(yard.cluster.kubeconfig))
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_of_a_real_api_server_all_can_be_read_and_all_that_is_needed_is_there(yard: Yard) -> None:
    done = ask(yard, "doctor", "-o", "json")
    told = json.loads(done.stdout)
    about = [f"{each['about']}: {each['what']}" for each in told["findings"]]
    # The operator of this tier is a process and no Deployment.
    assert any("there is no Deployment of the operator" in each for each in about), done.stderr
    assert done.returncode == 4
    unexpected = ("trainyard.dev:", "could not be looked at", "Lease", "PriorityClass", "Kubernetes", "clocks")
    assert [each for each in about if any(part in each for part in unexpected)] == []
    assert [each["feature"] for each in told["features"] if each["required"] and not each["there"]] == []


def test_a_bundle_of_a_real_cluster_can_be_unpacked(yard: Yard, tmp_path: Path) -> None:
    yard.job("digits")
    yard.until(lambda: yard.events("digits"), 60)
    done = ask(yard, "bundle", "-o", str(tmp_path / "b.tar.gz"), "--anonymous")
    assert done.returncode == 0, done.stderr
    with tarfile.open(tmp_path / "b.tar.gz") as tar:
        names = {each.name.partition("/")[2] for each in tar}
        tar.extractall(tmp_path, filter="data")
    assert {"doctor.json", "events.json", "objects/trainingjobs.json", "nodes.json", "MANIFEST.json"} <= names
    (folder,) = (each for each in tmp_path.iterdir() if each.is_dir())
    assert json.loads((folder / "events.json").read_text())
    assert yard.namespace not in "".join(each.read_text() for each in folder.rglob("*") if each.is_file())
