"""Keeps the certificate bundle in a Secret of the operator's namespace, so that restarts and other replicas share one authority."""

import base64
import binascii
import logging

from trainyard.api.names import OPERATOR_TLS
from trainyard.cluster.client import ClusterClient
from trainyard.cluster.errors import AlreadyExists
from trainyard.cluster.resources import SECRETS
from trainyard.endpoint.certificates import Bundle, up_to_date
from trainyard.runtime.clock import Clock

log = logging.getLogger(__name__)

_FIELDS = {"ca.crt": "authority", "ca.key": "authority_key", "tls.crt": "certificate", "tls.key": "key"}


async def ensure_bundle(client: ClusterClient, namespace: str, host: str, clock: Clock) -> Bundle:
    """The bundle of the Secret, made or renewed and stored if need be. Raises ClusterError."""
    there = await client.get(SECRETS, namespace, OPERATOR_TLS)
    old = _read(there)
    bundle = up_to_date(old, host, clock.now())
    if bundle is old:
        return bundle
    data = {name: base64.b64encode(getattr(bundle, field)).decode() for name, field in _FIELDS.items()}
    if there is not None:
        await client.patch(SECRETS, namespace, OPERATOR_TLS, {"data": data})
    else:
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": OPERATOR_TLS, "namespace": namespace},
            "type": "Opaque",
            "data": data,
        }
        try:
            await client.create(SECRETS, secret)
        except AlreadyExists:
            return await ensure_bundle(client, namespace, host, clock)
    log.info("serving certificate made", extra={"host": host, "new_authority": old is None})
    return bundle


def _read(secret: dict[str, dict[str, str]] | None) -> Bundle | None:
    data = (secret or {}).get("data") or {}
    if not _FIELDS.keys() <= data.keys():
        return None
    try:
        return Bundle(**{field: base64.b64decode(data[name], validate=True) for name, field in _FIELDS.items()})
    except binascii.Error:
        log.warning(
            "the Secret of the operator's certificate cannot be read and is made anew", extra={"secret": OPERATOR_TLS}
        )
        return None
