"""The status of queues and flavors."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tests import builders as b
from trainyard.admission.account import Account
from trainyard.admission.overview import Books, books, plan_flavor, plan_queue
from trainyard.api.flavor import Flavor, FlavorSpec
from trainyard.api.names import GPU
from trainyard.api.queue import Queue, RecentShare
from trainyard.scheduling.snapshot import NodeView, PodView, Snapshot

NOW = datetime(2026, 11, 23, tzinfo=UTC)
FLAVORS = {"h200": FlavorSpec()}


def held(queue: Queue, **fields: Any) -> Books:
    return books(Snapshot(queues={queue.metadata.name: queue.spec}, **fields))


def test_a_queue_counts_what_its_workloads_hold() -> None:
    left = PodView("p", "team", "p", "n", {GPU: 2000}, "gone", "worker", "research", "h200")
    queue = Queue.model_validate(b.a_queue("research"))
    plan = plan_queue(queue, held(queue, pods=(left,), flavors=FLAVORS), NOW)
    assert plan.status is not None
    row = {"flavor": "h200", "resource": GPU, "used": "2", "guaranteed": "8", "borrowed": "0", "lent": "0"}
    assert plan.status["use"] == [row]
    assert plan.status["conditions"][0]["status"] == "True"


def test_a_queue_with_an_unknown_flavor_is_not_ready() -> None:
    queue = Queue.model_validate(b.a_queue("research"))
    plan = plan_queue(queue, held(queue), NOW)
    assert plan.status is not None
    assert plan.status["conditions"][0]["message"] == "spec.flavors: there is no Flavor h200"


def test_a_flavor_without_nodes_is_not_ready_and_its_old_capacity_is_taken_out() -> None:
    flavor = Flavor.model_validate(
        b.a_flavor("h200", b.selects(pool="h200"), b.status(nodes=1, capacity={GPU: "8", "cpu": "64"}))
    )
    node = NodeView("n", {"pool": "h200"}, {GPU: 4000})
    plan = plan_flavor(flavor, [node, NodeView("m", {}, {GPU: 9000})], NOW)
    assert plan.status is not None
    assert plan.status["capacity"] == {GPU: "4", "cpu": None}
    assert plan.status["readyNodes"] == 1
    none = plan_flavor(flavor, [], NOW)
    assert none.status is not None
    assert none.status["conditions"][0]["reason"] == "NoNodes"


def test_accounts_are_rounded_in_the_status_and_written_only_when_that_differs() -> None:
    written = {"share": 0.5, "updatedAt": "2026-11-22T00:00:00.000000Z"}
    queue = Queue.model_validate(
        b.a_queue("research", b.spec(usageHalfLifeSeconds=86_400), b.status(recentShare=written))
    )
    for share, expected in ((0.25, None), (0.2500014, None), (0.2500034, 0.250003)):
        kept = Account(None, RecentShare(share=share, updated_at=NOW), 0.0, 0.0)
        status = plan_queue(queue, held(queue, flavors=FLAVORS), NOW, kept).status or {}
        assert status.get("recentShare", {}).get("share") == expected


@pytest.mark.parametrize(
    ("modifiers", "message"),
    [
        (
            (b.selects(pool="h200", zone="a"),),
            "no node has the labels pool=h200, zone=a: label nodes so, or correct spec.nodeSelector",
        ),
        ((), "there is no node"),
    ],
)
def test_a_flavor_without_nodes_says_which_labels_they_lack(modifiers: tuple[b.Modifier, ...], message: str) -> None:
    plan = plan_flavor(Flavor.model_validate(b.a_flavor("h200", *modifiers)), [], NOW)
    assert plan.status is not None
    assert plan.status["conditions"][0]["message"] == message
