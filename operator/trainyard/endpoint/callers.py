"""Who calls: a bearer token becomes the pod it was bound to, as our own cache knows that pod."""

from collections.abc import Callable, Mapping
from typing import Any

import orjson
from aiohttp import web

from trainyard.cluster.tokens import TokenRejected, TokenReviewer

Object = Mapping[str, Any]
FindPod = Callable[[str, str], Object | None]
"""Namespace, name -> pod."""


class Callers:
    """Turns requests into pods."""

    def __init__(self, reviewer: TokenReviewer, find_pod: FindPod) -> None:
        self._reviewer, self._find_pod = reviewer, find_pod

    async def pod(self, request: web.Request) -> Object:
        """The calling pod. Raises 401 for a bad token and 403 for one that is bound to no pod we know."""
        try:
            caller = await self._reviewer.review(bearer(request))
        except TokenRejected as error:
            raise refused(web.HTTPUnauthorized, f"the token was refused: {error}") from None
        pod = self._find_pod(caller.namespace, caller.pod_name) if caller.pod_name else None
        if pod is None or pod["metadata"]["uid"] != caller.pod_uid:
            raise refused(
                web.HTTPForbidden,
                "the token is bound to no pod that is known here; pods of ours have one at /var/run/secrets/trainyard/token",
            )
        return pod


def bearer(request: web.Request) -> str:
    """The caller's token. Raises 401 if there is none."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip() or not token.isascii():
        raise refused(web.HTTPUnauthorized, "expected an Authorization header with a bearer token")
    return token.strip()


def refused(kind: type[web.HTTPException], message: str) -> web.HTTPException:
    """An error with a JSON body."""
    return kind(text=orjson.dumps({"error": message}).decode(), content_type="application/json")
