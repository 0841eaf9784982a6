"""The plain HTTP port: liveness, readiness and metrics.

kopf's own endpoint says only that its loop runs. Liveness here fails when a heartbeat is stale, so that a hung
scheduler or worker restarts the process; readiness names each check and why it fails. Metrics are rendered by a
handler that is handed in, since this module knows none.
"""

from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from trainyard.runtime.clock import Clock

ReadyCheck = Callable[[], str | None]
"""Returns None when ready, else the reason why not."""
HttpHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_STOP_SECONDS = 1.0
"""A stop waits no longer for somebody who reads slowly."""


class Heartbeat:
    """Shows that a part of the process still moves: `beat` at each turn; stale after `limit` seconds of silence."""

    def __init__(self, name: str, limit: float, clock: Clock) -> None:
        self.name = name
        self.limit = limit
        self._clock = clock
        self._last = clock.monotonic()

    def beat(self) -> None:
        """Say that the part is alive. Safe to call from any thread."""
        self._last = self._clock.monotonic()

    @property
    def age(self) -> float:
        """Seconds since the last beat."""
        return self._clock.monotonic() - self._last

    @property
    def stale(self) -> bool:
        """Whether the part must be presumed hung."""
        return self.age > self.limit

    def problem(self) -> str | None:
        """Why this heartbeat fails liveness, or None."""
        if not self.stale:
            return None
        return f"no sign of life for {self.age:.1f} s, at most {self.limit:g} s are expected"


class HealthServer:
    """Serves /healthz, /readyz and /metrics. Heartbeats and checks may be added while it runs."""

    def __init__(self, host: str, port: int, metrics: HttpHandler | None = None) -> None:
        self._host = host
        self._port = port
        self._metrics = metrics
        self._heartbeats: dict[str, Heartbeat] = {}
        self._checks: dict[str, ReadyCheck] = {}
        self._mentioned: dict[str, ReadyCheck] = {}
        self._runner: web.AppRunner | None = None

    def watch(self, heartbeat: Heartbeat) -> Heartbeat:
        """Let liveness depend on this heartbeat."""
        self._heartbeats[heartbeat.name] = heartbeat
        return heartbeat

    def require(self, name: str, check: ReadyCheck) -> None:
        """Let readiness depend on this check."""
        self._checks[name] = check

    def mention(self, name: str, check: ReadyCheck) -> None:
        """Let readiness say what this check finds, without depending on it."""
        self._mentioned[name] = check

    def app(self) -> web.Application:
        """The application, for tests and for embedding."""
        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        if self._metrics is not None:
            app.router.add_get("/metrics", self._metrics)
        return app

    async def start(self) -> int:
        """Listen; returns the port, which is chosen by the system when 0 was asked for."""
        self._runner = web.AppRunner(self.app(), access_log=None, shutdown_timeout=_STOP_SECONDS)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port).start()
        port: int = self._runner.addresses[0][1]
        return port

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _healthz(self, _: web.Request) -> web.Response:
        return _report({name: beat.problem() for name, beat in self._heartbeats.items()})

    async def _readyz(self, _: web.Request) -> web.Response:
        mentioned = {name: _run(check) for name, check in self._mentioned.items()}
        return _report({name: _run(check) for name, check in self._checks.items()}, mentioned)


def _run(check: ReadyCheck) -> str | None:
    try:
        return check()
    except Exception as error:  # noqa: BLE001 - a broken check is a reason, not a stack trace for the kubelet
        return f"the check itself failed: {error!r}"


def _report(problems: Mapping[str, str | None], mentioned: Mapping[str, str | None] | None = None) -> web.Response:
    failing = any(problem is not None for problem in problems.values())
    told = {**problems, **(mentioned or {})}
    body = {"ok": not failing, "checks": {name: problem or "ok" for name, problem in told.items()}}
    return web.json_response(body, status=503 if failing else 200)
