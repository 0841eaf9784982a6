"""The adapter of DCGM's exporters on a cluster in memory: what it writes, when it writes nothing, and what the operator makes of it."""

from functools import partial
from random import Random

import pytest

from tests.simulation.fake_api import FakeApi
from tests.simulation.fake_nodes import node
from tests.simulation.operator_sim import CLOCK, Simulation
from trainyard.api.names import GPU_ERRORS
from trainyard.api.node_health import NodeState
from trainyard.cluster.client import ClusterClient
from trainyard.cluster.resources import NODES, PODS, Object
from trainyard.dcgm_adapter import Adapter, Settings
from trainyard.nodes import errors
from trainyard.nodes.states import CLEAR_SECONDS

pytestmark = pytest.mark.looptime
PAGE = 'DCGM_FI_DEV_XID_ERRORS{gpu="0",UUID="GPU-a"} %d\nDCGM_FI_DEV_ECC_SBE_VOL_TOTAL{gpu="0",UUID="GPU-a"} %d\n'


class Exporters:
    """Pages by address; an address without one does not answer."""

    def __init__(self, api: FakeApi, *nodes: str) -> None:
        self.pages: dict[str, str] = {}
        for number, name in enumerate(nodes):
            meta = {"name": f"exporter-{name}", "namespace": "gpu-operator", "labels": {"app": "nvidia-dcgm-exporter"}}
            status = {"phase": "Running", "podIP": f"10.0.0.{number}"}
            api.put(PODS, {"metadata": meta, "spec": {"nodeName": name, "containers": []}, "status": status})
        client = ClusterClient(api.connect("adapter"), CLOCK, Random(0))
        self.adapter = Adapter(client, self.fetch, CLOCK, Settings())

    async def fetch(self, url: str) -> str:
        if url not in self.pages:
            raise OSError(f"{url} does not answer")
        return self.pages[url]

    async def shows(self, number: int, xid: int, corrected: int) -> None:
        """The exporter of the so many-th node has this page from now on, and is looked at."""
        self.pages[f"http://10.0.0.{number}:9400/metrics"] = PAGE % (xid, corrected)
        await self.adapter.look()


def written(api: FakeApi, name: str) -> dict[tuple[str, int | None], int]:
    found: Object | None = api.get(NODES, None, name)
    assert found is not None
    told = errors.read(found["metadata"].get("annotations", {}).get(GPU_ERRORS, ""))
    return {(each.kind.value, each.code): each.count for each in told}


async def test_what_is_new_is_counted_on_the_node_of_its_exporter_and_nothing_else_is_written() -> None:
    api = FakeApi(CLOCK)
    for name in ("n0", "n1"):
        api.put(NODES, node(name))
    exporters = Exporters(api, "n0", "n1")
    await exporters.shows(0, 31, 5)
    await exporters.shows(0, 31, 5)
    assert api.writes == []
    await exporters.shows(0, 79, 9)
    assert written(api, "n0") == {("xid", 79): 1, ("corrected", None): 4}
    writes = len(api.writes)
    await exporters.shows(0, 79, 9)
    assert (len(api.writes), written(api, "n1")) == (writes, {})
    await exporters.shows(0, 79, 10)
    assert written(api, "n0") == {("xid", 79): 1, ("corrected", None): 5}


async def test_an_exporter_that_was_away_loses_no_total() -> None:
    api = FakeApi(CLOCK)
    api.put(NODES, node("n0"))
    exporters = Exporters(api, "n0")
    await exporters.shows(0, 0, 5)
    exporters.pages.clear()
    await exporters.adapter.look()
    assert written(api, "n0") == {}
    await exporters.shows(0, 0, 8)
    assert written(api, "n0") == {("corrected", None): 3}


async def test_the_operator_quarantines_for_a_fatal_xid_and_spares_a_node_at_risk() -> None:
    async with Simulation(nodes=3) as sim:
        exporters = Exporters(sim.api, "n0", "n1")
        await exporters.shows(0, 0, 0)
        await exporters.shows(1, 0, 0)
        await exporters.shows(0, 79, 0)
        await exporters.shows(1, 63, 60)
        nodes = sim.process.app.world.nodes
        await sim.until(lambda: "n0" in nodes and nodes["n0"].standing.state is NodeState.QUARANTINED, 10)
        await sim.until(lambda: nodes["n1"].standing.risk == 2, 10)
        assert "XID 79 on GPU 0" in nodes["n0"].broken
        assert nodes["n1"].standing.state is NodeState.HEALTHY


async def test_a_network_blip_clears_no_fault_and_a_reboot_does() -> None:
    async with Simulation(nodes=1) as sim:
        boots(sim, "one")
        exporters = Exporters(sim.api, "n0")
        await exporters.shows(0, 0, 0)
        await exporters.shows(0, 79, 0)
        nodes = sim.process.app.world.nodes
        await sim.until(lambda: "n0" in nodes and nodes["n0"].standing.state is NodeState.QUARANTINED, 10)
        await sim.rest(60)
        for status in ("Unknown", "True"):
            sim.api.edit(NODES, None, "n0", partial(ready, status))
            await sim.rest(30)
        await sim.rest(2 * CLEAR_SECONDS)
        assert nodes["n0"].standing.state is NodeState.QUARANTINED
        boots(sim, "two")
        await sim.until(lambda: nodes["n0"].standing.state is NodeState.HEALTHY, CLEAR_SECONDS + 60, step=5)


def ready(status: str, node: Object) -> None:
    time = CLOCK.now().strftime("%Y-%m-%dT%H:%M:%SZ")
    others = [each for each in node["status"]["conditions"] if each["type"] != "Ready"]
    node["status"]["conditions"] = [*others, {"type": "Ready", "status": status, "lastTransitionTime": time}]


def boots(sim: Simulation, boot: str) -> None:
    sim.api.edit(NODES, None, "n0", lambda node: node["status"].update(nodeInfo={"bootID": boot}))
