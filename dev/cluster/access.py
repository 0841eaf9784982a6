"""Access to a cluster that somebody else's kubeconfig describes, whatever way of logging in that uses.

The cluster's own chores get a service account with the admin's rights, since its token is all that `api` speaks.
"""

import base64
import json
from pathlib import Path
from typing import Any

from dev.cluster.errors import ClusterError
from dev.cluster.processes import run

NAMESPACE = "kube-system"
ACCOUNT = "trainyard-local-cluster"
_LIFE = "24h"


def server_of(config: dict[str, Any]) -> tuple[str, bytes]:
    """The address and the certificate authority (PEM) in a kubeconfig of one context, as `view --minify` gives it."""
    cluster = config["clusters"][0]["cluster"]
    data = cluster.get("certificate-authority-data")
    if data:
        return cluster["server"], base64.b64decode(data)
    if cluster.get("certificate-authority"):
        return cluster["server"], Path(cluster["certificate-authority"]).read_bytes()
    raise ClusterError(f"the kubeconfig names no certificate authority for {cluster['server']}")


def account_manifest() -> str:
    """The service account and its rights, for `kubectl apply`."""
    subject = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": NAMESPACE}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    items = [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT, "namespace": NAMESPACE}},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": ACCOUNT},
            "roleRef": role,
            "subjects": [subject],
        },
    ]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


def log_in(kubectl: Path, kubeconfig: Path, pki: Path) -> tuple[str, str]:
    """Make the account, write the authority to pki/ca.crt; returns (server, token)."""
    base = [str(kubectl), f"--kubeconfig={kubeconfig}"]
    run([*base, "apply", "-f", "-"], stdin=account_manifest())
    token = run([*base, "create", "token", ACCOUNT, f"--namespace={NAMESPACE}", f"--duration={_LIFE}"]).strip()
    view = run([*base, "config", "view", "--raw", "--minify", "--flatten", "--output=json"])
    server, authority = server_of(json.loads(view))
    pki.mkdir(parents=True, exist_ok=True)
    (pki / "ca.crt").write_bytes(authority)
    return server, token


def log_out(kubectl: Path, kubeconfig: Path) -> None:
    """Remove the account again."""
    base = [str(kubectl), f"--kubeconfig={kubeconfig}", "delete", "--ignore-not-found", "--wait=false"]
    run([*base, "clusterrolebinding", ACCOUNT])
    run([*base, "serviceaccount", ACCOUNT, f"--namespace={NAMESPACE}"])
