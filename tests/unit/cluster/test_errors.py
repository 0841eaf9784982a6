"""Responses become the errors that callers tell apart."""

import pytest

from trainyard.cluster import errors
from trainyard.cluster.errors import ClusterError, error_from


@pytest.mark.parametrize(
    ("status", "reason", "kind", "ambiguous"),
    [
        (400, "BadRequest", errors.Invalid, False),
        (401, "Unauthorized", errors.Forbidden, False),
        (403, "Forbidden", errors.Forbidden, False),
        (404, "NotFound", errors.NotFound, False),
        (409, "AlreadyExists", errors.AlreadyExists, False),
        (409, "Conflict", errors.Conflict, False),
        (410, "Expired", errors.Gone, False),
        (422, "Invalid", errors.Invalid, False),
        (429, "TooManyRequests", errors.TooManyRequests, False),
        (500, "InternalError", errors.ServerError, True),
        (503, "ServiceUnavailable", errors.ServerError, True),
        (504, "Timeout", errors.ServerError, True),
    ],
)
def test_a_status_becomes_its_error(status: int, reason: str, kind: type[ClusterError], ambiguous: bool) -> None:
    error = error_from(status, {"reason": reason, "message": "why"}, {}, "get /x")
    assert type(error) is kind
    assert (error.status, error.reason, error.message, error.ambiguous) == (status, reason, "why", ambiguous)
    assert str(error) == "get /x: why"


def test_a_namespace_that_is_being_deleted_is_told_by_its_cause() -> None:
    cause = {"reason": "NamespaceTerminating", "field": "metadata.namespace", "message": "is being terminated"}
    body = {"reason": "Forbidden", "message": "why", "details": {"causes": [cause]}}
    assert type(error_from(403, body, {})) is errors.NamespaceEnding


def test_a_success_is_no_error() -> None:
    assert error_from(201, {}, {}) is None


def test_the_wait_that_a_server_asks_for_is_read_from_header_or_body() -> None:
    header = error_from(429, {}, {"Retry-After": "3"})
    body = error_from(503, {"details": {"retryAfterSeconds": 7}}, {})
    date = error_from(429, {}, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"})
    assert header is not None
    assert body is not None
    assert date is not None
    assert (header.retry_after, body.retry_after, date.retry_after) == (3, 7, None)


def test_every_error_is_drawn_in_the_tree() -> None:
    tree = errors.__doc__ or ""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ClusterError)]
    assert len(kinds) > 10
    assert [kind.__name__ for kind in kinds if kind.__name__ not in tree] == []
