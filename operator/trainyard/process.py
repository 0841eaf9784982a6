"""The operator process: election, ports, signals, kopf, and `App` for as long as this process leads."""

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from random import Random
from typing import NoReturn

import uvloop
from prometheus_client import CollectorRegistry

from trainyard.api.names import OPERATOR_LEASE
from trainyard.app import App, Ground
from trainyard.cluster.client import ClusterClient
from trainyard.cluster.leader_label import LeaderLabel
from trainyard.cluster.lease_thread import LeaseThread
from trainyard.cluster.resources import TRAINYARD_GROUP
from trainyard.cluster.tokens import TokenReviewer
from trainyard.cluster.transport import KubeTransport
from trainyard.config import Config
from trainyard.endpoint.alarms import Alarms
from trainyard.endpoint.callers import Callers
from trainyard.endpoint.certificates import Bundle, validity
from trainyard.endpoint.identity import ensure_bundle
from trainyard.endpoint.people import People
from trainyard.endpoint.questions import Questions
from trainyard.endpoint.server import Endpoint
from trainyard.handlers.watch import KindWatch
from trainyard.metrics.instruments import Metrics
from trainyard.metrics.loop_lag import watch_event_loop
from trainyard.runtime import logging as json_logging
from trainyard.runtime.audit_chain import Entry
from trainyard.runtime.audit_file import AuditFile
from trainyard.runtime.audit_log import AuditLog
from trainyard.runtime.clock import SystemClock
from trainyard.runtime.health import HealthServer, Heartbeat
from trainyard.runtime.memory import share_heap
from trainyard.runtime.waiting import unless_stopped
from trainyard.workloads.caches import OURS
from trainyard.workloads.pod_template import Surroundings

log = logging.getLogger(__name__)

_CERTIFICATE_CHECK_SECONDS = 3600.0
_HEARTBEAT_SECONDS = 60.0
_COLLECT = (20_000, 20, 50)
"""Thresholds of the garbage collector: what refers to itself is rare here, and looking for it through all caches is not cheap."""
_LAST_WORDS_SECONDS = 0.5
"""An event loop that is busy for longer is not waited for when leadership is lost."""
_TURN_SECONDS = 0.001
"""How long a thread that computes keeps the event loop from the interpreter."""


def main() -> None:
    """Run until SIGTERM or SIGINT; exit code 1 when leadership or kopf was lost."""
    config = Config()
    share_heap()
    json_logging.configure(config.log_level)
    _share_the_interpreter()
    uvloop.run(Process(config).run())


def _share_the_interpreter() -> None:
    """Caches hold hundreds of thousands of objects that live long; and four threads take turns, of which one answers in between."""
    gc.set_threshold(*_COLLECT)
    sys.setswitchinterval(_TURN_SECONDS)


