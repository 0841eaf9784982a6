"""The two protocols that callers speak: whose servers answer them, and how they are refused. Pure.

A refusal of gRPC is an answer without a message: the status is in its headers, where HAProxy can write it. Its HTTP status
is 200, as of every answer of gRPC.
"""

from collections.abc import Callable
from dataclasses import dataclass

from gateway import BACKEND, CANARY, GRPC_BACKEND, GRPC_CANARY

_GRPC_STATUS = {
    401: 16,  # UNAUTHENTICATED
    403: 7,  # PERMISSION_DENIED
    429: 8,  # RESOURCE_EXHAUSTED
}


@dataclass(frozen=True)
class Protocol:
    """What the two frontends differ in. safe and inference are conditions: what changes nothing, and what may be asked twice."""

    stable: str
    canary: str
    refusal: Callable[[int, str], str]
    safe: str
    inference: str

    def refuse(self, status: int, text: str, condition: str, header: str = "") -> str:
        """A rule of HAProxy that answers by itself; status is HTTP's."""
        return f"{self.refusal(status, text)} {header} if {condition}"


def _json(status: int, text: str) -> str:
    return f"""return status {status} content-type application/json string '{{"error":"{text}"}}'"""


def _trailers(status: int, text: str) -> str:
    return f'return status 200 hdr grpc-status {_GRPC_STATUS[status]} hdr grpc-message "{text}"'


REST = Protocol(BACKEND, CANARY, _json, "{ method GET HEAD OPTIONS }", "{ path_end /infer :predict }")
GRPC = Protocol(
    GRPC_BACKEND,
    GRPC_CANARY,
    _trailers,
    "{ path_end /ServerLive /ServerReady /ModelReady /ServerMetadata /ModelMetadata /ModelStatistics /RepositoryIndex }",
    "{ path_end /ModelInfer }",
)
