"""How to reach the cluster: the given kubeconfig, else the pod's service account, else the user's own kubeconfig."""

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path

import yaml
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import ConfigException, list_kube_config_contexts, load_incluster_config, load_kube_config

from trainyard.cluster.errors import NoClusterError

_SERVICE_ACCOUNT_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_BEARER = "bearer "


@dataclass(frozen=True, slots=True)
class Access:
    """What a kubeconfig says."""

    configuration: Configuration
    namespace: str

    @property
    def token(self) -> str:
        """Empty for somebody who proves himself by a certificate."""
        token = str(self.configuration.api_key.get("BearerToken") or "")
        return token[len(_BEARER) :] if token.lower().startswith(_BEARER) else token


async def load(kubeconfig: Path | str | None = None, context: str | None = None) -> Access:
    """Raises NoClusterError."""
    try:
        return await _load(str(kubeconfig) if kubeconfig else None, context)
    except (ConfigException, OSError) as error:
        raise NoClusterError(str(error)) from None
    except (yaml.YAMLError, TypeError, AttributeError, KeyError, ValueError) as error:
        # The client trusts a kubeconfig to be one.
        raise NoClusterError(f"the kubeconfig is none: {' '.join(str(error).split())[:200]}") from None


async def _load(path: str | None, context: str | None) -> Access:
    configuration = Configuration()
    if path is None:
        try:
            load_incluster_config(configuration)
        except ConfigException:
            pass
        else:
            namespace = await asyncio.to_thread(_SERVICE_ACCOUNT_NAMESPACE.read_text)
            return Access(configuration, namespace.strip())
    elif not await asyncio.to_thread(Path(path).is_file):
        raise NoClusterError(f"kubeconfig {path} does not exist")
    path = path or os.environ.get("KUBECONFIG")
    named = path or str(Path.home() / ".kube" / "config")
    if not any([await asyncio.to_thread(Path(each).is_file) for each in named.split(os.pathsep)]):
        raise NoClusterError(f"there is no kubeconfig: {named} does not exist")
    await load_kube_config(path, context, client_configuration=configuration, persist_config=False)
    contexts, active = await asyncio.to_thread(list_kube_config_contexts, path)
    chosen = next((each for each in contexts if each["name"] == context), active)
    return Access(configuration, str(chosen.get("context", {}).get("namespace") or "default"))
