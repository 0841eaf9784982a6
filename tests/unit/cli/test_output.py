"""What is printed for people: texts of others give no orders to their terminal."""

import sys

import pytest

from trainyard.cli.__main__ import main
from trainyard.cli.output import print_line, print_table

EVIL = "lost\x1b[2J\x1b]0;title\x07 \x9b31m\rnode n1\x7f"


@pytest.mark.parametrize("rich", [True, False])
def test_a_terminal_gets_no_control_characters_of_others(
    rich: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "dumb")
    if not rich:
        monkeypatch.setattr("trainyard.cli.output._rich", lambda _module: None)
    print_line("node:", EVIL)
    print_table("", ("MESSAGE",), [[EVIL]])
    out = capsys.readouterr().out
    assert not set("\x1b\x07\x9b\r\x7f") & set(out)
    assert out.count("lost\N{REPLACEMENT CHARACTER}[2J") == 2


def test_a_file_gets_what_was_said(capsys: pytest.CaptureFixture[str]) -> None:
    print_line("node:", EVIL)
    assert capsys.readouterr().out == f"node: {EVIL}\n"


def test_an_error_in_the_words_of_others_gives_no_orders_either(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert main(["bundle", "--kubeconfig", f"/nowhere/{EVIL}"]) == 1
    assert "\x1b" not in capsys.readouterr().err
