"""From an exporter's page to a cordoned node: adapter and operator as processes, each with the rights that the chart gives it at the level `act`.

For lack of a GPU the pages are played: as dcgm-exporter writes them, by a server of this machine. All else is the real thing; jobs
that train and leave a node with a checkpoint are in tests/e2e/test_node_health.py.
"""

import json
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from dev.cluster import Cluster, ClusterSpec, up
from dev.cluster.control_plane import write_kubeconfig
from dev.operator_process import OperatorProcess
from tests import builders as b
from tests.apiserver.operator_process import CHART, SYSTEM, audited
from tests.apiserver.yard import Yard
from trainyard.api.names import GPU_ERRORS, NODE_HEALTH
from trainyard.api.node_health import NodeState

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(900)]
EXPORTERS = "gpu-operator"
VALUES = "nodeHealth.level=act,nodeHealth.dcgm.enabled=true,defaultQueue.create=true"
GPUS = 2
_LABELS = 'gpu="{gpu}",UUID="GPU-604ac76c-d9cf-fef3-62e9-d92044ab6e5{gpu}",pci_bus_id="00000000:3{gpu}:00.0",device="nvidia{gpu}",modelName="NVIDIA H200",Hostname="{host}",DCGM_FI_DRIVER_VERSION="570.86.15"'
_GAUGES = {
    "DCGM_FI_DEV_SM_CLOCK": "SM clock frequency (in MHz).",
    "DCGM_FI_DEV_GPU_TEMP": "GPU temperature (in C).",
    "DCGM_FI_DEV_XID_ERRORS": "Value of the last XID error encountered.",
}


class Exporter:
    """What one node's exporter shows."""

    def __init__(self, host: str) -> None:
        self.host, self.asked = host, 0
        self.xids: dict[int, Counter[int]] = {gpu: Counter() for gpu in range(GPUS)}
        self.corrected = 12

    def page(self) -> str:
        """As dcgm-exporter 4 writes it with its own counters, XIDs in a window and memory errors."""
        self.asked += 1
        lines: list[str] = []
        for name, words in _GAUGES.items():
            lines += [f"# HELP {name} {words}", f"# TYPE {name} gauge"]
            lines += [f"{name}{{{self._labels(gpu)}}} {self._value(name, gpu)}" for gpu in range(GPUS)]
        name = "DCGM_FI_DEV_ECC_SBE_VOL_TOTAL"
        lines += [f"# HELP {name} Total number of single-bit volatile ECC errors.", f"# TYPE {name} counter"]
        lines += [f"{name}{{{self._labels(gpu)}}} {self.corrected}" for gpu in range(GPUS)]
        name = "DCGM_EXP_XID_ERRORS_COUNT"
        lines += [f"# HELP {name} Count of XID Errors within user-specified time window", f"# TYPE {name} gauge"]
        for gpu, codes in self.xids.items():
            window = f'{self._labels(gpu)},window_size_in_ms="300000"'
            lines += [f'{name}{{{window},xid="{code}"}} {count}' for code, count in (codes or {0: 0}).items()]
        return "\n".join(lines) + "\n"

    def _labels(self, gpu: int) -> str:
        return _LABELS.format(gpu=gpu, host=self.host)

    def _value(self, name: str, gpu: int) -> int:
        return {"DCGM_FI_DEV_XID_ERRORS": max(self.xids[gpu], default=0), "DCGM_FI_DEV_SM_CLOCK": 1980}.get(name, 41)


@contextmanager
def serving(exporters: dict[str, Exporter]) -> Iterator[int]:
    """The port at which each exporter answers at its own address of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = exporters[self.connection.getsockname()[0]].page().encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("0.0.0.0", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


class Fleet:
    """A cluster whose nodes have exporters, looked after by adapter and operator."""

    def __init__(self, yard: Yard, exporters: dict[str, Exporter]) -> None:
        """exporters: by node."""
        self.yard, self.exporters = yard, exporters

    def looked(self) -> None:
        """Wait until what the pages show now was read."""
        asked = {node: each.asked for node, each in self.exporters.items()}
        # An answer that was on its way may be older; the one after it was asked for when the first had been dealt with.
        self.yard.until(lambda: all(each.asked >= asked[node] + 2 for node, each in self.exporters.items()), 90)

    def note(self, node: str, name: str) -> Any:
        found = self.yard.get("Node", node)
        assert found is not None
        return json.loads(found["metadata"].get("annotations", {}).get(name, "null"))

    def cordoned(self, node: str) -> bool:
        found = self.yard.get("Node", node)
        assert found is not None
        return bool(found["spec"].get("unschedulable"))

    def events(self, node: str) -> list[str]:
        found = json.loads(self.yard.cluster.kubectl("get", "events", "-A", "-o", "json"))["items"]
        return [each["reason"] for each in found if each["involvedObject"]["name"] == node and "Node" in each["reason"]]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("health")
    spec = ClusterSpec(name=f"health-{os.getpid()}", kwok_nodes=3, kwok_gpus=GPUS, provider="local", audit=True)
    with up(spec) as cluster:
        for name in (EXPORTERS, "team"):
            cluster.kubectl("create", "namespace", name)
        cluster.helm("install", "trainyard", str(CHART), "--namespace", SYSTEM, "--create-namespace", f"--set={VALUES}")
        nodes = json.loads(cluster.kubectl("get", "nodes", "-o", "json"))["items"]
        names = sorted(each["metadata"]["name"] for each in nodes)
        addresses = {f"127.0.0.{number}": Exporter(name) for number, name in enumerate(names, 2)}
        _exporter_pods(Yard(cluster, EXPORTERS), addresses)
        with serving(addresses) as port, _adapter(cluster, folder, port), _operator(cluster, folder):
            made = Fleet(Yard(cluster, "team"), {each.host: each for each in addresses.values()})
            made.looked()
            yield made


def _exporter_pods(yard: Yard, addresses: dict[str, Exporter]) -> None:
    """As the GPU operator's DaemonSet has them, at addresses where this machine answers."""
    for address, exporter in addresses.items():
        name = f"nvidia-dcgm-exporter-{exporter.host}"
        meta = {"name": name, "namespace": EXPORTERS, "labels": {"app": "nvidia-dcgm-exporter"}}
        spec = {"nodeName": exporter.host, "containers": [{"name": "exporter", "image": "dcgm-exporter"}]}
        yard.until(lambda: yard.kubectl("get", "serviceaccount", "default", "--ignore-not-found"))
        yard.create({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})
        yard.until(lambda name=name: (yard.get("Pod", name) or {})["status"].get("podIP"))  # type: ignore[misc]
        yard.patch("Pod", name, {"status": {"podIP": address, "podIPs": [{"ip": address}]}}, "/status")