class Process:
    """One operator process."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.clock = SystemClock()
        self.random = Random()  # noqa: S311  jitter
        self.identity = config.identity or socket.gethostname()
        self.metrics = Metrics(CollectorRegistry())
        self.audit = AuditLog(self.identity, self.clock, _audit_file(config), self.metrics.record_lost)
        self.metrics.audit_stalled(lambda: self.audit.stalled)
        self.stop = asyncio.Event()
        self.bundle: Bundle | None = None
        self.serving = False
        """Whether the endpoint listens, which only a leader's does."""
        self.settle: list[Callable[[], None]] = []
        """Put on record what is gathered for the audit trail."""

    async def run(self) -> None:
        """Follow everything, wait until elected, then lead."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop.set)
        lease = LeaseThread(
            self._connect_plain,
            self.clock,
            partial(self._lost, loop),
            namespace=self.config.namespace,
            name=OPERATOR_LEASE,
            identity=self.identity,
        )
        transport = await KubeTransport.connect(self.config.kubeconfig)
        client = ClusterClient(
            transport, self.clock, self.random, observer=self.metrics.kube_call, may_write=lambda: lease.is_leader
        )
        app = App(self._ground(client, lease))
        label = LeaderLabel(self.config.namespace, self.config.pod, lambda: self.serving and lease.is_leader)
        health = self._health(app, lease, label)
        await health.start()
        await lease.start()
        # A standby writes it, too, and the other client writes for a leader only.
        plain = await self._connect_plain()
        background = [asyncio.create_task(label.run(plain), name="label")] if self.config.pod else []
        watch = self._watch(app)
        watch.start()
        following = asyncio.create_task(app.follow(), name="follow")
        following.add_done_callback(lambda _: self.stop.set())  # it has no end of its own
        try:
            if await unless_stopped(self.stop, lease.acquired):
                await self.audit.begin(lease.epoch)
                await self._lead(app, client)
                await self.audit.end()
            if following.done():
                following.result()
            if watch.error is not None:
                raise watch.error
        finally:
            for task in (*background, following):
                task.cancel()
            await asyncio.gather(following, return_exceptions=True)
            await asyncio.to_thread(watch.stop)
            await plain.close()
            await lease.stop(writes_ended=client.writes_end_in <= 0)
            await health.stop()
            await client.close()
            log.info("stopped")

    async def _lead(self, app: App, client: ClusterClient) -> None:
        bundle = await self._renewed(client)
        alarms = Alarms(self._record, app.strayed)
        self.settle = [app.applier.settle, alarms.settle]
        callers = Callers(TokenReviewer(client, self.clock), app.caches.informers["Pod"].get)
        endpoint = Endpoint(
            self.config.host,
            self.config.https_port,
            callers,
            app.world,
            self.clock,
            app.reports,
            app.gateways,
            app.inference.membership,
            app.look_in,
            Questions(People(client), app.picture, app.incidents.all),
            alarms,
        )
        endpoint.use(bundle)
        await endpoint.start()
        self.serving = True
        background = [
            asyncio.create_task(self._renew(client, endpoint), name="certificate"),
            asyncio.create_task(watch_event_loop(self.metrics.loop_lag), name="loop-lag"),
            asyncio.create_task(self.audit.watch(), name="audit"),
        ]
        log.info("leading", extra={"identity": self.identity})
        try:
            await app.run(self.stop)
        finally:
            for task in background:
                task.cancel()
            await endpoint.stop()

    def _watch(self, app: App) -> KindWatch:
        takers = {resource.plural: app.caches.ours[kind].observe for kind, resource in OURS.items()}
        confined = bool(self.config.namespaces)
        watch = KindWatch(takers, self.config.kubeconfig, self.stop.set, self.metrics.kube_call, confined=confined)
        app.sight.on_change(watch.see)
        return watch

    async def _renew(self, client: ClusterClient, endpoint: Endpoint) -> None:
        while True:
            await asyncio.sleep(_CERTIFICATE_CHECK_SECONDS)
            try:
                endpoint.use(await self._renewed(client))
            except Exception:
                log.exception("the serving certificate could not be checked; tried again in an hour")

    async def _renewed(self, client: ClusterClient) -> Bundle:
        bundle = await ensure_bundle(client, self.config.namespace, self.config.endpoint_host, self.clock)
        self.bundle = bundle
        self.metrics.certificate("authority", *validity(bundle.authority))
        self.metrics.certificate("serving", *validity(bundle.certificate))
        return bundle

    def _ground(self, client: ClusterClient, lease: LeaseThread) -> Ground:
        return Ground(
            client=client,
            clock=self.clock,
            random=self.random,
            surroundings=self._surroundings,
            epoch=lambda: lease.epoch,
            identity=self.identity,
            metrics=self.metrics,
            namespace=self.config.namespace,
            namespaces=self.config.namespaces,
            failure_table=self.config.failure_table,
            health_level=self.config.health_level,
            workers=self.config.workers,
            repair_seconds=self.config.repair_seconds,
            record=self._record,
            carbon_grams_per_kwh=self.config.carbon_grams_per_kwh,
        )

    def _record(self, entry: Entry) -> None:
        self.audit.write(entry)
        self.metrics.recorded(entry)

    def _surroundings(self) -> Surroundings:
        config = self.config
        authority = self.bundle.authority.decode() if self.bundle else ""
        return Surroundings(
            config.trainer_image,
            config.server_image,
            config.gateway_image,
            config.endpoint,
            authority,
            config.otlp_endpoint,
            config.trace_ratio,
            bool(config.namespaces),
        )

    def _health(self, app: App, lease: LeaseThread, label: LeaderLabel) -> HealthServer:
        self.metrics.registry.register(app.collector(lambda: lease.is_leader))
        health = HealthServer(self.config.host, self.config.http_port, self.metrics.handler())
        heartbeat = health.watch(Heartbeat("event loop", _HEARTBEAT_SECONDS, self.clock))
        asyncio.get_running_loop().create_task(_beat(heartbeat), name="heartbeat")
        health.require(
            "leader",
            lambda: (
                None
                if lease.is_leader or self._may_stand_by(lease)
                else f"{lease.holder or 'nobody'} leads; this process stands by"
            ),
        )
        health.require(
            "caches",
            lambda: (
                None
                if app.read.is_set() or self._may_stand_by(lease)
                else f"not filled yet: {', '.join(kind for kind, each in app.caches.informers.items() if not each.synced.is_set()) or TRAINYARD_GROUP}"
            ),
        )
        if self.config.pod:
            health.require("label", label.problem)
        if self.config.namespaces:
            health.require("namespaces", lambda: app.sight.blind() if app.read.is_set() else None)
            health.mention("unseen", lambda: app.sight.told() if app.read.is_set() else None)
        return health

    def _may_stand_by(self, lease: LeaseThread) -> bool:
        """Whether this process is as ready as one that does not lead can be: the Service goes by the label then."""
        return bool(self.config.pod and lease.holder) and not lease.is_leader

    def _lost(self, loop: asyncio.AbstractEventLoop, reason: str) -> NoReturn:
        """Another process may lead by now: nothing of ours may be written any more, but what is gathered into the log. In the election's thread."""
        self.audit.leave_file()
        settled = threading.Event()

        def settle() -> None:
            for each in self.settle:
                each()
            settled.set()

        with suppress(RuntimeError):  # the loop has ended, and settled before
            loop.call_soon_threadsafe(settle)
            settled.wait(_LAST_WORDS_SECONDS)
        log.critical("leadership lost, the process ends", extra={"reason": reason})
        logging.shutdown()
        os._exit(1)

    async def _connect_plain(self) -> ClusterClient:
        """A client of its own for the election's thread."""
        transport = await KubeTransport.connect(self.config.kubeconfig)
        return ClusterClient(transport, self.clock, Random(), observer=self.metrics.kube_call)  # noqa: S311  jitter


def _audit_file(config: Config) -> AuditFile | None:
    if config.audit_file is None:
        return None
    return AuditFile(config.audit_file, config.audit_file_bytes, config.audit_files_kept)


async def _beat(heartbeat: Heartbeat) -> None:
    while True:
        heartbeat.beat()
        await asyncio.sleep(1)
