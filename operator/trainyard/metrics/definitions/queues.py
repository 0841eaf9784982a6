"""Of queues: their quota, and who waits in them."""

from trainyard.api.reasons import Waiting
from trainyard.metrics.definitions.metric import Group, counter, gauge, histogram

_WAIT = (0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14_400, 43_200, 86_400, 259_200, 604_800)

QUOTA_GUARANTEED = gauge(
    "quota_guaranteed", Group.QUEUES, "Quota, in units of the resource.", "queue", "flavor", "resource"
)
QUOTA_USED = gauge(
    "quota_used",
    Group.QUEUES,
    "Held by what is admitted, and by pods of deleted jobs that still end; in units of the resource.",
    "queue",
    "flavor",
    "resource",
)
PENDING = gauge(
    "queue_pending_workloads",
    Group.QUEUES,
    "Jobs and replicas that wait for a place, by the reason that their status gives.",
    "queue",
    "reason",
    reason=tuple(each.value for each in Waiting),
)
ADMITTED = gauge("queue_admitted_workloads", Group.QUEUES, "Jobs and replicas that hold a place.", "queue")
OLDEST_PENDING = gauge(
    "queue_oldest_pending_seconds", Group.QUEUES, "Age of the oldest that waits; 0 when none does.", "queue"
)
ADMISSION_WAIT = histogram(
    "admission_wait_seconds", Group.QUEUES, "From the wish for a place to the admission.", _WAIT, "queue"
)
QUOTA_LIMIT = gauge(
    "quota_limit",
    Group.QUEUES,
    "The most that the queue may hold, borrowed quota included; absent where it sets no limit.",
    "queue",
    "flavor",
    "resource",
)
BORROWED_SHARE = gauge(
    "queue_borrowed_share",
    Group.QUEUES,
    "What the queue borrows of its tree, of the resource of which it borrows most, divided by its weight: the smaller goes first.",
    "queue",
)
ETA_ERROR = histogram(
    "start_eta_error_seconds",
    Group.QUEUES,
    "Distance between the start that was first told to somebody who waited and the real one.",
    _WAIT,
    "queue",
)
PREEMPTIONS = counter(
    "preemptions",
    Group.QUEUES,
    "Jobs and replicas that were asked to make way, by their queue and the one that gets the place.",
    "queue",
    "by_queue",
)
PREEMPTED_SECONDS = counter(
    "preempted_gpu_seconds_lost",
    Group.QUEUES,
    "GPU-seconds of work after the last durable checkpoint of jobs that made way.",
    "queue",
)
QUEUE_BUDGET = gauge(
    "queue_budget_gpu_seconds",
    Group.QUEUES,
    "GPU time that the queue's jobs may use in a period (spec.budget); absent without a budget.",
    "queue",
)
QUEUE_BUDGET_USED = gauge(
    "queue_budget_used_gpu_seconds",
    Group.QUEUES,
    "GPU time that they have used in the current period, as the queue's status says; absent without a budget.",
    "queue",
)
KEPT_PLACES = counter(
    "kept_places",
    Group.QUEUES,
    "Places kept for somebody who waits: made; moved later because a job ran longer than expected; broken, since pods stood in it that no job accounts for.",
    "result",
    result=("made", "moved_later", "broken"),
)
