"""API keys, certificate and the key of tokens, followed while HAProxy runs: kubelet rewrites their folders when a Secret changes.

Of a key only the sha256 is handed on. HAProxy is given the differences, so it needs no reload.
"""

import asyncio
import hashlib
import logging
from collections.abc import Mapping

from gateway.config import Settings
from gateway.runtime import Runtime, RuntimeUnavailable
from gateway.sections import JWT_KEY, JWT_LOADED, jwt_load

LOOK_SECONDS = 1.0
_log = logging.getLogger(__name__)


def keys(settings: Settings) -> dict[str, str]:
    """Client by sha256 of its key. The folder has a file for each client; one that is empty is no key."""
    found: dict[str, str] = {}
    if settings.keys_folder is None or not settings.keys_folder.is_dir():
        return found
    for file in sorted(settings.keys_folder.iterdir()):
        if file.name.startswith(".") or not file.is_file():
            continue
        key = file.read_bytes().strip()
        if key:
            found.setdefault(hashlib.sha256(key).hexdigest(), file.name)
    return found


def certificate(settings: Settings) -> str:
    """Certificate and key in PEM, "" without TLS. Raises OSError."""
    if settings.tls_folder is None:
        return ""
    both = [(settings.tls_folder / name).read_text() for name in ("tls.crt", "tls.key")]
    return "\n".join(line for text in both for line in text.splitlines() if line.strip())


def jwt_key(settings: Settings) -> bytes:
    """The public key in PEM, b"" without tokens. Raises OSError."""
    return b"" if settings.jwt_key is None else settings.jwt_key.read_bytes()


def differences(wanted: Mapping[str, str], there: Mapping[str, str], path: str) -> list[str]:
    """Command lines that make a map hold what is wanted: what is new first, so that no good key is refused."""
    lines = [
        f"{'set' if digest in there else 'add'} map {path} {digest} {client}"
        for digest, client in wanted.items()
        if there.get(digest) != client
    ]
    return lines + [f"del map {path} {digest}" for digest in sorted(there.keys() - wanted.keys())]


class Credentials:
    """What HAProxy was given last."""

    def __init__(self, settings: Settings, runtime: Runtime) -> None:
        self._settings, self._runtime = settings, runtime
        self._given: tuple[str, str] | None = None  # boot of HAProxy, certificate
        self._read: tuple[str, bytes] | None = None  # boot of HAProxy, the last key of tokens that it was told to read

    async def run(self) -> None:
        """Work until cancelled; nothing to do for a service without keys, tokens and TLS."""
        settings = self._settings
        while any(each is not None for each in (settings.keys_folder, settings.jwt_key, settings.tls_folder)):
            try:
                await self.look()
            except (OSError, UnicodeDecodeError) as error:  # RuntimeUnavailable too
                if not isinstance(error, RuntimeUnavailable):
                    _log.warning(
                        "cannot read keys or certificate, going on with the old ones: %s", type(error).__name__
                    )
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Bring HAProxy up to date once. Raises OSError, RuntimeUnavailable."""
        if self._settings.keys_folder is not None:
            await self._take_keys()
        if self._settings.jwt_key is not None:
            await self._take_jwt_key()
        if self._settings.tls_folder is not None:
            await self._take_certificate()

    async def _take_keys(self) -> None:
        wanted = keys(self._settings)
        there = await self._runtime.map_entries(self._settings.keys_map)
        lines = differences(wanted, there, str(self._settings.keys_map))
        for line in lines:
            await self._runtime.ask(line)
        if lines:
            _log.info("keys of %d clients are in force", len(set(wanted.values())))

    async def _take_jwt_key(self) -> None:
        """HAProxy reads a key once for each path, so each key gets a path of its own."""
        pem, boot = jwt_key(self._settings), await self._runtime.boot()
        if self._read == (boot, pem):
            return
        path = self._settings.folder / f"jwt-{hashlib.sha256(pem).hexdigest()[:16]}.pem"
        path.write_bytes(pem)
        await self._runtime.set_variable(JWT_LOADED, jwt_load(path))
        good = await self._runtime.variable(JWT_LOADED) == "0"
        path.unlink()
        if good:
            await self._runtime.set_variable(JWT_KEY, f"str({path})")
            _log.info("a key of tokens is in force")
        else:
            _log.warning("HAProxy finds no public key in %s, going on with the old one", self._settings.jwt_key)
        self._read = (boot, pem)

    async def _take_certificate(self) -> None:
        pem, boot = certificate(self._settings), await self._runtime.boot()
        if self._given is None or self._given[0] != boot:
            # HAProxy read the files when it started, as far as we know the same: give them again, it costs nothing.
            self._given = (boot, "")
        if self._given[1] == pem:
            return
        path = f"{self._settings.tls_folder}/tls.crt"
        answer = await self._runtime.ask(f"set ssl cert {path} <<\n{pem}\n")
        answer += await self._runtime.ask(f"commit ssl cert {path}")
        if "Success" in answer:
            self._given = (boot, pem)
            _log.info("a certificate is in force")
        else:
            await self._runtime.ask(f"abort ssl cert {path}")
            _log.warning("HAProxy refused the certificate: %s", answer.strip().replace("\n", " ")[:200])
