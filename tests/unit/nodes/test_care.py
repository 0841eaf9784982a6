"""What of a node is a reason to look at it again."""

from tests.unit.nodes.looks import Object, condition, node
from trainyard.api.names import REMEDY_REFUSED
from trainyard.nodes.care import gist
from trainyard.workloads.kept import of_node


def sick(**status: object) -> Object:
    made = node(condition("GPUMissing"), notes={REMEDY_REFUSED: "event"})
    made["status"] |= status
    return made


def test_what_caches_keep_of_a_node_suffices_to_see_that_nothing_changed() -> None:
    heartbeat = sick(images=[{"names": ["a"]}])
    assert gist(of_node(sick())) == gist(heartbeat)


def test_a_reboot_or_a_lost_gpu_is_a_change() -> None:
    assert gist(of_node(sick())) != gist(sick(nodeInfo={"bootID": "two"}))
    assert gist(of_node(sick())) != gist(sick(capacity={"nvidia.com/gpu": "7"}))
