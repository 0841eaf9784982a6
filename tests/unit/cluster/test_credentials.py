"""Who a kubeconfig says that somebody is, read plainly where that is possible and by the Kubernetes client where it is not."""

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from trainyard.cluster.credentials import Credentials, credentials
from trainyard.cluster.errors import NoClusterError


def kubeconfig(folder: Path, name: str = "config", **user: Any) -> Path:
    """A kubeconfig of one user with two contexts, of which `first` is in force."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": "https://localhost:1"}}],
        "users": [{"name": "ann", "user": user}],
        "contexts": [
            {"name": "first", "context": {"cluster": "c", "user": "ann", "namespace": "vision"}},
            {"name": "second", "context": {"cluster": "c", "user": "ann"}},
        ],
        "current-context": "first",
    }
    path = folder / name
    path.write_text(yaml.safe_dump(content))
    return path


def found(path: Path | None, context: str | None = None) -> Credentials:
    return asyncio.run(credentials(path, context))


def test_a_token_is_read_with_the_namespace_of_its_context(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path, token="secret")
    assert found(path) == Credentials("vision", "secret")
    assert found(path, "second") == Credentials("default", "secret")


def test_the_own_kubeconfig_is_the_one_that_the_environment_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path, token="secret")))
    assert found(None) == Credentials("vision", "secret")


def test_of_several_files_the_client_makes_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = kubeconfig(tmp_path, token="secret"), tmp_path / "more"
    second.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", "clusters": [], "users": []}))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("KUBECONFIG", f"{first}:{second}")
    assert found(None) == Credentials("vision", "secret")


def test_a_token_in_a_file_and_a_token_of_a_plugin_are_found_by_the_client(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-a-file")
    assert found(kubeconfig(tmp_path, tokenFile=str(tmp_path / "token"))).token == "from-a-file"
    answer = '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"of-a-plugin"}}'
    plugin = {"apiVersion": "client.authentication.k8s.io/v1", "command": "echo", "args": [answer]}
    assert found(kubeconfig(tmp_path, exec=plugin)).token == "of-a-plugin"


@pytest.mark.parametrize("content", ["", "[]", "contexts: 3", "{", "contexts: [{}]"])
def test_a_kubeconfig_that_is_none_is_said_to_be_none(tmp_path: Path, content: str) -> None:
    path = tmp_path / "config"
    path.write_text(content)
    with pytest.raises(NoClusterError):
        found(path)


def test_a_context_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(NoClusterError, match="third"):
        found(kubeconfig(tmp_path, token="secret"), "third")


def test_asking_the_operator_loads_no_kubernetes_client() -> None:
    program = (
        "import sys, trainyard.cli.questions; print(sorted({'kubernetes', 'aiohttp', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


async def test_who_has_no_kubeconfig_at_all_is_told_where_one_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(NoClusterError, match=rf"there is no kubeconfig: {tmp_path}/.kube/config does not exist"):
        await credentials()
    assert capsys.readouterr().err == "", "it is said once"
