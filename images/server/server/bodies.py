"""Reading a request's body: refused by its declared length before a byte is read, a chunked one when it is too long."""

from aiohttp import web

from server.errors import BadRequest, BodyTooLarge, RequestError
from server.replies import refusal


class Bodies:
    """Bodies of at most so many bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit

    async def read(self, request: web.Request) -> bytes:
        """The body, decompressed. Raises BodyTooLarge, BadRequest."""
        self._require_small(request)
        try:
            return await request.read()
        except web.HTTPRequestEntityTooLarge as error:
            raise self._too_large("more") from error
        except web.RequestPayloadError as error:
            raise BadRequest(
                f"the request body cannot be read: {error}; is it complete and encoded as said?"
            ) from error

    async def expect(self, request: web.Request) -> web.StreamResponse | None:
        """Answer `Expect: 100-continue` with 413 rather than an invitation, where the body is too long."""
        try:
            self._require_small(request)
            if request.headers.get("Expect", "").lower() != "100-continue":
                raise BadRequest(f"the Expect header is {request.headers.get('Expect')!r}; expected 100-continue")
        except RequestError as error:  # middlewares have not begun yet
            return refusal(error)
        if request.transport is not None:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return None

    def _require_small(self, request: web.Request) -> None:
        length = request.content_length
        if length is not None and length > self._limit:
            raise self._too_large(str(length))

    def _too_large(self, length: str) -> BodyTooLarge:
        return BodyTooLarge(
            f"the request body has {length} bytes; expected at most {self._limit}: send fewer rows at once"
        )
