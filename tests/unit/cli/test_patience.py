"""A server that takes connections and never answers: the command says whom it waits for, and ends with what to try."""

import argparse
import io
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.unit.cli.stub_api import TOKEN, Answer, Request, kubeconfig, serving
from trainyard.cli import patience
from trainyard.cli.__main__ import main
from trainyard.cli.access import Access
from trainyard.cli.api_server import ApiServer
from trainyard.cli.patience import Waiting, duration
from trainyard.cluster.errors import Unreachable

pytestmark = pytest.mark.usefixtures("no_proxy")
SHORT = 0.3


@pytest.fixture
def silent(tmp_path: Path) -> Iterator[str]:
    """Its address; the system takes connections for it, and nobody reads them."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        kubeconfig(tmp_path / "config", {"server": url}, {"token": TOKEN})
        yield url


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting is told of at once."""
    monkeypatch.setattr(patience, "QUIET_SECONDS", 0.0)


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ("get", "GET /apis/trainyard.dev/v1alpha1/namespaces/vision/trainingjobs"),
        ("get digits", "GET /apis/trainyard.dev/v1alpha1/namespaces/vision/trainingjobs/digits"),
        ("logs digits -f", "GET /apis/trainyard.dev/v1alpha1/namespaces/vision/trainingjobs/digits"),
        ("why digits", "GET /apis/trainyard.dev/v1alpha1/flavors"),
        ("top", "GET /apis/trainyard.dev/v1alpha1/flavors"),
        ("incidents", "GET /apis/trainyard.dev/v1alpha1/namespaces/vision/trainingjobs"),
        ("approve gpu-1", "GET /api/v1/nodes/gpu-1"),
        ("doctor", "GET /version"),
        ("backup", "GET /apis/trainyard.dev/v1alpha1/flavors"),
    ],
)
def test_a_command_names_the_server_what_it_asked_and_what_to_try(
    words: str, asked: str, silent: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--kubeconfig", str(tmp_path / "config"), "--request-timeout", str(SHORT)]
    assert main([*words.split(), *options]) == 1
    waiting, error = capsys.readouterr().err.splitlines()
    assert waiting == f"waiting for the cluster at {silent}, {SHORT} s at most: {asked}"
    assert f"the cluster does not answer at {silent}: " in error
    assert f" for {SHORT} s. " in error or f" within {SHORT} s. " in error
    assert asked.rpartition("/")[0] in error
    assert "--context" in error
    assert "--request-timeout" in error


@pytest.mark.usefixtures("soon")
def test_an_operator_that_does_not_answer_is_named(
    silent: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = silent.replace("http:", "https:")
    options = ["--kubeconfig", str(tmp_path / "config"), "--server", url, "--request-timeout", str(SHORT)]
    assert main(["why", "digits", *options]) == 1
    waiting, error = capsys.readouterr().err.splitlines()
    assert waiting == f"waiting for the operator at {url}, {SHORT} s at most: /v1/why/vision/digits"
    assert f"the operator does not answer at {url}: /v1/why/vision/digits: nothing came for {SHORT} s" in error
    assert "--request-timeout" in error


def test_a_text_that_goes_on_may_be_silent_for_longer_before_its_first_line_and_after() -> None:
    released = threading.Event()

    def answer(request: Request) -> Answer:
        released.wait(20)
        return 200, iter(["first", "second"]) if "follow" in request.query else "whole\n"

    with serving(answer, None) as url:
        server = ApiServer(Access(url, "vision"), patience=SHORT)
        with pytest.raises(Unreachable, match=f"nothing came for {SHORT} s"):
            list(server.lines("/log", {}))
        threading.Timer(2 * SHORT, released.set).start()
        assert list(server.lines_as_they_come("/log", {"follow": "true"})) == ["first", "second"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def eventually(true: Callable[[], bool]) -> None:
    ends = time.monotonic() + 20
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.01)


@pytest.mark.usefixtures("soon")
def test_on_a_terminal_a_line_renews_itself_and_is_gone_with_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "_RENEWED_SECONDS", 0.01)
    monkeypatch.setenv("COLUMNS", "60")
    out = Terminal()
    with Waiting("the cluster at https://yard", 20.0, out).answer_to("GET /api/v1/nodes/a-long-name"):
        eventually(lambda: out.getvalue().count("\r\x1b[K") > 2)
    lines = out.getvalue().split("\r\x1b[K")
    assert lines[1] == "waiting for the cluster at https://yard, 20 s at most: GET "
    assert lines[-1] == ""


@pytest.mark.usefixtures("soon")
def test_elsewhere_it_is_told_once_however_much_is_asked() -> None:
    out = io.StringIO()
    waiting = Waiting("the cluster at https://yard", 20.0, out)
    with waiting.answer_to("GET /a"), waiting.answer_to("GET /b"):
        eventually(lambda: bool(out.getvalue()))
    with waiting.answer_to("GET /c"):
        pass
    assert out.getvalue() == "waiting for the cluster at https://yard, 20 s at most: GET /a\n"


def test_what_is_answered_soon_is_worth_no_word() -> None:
    out = io.StringIO()
    waiting = Waiting("the cluster at https://yard", 20.0, out)
    for _ in range(20):
        with waiting.answer_to("GET /a"):
            pass
    assert out.getvalue() == ""


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30", 30), ("2.5", 2.5), ("30s", 30), ("2m", 120), ("1h", 3600), ("1m30s", 90), ("0", 86_400), ("0s", 86_400)],
)
def test_a_time_is_written_as_kubectl_takes_it(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5", "5d", "s", "1s1m", "nan", "1e3"])
def test_another_text_is_no_time(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is no time such as 30s, 2m or 1h"):
        duration(text)
