"""What every test shares."""

import asyncio

import hypothesis
import pytest

# Examples share their cores with other tests, some of which train: how long one takes says nothing.
hypothesis.settings.register_profile("shared cores", deadline=None)
hypothesis.settings.load_profile("shared cores")

# A plain test that comes first would otherwise have the looptime plugin make an event loop that nobody closes, and a
# warning about that is an error. From here on loops are made by pytest-asyncio alone.
asyncio.set_event_loop(None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of the server come last: some compute gradients, and a process that has may fork no gang of trainers any more."""
    items.sort(key=lambda item: "tests/unit/server/" in item.path.as_posix())
