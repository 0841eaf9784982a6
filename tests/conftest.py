"""What every test shares."""

import asyncio

# A plain test that comes first would otherwise have the looptime plugin make an event loop that nobody closes, and a
# warning about that is an error. From here on loops are made by pytest-asyncio alone.
asyncio.set_event_loop(None)
