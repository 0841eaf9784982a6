"""The two loops of the sidecar.

`_follow` asks the operator what is wanted; `_apply` makes HAProxy do it. They are apart because either side may hang:
an operator that does not answer must not keep a restarted HAProxy empty, and the other way round. What the operator
waits for (a generation applied, a member up or idle) is told at once rather than at the next turn.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from contextlib import suppress

from gateway import BACKEND, store
from gateway.config import DNS_GRPC_PORT, Settings
from gateway.contracts import Contracts
from gateway.copies import Copies
from gateway.credentials import Credentials
from gateway.eject import Ejections, without
from gateway.fallback import resolve
from gateway.members import Membership
from gateway.objective import Objective
from gateway.observed import Observed
from gateway.pace import Pace
from gateway.plan import RuntimeCommand, plan
from gateway.report import Standing, report
from gateway.runtime import Runtime, RuntimeUnavailable
from gateway.speed import Speeds, as_knob
from gateway.sync import Operator, OperatorAway
from gateway.traffic import Traffic, listen

SYNC_SECONDS = 0.5
LEAST_SYNC_SECONDS = 0.05  # between calls, however much there is to tell
APPLY_SECONDS = 0.25
FALLBACK_SECONDS = 5.0
_log = logging.getLogger(__name__)


class Sidecar:
    """One gateway pod's link between operator and HAProxy. standing is read by endpoint.py."""

    def __init__(self, settings: Settings, runtime: Runtime) -> None:
        self._settings = settings
        self._runtime = runtime
        self._wanted = store.load(settings.members_file)
        self._heard = self._wanted is not None  # ever, by this sidecar or the one before it
        self._changed = asyncio.Event()  # what is wanted
        self._news = asyncio.Event()  # what the operator waits for
        self._failing_since: float | None = None
        self._pace = Pace()
        self.ejections = Ejections()
        self._speeds = Speeds()
        self.slowness: Mapping[str, float] = {}
        self.traffic = Traffic()
        self.objective = Objective(settings.slo_milliseconds, settings.slo_first_byte)
        self.contracts = Contracts(settings)
        self.copies = Copies(settings, self.traffic, self.contracts)
        self._tell()
        self.standing = Standing()
        self.syncs = 0
        self.failed_syncs = 0

    @property
    def operator_away(self) -> bool:
        return self._failing_since is not None

    async def run(self) -> None:
        """Work until cancelled."""
        async with Operator(self._settings) as operator, asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow(operator))
            tasks.create_task(self._apply())
            tasks.create_task(self._listen())
            tasks.create_task(self.contracts.run())
            tasks.create_task(self.copies.run())
            tasks.create_task(Credentials(self._settings, self._runtime).run())

    async def _listen(self) -> None:
        """Hear of each request; where there is a collector spans are made of it too."""
        if not self._settings.otlp_endpoint:
            await listen(self._settings.log_socket, self._take)
            return
        from gateway.spans import spans  # noqa: PLC0415 - costs a second and memory that most have no use for

        made, close = spans(self._settings)

        def take(line: str) -> None:
            self._take(line)
            made.take(line)

        try:
            await listen(self._settings.log_socket, take)
        finally:
            close()

    async def _follow(self, operator: Operator) -> None:
        while True:
            started = time.monotonic()
            self._news.clear()
            await self._sync(operator)
            await asyncio.sleep(LEAST_SYNC_SECONDS)
            await _within(self._news, SYNC_SECONDS - (time.monotonic() - started))

    async def _sync(self, operator: Operator) -> None:
        try:
            out = self.ejections.out(time.monotonic())
            told = report(self._settings, self.standing, out, self.copies.in_flight)
            told |= {"traffic": self.traffic.report(), "contracts": self.contracts.report()}
            wanted = await operator.sync(told, self._wanted)
        except OperatorAway as error:
            self.failed_syncs += 1
            await self._do_without(str(error))
            return
        if self._failing_since is not None:
            _log.info("the operator answers again")
        self._failing_since = None
        self._heard = True
        self.syncs += 1
        if not self._settings.grpc:
            wanted = wanted.without_grpc()
        if wanted != self._wanted:
            self._want(wanted)
            store.save(self._settings.members_file, wanted)

    async def _do_without(self, reason: str) -> None:
        """Keep what is known; where nothing ever was, ask DNS."""
        now = time.monotonic()
        if self._failing_since is None:
            self._failing_since = now
            _log.warning("the operator is away, going on with what is known: %s", reason)
        if self._heard or not self._settings.members_dns or now - self._failing_since < FALLBACK_SECONDS:
            return
        grpc_port = DNS_GRPC_PORT if self._settings.grpc else 0
        found = await resolve(self._settings.members_dns, self._settings.members_dns_port, grpc_port)
        if found is not None and found != self._wanted:
            _log.warning("no membership was ever received; DNS knows %d members", len(found.members))
            self._want(found)

    def _want(self, wanted: Membership) -> None:
        self._wanted = wanted
        self._tell()
        self._changed.set()

    def _tell(self) -> None:
        """Those who need to know which replica serves what."""
        self.traffic.know(self._wanted)
        self.contracts.know(self._wanted)
        self.copies.know(self._wanted)

    def _take(self, line: str) -> None:
        self.traffic.take(line)
        self.objective.take(line)
        self._speeds.take(line, time.monotonic())

    async def _apply(self) -> None:
        while True:
            self._changed.clear()
            await self._converge()
            await _within(self._changed, APPLY_SECONDS)

    async def _converge(self) -> None:
        wanted = self._wanted
        observed: Observed | None = None
        try:
            observed = await self._runtime.observe()
            wanted = self._judge(observed, wanted)
            commands = [] if wanted is None else self._commands(wanted, observed)
            if commands:
                await self._runtime.execute(commands)
                observed = await self._runtime.observe()
        except RuntimeUnavailable as error:
            observed = None
            if self.standing.observed is not None:
                _log.warning("HAProxy does not answer: %s", error)
        before, self.standing = self.standing, self.standing.seen(observed, wanted)
        if self.standing.haproxy_restarts > before.haproxy_restarts:
            _log.warning("HAProxy has restarted; its members are restored")
        told = (before.applied, before.states, before.waiting)
        if told != (self.standing.applied, self.standing.states, self.standing.waiting):
            self._news.set()

    def _judge(self, observed: Observed, wanted: Membership | None) -> Membership | None:
        """What is wanted, without those whose answers fail."""
        now = time.monotonic()
        if wanted is None or not self._settings.ejection:
            return wanted
        before, self.ejections = self.ejections, self.ejections.seen(observed.servers, now, self.traffic.grpc_failures)
        if self.ejections is not before:
            self.traffic.grpc_failures.clear()
        out = self.ejections.out(now)
        for name in sorted(out - before.out(now)):
            _log.warning("%s gets nothing for %.0f s: its answers fail", name, self.ejections.sentences[name].seconds)
        return without(wanted, out)

    def _commands(self, wanted: Membership, observed: Observed) -> list[RuntimeCommand]:
        self._pace = self._pace.seen(observed, time.monotonic())
        later = self._pace.retry_after(observed.queued)
        measured = {"retry": str(later)} if later > 1 else {}
        if wanted.start_seconds:
            measured["cold"] = str(wanted.start_seconds)
        self.slowness = self._speeds.slowness(usable(wanted, observed), time.monotonic())
        if knob := as_knob(self.slowness):
            measured["slow"] = knob
        return plan(wanted, observed, self._settings.server_share, measured)


def usable(wanted: Membership, observed: Observed) -> set[str]:
    """Stable replicas that may be asked now and go on to be."""
    members = {one.name for one in wanted.members if one.active and one.weight and not one.canary}
    return {one.name for one in observed.servers if one.up and one.backend == BACKEND} & members


async def _within(event: asyncio.Event, seconds: float) -> None:
    """Wait for event, but not for longer."""
    with suppress(TimeoutError):
        async with asyncio.timeout(max(0.0, seconds)):
            await event.wait()
