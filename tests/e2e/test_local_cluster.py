"""The local cluster itself: what it promises to every other test, on two real nodes."""

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dev.cluster import Cluster, ClusterSpec, down, residue, up
from dev.cluster.kwok import is_ready

pytestmark = pytest.mark.e2e

NAME = f"self-{os.getpid()}"
GPUS = 2
PROBE = "trainyard.dev/local/probe:1"
STARTED_SECONDS = 60.0

CLAIM = """
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: results}
spec: {accessModes: [ReadWriteMany], resources: {requests: {storage: 1Gi}}}
---
apiVersion: v1
kind: Service
metadata: {name: peers}
spec: {clusterIP: None, selector: {app: peer}}
"""
POD = """
---
apiVersion: v1
kind: Pod
metadata: {name: %(name)s, labels: {app: peer}}
spec:
  hostname: %(name)s
  subdomain: peers
  terminationGracePeriodSeconds: 0
  nodeSelector: {kubernetes.io/hostname: %(node)s}
  securityContext: {runAsUser: 65532, runAsNonRoot: true}
  containers:
    - name: probe
      image: %(image)s
      args: [serve, ":8000", "I am %(name)s"]
      resources: {limits: {nvidia.com/gpu: 1}}
      volumeMounts: [{name: results, mountPath: /results}]
  volumes: [{name: results, persistentVolumeClaim: {claimName: results}}]
"""


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[Cluster]:
    """Two nodes of two GPUs without our images, and a pod on each that shares a claim with the other."""
    with up(ClusterSpec(name=NAME, nodes=2, gpus_per_node=GPUS, provider="local", images=False)) as cluster:
        names = {"first": "node-1", "second": "node-2"}
        pods = [POD % {"name": name, "node": node, "image": PROBE} for name, node in names.items()]
        cluster.kubectl("apply", "-f", "-", input=CLAIM + "".join(pods))
        cluster.kubectl("wait", "--for=condition=Ready", "pod/first", "pod/second", f"--timeout={STARTED_SECONDS:.0f}s")
        yield cluster
        assert cluster.down() == []


def probe(cluster: Cluster, pod: str, *args: str) -> str:
    return cluster.kubectl("exec", pod, "--", "/probe", *args).strip()


def wait_for(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not so within {seconds} s"
        time.sleep(0.2)


def node(cluster: Cluster, name: str) -> dict[str, Any]:
    found: dict[str, Any] = cluster.api.get(f"/api/v1/nodes/{name}")
    return found


def test_nodes_offer_their_gpus(two_nodes: Cluster) -> None:
    offered = [node(two_nodes, item.name)["status"]["allocatable"]["nvidia.com/gpu"] for item in two_nodes.nodes]

    assert offered == [str(GPUS), str(GPUS)]


def test_a_headless_service_gives_each_pod_a_name_that_others_reach(two_nodes: Cluster) -> None:
    assert probe(two_nodes, "second", "get", "http://first.peers:8000/") == "I am first"
    assert probe(two_nodes, "first", "get", "http://second.peers:8000/") == "I am second"


def test_pods_find_the_api_server(two_nodes: Cluster) -> None:
    assert probe(two_nodes, "first", "resolve", "kubernetes.default") == "10.96.0.1"


def test_pods_reach_this_machine_and_its_names_are_answered_at_once(two_nodes: Cluster) -> None:
    begun = time.monotonic()
    address = probe(two_nodes, "first", "resolve", "second.peers.default.svc.cluster.local")

    assert address.startswith("10.")
    assert time.monotonic() - begun < 5


def test_a_shared_claim_is_written_on_one_node_and_read_on_the_other_by_an_ordinary_user(two_nodes: Cluster) -> None:
    probe(two_nodes, "first", "write", "/results/note", "from the first node")

    assert probe(two_nodes, "second", "read", "/results/note") == "from the first node"


def test_logs_of_a_pod_can_be_read(two_nodes: Cluster) -> None:
    assert two_nodes.kubectl("logs", "first") == ""


def test_a_killed_node_is_noticed_and_comes_back_with_its_gpus_and_pods(two_nodes: Cluster) -> None:
    victim = two_nodes.nodes[1]

    victim.kill()
    wait_for(lambda: not is_ready(node(two_nodes, victim.name)), 90)
    victim.revive()

    wait_for(lambda: is_ready(node(two_nodes, victim.name)), 90)
    wait_for(lambda: node(two_nodes, victim.name)["status"]["allocatable"].get("nvidia.com/gpu") == str(GPUS), 90)
    two_nodes.kubectl("wait", "--for=condition=Ready", "pod/second", "--timeout=60s")
    assert probe(two_nodes, "first", "get", "http://second.peers:8000/") == "I am second"


def test_a_second_cluster_beside_it_disturbs_nobody(two_nodes: Cluster) -> None:
    with up(ClusterSpec(name=f"{NAME}-b", nodes=1, provider="local", images=False)) as other:
        assert other.host_address != two_nodes.host_address
        assert [item["metadata"]["name"] for item in other.api.items("/api/v1/nodes")] == ["node-1"]

    assert residue(f"{NAME}-b") == []
    assert probe(two_nodes, "second", "get", "http://first.peers:8000/") == "I am first"


def test_nothing_stays_behind_even_when_a_start_breaks_off() -> None:
    class BreakOffError(Exception):
        """Raised in the middle of the start."""

    def progress(line: str) -> None:
        if line.startswith("control plane ready"):
            raise BreakOffError

    name = f"{NAME}-c"
    with pytest.raises(BreakOffError):
        up(ClusterSpec(name=name, nodes=1, provider="local", images=False), progress=progress)

    assert residue(name) == []
    assert down(name) == []
