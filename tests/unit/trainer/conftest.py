"""Fixtures of the trainer's tests."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.trainer.gang import Gang, StartGang, start_workers
from tests.unit.trainer.listening import Operator, listening_operator


@pytest.fixture(autouse=True)
def no_environment_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the developer has set must not reach the tests."""
    for name in list(os.environ):
        if name.startswith(("TRAINYARD_", "PET_")):
            monkeypatch.delenv(name)


@pytest.fixture
def start_gang(tmp_path: Path) -> Iterator[StartGang]:
    """Start workers that end with the test."""
    gangs: list[Gang] = []

    def start(*arguments: Any, **options: Any) -> Gang:
        gangs.append(start_workers(tmp_path / f"run-{len(gangs)}", *arguments, **options))
        return gangs[-1]

    yield start
    for gang in gangs:
        gang.end()


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[Operator]:
    """The operator's endpoint on 127.0.0.1."""
    with listening_operator(tmp_path) as operator:
        yield operator
