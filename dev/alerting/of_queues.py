"""Alerts about queues: who waits too long, who holds more than allowed, who makes way too often."""

from dev.alerting.rule import Alert, Group, Recording, Severity

_QUEUE = "kubectl get tyq QUEUE -o yaml"
_TOP = "trainyard top"
_WHY = "trainyard why JOB -n NAMESPACE"
_WAITING = "trainyard get -A | grep Pending"

_RECORDINGS = (
    Recording(
        "queue:trainyard_quota_used:ratio",
        """
        max by (queue, flavor, resource) (trainyard_quota_used)
        / (max by (queue, flavor, resource) (trainyard_quota_guaranteed) > 0)
        """,
    ),
)
_WAIT = (
    Alert(
        name="TrainyardNeverAdmissible",
        severity=Severity.INFO,
        expr="""
            sum by (queue, reason) (
              max by (queue, reason) (trainyard_queue_pending_workloads{reason=~"ExceedsMaxQuota|NoMatchingFlavor|Misconfigured"})
            ) > 0
        """,
        after="10m",
        summary="{{ $value }} in queue {{ $labels.queue }} can never start: {{ $labels.reason }}",
        description="Something waits that cannot start as it is written, however long it waits.",
        impact="Its owner waits for nothing, unless they read its status.",
        diagnosis=(_WAITING, _WHY),
        remedy="Tell the owner; trainyard why names the field and, where there is one, the smallest change with which it would start. The queue (unknown) stands for names of queues that do not exist.",
    ),
    Alert(
        name="TrainyardQueueBelowGuarantee",
        severity=Severity.WARNING,
        expr="""
            sum by (queue) (max by (queue, reason) (
              trainyard_queue_pending_workloads{reason=~"WaitingForQuota|TopologyPlacementFailed|WaitingForPreemptedWorkloads"}
            )) > 0
            and on (queue) max by (queue) (queue:trainyard_quota_used:ratio{resource="nvidia.com/gpu"}) < 0.5
        """,
        after="1h",
        summary="{{ $value }} wait in queue {{ $labels.queue }}, which uses less than half of its guarantee",
        description="For an hour something has waited for GPUs although its queue uses less than half of what it is guaranteed in each flavor.",
        impact="The queue does not get what it was promised.",
        diagnosis=(_TOP, _WAITING, _WHY, "kubectl get nodes -o wide"),
        remedy="WaitingForPreemptedWorkloads: pods that make way do not end; look for them with kubectl get pods -A --field-selector status.phase=Running. TopologyPlacementFailed: free GPUs are spread over nodes; wait, or relax spec.topology. WaitingForQuota: one gang larger than what is free of the guarantee, or nodes are missing.",
    ),
    Alert(
        name="TrainyardQueueWaitsLong",
        severity=Severity.INFO,
        expr="""
            max by (queue) (trainyard_queue_oldest_pending_seconds) > 86400
            and on (queue) sum by (queue) (max by (queue, reason) (
              trainyard_queue_pending_workloads{reason=~"WaitingForQuota|TopologyPlacementFailed|WaitingForPreemptedWorkloads"}
            )) > 0
        """,
        after="30m",
        summary="Something has waited in queue {{ $labels.queue }} for {{ $value | humanizeDuration }}",
        description="The oldest that waits for GPUs has done so for more than a day.",
        impact="Whoever shares the queue waits as long, or longer.",
        diagnosis=(_WAITING, _WHY, _TOP, _QUEUE),
        remedy="trainyard why says what holds it up and when it is expected to start. A queue that is full for days needs a larger guarantee, or jobs with spec.maxRunSeconds.",
    ),
)
_HOLD = (
    Alert(
        name="TrainyardQuotaExceeded",
        severity=Severity.WARNING,
        expr="""
            max by (queue, flavor, resource) (trainyard_quota_used)
            > on (queue, flavor, resource) max by (queue, flavor, resource) (trainyard_quota_limit)
        """,
        after="10m",
        summary="Queue {{ $labels.queue }} holds {{ $value }} {{ $labels.resource }} of {{ $labels.flavor }}, more than its limit",
        description="What the queue holds is above its limit. Nothing is taken away when a limit is lowered below what is held; otherwise TrainyardInvariantViolated fires, too.",
        impact="Others of the tree have less to borrow until jobs of the queue end.",
        diagnosis=(_QUEUE, _TOP, "kubectl get events -A --field-selector reason=OverQuota"),
        remedy='Wait until jobs end, or suspend one: kubectl patch tyj JOB -n NAMESPACE --type merge -p \'{"spec":{"suspend":true}}\'. It writes a checkpoint first.',
    ),
    Alert(
        name="TrainyardQuotaHeldIdle",
        severity=Severity.WARNING,
        expr="""
            max by (namespace, training_job) (trainyard_training_job_phase{phase=~"Admitted|Restarting|Suspending"}) == 1
            and on (namespace, training_job) max by (namespace, training_job) (trainyard_training_job_gpus) > 0
        """,
        after="20m",
        summary="{{ $labels.namespace }}/{{ $labels.training_job }} holds its GPUs and has not run for 20 minutes",
        description="The job has its place, but its pods are not all running: they pull an image, wait for a volume, restart, or do not end.",
        impact="Its GPUs are idle and nobody else may use them.",
        diagnosis=(
            "trainyard get JOB -n NAMESPACE -o wide",
            "kubectl get pods -n NAMESPACE -l trainyard.dev/job=JOB -o wide",
            "kubectl get events -n NAMESPACE --sort-by=.lastTimestamp",
        ),
        remedy='The events of its pods say what they wait for: an image that is not there, a claim that is not bound, a node whose kubelet does not answer. Suspend the job until that is mended: kubectl patch tyj JOB -n NAMESPACE --type merge -p \'{"spec":{"suspend":true}}\'.',
    ),
    Alert(
        name="TrainyardPreemptionsOften",
        severity=Severity.WARNING,
        expr="sum by (queue) (increase(trainyard_preemptions_total[1h])) > 20",
        after="0m",
        summary="{{ $value | humanize }} of queue {{ $labels.queue }} made way within an hour",
        description="Jobs or replicas of the queue make way for others again and again.",
        impact="Each loses what it did since its last checkpoint, and the time of a start.",
        diagnosis=(_TOP, _QUEUE, "kubectl get events -A --field-selector reason=Preempted"),
        remedy="Raise the guarantee of the queue, or give those that cause it a queue with a guarantee of their own. A service that scales up and down all the time: lengthen spec.autoscaling.stableWindowSeconds.",
    ),
)
_BUDGETS = (
    Alert(
        name="TrainyardQueueBudgetUsedUp",
        severity=Severity.INFO,
        expr="max by (queue) (trainyard_queue_budget_used_gpu_seconds) >= on (queue) max by (queue) (trainyard_queue_budget_gpu_seconds)",
        after="1m",
        summary="Queue {{ $labels.queue }} has used its GPU time of this period",
        description="The jobs of the queue have used what spec.budget allows them in the current period.",
        impact="What runs goes on. Nothing new of the queue starts before the next period.",
        diagnosis=(_QUEUE, _WAITING, _TOP),
        remedy="Nothing, if that is what the budget is for. Otherwise raise spec.budget.gpuHours: it has effect at once.",
    ),
)
QUEUES = Group("Queues", _RECORDINGS, (*_WAIT, *_HOLD, *_BUDGETS))
