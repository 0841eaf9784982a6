"""What can go wrong between us and the API server.

    ClusterError                    anything below; `status` is the HTTP code, 0 when there was no answer
    ├── NotFound                    404, the object or its namespace is not there
    ├── AlreadyExists               409 on create: the name is taken, perhaps by our own lost request
    ├── Conflict                    409: the resourceVersion or uid we named is not the current one
    ├── Gone                        410: a watch or a list page from a resourceVersion that is compacted away
    ├── Forbidden                   401, 403: our rights, a quota or an admission policy forbids it
    │   └── NamespaceEnding         403: the namespace is being deleted, and takes nothing new
    ├── Invalid                     400, 413, 422: the API server explains what is wrong with the object
    ├── WebhookDown                 500: an admission webhook of somebody else does not answer; nothing was done
    ├── Fenced                      not sent: this process does not lead (any more)
    ├── TooManyRequests             429; `retry_after` seconds if the server said so
    ├── ServerError                 5xx: it may or may not have happened
    └── Unreachable                 no answer in time: it may or may not have happened
        └── Silent                  a watch without a sign of life: half-open, or a dead peer

`ambiguous` says whether a write that failed so may have taken effect all the same.
"""

# ruff: noqa: N818 - NotFound reads better than NotFoundError where it is caught, and the tree says what they are

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar


class NoClusterError(Exception):
    """No kubeconfig, or one that cannot be used; the message says why."""


class ClusterError(Exception):
    """A request that did not succeed. `message` is the API server's own, fit for a condition."""

    ambiguous: ClassVar[bool] = False

    def __init__(
        self, message: str, *, status: int = 0, reason: str = "", retry_after: float | None = None, doing: str = ""
    ) -> None:
        super().__init__(f"{doing}: {message}" if doing else message)
        self.message = message
        self.status = status
        self.reason = reason
        self.retry_after = retry_after


class NotFound(ClusterError):
    """The object or its namespace is not there."""


class AlreadyExists(ClusterError):
    """The name is taken."""


class Conflict(ClusterError):
    """The object changed since it was read, or is another one of the same name."""


class Gone(ClusterError):
    """The resourceVersion is too old: list again."""


class Forbidden(ClusterError):
    """Not allowed: rights, quota or an admission policy."""


class NamespaceEnding(Forbidden):
    """Nothing new is made in a namespace that is being deleted."""


class Invalid(ClusterError):
    """The object is not acceptable as it is; trying again cannot help."""


class WebhookDown(ClusterError):
    """Somebody's admission webhook, which must be asked, does not answer. Nothing was done."""


class Fenced(ClusterError):
    """The write was not sent, because this process does not lead."""


class TooManyRequests(ClusterError):
    """The server sheds load. Nothing was done."""


class ServerError(ClusterError):
    """The server failed."""

    ambiguous = True


class Unreachable(ClusterError):
    """The server did not answer in time, or the connection broke."""

    ambiguous = True


class Silent(Unreachable):
    """A watch stream sent neither an event nor a bookmark for too long."""


_BY_STATUS: dict[int, type[ClusterError]] = {
    400: Invalid,
    401: Forbidden,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    413: Invalid,
    422: Invalid,
    429: TooManyRequests,
}
_BAD_REQUEST, _SERVER_ERROR = 400, 500
_ENDING = "NamespaceTerminating"


def error_from(
    status: int, body: Mapping[str, Any], headers: Mapping[str, str], doing: str = ""
) -> ClusterError | None:
    """The error that a response stands for, or None when it is a success.

    body: a core/v1 Status when the server wrote one. doing: what was asked, for the message.
    """
    if status < _BAD_REQUEST:
        return None
    reason = str(body.get("reason") or "")
    message = str(body.get("message") or f"HTTP {status}")
    kind = ServerError if status >= _SERVER_ERROR else _BY_STATUS.get(status, Invalid)
    if reason == "AlreadyExists":
        kind = AlreadyExists
    elif reason == "Expired":
        kind = Gone
    elif _names_another_uid(body):
        kind = Conflict
    elif kind is Forbidden and any(each.get("reason") == _ENDING for each in _causes(body)):
        kind = NamespaceEnding
    elif kind is ServerError and "failed calling webhook" in message:
        kind = WebhookDown
    retry_after = _seconds(headers.get("retry-after") or headers.get("Retry-After"))
    if retry_after is None:
        retry_after = _seconds((body.get("details") or {}).get("retryAfterSeconds"))
    return kind(message, status=status, reason=reason, retry_after=retry_after, doing=doing)


def _names_another_uid(body: Mapping[str, Any]) -> bool:
    """A patch with the uid of another object of the same name is refused as an attempt to change an immutable field."""
    return any(each.get("field") == "metadata.uid" for each in _causes(body))


def _causes(body: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    return (body.get("details") or {}).get("causes") or ()


def _seconds(value: Any) -> float | None:
    try:
        return max(0.0, float(value)) if value is not None else None
    except (TypeError, ValueError):  # an HTTP date is allowed, but the API server never sends one
        return None
