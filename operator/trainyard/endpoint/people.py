"""Who asks, and whether they may: a person's bearer token becomes a user, and the API server says what that user may do."""

import asyncio
from dataclasses import dataclass

from aiohttp import web

from trainyard.cluster.client import ClusterClient
from trainyard.cluster.resources import SUBJECT_ACCESS_REVIEWS, TOKEN_REVIEWS, TRAINYARD_GROUP, Object
from trainyard.cluster.tokens import LONGEST_TOKEN, REVIEWS_AT_ONCE
from trainyard.endpoint.callers import bearer, refused

_SAME = {"user": "username", "groups": "groups", "uid": "uid", "extra": "extra"}
"""Field of a SubjectAccessReview to that of a TokenReview."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody whom the API server knows."""

    _client: ClusterClient
    _user: Object

    async def may(self, verb: str, plural: str, namespace: str) -> None:
        """Raises 403 for somebody who may not do that to such objects in that namespace."""
        asked = {"group": TRAINYARD_GROUP, "resource": plural, "namespace": namespace, "verb": verb}
        spec = {
            "resourceAttributes": asked,
            **{field: self._user[name] for field, name in _SAME.items() if self._user.get(name)},
        }
        review = {
            "apiVersion": SUBJECT_ACCESS_REVIEWS.api_version,
            "kind": SUBJECT_ACCESS_REVIEWS.kind,
            "spec": spec,
        }
        status = (await self._client.create(SUBJECT_ACCESS_REVIEWS, review)).get("status") or {}
        if not status.get("allowed"):
            name = str(self._user.get("username") or "the caller")
            raise refused(web.HTTPForbidden, f"{name} may not {verb} {plural}.{TRAINYARD_GROUP} in {namespace!r}")


class People:
    """Asks the API server about callers that are no pods of ours. Remembers nothing: people ask seldom, and rights change."""

    def __init__(self, client: ClusterClient) -> None:
        self._client = client
        self._turns = asyncio.Semaphore(REVIEWS_AT_ONCE)

    async def known(self, request: web.Request) -> Person:
        """Who calls, by the headers alone: of a stranger no body is read. Raises 401 for a bad token."""
        token = bearer(request)
        if len(token) > LONGEST_TOKEN:
            raise refused(web.HTTPUnauthorized, "expected an Authorization header with a bearer token")
        review = {"apiVersion": TOKEN_REVIEWS.api_version, "kind": TOKEN_REVIEWS.kind, "spec": {"token": token}}
        async with self._turns:
            status = (await self._client.create(TOKEN_REVIEWS, review)).get("status") or {}
        if not status.get("authenticated"):
            raise refused(web.HTTPUnauthorized, f"the token was refused: {status.get('error') or 'it is not known'}")
        return Person(self._client, status.get("user") or {})
