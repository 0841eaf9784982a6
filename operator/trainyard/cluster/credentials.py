"""Who somebody is to the cluster: the namespace and the bearer token of a kubeconfig, for asking the operator's endpoint as oneself."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import ConfigException, list_kube_config_contexts, load_incluster_config, load_kube_config

from trainyard.cluster.transport import KubeTransport

_SERVICE_ACCOUNT_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_BEARER = "bearer "


class NoClusterError(Exception):
    """No kubeconfig, or one that cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Of the user at hand. token is empty for one that proves itself by a certificate."""

    namespace: str
    token: str


async def connect(kubeconfig: Path | None = None, context: str | None = None) -> KubeTransport:
    """A connection with the user's rights. Raises NoClusterError."""
    try:
        return await KubeTransport.connect(kubeconfig, context)
    except (ConfigException, OSError) as error:
        raise NoClusterError(str(error)) from None


async def credentials(kubeconfig: Path | None = None, context: str | None = None) -> Credentials:
    """Of the same user. Raises NoClusterError."""
    configuration = Configuration()
    try:
        namespace = await _namespace(configuration, kubeconfig, context)
    except (ConfigException, OSError) as error:
        raise NoClusterError(str(error)) from None
    token = str(configuration.api_key.get("BearerToken") or "")
    return Credentials(namespace, token[len(_BEARER) :] if token.lower().startswith(_BEARER) else token)


async def _namespace(configuration: Configuration, kubeconfig: Path | None, context: str | None) -> str:
    """Load the configuration in the order of the transport: what is named, the pod's service account, the user's own."""
    if kubeconfig is None:
        try:
            load_incluster_config(configuration)
        except ConfigException:
            pass
        else:
            return (await asyncio.to_thread(_SERVICE_ACCOUNT_NAMESPACE.read_text)).strip()
    path = str(kubeconfig) if kubeconfig else None
    await load_kube_config(path, context, client_configuration=configuration, persist_config=False)
    contexts, active = await asyncio.to_thread(list_kube_config_contexts, path)
    chosen = next((each for each in contexts if each["name"] == context), active)
    return str(chosen.get("context", {}).get("namespace") or "default")
