"""A worker that is slow, on a real cluster: the job's status names it with pod and node, and `trainyard why` says what helps."""

from typing import Any

import pytest

from tests.e2e.platform import Platform
from trainyard.cli.__main__ import main

pytestmark = pytest.mark.e2e
SLOW_RANK = 1
PROGRAM = f"""
import os, socket, statistics, time
rank = int(os.environ.setdefault("RANK", os.environ["PET_NODE_RANK"]))
import trainer

master = (os.environ["PET_MASTER_ADDR"], int(os.environ["PET_MASTER_PORT"]))

def other():
    if rank == 0:
        return socket.create_server(("", master[1])).accept()[0]
    while True:
        try:
            return socket.create_connection(master)
        except OSError:
            time.sleep(0.5)

line, step = other().makefile("rw"), 0
while True:
    began = time.perf_counter()
    time.sleep(0.12 if rank == {SLOW_RANK} else 0.04)
    own = time.perf_counter() - began
    print(own, file=line, flush=True)
    seconds = [own, float(line.readline())]  # here the quick one waits
    step += 1
    if rank == 0 and step % 20 == 0:
        most = max(seconds)
        told = {{"p50": statistics.median(seconds), "slowest": most, "slowestRank": seconds.index(most)}}
        trainer.report(step=step, step_seconds=told)
"""


@pytest.mark.fault(57)
@pytest.mark.timeout(600)  # on cores that others use too
def test_a_worker_that_sleeps_is_named_with_its_node(platform: Platform, capsys: pytest.CaptureFixture[str]) -> None:
    program = {"command": ["python", "-c", PROGRAM]}
    apart = {"level": "kubernetes.io/hostname", "mode": "spread"}
    own: dict[str, Any] = {"model": None, "dataset": None, "entrypoint": program, "topology": apart}
    platform.apply(platform.job("slow", workers=2, storage=None, **own))
    platform.phase("tyj", "slow", "Running")
    (named,) = platform.until("a straggler", lambda: platform.status("tyj", "slow").get("stragglers"), 300)
    (pod,) = platform.pods(f"trainyard.dev/job=slow,trainyard.dev/index={SLOW_RANK}")
    assert (named["rank"], named["pod"]) == (SLOW_RANK, pod["metadata"]["name"])
    assert named["node"] == pod["spec"]["nodeName"]
    assert named["factor"] > 2
    assert "until" not in named
    assert "StragglerFound" in platform.cluster.kubectl("get", "events", "-n", platform.namespace)
    words = ["why", "slow", "-n", platform.namespace, "--kubeconfig", str(platform.cluster.kubeconfig)]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert f"held up by: rank {SLOW_RANK} ({named['pod']} on {named['node']})" in said
    assert f"kubectl cordon {named['node']}" in said
    assert "what its time was spent on" in said
