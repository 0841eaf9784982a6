"""Log lines are JSON with object references and carry no secrets."""

import io
import json
import logging
import time
from collections.abc import Iterator

import pytest

from trainyard.runtime.logging import REDACTED, configure, object_ref, redact

TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrdWJlcm5ldGVzIn0.c2lnbmF0dXJl"


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    configure("info", stream)
    yield stream
    root.handlers[:], root.level = handlers, level


def test_a_line_is_one_json_object_with_the_object_it_is_about(lines: io.StringIO) -> None:
    extra = object_ref("TrainingJob", "digits", "team", uid="u1") | {"attempt": 2}
    logging.getLogger("trainyard.training").info("admitted", extra=extra)
    logging.getLogger("trainyard.training").debug("not shown")
    (line,) = lines.getvalue().splitlines()
    entry = json.loads(line)
    assert entry.pop("time").endswith("+00:00")
    assert entry == {
        "level": "info",
        "logger": "trainyard.training",
        "message": "admitted",
        "object": {"kind": "TrainingJob", "namespace": "team", "name": "digits", "uid": "u1"},
        "attempt": 2,
    }


def test_secrets_never_reach_a_line(lines: io.StringIO) -> None:
    log = logging.getLogger("x")
    log.info("header Authorization: Bearer abcdefghijkl", extra={"spec": {"token": "plain", "list": [TOKEN]}})
    try:
        raise ValueError(f"refused {TOKEN}")  # noqa: TRY301 - a traceback is what is tested
    except ValueError:
        log.exception("failed with %s", TOKEN)
    written = lines.getvalue()
    assert TOKEN not in written
    assert "abcdefghijkl" not in written
    assert "plain" not in written
    assert REDACTED in written
    assert "Traceback" in written


@pytest.mark.parametrize(
    "piece",
    ["eyJ-", "eyJ", "eyJaaaaa.eyJ-", "bearer ", "-----BEGIN A", "-----BEGIN PRIVATE KEY-----END A", "eyJ-aaaaa."],
)
def test_no_text_takes_long_to_be_searched_for_secrets(piece: str) -> None:
    began = time.process_time()
    redact(piece * 50_000)
    assert time.process_time() - began < 5


def test_a_token_after_what_only_looks_like_one_is_redacted() -> None:
    assert redact(f"eyJustaword eyJ-{TOKEN} and eyJanother") == f"eyJustaword {REDACTED} and eyJanother"


def test_a_private_key_is_redacted_even_when_it_is_cut_off() -> None:
    key = "-----BEGIN PRIVATE KEY-----\nMIIE"
    assert redact({"text": f"found {key}"}) == {"text": f"found {REDACTED}"}


def test_harmless_values_are_left_alone() -> None:
    value = {"name": "a", "count": 3, "reason": "bearer of bad news", "nested": [None, True]}
    assert redact(value) == value
