"""Of the alerts about queues."""

from datetime import UTC, datetime, timedelta
from itertools import cycle

from tests import builders as b
from tests.drills.drill import Drill
from tests.drills.ground import Ground
from trainyard.api.names import GPU

_MADE_WAY = 30
_OWNER_COMES_AND_GOES = 15.0


def _too_large(ground: Ground) -> None:
    ground.lay_out()
    ground.job("huge", b.gpus(640))


def _nodes_are_cordoned(ground: Ground) -> None:
    ground.lay_out(2)
    ground.kubectl("cordon", ground.node(2))
    ground.job("wide", b.workers(2), b.gpus(8))


def _restored_after_two_days(ground: Ground) -> None:
    """As `trainyard restore` writes it, which is how a job can be older than the cluster that it waits in."""
    ground.lay_out()
    ground.job("runs", b.gpus(8))
    ground.until_phase("runs", "Running", 60)
    made = ground.job("waits", b.gpus(8))
    now = datetime.now(UTC)
    known = {
        "uid": made["metadata"]["uid"],
        "since": (now - timedelta(days=2)).isoformat(),
        "taken": now.isoformat(),
    }
    ground.patch("TrainingJob", "waits", {"status": {"restored": known}}, "/status")


def _limit_below_what_is_held(ground: Ground) -> None:
    ground.lay_out()
    ground.job("holds", b.gpus(8))
    ground.until_phase("holds", "Running", 60)
    quota = {"name": ground.flavor, "resources": [{"name": GPU, "guaranteed": "2", "limit": "4"}]}
    ground.patch("Queue", ground.queue, {"spec": {"flavors": [quota]}})


def _volume_is_not_there(ground: Ground) -> None:
    ground.lay_out()
    claim = b.a_claim("results", namespace=ground.namespace)
    claim["spec"] |= {"storageClassName": "nobody-serves", "resources": {"requests": {"storage": "1Gi"}}}
    ground.create(claim)
    ground.job("idle", b.storage("results"))


def _owner_takes_back(ground: Ground) -> None:
    """Many small ones borrow; then comes the owner of the quota, and goes, and comes again."""
    tree = f"{ground.queue}-tree"
    ground.lay_out(4, quota=0, parent=tree)
    ground.add_queue(tree, 0)
    ground.add_queue(f"{ground.queue}-owner", 32, parent=tree, preemption={"reclaim": "Any"})
    for number in range(_MADE_WAY):
        ground.job(f"borrows-{number}")
    for number in range(_MADE_WAY):
        ground.until_phase(f"borrows-{number}", "Running", 90)
    ground.job("owner", b.queue(f"{ground.queue}-owner"), b.workers(4), b.gpus(8))
    ground.until(lambda: any(each["reason"] == "Preempted" for each in ground.items("Event")), 90)
    suspended = cycle((True, False))
    ground.keeps(
        lambda: ground.patch("TrainingJob", "owner", {"spec": {"suspend": next(suspended)}}), _OWNER_COMES_AND_GOES
    )


def _budget_is_used_up(ground: Ground) -> None:
    ground.lay_out(budget={"gpuHours": "0.001"})
    ground.job("spends", b.gpus(8))


DRILLS = (
    Drill(
        "TrainyardNeverAdmissible",
        _too_large,
        {"queue": "neveradmissible", "reason": "ExceedsMaxQuota"},
        ("can hold at most",),
        {"JOB": "huge", "NAMESPACE": "neveradmissible"},
    ),
    Drill(
        "TrainyardQueueBelowGuarantee",
        _nodes_are_cordoned,
        {"queue": "queuebelowguarantee"},
        ("fit on no set of the 1 nodes", "Ready,SchedulingDisabled"),
        {"JOB": "wide", "NAMESPACE": "queuebelowguarantee"},
    ),
    Drill(
        "TrainyardQueueWaitsLong",
        _restored_after_two_days,
        {"queue": "queuewaitslong"},
        ("queuewaitslong/runs",),
        {"JOB": "waits", "NAMESPACE": "queuewaitslong"},
    ),
    Drill(
        "TrainyardQuotaExceeded",
        _limit_below_what_is_held,
        {"queue": "quotaexceeded", "flavor": "quotaexceeded", "resource": GPU},
        ("OverQuota",),
    ),
    Drill(
        "TrainyardQuotaHeldIdle",
        _volume_is_not_there,
        {"namespace": "quotaheldidle", "training_job": "idle"},
        ("nobody-serves",),
    ),
    Drill(
        "TrainyardPreemptionsOften",
        _owner_takes_back,
        {"queue": "preemptionsoften"},
        ("Preempted", "preemptionsoften/owner"),
    ),
    Drill(
        "TrainyardQueueBudgetUsedUp",
        _budget_is_used_up,
        {"queue": "queuebudgetusedup"},
        ("gpuHours",),
    ),
)
