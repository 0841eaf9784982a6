"""Answers in JSON; those that are no result are `{"error": "..."}`."""

import orjson
from aiohttp import web

from server.errors import BodyTooLarge, RequestError
from server.protocol import LENGTH_HEADER, Body


def ok(value: object) -> web.Response:
    return web.Response(body=orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY), content_type="application/json")


def tensors(body: Body) -> web.Response:
    """An answer of V2, with raw tensors after the JSON or without."""
    if body.json_length is None:
        return web.Response(body=body.content, content_type="application/json")
    headers = {LENGTH_HEADER: str(body.json_length)}
    return web.Response(body=body.content, content_type="application/octet-stream", headers=headers)


def refusal(error: RequestError) -> web.Response:
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    response = failure(error.status, str(error), headers)
    if isinstance(error, BodyTooLarge):
        response.force_close()  # the rest of the body is not worth reading
    return response


def failure(status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    body = orjson.dumps({"error": message})
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)
