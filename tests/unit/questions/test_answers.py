"""Answers about a cluster seen through its objects: why something waits, what a new job would do, who holds what, and what others may see."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tests import builders as b
from tests.simulation.fake_nodes import node
from trainyard.api.admission import JobAdmission, compact
from trainyard.api.answers import Plan, Why
from trainyard.api.names import GPU
from trainyard.questions.anonymous import anonymous
from trainyard.questions.hurry import REMEDY_SECONDS, in_a_hurry
from trainyard.questions.picture import NotPlannedError, Picture, planned, take
from trainyard.questions.plan import plan
from trainyard.questions.top import top
from trainyard.questions.why import why
from trainyard.scheduling.whatif import Settler, settle
from trainyard.workloads.world import World

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def a_job(name: str, minute: int, *modifiers: b.Modifier) -> b.Object:
    """A TrainingJob created at so many minutes past eleven."""
    meta = b.meta(uid=f"uid-{name}", generation=1, creationTimestamp=f"2026-11-23T11:{minute:02d}:00Z")
    return b.training_job(name, meta, *modifiers)


def placed(*nodes: str, queue: str = "research") -> b.Modifier:
    """It has its place since half past eleven."""
    given = JobAdmission(
        epoch=1, queue=queue, flavor="h200", time=NOW.replace(hour=11, minute=30), roles=[compact("worker", [*nodes])]
    )
    return b.status(admission=given.model_dump(by_alias=True, mode="json"), phase="Running")


def picture(*objects: b.Object, nodes: int = 2, quota: int = 16) -> Picture:
    """A cluster of nodes with 8 GPUs, one queue, and two namespaces that it admits."""
    world = World()
    base = [b.a_flavor(), b.a_queue("research", gpus=quota), b.a_namespace(), b.a_namespace("other", team="research")]
    for each in (*(node(f"n{number}", 8) for number in range(nodes)), *base, *objects):
        each["metadata"].setdefault("uid", each["metadata"]["name"])
        world.observe(each["kind"], None, each)
    return take(world, NOW)


def asked(seen: Picture, name: str, namespace: str = "team") -> Why:
    thing = seen.find(namespace, name)
    assert thing is not None
    return why(seen, thing)


def planned_in(seen: Picture, *manifests: b.Object) -> Plan:
    added = [each for manifest in manifests for each in planned(seen.world, manifest, "team", NOW)[1]]
    return plan(settle(seen.snapshot, NOW), added)


BUSY = (
    a_job("big", 0, b.gpus(8), placed("n0"), b.spec(expectedSeconds=7200)),
    a_job("secret", 1, b.namespace("other"), b.gpus(6), placed("n1")),
)


def test_why_says_reason_place_in_the_queue_and_who_holds_what_is_needed() -> None:
    answer = asked(picture(*BUSY, a_job("first", 2, b.gpus(8)), a_job("mine", 3, b.gpus(4))), "mine")
    assert (answer.state, answer.reason) == ("Waiting", "WaitingForQuota")
    assert (answer.position, answer.waiting) == (2, 2)
    assert [(each.who, each.holds) for each in answer.holders] == [
        ("TrainingJob team/big", f"{GPU}=8"),
        ("TrainingJob other/secret", f"{GPU}=6"),
    ]
    assert answer.holders[0].ends == NOW.replace(hour=13, minute=30)
    assert answer.holders[1].ends is None, "nobody has said how long it runs"
    assert f"spec.workers.resources.limits[{GPU}]=2" in [each.change for each in answer.remedies]


def test_why_of_a_job_with_a_place_says_where() -> None:
    answer = asked(picture(*BUSY), "big")
    assert (answer.state, answer.flavor) == ("Placed", "h200")
    assert [(each.node, each.pods) for each in answer.nodes] == [("n0", 1)]


def test_why_of_a_job_that_the_next_cycle_starts_says_so() -> None:
    answer = asked(picture(a_job("mine", 3, b.gpus(4))), "mine")
    assert answer.state == "Starts"
    assert answer.nodes


def test_why_of_a_job_that_wants_no_place_says_what_to_do() -> None:
    answer = asked(picture(a_job("mine", 3, b.spec(suspend=True))), "mine")
    assert (answer.state, answer.reason) == ("Inactive", "Suspended")


def test_why_of_a_service_is_about_its_first_replica_that_waits() -> None:
    service = b.inference_service("s", b.meta(uid="s", creationTimestamp="2026-11-23T11:00:00Z"), b.gpus(4))
    answer = asked(picture(*BUSY, service, b.a_claim("models")), "s")
    assert (answer.kind, answer.state, answer.position) == ("InferenceService", "Waiting", 1)


def test_why_of_a_service_without_a_model_says_what_it_waits_for() -> None:
    said = {"type": "Ready", "status": "False", "reason": "ModelNotReady", "message": "there is no TrainingJob 'a'"}
    status = b.status(conditions=[{**said, "lastTransitionTime": "2026-11-23T11:00:00Z"}])
    answer = asked(picture(b.inference_service("s", b.meta(uid="s"), b.served_job("a"), status)), "s")
    assert (answer.state, answer.reason, answer.message) == ("Inactive", "ModelNotReady", "there is no TrainingJob 'a'")


def test_why_of_a_job_whose_parent_is_not_there_says_so() -> None:
    answer = asked(picture(a_job("mine", 3, b.compresses("a")), b.a_claim("results")), "mine")
    assert (answer.state, answer.reason) == ("Waiting", "ModelNotReady")
    assert "there is no TrainingJob 'a'" in answer.message


def test_plan_of_a_job_whose_parent_is_there_says_where_it_would_start() -> None:
    result = {"claimName": "results", "path": "a/model", "digest": b.DIGEST}
    parent = a_job("a", 1, b.suspended(), b.storage(), b.status(result=result))
    seen = picture(parent, b.a_claim("results"))
    (only,) = planned_in(seen, b.training_job("new", b.compresses("a"))).workloads
    assert only.starts


def test_plan_says_where_a_job_would_start_and_creates_nothing() -> None:
    seen = picture(*BUSY)
    answer = planned_in(seen, b.training_job("new", b.gpus(2)))
    (only,) = answer.workloads
    assert only.starts
    assert [(each.node, each.pods) for each in only.nodes] == [("n1", 1)]
    assert only.moved == []
    assert seen.find("team", "new") is None


def test_plan_says_why_a_job_would_wait_and_what_would_start_it() -> None:
    (only,) = planned_in(picture(*BUSY), b.training_job("new", b.gpus(4))).workloads
    assert not only.starts
    assert only.reason == "WaitingForQuota"
    assert (only.position, only.waiting) == (1, 1)
    assert f"spec.workers.resources.limits[{GPU}]=2" in [each.change for each in only.remedies]


def test_plan_says_whose_place_changes() -> None:
    seen = picture(*BUSY, a_job("a", 2, b.gpus(8)), a_job("b", 3, b.gpus(8)))
    (only,) = planned_in(seen, b.training_job("new", b.gpus(8), b.priority(1))).workloads
    assert only.position == 1
    assert [(each.who, each.before, each.after) for each in only.moved] == [
        ("TrainingJob team/a", 1, 2),
        ("TrainingJob team/b", 2, 3),
    ]


def test_plan_names_those_who_would_make_way() -> None:
    low = a_job("low", 0, b.gpus(8), placed("n0"), b.priority(0))
    lower = {"preemption": {"withinQueue": "LowerPriority"}}
    seen = picture(low, b.a_queue("research", b.spec(**lower), gpus=8), nodes=1)
    (only,) = planned_in(seen, b.training_job("new", b.gpus(8), b.priority(5))).workloads
    assert not only.starts
    assert [(each.who, each.goes_on) for each in only.victims] == [("TrainingJob team/low", False)]
    assert [(each.node, each.pods) for each in only.nodes] == [("n0", 1)]


def test_a_settler_that_answered_before_answers_as_a_new_one() -> None:
    settler = Settler()
    busy, mine, after = picture(*BUSY), (a_job("mine", 3, b.gpus(4)),), (BUSY[1],)
    for objects in (BUSY, (*BUSY, *mine), (*after, *mine), (*BUSY, *mine), after):
        seen = picture(*objects)
        thing = seen.find("team", "mine") or seen.find("other", "secret")
        assert thing is not None
        assert why(seen, thing, settler=settler) == why(seen, thing)
    assert settler.settle(busy.snapshot, NOW).decisions == settle(busy.snapshot, NOW).decisions


def test_time_for_remedies_is_counted_from_the_first_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("trainyard.questions.hurry.time.monotonic", lambda: now)
    hurry = in_a_hurry()
    now = 100.0
    assert not hurry()
    now = 100.0 + 2 * REMEDY_SECONDS
    assert hurry()


def test_jobs_of_one_file_count_each_other() -> None:
    first, second = planned_in(
        picture(*BUSY), b.training_job("one", b.gpus(2)), b.training_job("two", b.gpus(2))
    ).workloads
    assert first.starts
    assert not second.starts
    assert "one" in second.message


def test_plan_knows_what_the_operator_would_refuse() -> None:
    (only,) = planned_in(picture(), b.training_job("new", b.storage("nowhere"))).workloads
    assert only.reason == "Misconfigured"
    assert "no PersistentVolumeClaim" in only.message


def test_why_of_a_service_tells_the_last_decision_about_its_number() -> None:
    scaling = {"desired": 4, "reason": "Surge", "message": "4: wanted 7", "limits": ["wanted 7, maxReplicas is 4"]}
    service = b.inference_service("s", b.meta(uid="s"), b.gpus(4), b.status(scaling=scaling))
    found = asked(picture(service), "s").scaling
    assert found is not None
    assert (found.desired, found.reason, found.limits) == (4, "Surge", ["wanted 7, maxReplicas is 4"])


def test_plan_takes_jobs_and_services_only() -> None:
    with pytest.raises(NotPlannedError, match="kind 'Queue' is not planned"):
        planned(World(), b.a_queue("q"), "team", NOW)


def test_top_says_who_borrows_from_whom_and_what_is_left() -> None:
    queues = [b.a_queue("a", b.spec(parent="org"), gpus=4), b.a_queue("b", b.spec(parent="org"), gpus=10)]
    borrower = a_job("big", 0, b.gpus(8), b.queue("a"), placed("n0", queue="a"))
    waiting = a_job("more", 1, b.gpus(8), b.queue("b"))
    root = b.a_queue("org", gpus=0)
    answer = top(settle(picture(root, *queues, borrower, waiting, nodes=1).snapshot, NOW))
    by_name = {each.queue: each for each in answer.queues}
    assert (by_name["a"].used, by_name["a"].borrowed) == ("8", "4")
    assert [(each.queue, each.amount) for each in by_name["a"].lenders] == [("b", "4")]
    assert (by_name["b"].lent, by_name["b"].waiting) == ("4", 1)
    assert by_name["org"].used == "8"
    (flavor,) = answer.flavors
    assert (flavor.gpus, flavor.free, flavor.largest) == (8, 0, 0)
    assert (answer.running, answer.waiting) == (1, 1)


def test_top_says_what_is_drawn_and_paid_where_flavors_state_it() -> None:
    jobs = [
        a_job("mine", 0, b.gpus(4), placed("n0")),
        a_job("theirs", 1, b.gpus(2), placed("n1"), b.namespace("other")),
    ]
    seen = picture(*jobs, a_job("waits", 9, b.gpus(9))).snapshot
    assert (top(settle(seen, NOW)).power, top(settle(seen, NOW)).own) == ([], None)
    flavors = {
        name: spec.model_copy(update={"watts_per_unit": 500.0, "price_per_hour": 2.0})
        for name, spec in seen.flavors.items()
    }
    answer = top(settle(replace(seen, flavors=flavors), NOW), "team", 400.0)
    (used,) = answer.power
    assert (used.queue, used.flavor, used.watts, used.cost_per_hour) == ("research", "h200", 3000, 12)
    assert used.carbon_grams_per_hour == pytest.approx(3 * 400)
    assert answer.own is not None
    assert (answer.own.watts, answer.own.cost_per_hour) == (2000, 8)


def test_gpus_that_nobody_can_use_are_fragmented() -> None:
    jobs = [a_job(f"j{number}", number, b.gpus(6), placed(f"n{number}")) for number in range(2)]
    answer = top(settle(picture(*jobs, a_job("waits", 9, b.gpus(6))).snapshot, NOW))
    assert answer.flavors[0].fragmentation_percent == 25.0


def test_jobs_of_other_namespaces_are_there_without_their_names() -> None:
    seen = picture(*BUSY, a_job("mine", 3, b.gpus(4)))
    known = asked(seen, "mine")
    assert "other/secret" in known.model_dump_json()
    answer = anonymous(known, "team", seen.snapshot.namespaces)
    text = answer.model_dump_json()
    assert "secret" not in text
    assert "TrainingJob team/big" in text
    assert [each.who for each in answer.holders] == ["TrainingJob team/big", "a job of another namespace"]
    assert f"{GPU}" in text, "resources are not taken for jobs"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("end of TrainingJob other/x.", "end of a job of another namespace."),
        ("InferenceService other/s (replica 3) 4", "a service of another namespace 4"),
        (
            "pods outside hold other/pod-1 (nvidia.com/gpu=1 on n0)",
            "pods outside hold somebody of another namespace (nvidia.com/gpu=1 on n0)",
        ),
        ("in one topology.other/rack", "in one topology.other/rack"),
        ("kept for other/x, which came first", "kept for somebody of another namespace, which came first"),
        ("other/p (ending) 2", "somebody of another namespace 2"),
    ],
)
def test_names_in_sentences_are_hidden_too(text: str, expected: str) -> None:
    why = Why(kind="TrainingJob", namespace="team", name="a", state="Waiting", message=text)
    assert anonymous(why, "team", ["team", "other"]).message == expected


def test_a_job_that_cannot_be_understood_is_left_out() -> None:
    broken: dict[str, Any] = a_job("broken", 0)
    broken["spec"]["workers"]["replicas"] = "many"
    assert picture(broken).snapshot.workloads == ()


def test_of_what_runs_in_a_queue_that_was_deleted_it_says_so_and_what_to_do() -> None:
    seen = picture(a_job("orphaned", 0, b.queue("gone"), placed("n0")), a_job("fine", 0, placed("n1")))
    answer = asked(seen, "orphaned")
    assert answer.message == "it has its place"
    (advice,) = answer.helps
    assert advice.startswith("create Queue 'gone' again")
    assert asked(seen, "fine").helps == []
