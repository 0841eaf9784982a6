"""How the API server is reached: its address, whom it is trusted by, and how one proves oneself, all from the kubeconfig.

One file with a token or a certificate in it is read here, since loading the Kubernetes client takes longer than most answers. Plugins,
several files and a pod's service account are left to the client, which only says what they come to.
"""

import argparse
import asyncio
import base64
import binascii
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from trainyard.api.names import SYSTEM_NAMESPACE
from trainyard.cli import patience
from trainyard.cli.errors import CliError
from trainyard.cluster.credentials import Chosen, chosen
from trainyard.cluster.errors import NoClusterError

_PROOFS = frozenset({"token", "client-certificate", "client-certificate-data", "client-key", "client-key-data"})
"""What a user's entry may hold to be read here."""


@dataclass(frozen=True, slots=True)
class Access:
    """What a kubeconfig comes to."""

    url: str
    """Without a slash at its end."""
    namespace: str
    authorization: str = ""
    """Value of the header; empty for somebody who proves himself by a certificate. Never sent without TLS, as kubectl does."""
    trusted: ssl.SSLContext | None = None
    """None without TLS."""
    server_name: str = ""
    """That the server's certificate must be for, if it is not the host of the address."""
    proxy: str = ""


def add_to(parser: argparse.ArgumentParser) -> None:
    """Options of every command that asks about a namespace, whatever it asks."""
    add_kubeconfig_to(parser)
    parser.add_argument("-n", "--namespace", help="namespace (default: that of the context)")


def add_cluster_to(parser: argparse.ArgumentParser) -> None:
    """Options of every command about a whole installation."""
    add_kubeconfig_to(parser)
    add_system_namespace_to(parser)


def add_system_namespace_to(parser: argparse.ArgumentParser) -> None:
    """Where the operator is, and what it keeps."""
    parser.add_argument(
        "--system-namespace",
        default=SYSTEM_NAMESPACE,
        metavar="NAME",
        help=f"namespace of the operator (default: {SYSTEM_NAMESPACE})",
    )


def add_kubeconfig_to(parser: argparse.ArgumentParser) -> None:
    """Options that name a cluster, and how long it may take to answer."""
    parser.add_argument("--kubeconfig", type=Path, metavar="FILE", help="kubeconfig to use instead of your own")
    parser.add_argument("--context", help="context of the kubeconfig")
    patience.add_to(parser)


def access(kubeconfig: Path | None, context: str | None) -> Access:
    """Of the user at hand. Raises CliError."""
    found = chosen(kubeconfig, context)
    if found is not None and found.user.keys() <= _PROOFS and found.cluster.get("server"):
        return _plain(found)
    try:
        return asyncio.run(_by_client(kubeconfig, context))
    except NoClusterError as error:
        raise no_cluster(error) from None


def no_cluster(error: NoClusterError) -> CliError:
    """What to do where there is no kubeconfig to use."""
    return CliError(
        f"no cluster: {error}. Name a kubeconfig with --kubeconfig or KUBECONFIG, and a context with --context"
    )


def _plain(found: Chosen) -> Access:
    cluster, user, url = found.cluster, found.user, _checked(str(found.cluster["server"]))
    trusted = None
    if url.startswith("https:"):
        trusted = _context(
            _content(found, cluster, "certificate-authority"),
            _content(found, user, "client-certificate"),
            _content(found, user, "client-key"),
            verified=not cluster.get("insecure-skip-tls-verify"),
        )
    return Access(
        url,
        found.namespace,
        f"Bearer {user['token']}" if user.get("token") else "",
        trusted,
        str(cluster.get("tls-server-name") or ""),
        str(cluster.get("proxy-url") or ""),
    )


async def _by_client(kubeconfig: Path | None, context: str | None) -> Access:
    from trainyard.cluster import kubeconfig as client  # noqa: PLC0415 - see above

    loaded = await client.load(kubeconfig, context)
    configuration = loaded.configuration
    url = _checked(str(configuration.host))
    trusted = None
    if url.startswith("https:"):
        files = (configuration.ssl_ca_cert, configuration.cert_file, configuration.key_file)
        authority, certificate, key = [await asyncio.to_thread(_read, Path(each)) if each else None for each in files]
        trusted = _context(authority, certificate, key, verified=bool(configuration.verify_ssl))
    return Access(
        url,
        loaded.namespace,
        str(configuration.api_key.get("BearerToken") or ""),
        trusted,
        configuration.tls_server_name or "",
        configuration.proxy or "",
    )


def _checked(url: str) -> str:
    if not is_address(url, "https", "http"):
        raise CliError(f"the kubeconfig names {url!r} as the cluster's server; expected https://HOST:PORT")
    return url.rstrip("/")


def is_address(url: str, *schemes: str) -> bool:
    """Whether host and port can be read from it."""
    try:
        parts = urlsplit(url)
        return parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number
        return False


def _content(found: Chosen, entry: Mapping[str, Any], name: str) -> bytes | None:
    """PEM text that stands in the kubeconfig, or in a file beside it."""
    if data := entry.get(f"{name}-data"):
        try:
            return base64.b64decode(str(data), validate=True)
        except binascii.Error as error:
            raise CliError(f"{found.path}: {name}-data: expected PEM text in base64: {error}") from None
    return _read(found.path.parent / str(entry[name])) if entry.get(name) else None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CliError(f"{path}, which the kubeconfig names, cannot be read: {error.strerror}") from None


def _context(
    authority: bytes | None, certificate: bytes | None, key: bytes | None, *, verified: bool
) -> ssl.SSLContext:
    """Trusts that authority alone, or the machine's own if there is none."""
    try:
        made = ssl.create_default_context(cadata=authority.decode("ascii") if authority else None)
        if not verified:
            made.check_hostname = False
            made.verify_mode = ssl.CERT_NONE
        if certificate and key:
            # OpenSSL takes these from files only.
            with tempfile.TemporaryDirectory(prefix="trainyard-") as folder:
                path = Path(folder) / "both.pem"
                path.touch(mode=0o600)
                path.write_bytes(certificate + b"\n" + key)
                made.load_cert_chain(path)
    except (ssl.SSLError, UnicodeDecodeError, ValueError) as error:
        raise CliError(
            f"the kubeconfig's certificates cannot be used: {error}; expected an authority, and a certificate with its key, in PEM text"
        ) from None
    return made
