"""Of the alerts about nodes and flavors."""

from datetime import UTC, datetime

from dev.cluster.kwok import EXIT_CODE, KwokNodes
from tests import builders as b
from tests.apiserver.yard import completes_after
from tests.drills.drill import Drill
from tests.drills.ground import Ground

_NO_CONTAINER = b.annotated(**{EXIT_CODE: "127"})
_AGAIN = 5.0
_XID = "ErrorCode:79 gpu:0 Recommended Action=NODE_REBOOT;"


def _says(ground: Ground, node: str, kind: str, message: str = "") -> None:
    """A monitor writes a condition of the node, as those do that this image has none of."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    told = {"type": kind, "status": "True", "reason": kind, "message": message, "lastTransitionTime": now}
    body = {"status": {"conditions": [told]}}
    path = f"/api/v1/nodes/{node}/status"
    ground.api.patch(path, body, content_type="application/strategic-merge-patch+json")


def _kubelet_died(ground: Ground) -> None:
    ground.lay_out()
    ground.kubelet_dies(ground.node())


def _gpu_is_missing(ground: Ground) -> None:
    ground.lay_out()
    _says(ground, ground.node(), "GPUMissing", "found 7 of 8")


def _two_jobs_fail_there(ground: Ground) -> None:
    ground.lay_out()
    for name in ("one", "two"):
        ground.job(name, b.max_restarts(0), completes_after("0s"), _NO_CONTAINER)


def _most_are_broken(ground: Ground) -> None:
    ground.lay_out(4)
    for number in (1, 2, 3):
        _says(ground, ground.node(number), "GPUMissing", "found 7 of 8")


def _many_gpus_are_broken(ground: Ground) -> None:
    ground.lay_out(2, gpus=128)
    for number in (1, 2):
        _says(ground, ground.node(number), "NVSwitchFault", "fabric manager lost the switch")


def _xid(ground: Ground) -> None:
    """And once more when the driver sees it again."""
    ground.lay_out()
    ground.keeps(lambda: _says(ground, ground.node(), "GpuXidError", _XID), _AGAIN)


def _nobody_repairs(ground: Ground) -> None:
    ground.lay_out()
    _says(ground, ground.node(), "GPUMissing", "found 7 of 8")


def _nodes_without_gpus_deadlock(ground: Ground) -> None:
    ground.cluster.add_kwok(KwokNodes(4, gpus=0, prefix=ground.namespace))
    for number in (1, 2, 3):
        _says(ground, ground.node(number), "KernelDeadlock", "task docker blocked")


def _odd_sizes(ground: Ground) -> None:
    """Three GPUs are left on each node, and what usually asks, by its number of pods, asks for five."""
    ground.lay_out(4)
    for number in range(4):
        ground.job(f"odd-{number}", b.gpus(5))
    ground.job("crowd", b.workers(500), b.gpus(5))


DRILLS = (
    Drill(
        "TrainyardNodesNotReady",
        _kubelet_died,
        {"flavor": "nodesnotready"},
        ("nodesnotready-0001 NotReady", "Kubelet stopped posting node status"),
        {"NODE": "nodesnotready-0001"},
    ),
    Drill(
        "TrainyardNodesBroken",
        _gpu_is_missing,
        {"flavor": "nodesbroken"},
        ("GPUMissing",),
        {"NODE": "nodesbroken-0001"},
    ),
    Drill(
        "TrainyardNodesSuspect",
        _two_jobs_fail_there,
        {"flavor": "nodessuspect"},
        ("nodessuspect-0001", "Infrastructure"),
        {"NODE": "nodessuspect-0001"},
    ),
    Drill("TrainyardBreakerOpen", _most_are_broken, {"flavor": "breakeropen"}, ("breakeropen-0003", "GPUMissing")),
    Drill("TrainyardFleetDegraded", _many_gpus_are_broken, shows=("NVSwitchFault",)),
    Drill(
        "TrainyardNodeFaultFatal",
        _xid,
        {"xid": "79"},
        ("nodefaultfatal-0001", "XID 79"),
    ),
    Drill(
        "TrainyardNodeRepairSlow",
        _nobody_repairs,
        {"node": "noderepairslow-0001", "state": "quarantined"},
        ("GPUMissing", "trainyard approve"),
    ),
    Drill("TrainyardNodeBreakerOpen", _nodes_without_gpus_deadlock, shows=("KernelDeadlock",)),
    Drill("TrainyardGpusFragmented", _odd_sizes, {"flavor": "gpusfragmented"}, ("gpusfragmented 4/4 32 12 3",)),
)
