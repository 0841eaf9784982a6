"""POST /v1/progress and /v1/strays of trainers, POST /v1/gateways of load balancers, and the questions of people, over TLS."""

import logging
import ssl
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web

from trainyard.api.inference_service import InferenceService
from trainyard.api.names import ROLE_LABEL, SERVICE_LABEL
from trainyard.api.training_job import TrainingJob
from trainyard.cluster.errors import ClusterError
from trainyard.endpoint.alarms import Alarms, Forged
from trainyard.endpoint.callers import Callers, Object, refused
from trainyard.endpoint.certificates import Bundle
from trainyard.endpoint.questions import Questions
from trainyard.endpoint.strays import parse_strays
from trainyard.inference.board import BadSync, GatewayBoard, parse_sync
from trainyard.inference.membership import Membership
from trainyard.runtime.clock import Clock
from trainyard.training.reports import BadReport, ReportBoard
from trainyard.workloads.keys import Key
from trainyard.workloads.world import World

_STOP_SECONDS = 1.0
"""A stop waits no longer for somebody who sends or reads slowly."""

log = logging.getLogger(__name__)

MAX_BODY = 256 * 1024
LATER_SECONDS = 30.0
Wake = Callable[[Key, float], None]
"""Look at the object in so many seconds."""


class Endpoint:
    """The HTTPS server."""

    def __init__(
        self,
        host: str,
        port: int,
        callers: Callers,
        world: World,
        clock: Clock,
        reports: ReportBoard,
        gateways: GatewayBoard,
        members: Callable[[InferenceService], Membership],
        wake: Wake,
        questions: Questions,
        alarms: Alarms,
    ) -> None:
        self._address = (host, port)
        self._callers, self._world, self._clock = callers, world, clock
        self._reports, self._gateways, self._members, self._wake = reports, gateways, members, wake
        self._questions, self._alarms = questions, alarms
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.minimum_version = ssl.TLSVersion.TLSv1_3
        self._runner: web.AppRunner | None = None

    def app(self) -> web.Application:
        """The application, for tests without TLS."""
        app = web.Application(client_max_size=MAX_BODY, middlewares=[_errors, self._alarms.middleware()])
        app.router.add_post("/v1/progress", self._progress)
        app.router.add_post("/v1/strays", self._strays)
        app.router.add_post("/v1/gateways", self._sync)
        self._questions.add_to(app.router)
        return app

    def use(self, bundle: Bundle) -> None:
        """Serve with this certificate from the next connection on."""
        with tempfile.TemporaryDirectory() as folder:
            # The ssl module reads files only. The folder is ours alone and gone at once.
            certificate, key = Path(folder, "tls.crt"), Path(folder, "tls.key")
            certificate.write_bytes(bundle.certificate)
            key.touch(mode=0o600)
            key.write_bytes(bundle.key)
            self._tls.load_cert_chain(certificate, key)

    async def start(self) -> int:
        """Listen; returns the port, which is chosen by the system when 0 was asked for."""
        self._runner = web.AppRunner(self.app(), access_log=None, shutdown_timeout=_STOP_SECONDS)
        await self._runner.setup()
        await web.TCPSite(self._runner, *self._address, ssl_context=self._tls).start()
        port: int = self._runner.addresses[0][1]
        return port

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
            self._alarms.settle()

    async def _progress(self, request: web.Request) -> web.Response:
        _, key, job, body = await self._from_job(request)
        try:
            news = self._reports.put(body, self._clock.now())
        except BadReport as error:
            raise refused(web.HTTPBadRequest, str(error)) from None
        self._wake(key, 0.0 if news else LATER_SECONDS)
        return _json({"commands": self._reports.answer(job)})

    async def _strays(self, request: web.Request) -> web.Response:
        pod, key, _, body = await self._from_job(request)
        try:
            report = parse_strays(body)
        except BadReport as error:
            raise refused(web.HTTPBadRequest, str(error)) from None
        self._alarms.strayed(key, pod["metadata"]["name"], report)
        return _json({})

    async def _from_job(self, request: web.Request) -> tuple[Object, Key, TrainingJob, dict[str, Any]]:
        """The pod that calls, its job, and what it says of that; of no other job is it believed anything."""
        pod = await self._callers.pod(request)
        body = await _body(request)
        kind, name, uid = _owner(pod)
        if kind != "TrainingJob" or body.get("jobUid") != uid:
            raise refused(
                Forged,
                f"jobUid: a pod reports for its own job only; this pod belongs to {kind or 'nothing of ours'} {name}",
            )
        key = Key("TrainingJob", pod["metadata"]["namespace"], name)
        job = self._world.get(key)
        if not isinstance(job, TrainingJob) or job.metadata.uid != uid:
            # Its pods are about to go: nobody would ever forget what they say.
            raise refused(web.HTTPNotFound, f"there is no TrainingJob {key.namespace}/{name} with uid {uid}")
        return pod, key, job, body

    async def _sync(self, request: web.Request) -> web.Response:
        pod = await self._callers.pod(request)
        try:
            report = parse_sync(await _body(request))
        except BadSync as error:
            raise refused(web.HTTPBadRequest, str(error)) from None
        labels = pod["metadata"].get("labels", {})
        namespace = pod["metadata"]["namespace"]
        mine = (
            labels.get(ROLE_LABEL) == "gateway"
            and labels.get(SERVICE_LABEL) == report.service
            and namespace == report.namespace
        )
        if not mine or pod["metadata"]["name"] != report.pod:
            raise refused(Forged, f"service: this pod is no gateway of {report.namespace}/{report.service}")
        key = Key("InferenceService", namespace, report.service)
        service = self._world.get(key)
        if not isinstance(service, InferenceService) or service.metadata.uid != report.service_uid:
            raise refused(
                web.HTTPNotFound,
                f"there is no InferenceService {report.namespace}/{report.service} with uid {report.service_uid}",
            )
        if self._gateways.put(report, self._clock.now()):
            self._wake(key, 0.0)
        return _json(self._members(service).body())


@web.middleware
async def _errors(request: web.Request, handler: Any) -> web.StreamResponse:
    """Every error is JSON."""
    try:
        response: web.StreamResponse = await handler(request)
    except web.HTTPException as error:
        if error.content_type == "application/json":
            raise
        return _json({"error": error.reason}, error.status)
    except ClusterError as error:
        return _json({"error": f"the API server could not check the token: {error}"}, 503)
    return response


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        body = orjson.loads(await request.read())
    except orjson.JSONDecodeError as error:
        raise refused(web.HTTPBadRequest, f"the body is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise refused(web.HTTPBadRequest, f"the body is a {type(body).__name__}; expected an object")
    return body


def _owner(pod: Object) -> tuple[str, str, str]:
    """Kind, name and uid of the controlling owner."""
    for each in pod["metadata"].get("ownerReferences", ()):
        if each.get("controller"):
            return each["kind"], each["name"], each["uid"]
    return "", "", ""


def _json(body: Any, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")
