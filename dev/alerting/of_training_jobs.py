"""Alerts about TrainingJobs: those that do not move on, those that fail again and again, and what it costs.

Series of a job are first reduced to the largest over all operators, so that a new operator's series goes on where the old
one's ended: `changes` and `increase` over each alone would see neither what changed nor what grew between them.
"""

from dev.alerting.rule import Alert, Group, Recording, Severity

_GET = "trainyard get JOB -n NAMESPACE -o wide"
_LOGS = "trainyard logs JOB -n NAMESPACE --tail 100"
_PREVIOUS = "trainyard logs JOB -n NAMESPACE --previous --tail 100"
_WHY = "trainyard why JOB -n NAMESPACE"
_PODS = "kubectl get pods -n NAMESPACE -l trainyard.dev/job=JOB -o wide"
_LATEST = "trainyard get -A -o wide"
_ANEW = 'kubectl patch tyj JOB -n NAMESPACE --type merge -p \'{"spec":{"suspend":true}}\''

_STEP = "training_job:trainyard_training_job_step:max"
_RESTARTS = "training_job:trainyard_training_job_restarts:max"
_CHECKPOINT_FAILURES = "training_job:trainyard_training_job_checkpoint_failures:max"
_LEDGER = "queue:trainyard_training_job_ledger_seconds:max"
_GROWN = "queue:trainyard_training_job_ledger_seconds:grown6h"
_HELD = f'sum by (queue) ({_GROWN}{{category!~"queued|suspended"}})'
_SAVED = "max by (namespace, training_job) (trainyard_training_job_checkpoint_step)"
_SAVED_EARLIER = "max by (namespace, training_job) (trainyard_training_job_checkpoint_step offset 3h)"
_RUNS = 'max by (namespace, training_job) (trainyard_training_job_phase{phase="Running"}) == 1'

