"""The real operator as a process beside the real API server, with the rights that the chart gives it and no others."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from dev.cluster import Cluster
from dev.cluster.control_plane import write_kubeconfig
from dev.operator_process import OperatorProcess

REPOSITORY = Path(__file__).resolve().parents[2]
CHART = REPOSITORY / "helm" / "trainyard"
SYSTEM = "trainyard-system"
ACCOUNT = "trainyard"
USER = f"system:serviceaccount:{SYSTEM}:{ACCOUNT}"
LOGS: list[Path] = []
"""Logs of the processes that run now, shown when a test fails."""


def rendered(cluster: Cluster, *values: str, release: str = "trainyard", system: str = SYSTEM) -> list[dict[str, Any]]:
    """The chart's objects."""
    settings = [part for value in values for part in ("--set", value)]
    version = cluster.api.get("/version")["gitVersion"]
    text = cluster.helm("template", release, str(CHART), "--namespace", system, "--kube-version", version, *settings)
    return [each for each in yaml.safe_load_all(text) if each]


def install(cluster: Cluster) -> None:
    """Everything of the chart but its pods: the operator runs as a process here."""
    objects = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}},
        *(each for each in rendered(cluster) if each["kind"] not in ("Deployment", "Service", "Pod")),
    ]
    text = "---\n".join(yaml.safe_dump(each) for each in objects)
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", input=text)
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", str(REPOSITORY / "crds"))


def account_kubeconfig(cluster: Cluster, folder: Path, account: str = ACCOUNT, system: str = SYSTEM) -> Path:
    """A kubeconfig that speaks as the chart's ServiceAccount."""
    token = cluster.kubectl("create", "token", account, "-n", system, "--duration=2h").strip()
    given = json.loads(cluster.kubeconfig.read_text())["clusters"][0]["cluster"]
    path = folder / "operator.kubeconfig"
    write_kubeconfig(path, cluster.name, given["server"], token, Path(given["certificate-authority"]))
    return path


@contextmanager
def operator_process(
    cluster: Cluster, kubeconfig: Path, folder: Path, identity: str, *, ready: bool = True, **settings: str
) -> Iterator[OperatorProcess]:
    """A running operator; with `ready`, one that leads and knows the cluster. settings: those of `Config`."""
    log = folder / f"{identity}.log"
    env = {f"TRAINYARD_{name.upper()}": value for name, value in {"identity": identity, **settings}.items()}
    process = OperatorProcess(cluster, log=log, kubeconfig=kubeconfig, env=env)
    LOGS.append(log)
    try:
        process.start()
        if ready:
            process.wait_ready()
        yield process
    finally:
        process.stop()
        LOGS.remove(log)


def log_lines(process: OperatorProcess) -> list[dict[str, Any]]:
    """What the operator logged."""
    return [json.loads(line) for line in process.log.read_text().splitlines() if line.startswith("{")]


def right(verb: str, about: dict[str, Any]) -> str:
    """What the API server was asked for, as granted() writes it."""
    resource = "/".join(part for part in (about.get("resource", ""), about.get("subresource", "")) if part)
    return f"{verb} {about.get('apiGroup', '')}/{resource}"


def granted(objects: list[dict[str, Any]], account: str = ACCOUNT, role: str = "") -> Iterator[str]:
    """Every right of the operator's account, of all its roles or of those of one kind."""
    bound = {
        (each["roleRef"]["kind"], each["roleRef"]["name"])
        for each in objects
        if each["kind"].endswith("RoleBinding") and any(subject["name"] == account for subject in each["subjects"])
    }
    for each in objects:
        if (each["kind"], each["metadata"]["name"]) not in bound or role not in ("", each["kind"]):
            continue
        for rule in each["rules"]:
            for group in rule["apiGroups"]:
                for resource in rule["resources"]:
                    yield from (f"{verb} {group}/{resource}" for verb in rule["verbs"])


def audited(cluster: Cluster, user: str = USER) -> Iterator[dict[str, Any]]:
    """The API server's lines about a user's requests, one for each; watches count from their start."""
    for line in cluster.audit_log.read_text().splitlines():
        if f'"username":"{user}"' not in line:
            continue
        entry = json.loads(line)
        if entry["stage"] == ("ResponseStarted" if entry["verb"] == "watch" else "ResponseComplete"):
            yield entry
