"""Who somebody is to the cluster: the namespace and the bearer token of a kubeconfig, for asking the operator's endpoint as oneself.

Most kubeconfigs are one file that has the token in it: that is read here, since loading the Kubernetes client takes longer than the
operator's answer. Whatever else there is (several files, plugins, certificates, a pod's service account) is left to the client.
"""

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True, slots=True)
class Credentials:
    """Of the user at hand. token is empty for one that proves itself by a certificate."""

    namespace: str
    token: str


async def credentials(kubeconfig: Path | None = None, context: str | None = None) -> Credentials:
    """Of the user at hand. Raises NoClusterError."""
    plain = await asyncio.to_thread(_plain, kubeconfig, context)
    return plain or await _by_client(kubeconfig, context)


def _plain(kubeconfig: Path | None, context: str | None) -> Credentials | None:
    """Of one file with a token in it; None for anything else."""
    found = chosen(kubeconfig, context)
    if found is None or "tokenFile" in found.user:  # relative to the kubeconfig, and in force where both are given
        return None
    return Credentials(found.namespace, str(found.user["token"])) if "token" in found.user else None


@dataclass(frozen=True, slots=True)
class Chosen:
    """The context in force of one kubeconfig, with its entries as they stand there."""

    path: Path
    namespace: str
    cluster: Mapping[str, Any]
    user: Mapping[str, Any]


def chosen(kubeconfig: Path | None, context: str | None) -> Chosen | None:
    """Read plainly, where one file alone counts; None for anything else, and for a file that is no kubeconfig."""
    path = kubeconfig or _own_file()
    if path is None:
        return None
    try:
        content: Any = yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader)
        inside = _named(content["contexts"], context or content["current-context"])["context"]
        cluster = dict(_named(content["clusters"], inside["cluster"])["cluster"])
        user = dict(_named(content["users"], inside["user"])["user"])
        return Chosen(path, str(inside.get("namespace") or "default"), cluster, user)
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError, AttributeError, StopIteration):
        return None


def _own_file() -> Path | None:
    """The only kubeconfig that counts, if one file alone does."""
    if os.environ.get("KUBERNETES_SERVICE_HOST"):
        return None
    named = os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
    return None if os.pathsep in named else Path(named)


def _named(entries: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(each for each in entries if each["name"] == name)


async def _by_client(kubeconfig: Path | None, context: str | None) -> Credentials:
    from trainyard.cluster import kubeconfig as client  # noqa: PLC0415 - see above

    access = await client.load(kubeconfig, context)
    return Credentials(access.namespace, access.token)
