"""`python -m trainyard.installed`, which `helm test` runs in a pod: does this installation work, as pods see it?

Asks for no more than every pod may: which kinds the API server serves, whether the operator is ready, and what certificate
its endpoint presents. Creates nothing and needs no right.
"""

import json
import os
import socket
import ssl
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from cryptography import x509

from trainyard.api.names import API_VERSION, GROUP

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
KINDS = ("flavors", "queues", "trainingjobs", "inferenceservices")
_SECONDS = 10.0
_PATIENCE_SECONDS = 60.0
_AGAIN_SECONDS = 2.0
_NOT_FOUND = 404


@dataclass(frozen=True, slots=True)
class Installation:
    """Where its parts answer."""

    api_server: str
    """Address of the API server."""
    health: str
    """Address of /readyz."""
    endpoint: str
    """https://HOST:PORT, as trainers and gateways are told."""
    token: str = ""
    authority: Path | None = None


def problems(installation: Installation) -> list[str]:
    """What is wrong, in plain words; empty if all is well."""
    checks: tuple[Callable[[Installation], str | None], ...] = (kinds_missing, not_ready, certificate_wrong)
    return [problem for check in checks if (problem := check(installation)) is not None]


def kinds_missing(installation: Installation) -> str | None:
    """Whether the API server serves our kinds and their status."""
    url = f"{installation.api_server}/apis/{API_VERSION}"
    try:
        status, body = _get(url, installation.token, installation.authority)
    except (OSError, HTTPException) as error:
        return f"the API server does not answer at {installation.api_server}: {error}"
    if status == _NOT_FOUND:
        return f"the API server knows no {API_VERSION}: install the CustomResourceDefinitions (crds.install, or kubectl apply -f crds)"
    if not isinstance(body, dict) or "resources" not in body:
        return f"the API server answers {url} with {status}, expected a list of kinds"
    served = {each["name"] for each in body["resources"]}
    missing = [name for kind in KINDS for name in (kind, f"{kind}/status") if name not in served]
    return (
        f"the API server serves no {', '.join(missing)} of {GROUP}: the CustomResourceDefinitions are older than the chart"
        if missing
        else None
    )


def not_ready(installation: Installation) -> str | None:
    """Whether the operator that leads says that it is ready."""
    try:
        status, body = _get(f"{installation.health}/readyz")
    except (OSError, HTTPException) as error:
        return f"no operator answers at {installation.health}: {error}. Either no pod of it is ready, or a network policy keeps this pod from it"
    if status == 200:  # noqa: PLR2004  OK
        return None
    checks: Mapping[str, str] = body.get("checks", {}) if isinstance(body, dict) else {}
    failing = [f"{name}: {why}" for name, why in checks.items() if why != "ok"]
    return f"the operator is not ready: {'; '.join(failing) or f'status {status}'}"


def certificate_wrong(installation: Installation) -> str | None:
    """Whether the endpoint presents a certificate for its name that is valid now. Whom to trust only the operator's pods are told."""
    address = urlsplit(installation.endpoint)
    if address.scheme != "https" or not address.hostname or not address.port:
        return f"the endpoint is {installation.endpoint!r}, expected https://HOST:PORT"
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection((address.hostname, address.port), timeout=_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=address.hostname) as secure,
        ):
            presented = secure.getpeercert(binary_form=True)
    except OSError as error:
        return f"the operator's endpoint does not answer at {installation.endpoint}: {error}. Trainers and gateways cannot reach it either"
    return _wrong_with(x509.load_der_x509_certificate(presented or b""), address.hostname, datetime.now(UTC))


def _wrong_with(certificate: x509.Certificate, host: str, now: datetime) -> str | None:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    told = [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]
    if host not in told:
        return f"the endpoint's certificate is for {', '.join(told) or 'no name'}, expected {host}: restart the operator, which makes one for that name"
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        return f"the endpoint's certificate is valid from {certificate.not_valid_before_utc} to {certificate.not_valid_after_utc}, and now is {now}: look at clocks and at the operator's log"
    return None


def _get(url: str, token: str = "", authority: Path | None = None) -> tuple[int, Any]:
    """Status and JSON body, None if the body is no JSON."""
    request = Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})  # noqa: S310  addresses of the chart
    context = ssl.create_default_context(cafile=authority) if url.startswith("https") else None
    try:
        with urlopen(request, timeout=_SECONDS, context=context) as response:  # noqa: S310
            return response.status, _parsed(response.read())
    except HTTPError as error:
        return error.code, _parsed(error.read())


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None


def of_environment(environment: Mapping[str, str], account: Path = ACCOUNT) -> Installation:
    """As the chart tells the pod. Raises KeyError with the name of a variable that is missing."""
    host, port = environment["KUBERNETES_SERVICE_HOST"], environment["KUBERNETES_SERVICE_PORT"]
    return Installation(
        f"https://{f'[{host}]' if ':' in host else host}:{port}",
        environment["TRAINYARD_HEALTH"],
        environment["TRAINYARD_ENDPOINT"],
        (account / "token").read_text().strip(),
        account / "ca.crt",
    )


def main(installation: Installation | None = None, patience: float = _PATIENCE_SECONDS) -> int:
    """Look until all is well, for so many seconds; say what is wrong and return the exit code."""
    installation = installation or of_environment(os.environ)
    deadline = time.monotonic() + patience
    while (found := problems(installation)) and time.monotonic() < deadline:
        time.sleep(_AGAIN_SECONDS)
    for problem in found:
        print(f"wrong: {problem}", file=sys.stderr)
    if not found:
        print(
            f"well: {', '.join(KINDS)} are served, the operator is ready, and its endpoint has a certificate for its name"
        )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
