"""`trainyard approve` and `refuse`: what they write to a node, and that they write nothing where nothing is proposed."""

import pytest

from tests.unit.cli.conftest import Run
from tests.unit.cli.stub_api import Object, StubApi
from tests.unit.nodes.looks import condition, node
from trainyard.api.names import NODE_HEALTH, REMEDY_APPROVED, REMEDY_REFUSED

PATH = "/api/v1/nodes/n1"
FAULT = condition("GpuXidError", message="ErrorCode:79 gpu:0 Recommended Action=NODE_REBOOT;")
EVENT = f"GpuXidError@{FAULT['lastTransitionTime']}"


def there(api: StubApi, *conditions: Object, **notes: str) -> None:
    made = node(*conditions, notes=notes)
    made["metadata"]["resourceVersion"] = "7"
    api.add({"apiVersion": "v1", "kind": "Node", **made})


def written(api: StubApi) -> Object:
    found: Object = api.objects[PATH]
    return found


@pytest.mark.parametrize("name", ["n1", "node/n1"])
def test_an_approval_cordons_and_says_for_what(run: Run, api: StubApi, name: str) -> None:
    there(api, FAULT, **{"example.org/mine": "kept"})
    code, out, _ = run("approve", name)
    assert (code, written(api)["spec"]) == (0, {"unschedulable": True})
    assert written(api)["metadata"]["annotations"] == {"example.org/mine": "kept", REMEDY_APPROVED: EVENT}
    assert "XID 79" in out
    assert "then: reboot the node" in out


def test_a_refusal_names_the_event_and_leaves_the_node_as_it_is(run: Run, api: StubApi) -> None:
    there(api, FAULT)
    assert run("refuse", "n1")[0] == 0
    assert written(api)["spec"] == {}
    assert written(api)["metadata"]["annotations"] == {REMEDY_REFUSED: EVENT}


def test_a_refusal_takes_an_approval_back(run: Run, api: StubApi) -> None:
    there(api, FAULT)
    run("approve", "n1")
    assert run("refuse", "n1")[0] == 0
    assert written(api)["spec"] == {}


def test_a_refusal_names_all_that_breaks_the_node(run: Run, api: StubApi) -> None:
    other = condition("GPUMissing", since=60)
    event = f"GPUMissing@{other['lastTransitionTime']}"
    there(api, FAULT, other, condition("XIDErrors", message="Xid 31"), **{REMEDY_APPROVED: event})
    code, out, _ = run("refuse", "n1")
    assert (code, written(api)["metadata"]["annotations"][REMEDY_REFUSED]) == (0, f"{event} {EVENT}")
    assert written(api)["spec"] == {}, "the approval is taken back"
    assert "GPUMissing; GpuXidError (XID 79" in out
    assert run("approve", "n1")[0] == 1


def test_what_was_refused_and_is_still_told_stays_refused(run: Run, api: StubApi) -> None:
    other = condition("GPUMissing", since=60)
    there(api, FAULT, other, **{REMEDY_REFUSED: f"{EVENT} gone@long-ago"})
    assert run("refuse", "n1")[0] == 0
    event = f"GPUMissing@{other['lastTransitionTime']}"
    assert written(api)["metadata"]["annotations"][REMEDY_REFUSED] == f"{event} {EVENT}"


@pytest.mark.parametrize(
    "made",
    [
        (),
        (condition("XIDErrors", message="Xid 31"),),
        (condition("GpuXidError", "False"),),
    ],
)
def test_where_nothing_is_proposed_nothing_is_written(run: Run, api: StubApi, made: tuple[Object, ...]) -> None:
    there(api, *made)
    code, _, err = run("approve", "n1")
    assert (code, api.asked("PATCH")) == (1, [])
    assert "nothing is proposed for node n1" in err


def test_what_is_settled_or_refused_is_not_proposed(run: Run, api: StubApi) -> None:
    for notes in ({REMEDY_REFUSED: EVENT}, {NODE_HEALTH: f'{{"settled":["{EVENT}"]}}'}):
        there(api, FAULT, **notes)
        assert run("approve", "n1")[0] == 1


def test_a_node_that_changed_meanwhile_is_not_written_over(run: Run, api: StubApi) -> None:
    there(api, FAULT)
    api.errors["PATCH", PATH] = [(409, {"reason": "Conflict", "message": "modified"})]
    code, _, err = run("approve", "n1")
    assert (code, "repeat the command" in err) == (1, True)


def test_an_unknown_node_is_told(run: Run, api: StubApi) -> None:
    code, _, err = run("approve", "n9")
    assert (code, "there is no node 'n9'" in err) == (1, True)


def test_who_may_not_is_told(run: Run, api: StubApi) -> None:
    there(api, FAULT)
    api.errors["PATCH", PATH] = [(403, {"reason": "Forbidden", "message": 'cannot patch resource "nodes"'})]
    assert "that is forbidden" in run("approve", "n1")[2]
