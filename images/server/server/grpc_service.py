"""The Open Inference Protocol v2 over gRPC, with the same checks, limits and words as REST."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import grpc
from multidict import CIMultiDict

from server import grpc_tensors
from server.describing import model_metadata, server_metadata
from server.errors import NotReady, RequestError
from server.grpc_messages import SERVICE, message
from server.inference import Inference, Results
from server.protocol import InferRequest
from server.repository_routes import require_known, to_the_end
from server.state import Serving

_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    404: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.FAILED_PRECONDITION,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
Method = Callable[[Any, CIMultiDict[str]], Awaitable[Any]]
_log = logging.getLogger(__name__)


class GrpcService:
    """Methods by name; each takes a message and the call's metadata, and returns a message."""

    def __init__(self, inference: Inference) -> None:
        self._inference = inference
        self._repository = inference.repository

    async def start(
        self, host: str, port: int, interceptors: Sequence[grpc.aio.ServerInterceptor] = ()
    ) -> tuple[grpc.aio.Server, int]:
        """A listening server and its port."""
        limit = self._inference.settings.max_body_bytes
        options = [("grpc.max_receive_message_length", limit), ("grpc.max_send_message_length", -1)]
        server = grpc.aio.server(options=options, interceptors=interceptors)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, self._handlers()),))
        port = server.add_insecure_port(f"{host or '[::]'}:{port}")
        await server.start()
        return server, port

    def _handlers(self) -> dict[str, grpc.RpcMethodHandler]:
        methods: dict[str, tuple[Method, str]] = {
            "ServerLive": (self._live, "ServerLive"),
            "ServerReady": (self._ready, "ServerReady"),
            "ModelReady": (self._model_ready, "ModelReady"),
            "ServerMetadata": (self._server_metadata, "ServerMetadata"),
            "ModelMetadata": (self._model_metadata, "ModelMetadata"),
            "ModelInfer": (self._infer, "ModelInfer"),
            "ModelStatistics": (self._statistics, "ModelStatistics"),
            "RepositoryIndex": (self._index, "RepositoryIndex"),
            "RepositoryModelLoad": (self._load, "RepositoryModelLoad"),
            "RepositoryModelUnload": (self._unload, "RepositoryModelUnload"),
        }
        return {
            name: grpc.unary_unary_rpc_method_handler(
                self._guarded(method),
                request_deserializer=message(f"{stem}Request").FromString,
                response_serializer=message(f"{stem}Response").SerializeToString,
            )
            for name, (method, stem) in methods.items()
        }

    def _guarded(self, method: Method) -> Callable[[Any, Any], Awaitable[Any]]:
        """Errors become status codes; what was meant for another service is refused."""

        async def call(request: Any, context: Any) -> Any:
            headers = CIMultiDict((key, str(value)) for key, value in context.invocation_metadata() or ())
            try:
                self._inference.require_meant_for_us(headers)
                return await method(request, headers)
            except RequestError as error:
                await context.abort(_CODES.get(error.status, grpc.StatusCode.INTERNAL), str(error))
            except Exception:  # noqa: BLE001 - as in REST: the caller gets INTERNAL, the log the traceback
                _log.exception("%s failed", method.__name__)
                await context.abort(grpc.StatusCode.INTERNAL, "internal error; see the server's log")

        return call

    async def _live(self, _request: Any, _headers: CIMultiDict[str]) -> Any:
        return message("ServerLiveResponse")(live=True)

    async def _ready(self, _request: Any, _headers: CIMultiDict[str]) -> Any:
        return message("ServerReadyResponse")(ready=self._is_ready())

    async def _model_ready(self, request: Any, _headers: CIMultiDict[str]) -> Any:
        try:
            self._inference.find(request.name, request.version)
        except NotReady:
            return message("ModelReadyResponse")(ready=False)
        return message("ModelReadyResponse")(ready=self._is_ready())

    def _is_ready(self) -> bool:
        try:
            self._inference.require_ready()
        except NotReady:
            return False
        return True

    async def _server_metadata(self, _request: Any, _headers: CIMultiDict[str]) -> Any:
        repository = self._inference.settings.repository is not None
        return message("ServerMetadataResponse")(**server_metadata(repository=repository))

    async def _model_metadata(self, request: Any, _headers: CIMultiDict[str]) -> Any:
        serving = self._inference.find(request.name, request.version)
        fields = model_metadata(serving, self._repository.versions(serving.name))
        del fields["parameters"]  # the message has none
        return message("ModelMetadataResponse")(**fields)

    async def _infer(self, request: Any, headers: CIMultiDict[str]) -> Any:
        async def read() -> tuple[Any, int]:
            return request, request.ByteSize()

        return await self._inference.answer(
            headers, lambda: self._inference.find(request.model_name, request.model_version), read, _decode, _encode
        )

    async def _statistics(self, request: Any, _headers: CIMultiDict[str]) -> Any:
        every = self._repository.serving
        if request.name:
            one = self._inference.find(request.name, request.version)
            every = [
                serving for serving in every if serving.name == one.name and request.version in ("", serving.version)
            ]
        stats = [serving.statistics.as_json(serving.name, serving.version) for serving in every]
        return message("ModelStatisticsResponse")(model_stats=stats)

    async def _index(self, request: Any, _headers: CIMultiDict[str]) -> Any:
        return message("RepositoryIndexResponse")(models=self._repository.index(only_ready=request.ready))

    async def _load(self, request: Any, _headers: CIMultiDict[str]) -> Any:
        require_known(request.parameters)
        await to_the_end(self._repository.load(request.model_name))
        return message("RepositoryModelLoadResponse")()

    async def _unload(self, request: Any, _headers: CIMultiDict[str]) -> Any:
        require_known(request.parameters)
        await to_the_end(self._repository.unload(request.model_name))
        return message("RepositoryModelUnloadResponse")()


def _decode(request: Any, serving: Serving) -> InferRequest:
    return grpc_tensors.decode(request, serving.model.card, serving.batcher.limits.max_batch)


def _encode(asked: InferRequest, serving: Serving, results: Results) -> Any:
    return grpc_tensors.encode(asked, serving.model.card, serving.name, serving.version, results)
