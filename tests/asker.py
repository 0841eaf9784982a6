"""Somebody who may see and create jobs in one namespace and nothing else, and asks the operator with the commands that people use."""

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from dev.cluster.control_plane import write_kubeconfig
from dev.operator_process import HasKubeconfig, OperatorProcess

SYSTEM = "trainyard-system"


class Asker:
    """Real from the process to the token: the command, TLS, and the reviews of token and access."""

    def __init__(self, cluster: HasKubeconfig, namespace: str, operator: OperatorProcess, folder: Path) -> None:
        """folder: for the kubeconfig and the authority of the operator's certificate."""
        cluster.kubectl("create", "serviceaccount", "ann", "-n", namespace)
        verbs = ("--verb=get,list,create", "--resource=trainingjobs.trainyard.dev")
        cluster.kubectl("create", "role", "ann", "-n", namespace, *verbs)
        cluster.kubectl(
            "create", "rolebinding", "ann", "-n", namespace, "--role=ann", f"--serviceaccount={namespace}:ann"
        )
        self.token = cluster.kubectl("create", "token", "ann", "-n", namespace).strip()
        given = json.loads(cluster.kubeconfig.read_text())["clusters"][0]["cluster"]
        self._kubeconfig = folder / "ann.kubeconfig"
        write_kubeconfig(self._kubeconfig, "ann", given["server"], self.token, Path(given["certificate-authority"]))
        secret = json.loads(cluster.kubectl("get", "secret", "trainyard-operator-tls", "-n", SYSTEM, "-o", "json"))
        self.authority = folder / "operator-ca.crt"
        self.authority.write_bytes(base64.b64decode(secret["data"]["ca.crt"]))
        self.server, self.namespace = f"https://localhost:{operator.https_port}", namespace

    def asks(self, *words: str, namespace: str = "") -> subprocess.CompletedProcess[str]:
        """Run `trainyard` with these words."""
        where = ("--server", self.server, "--server-ca", str(self.authority), "--kubeconfig", str(self._kubeconfig))
        command = (sys.executable, "-m", "trainyard.cli", *words, "-n", namespace or self.namespace, *where)
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    def is_told(self, *words: str) -> Any:
        """The answer, which must be one."""
        done = self.asks(*words, "-o", "json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)
