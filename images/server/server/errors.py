"""Every failure the server knows, each with what the caller sees.

ServerError
├── RequestError            the request cannot be answered; has an HTTP status
│   ├── BadRequest          400  the body breaks the protocol or the model's contract
│   ├── NotFound            404  no such model, version or path
│   ├── Mismatch            409  meant for another service or another model
│   ├── BodyTooLarge        413  longer than the limit
│   ├── QueueFull           429  as many requests wait as may wait
│   ├── ModelFailed         500  the model raised, or answered NaN
│   ├── NotReady            503  loading or draining
│   └── DeadlineExceeded    504  not computed before its own deadline or the server's limit
└── StartError              the process cannot serve at all; exit code 65, the reason in the termination log
"""

EXIT_BAD_MODEL = 65


class ServerError(Exception):
    """Base of all errors of this package."""


class StartError(ServerError):
    """The model or the configuration is wrong; starting again would not help."""


class RequestError(ServerError):
    """An answer other than 200, with a message for the person who sent the request."""

    status = 500
    retry_after: int | None = None


class BadRequest(RequestError):  # noqa: N818 - named after the HTTP status it becomes, as all below
    """400."""

    status = 400


class NotFound(RequestError):  # noqa: N818
    """404."""

    status = 404


class Mismatch(RequestError):  # noqa: N818
    """409."""

    status = 409


class BodyTooLarge(RequestError):  # noqa: N818
    """413."""

    status = 413


class QueueFull(RequestError):  # noqa: N818
    """429."""

    status = 429
    retry_after = 1


class ModelFailed(RequestError):  # noqa: N818
    """500."""

    status = 500


class NotReady(RequestError):  # noqa: N818
    """503."""

    status = 503
    retry_after = 1


class DeadlineExceeded(RequestError):  # noqa: N818
    """504."""

    status = 504
