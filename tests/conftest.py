"""What every test shares."""

import asyncio

import hypothesis
import pytest

from tests.faults.record import Checker, Recorder

# Examples share their cores with other tests, some of which train: how long one takes says nothing.
hypothesis.settings.register_profile("shared cores", deadline=None)
hypothesis.settings.load_profile("shared cores")

# A plain test that comes first would otherwise have the looptime plugin make an event loop that nobody closes, and a
# warning about that is an error. From here on loops are made by pytest-asyncio alone.
asyncio.set_event_loop(None)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record-faults", action="store_true", help="keep what tests of faults did, for docs/faults.md")
    parser.addoption("--check-faults", action="store_true", help="fail if they did otherwise than docs/faults.md says")
    parser.addoption(
        "--namespaced",
        action="store_true",
        help="end-to-end tests with an operator that has rights in the tests' own namespaces alone",
    )


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        return
    for option, plugin in (("--record-faults", Recorder), ("--check-faults", Checker)):
        if config.getoption(option):
            config.pluginmanager.register(plugin())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of the server come last: some compute gradients, and a process that has may fork no gang of trainers any more."""
    items.sort(key=lambda item: "tests/unit/server/" in item.path.as_posix())
