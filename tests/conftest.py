"""What every test shares."""

import asyncio

import hypothesis

# Examples share their cores with other tests, some of which train: how long one takes says nothing.
hypothesis.settings.register_profile("shared cores", deadline=None)
hypothesis.settings.load_profile("shared cores")

# A plain test that comes first would otherwise have the looptime plugin make an event loop that nobody closes, and a
# warning about that is an error. From here on loops are made by pytest-asyncio alone.
asyncio.set_event_loop(None)
