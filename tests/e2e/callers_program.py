"""Runs in a pod of the server image: callers that ask without a pause worth the name, and say once a second how it went.

Strict: no request is sent twice. A line per second and a line per failure, as JSON, on standard output.
"""

import asyncio
import json
import os
import random
import time
from collections import Counter

import aiohttp

CALLERS = int(os.environ["CALLERS"])
THINK_SECONDS = float(os.environ["THINK_SECONDS"])
URL = os.environ["URL"]
BODY = os.environ["BODY"].encode()
TIMEOUT = aiohttp.ClientTimeout(total=20)


class Tally:
    """What happened since the last line."""

    def __init__(self) -> None:
        self.outstanding = self.most = 0
        self.answers: Counter[str] = Counter()
        self.slowest = 0.0


async def call(session: aiohttp.ClientSession, tally: Tally) -> None:
    """One request and its fate."""
    sent = time.time()
    tally.outstanding += 1
    tally.most = max(tally.most, tally.outstanding)
    try:
        async with session.post(URL, data=BODY, headers={"Content-Type": "application/json"}) as answer:
            text = await answer.text()
            fate, detail = str(answer.status), "" if answer.status == 200 else text[:200]
    except (aiohttp.ClientError, TimeoutError) as error:
        fate, detail = type(error).__name__, str(error)[:200]
    tally.outstanding -= 1
    tally.answers[fate] += 1
    now = time.time()
    tally.slowest = max(tally.slowest, now - sent)
    if fate not in {"200", "429"}:
        print(json.dumps({"failed": fate, "sent": sent, "at": now, "detail": detail}), flush=True)


async def caller(session: aiohttp.ClientSession, tally: Tally, seed: int) -> None:
    """One of those that ask, for ever."""
    dice = random.Random(seed)
    while True:
        await call(session, tally)
        await asyncio.sleep(dice.expovariate(1 / THINK_SECONDS))


async def main() -> None:
    tally = Tally()
    connector = aiohttp.TCPConnector(limit=0, ttl_dns_cache=5)
    async with aiohttp.ClientSession(connector=connector, timeout=TIMEOUT) as session, asyncio.TaskGroup() as tasks:
        for seed in range(CALLERS):
            tasks.create_task(caller(session, tally, seed))
        while True:
            await asyncio.sleep(1)
            said = {"at": time.time(), "answers": tally.answers, "most": tally.most, "slowest": round(tally.slowest, 3)}
            print(json.dumps(said), flush=True)
            tally.answers, tally.most, tally.slowest = Counter(), tally.outstanding, 0.0


if __name__ == "__main__":
    asyncio.run(main())
