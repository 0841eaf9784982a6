"""Versions of the command, the operator and the cluster, and a word where they differ."""

import json

import pytest

from tests.unit.cli.conftest import Run
from tests.unit.cli.stub_api import StubApi, status
from tests.unit.cli.yards import SYSTEM
from trainyard import __version__
from trainyard.cli.__main__ import main


def test_an_option_tells_the_version_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert (ended.value.code, capsys.readouterr().out) == (0, f"trainyard {__version__}\n")


def of_version(yard: StubApi, version: str) -> None:
    path = f"/apis/apps/v1/namespaces/{SYSTEM}/deployments/trainyard"
    yard.objects[path]["metadata"]["labels"]["app.kubernetes.io/version"] = version


def test_the_operator_and_the_cluster_are_told_of(yard: StubApi, run: Run) -> None:
    of_version(yard, __version__)
    told = [f"trainyard {__version__}", f"operator {__version__} in namespace {SYSTEM}", "kubernetes v1.34.1"]
    assert run("version") == (0, "\n".join(told) + "\n", "")


def test_another_version_is_told_with_what_to_do(yard: StubApi, run: Run) -> None:
    of_version(yard, "0.0.9")
    code, out, _ = run("version")
    assert code == 0
    assert out.splitlines()[-1].startswith("the two differ: ")
    assert "pip install 'trainyard[cli]==0.0.9'" in out


def test_programs_get_it_as_json(yard: StubApi, run: Run) -> None:
    of_version(yard, "0.0.9")
    code, out, _ = run("version", "-o", "json")
    assert (code, json.loads(out)) == (
        0,
        {"command": __version__, "operator": "0.0.9", "kubernetes": "v1.34.1"},
    )


def test_the_command_alone_asks_nobody(api: StubApi, run: Run) -> None:
    assert run("version", "--client") == (0, f"trainyard {__version__}\n", "")
    assert api.requests == []


def test_who_may_not_look_at_the_operator_hears_of_the_rest(yard: StubApi, run: Run) -> None:
    path = f"/apis/apps/v1/namespaces/{SYSTEM}/deployments"
    yard.errors["GET", path] = [(403, status("Forbidden", "no"))]
    assert run("version")[1].splitlines()[1:] == [
        f"operator of an unknown version in namespace {SYSTEM}",
        "kubernetes v1.34.1",
    ]


def test_a_cluster_that_does_not_answer_is_told_after_the_command(api: StubApi, run: Run) -> None:
    api.errors["GET", "/version"] = [(503, "")]
    code, out, err = run("version")
    assert (code, out) == (1, f"trainyard {__version__}\n")
    assert "cannot answer now (503)" in err