_RECORDINGS = (
    Recording(_STEP, "max by (namespace, training_job) (trainyard_training_job_step)"),
    Recording(_RESTARTS, "max by (namespace, training_job, cause) (trainyard_training_job_restarts_total)"),
    Recording(
        _CHECKPOINT_FAILURES, "max by (namespace, training_job) (trainyard_training_job_checkpoint_failures_total)"
    ),
    Recording(_LEDGER, "max by (queue, category) (trainyard_training_job_ledger_seconds)"),
    # Since its lowest of six hours: a job that is deleted takes its part of the sum with it, which is no growth of the rest.
    Recording(_GROWN, f"{_LEDGER} - min_over_time({_LEDGER}[6h])"),
)
_STAND = (
    Alert(
        name="TrainyardJobStuck",
        severity=Severity.CRITICAL,
        expr=f"{_RUNS} and on (namespace, training_job) changes({_STEP}[10m]) == 0",
        after="30m",
        summary="{{ $labels.namespace }}/{{ $labels.training_job }} runs and makes no step",
        description="All pods run, and the number of steps has not changed for half an hour.",
        impact="The job holds its GPUs for nothing. The trainer's own watch for hangs should have ended it by now.",
        diagnosis=(_GET, _LOGS, _WHY, _PODS),
        remedy=f"A step that really takes longer than half an hour, or a long evaluation, is well. Otherwise start it again from its last checkpoint: {_ANEW}, and with false when its pods are gone; and set spec.restart.hangSeconds.",
    ),
    Alert(
        name="TrainyardJobNoFirstStep",
        severity=Severity.WARNING,
        expr=f"""
            {_RUNS}
            and on (namespace, training_job) max by (namespace, training_job) (trainyard_training_job_info{{dataset!=""}})
            unless on (namespace, training_job) max by (namespace, training_job) (trainyard_training_job_first_step_seconds)
        """,
        after="45m",
        summary="{{ $labels.namespace }}/{{ $labels.training_job }} has run for 45 minutes without a first step",
        description="All pods of a job with a built-in model run, and no first step was reported. Programs of users' own are left out, since they need not report.",
        impact="The job holds its GPUs for nothing.",
        diagnosis=(_LOGS, _GET, _PODS),
        remedy="The log says where it is: it downloads or prepares a data set, waits for the other workers, or compiles. Workers that do not find each other: a network policy, or a node without the others' network.",
    ),
    Alert(
        name="TrainyardJobWorkersNotReady",
        severity=Severity.WARNING,
        expr=f"""
            max by (namespace, training_job) (trainyard_training_job_workers{{state="active"}})
            - on (namespace, training_job) max by (namespace, training_job) (trainyard_training_job_workers{{state="ready"}}) > 0
            and on (namespace, training_job) {_RUNS}
        """,
        after="15m",
        summary="{{ $value }} pods of {{ $labels.namespace }}/{{ $labels.training_job }} are not ready",
        description="The job counts as running, and some of its pods have not been ready for a quarter of an hour.",
        impact="The others wait for them, or go on without them where the job is elastic.",
        diagnosis=(_PODS, _LOGS, "kubectl get events -n NAMESPACE --sort-by=.lastTimestamp"),
        remedy="The pod's events say why. A kubelet that does not answer: TrainyardNodesNotReady.",
    ),
    Alert(
        name="TrainyardJobStraggler",
        severity=Severity.WARNING,
        expr="max by (namespace, training_job, node) (trainyard_training_job_straggler_factor) > 1",
        after="30m",
        summary='A worker of {{ $labels.namespace }}/{{ $labels.training_job }} on {{ $labels.node }} takes {{ $value | printf "%.1f" }} times as long as the others',
        description="The others wait for one worker in each step, for half an hour by now.",
        impact="All GPUs of the job work at the speed of the slowest.",
        diagnosis=(
            _WHY,
            "kubectl describe node NODE",
            "kubectl get pods -A -o wide --field-selector spec.nodeName=NODE",
        ),
        remedy=f"If the node is to blame: kubectl cordon NODE, then let the job be placed anew from its last checkpoint: {_ANEW}, and with false when its pods are gone. If every run is slow at the same rank, the data are spread unevenly.",
    ),
)
_FAIL = (
    Alert(
        name="TrainyardJobRestartsOften",
        severity=Severity.WARNING,
        expr=f"increase({_RESTARTS}[1h]) >= 4",
        after="0m",
        summary="{{ $labels.namespace }}/{{ $labels.training_job }} restarted {{ $value | humanize }} times within an hour, by {{ $labels.cause }}",
        description="The job starts again and again. cause is failure, or disruption where the program was not at fault.",
        impact="It repeats what it did since its last checkpoint each time, and counts down to spec.restart.maxRestarts.",
        diagnosis=(_GET, _PREVIOUS, "kubectl get tyj JOB -n NAMESPACE -o jsonpath='{.status.lastFailure}'"),
        remedy="status.lastFailure has class and remedy. failure: suspend the job until its owner mended it. disruption: look for nodes that come and go, or evictions for memory.",
    ),
    Alert(
        name="TrainyardJobsHang",
        severity=Severity.WARNING,
        expr='sum by (queue) (increase(trainyard_training_job_failures_total{class="Hang"}[1h])) > 0',
        after="0m",
        summary="A job of queue {{ $labels.queue }} hung and was started again",
        description="A trainer made no step for ten times as long as one takes. Its stacks were kept and the program was started again.",
        impact="The time of the hang and the work since the last checkpoint are lost.",
        diagnosis=(_LATEST, _GET, _PREVIOUS),
        remedy="The failure names the rank that the others wait for, and where the stacks lie on the claim. The same node twice: kubectl cordon NODE. The same place in the program: it is the program's.",
    ),
    Alert(
        name="TrainyardFailuresOfThePlatform",
        severity=Severity.WARNING,
        expr='sum by (queue, class) (increase(trainyard_training_job_failures_total{class=~"Infrastructure|Node|GPU|Network|Storage"}[1h])) >= 5',
        after="0m",
        summary="{{ $value | humanize }} failures of class {{ $labels.class }} in queue {{ $labels.queue }} within an hour",
        description="Many jobs fail for a reason that is not their programs'.",
        impact="Jobs restart from their last checkpoints and lose work.",
        diagnosis=(_LATEST, "kubectl get nodes -o wide", "kubectl get events -A --sort-by=.lastTimestamp"),
        remedy="docs/failure-classes.md has what usually helps for each class. One node in most of them: kubectl cordon NODE. All nodes: network, storage or driver.",
    ),
    Alert(
        name="TrainyardCheckpointsFail",
        severity=Severity.CRITICAL,
        expr=f"increase({_CHECKPOINT_FAILURES}[30m]) > 0",
        after="0m",
        summary="{{ $labels.namespace }}/{{ $labels.training_job }} cannot write checkpoints",
        description="The trainer could not write a checkpoint, and went on without it.",
        impact="A restart would begin at an older checkpoint, and lose all since then.",
        diagnosis=(
            _GET,
            "trainyard logs JOB -n NAMESPACE --rank 0 --tail 100",
            "kubectl exec -n NAMESPACE JOB-worker-1-0 -- df -h",
            "kubectl get pvc -n NAMESPACE",
        ),
        remedy="A full volume: enlarge the claim, or delete old checkpoints and lower what spec.training keeps. A read-only volume: its storage is at fault.",
    ),
    Alert(
        name="TrainyardCheckpointOverdue",
        severity=Severity.WARNING,
        expr=f"""
            {_STEP} - on (namespace, training_job) ({_SAVED} or {_STEP} * 0)
            > on (namespace, training_job) 2 * max by (namespace, training_job) (trainyard_training_job_checkpoint_interval_steps)
            and on (namespace, training_job) {_RUNS}
        """,
        after="10m",
        summary="{{ $labels.namespace }}/{{ $labels.training_job }} has made {{ $value }} steps since its last checkpoint",
        description="The job has made twice as many steps as there are from one checkpoint to the next (spec.training.checkpointEverySteps, or an epoch), and no new one is durable.",
        impact="A restart would make all those steps again.",
        diagnosis=("trainyard logs JOB -n NAMESPACE --rank 0 --tail 100", _GET, "kubectl get pvc -n NAMESPACE"),
        remedy="Checkpoints that fail: see TrainyardCheckpointsFail. Those that take longer than the steps between them: a faster volume, or a larger spec.training.checkpointEverySteps. Reports without checkpoints: the log of rank 0 says what it saves.",
    ),
    Alert(
        name="TrainyardNoNewCheckpoint",
        severity=Severity.WARNING,
        expr=f"""
            {_SAVED} == {_SAVED_EARLIER}
            and on (namespace, training_job) {_STEP} > {_STEP} offset 3h
            and on (namespace, training_job) {_RUNS}
        """,
        after="10m",
        summary="{{ $labels.namespace }}/{{ $labels.training_job }} has written no checkpoint for three hours",
        description="The job moves on, and its last durable checkpoint is the one that it had three hours ago.",
        impact="A restart would lose three hours.",
        diagnosis=("trainyard logs JOB -n NAMESPACE --rank 0 --tail 100", _GET),
        remedy="Ask for one: kubectl annotate tyj JOB -n NAMESPACE trainyard.dev/checkpoint-requested=now --overwrite. If it comes, the interval in spec.training is too long; if not, see TrainyardCheckpointsFail.",
    ),
)
_COST = (
    Alert(
        name="TrainyardLostWorkHigh",
        severity=Severity.WARNING,
        expr=f"""
            sum by (queue) ({_GROWN}{{category="lostWork"}}) / on (queue) {_HELD} > 0.1
            and on (queue) {_HELD} > 7200
        """,
        after="30m",
        summary="{{ $value | humanizePercentage }} of the time that jobs of {{ $labels.queue }} held their place is work done twice",
        description="Of what the queue's jobs did within six hours, more than a tenth was lost by restarts and done again.",
        impact="GPU time is spent twice.",
        diagnosis=(_LATEST, _WHY),
        remedy="trainyard why shows what a job lost and by what cause. Write checkpoints more often where restarts cannot be helped.",
    ),
    Alert(
        name="TrainyardGoodputLow",
        severity=Severity.INFO,
        expr=f"""
            sum by (queue) ({_GROWN}{{category="productive"}}) / on (queue) {_HELD} < 0.5
            and on (queue) {_HELD} > 7200
        """,
        after="1h",
        summary="Jobs of {{ $labels.queue }} train for {{ $value | humanizePercentage }} of the time that they hold their place",
        description="Of what the queue's jobs did within six hours, less than half was training: the rest was starting, loading, waiting for data, saving, restarting.",
        impact="Half of the GPU time is idle.",
        diagnosis=(_LATEST, _WHY),
        remedy="trainyard_training_job_ledger_seconds by category says where it goes. pulling and starting: many short jobs with large images. dataWait: faster storage, or more CPU for the workers.",
    ),
)
TRAINING_JOBS = Group("Training jobs", _RECORDINGS, (*_STAND, *_FAIL, *_COST))
