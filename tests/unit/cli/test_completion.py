"""What a real bash completes with the script that the command prints; commands, options, files, and names from the cluster."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import builders as b
from tests.unit.cli.stub_api import StubApi
from trainyard.cli.__main__ import main

pytest.importorskip("argcomplete", reason="the extra cli is not installed")
ROOT = Path(__file__).resolve().parents[3]
TYPED = """
source "$1"
COMP_LINE="$2"
COMP_POINT=${#COMP_LINE}
read -ra COMP_WORDS <<< "$COMP_LINE"
COMP_WORDBREAKS=$' \\t\\n"><=;|&(:'
_python_argcomplete trainyard
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def bash(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> "Bash":
    assert main(["completion", "bash"]) == 0
    (tmp_path / "script").write_text(capsys.readouterr().out)
    command = tmp_path / "bin" / "trainyard"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m trainyard.cli "$@"\n')
    command.chmod(0o755)
    return Bash(tmp_path)


class Bash:
    """One that has read the script."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        paths = os.pathsep.join([str(ROOT / "operator"), *filter(None, [os.environ.get("PYTHONPATH")])])
        self._env = {
            "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": paths,
            "HOME": str(folder),
        }

    def completes(self, line: str) -> list[str]:
        """What it offers for a line that ends where the cursor is."""
        done = subprocess.run(
            ["bash", "--norc", "-c", TYPED, "bash", str(self._folder / "script"), line],
            cwd=self._folder,
            env=self._env,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr == ""
        return sorted(each.strip() for each in done.stdout.splitlines() if each.strip())


def test_commands_and_their_options_are_completed(bash: Bash) -> None:
    assert bash.completes("trainyard in") == ["incidents"]
    assert {"why", "top", "get", "completion"} <= set(bash.completes("trainyard "))
    assert bash.completes("trainyard why --req") == ["--request-timeout"]
    assert bash.completes("trainyard get -o ") == ["json", "name", "wide"]
    assert bash.completes("trainyard completion ") == ["bash", "fish", "zsh"]


def test_a_file_is_completed_where_one_is_asked_for(bash: Bash, tmp_path: Path) -> None:
    (tmp_path / "digits.yaml").touch()
    assert bash.completes("trainyard submit -f dig") == ["digits.yaml"]
    assert bash.completes("trainyard logs --rank dig") == []


def test_names_come_from_the_cluster(bash: Bash, api: StubApi, tmp_path: Path) -> None:
    api.add(
        b.training_job("digits", b.namespace("vision")),
        b.training_job("ablation", b.namespace("vision")),
        b.training_job("elsewhere", b.namespace("text")),
        b.inference_service("digits-served", b.namespace("vision")),
        {"kind": "Node", "metadata": {"name": "gpu-1"}},
        b.a_namespace("vision"),
    )
    config = f"--kubeconfig {tmp_path / 'config'}"
    assert bash.completes(f"trainyard logs {config} ") == ["ablation", "digits"]
    assert bash.completes(f"trainyard get {config} -n text ") == ["elsewhere"]
    assert bash.completes(f"trainyard why {config} di") == ["digits", "digits-served"]
    assert bash.completes(f"trainyard approve {config} ") == ["gpu-1"]
    assert bash.completes(f"trainyard get {config} -n v") == ["vision"]


def test_a_cluster_that_tells_nothing_completes_nothing_and_says_nothing(bash: Bash, tmp_path: Path) -> None:
    assert bash.completes(f"trainyard logs --kubeconfig {tmp_path / 'absent'} ") == []


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["in"], ["incidents"]),
        (["get", "-o", "w"], ["wide"]),
        (["logs", "di"], ["digits"]),
        (["why", "--req"], ["--request-timeout"]),
        (["logs", "none"], []),
    ],
)
def test_kubectl_is_told_what_may_follow_its_plugin(
    words: list[str], offered: list[str], api: StubApi, tmp_path: Path
) -> None:
    api.add(b.training_job("digits", b.namespace("vision")))
    program = "from trainyard.cli.__main__ import complete; complete()"
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        env={**os.environ, "KUBECONFIG": str(tmp_path / "config")},
        capture_output=True,
        text=True,
        check=True,
    )
    *names, end = done.stdout.splitlines()
    assert ([each.partition("\t")[0].strip() for each in names], end) == (offered, ":4")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_have_a_script_too(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    assert "trainyard" in capsys.readouterr().out


def test_without_the_library_it_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "argcomplete", None)
    assert main(["completion", "bash"]) == 1
    assert "pip install 'trainyard[cli]'" in capsys.readouterr().err


def test_a_command_itself_loads_no_library_for_that() -> None:
    program = "import sys; from trainyard.cli.__main__ import main; main(['version', '--client']); print('argcomplete' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