@contextmanager
def _adapter(cluster: Cluster, folder: Path, port: int) -> Iterator[None]:
    settings = {"KUBECONFIG": _as_account(cluster, folder, "trainyard-dcgm"), "PORT": port, "SECONDS": 5}
    env = os.environ | {f"TRAINYARD_DCGM_{name}": str(value) for name, value in settings.items()}
    with (folder / "adapter.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "trainyard.dcgm_adapter"], env=env, stdout=log, stderr=log)
    try:
        yield
        assert process.poll() is None, (folder / "adapter.log").read_text()[-4000:]
    finally:
        process.kill()
        process.wait()


@contextmanager
def _operator(cluster: Cluster, folder: Path) -> Iterator[None]:
    env = {"TRAINYARD_NAMESPACE": SYSTEM, "TRAINYARD_HEALTH_LEVEL": "act"}
    kubeconfig = _as_account(cluster, folder, "trainyard")
    with OperatorProcess(cluster, kubeconfig=kubeconfig, env=env, log=folder / "operator.log") as operator:
        operator.wait_ready(120)
        yield


def _as_account(cluster: Cluster, folder: Path, account: str) -> Path:
    token = cluster.kubectl("create", "token", account, "-n", SYSTEM, "--duration=1h").strip()
    given = json.loads(cluster.kubeconfig.read_text())["clusters"][0]["cluster"]
    path = folder / f"{account}.kubeconfig"
    write_kubeconfig(path, cluster.name, given["server"], token, Path(given["certificate-authority"]))
    return path


def test_memory_errors_that_harmed_nobody_are_counted_and_the_node_stays_in_use(fleet: Fleet) -> None:
    node = sorted(fleet.exporters)[2]
    fleet.exporters[node].corrected += 7
    fleet.yard.until(lambda: fleet.note(node, GPU_ERRORS), 90)
    told = {(each["gpu"], each["kind"]): each["count"] for each in fleet.note(node, GPU_ERRORS)}
    assert told == {(str(gpu), "corrected"): 7 for gpu in range(GPUS)}
    assert fleet.note(sorted(fleet.exporters)[1], GPU_ERRORS) is None
    assert not fleet.cordoned(node)


def xids(fleet: Fleet, node: str) -> list[dict[str, Any]]:
    """Beside what the test before left there, if the job runs where that was."""
    return [each for each in fleet.note(node, GPU_ERRORS) if each["kind"] == "xid"]


def places(yard: Yard, job: str) -> list[str]:
    return [each["spec"].get("nodeName", "") for each in yard.pods(job)]


@pytest.mark.fault(48)
def test_a_gpu_off_the_bus_on_an_exporters_page_takes_the_node_out_of_use_and_its_job_goes_elsewhere(
    fleet: Fleet,
) -> None:
    yard = fleet.yard
    yard.create(b.training_job("moves", b.namespace("team"), b.queue("default"), b.gpus(GPUS)))
    yard.until_phase("moves", "Running", 60)
    (sick,) = places(yard, "moves")
    fleet.exporters[sick].xids[1][79] += 1
    yard.until(lambda: fleet.cordoned(sick), 150)
    (error,) = xids(fleet, sick)
    assert (error["gpu"], error["kind"], error["code"], error["count"]) == ("1", "xid", 79, 1)
    assert (fleet.note(sick, NODE_HEALTH)["cordoned"], fleet.note(sick, NODE_HEALTH)["remedy"]) == (True, "reboot")
    yard.until(lambda: yard.phase("moves") == "Running" and places(yard, "moves") not in ([], [sick]), 180, "moves")
    yard.until(lambda: fleet.note(sick, NODE_HEALTH)["state"] == NodeState.VALIDATING, 90)
    assert {"NodeQuarantined", "NodeDraining", "NodeDrained"} <= set(fleet.events(sick))
    fleet.looked()
    (same,) = xids(fleet, sick)
    assert same == error, "what is still shown is not counted again"
    assert [each for each in fleet.exporters if fleet.cordoned(each)] == [sick]


def test_the_charts_rights_sufficed_for_both(fleet: Fleet) -> None:
    """The last test: it reads what the API server wrote down about the others."""
    for account in ("trainyard", "trainyard-dcgm"):
        calls = list(audited(fleet.yard.cluster, f"system:serviceaccount:{SYSTEM}:{account}"))
        assert "patch" in {each["verb"] for each in calls if each.get("objectRef", {}).get("resource") == "nodes"}
        assert [each["requestURI"] for each in calls if each["responseStatus"].get("code") == 403] == []
