"""Files of a web server, through fsspec and aiohttp; loaded only for an address that begins with http."""

from typing import IO, Any, Final, cast

import aiohttp
import fsspec  # type: ignore[import-untyped]

# No limit for the whole, as a large file takes its time; the usual limit of five minutes would end it.
_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=60)


class WebFiles:
    """As much of a file system as one file at one address needs."""

    def __init__(self) -> None:
        self._files: Any = fsspec.filesystem("http", client_kwargs={"timeout": _TIMEOUT})

    def open(self, url: str, mode: str) -> IO[bytes]:
        """The file as a stream.

        With a size, so that fsspec does not ask for it: its question turns every failure into "not found", and signed
        addresses refuse it.
        """
        return cast("IO[bytes]", self._files.open(url, mode, block_size=0, size=1))
