"""Of TrainingJobs, and by queue of all of them."""

from trainyard.api.failure import FailureClass
from trainyard.api.ledger import Category
from trainyard.metrics.definitions.metric import Group, counter, gauge

PHASES = ("Pending", "Admitted", "Running", "Restarting", "Suspending", "Suspended", "Complete", "Failed")
_JOB = ("namespace", "training_job")
JOB_INFO = gauge(
    "training_job_info",
    Group.TRAINING,
    "Always 1; what the job is. model is the entrypoint's image, or custom, for a program of the user's own.",
    *_JOB,
    "uid",
    "queue",
    "flavor",
    "model",
    "dataset",
)
JOB_PHASE = gauge(
    "training_job_phase",
    Group.TRAINING,
    "1 for the current phase; there is no series of the others.",
    *_JOB,
    "phase",
    phase=PHASES,
)
WORKER_STATES = ("desired", "active", "ready", "succeeded", "failed")
JOB_WORKERS = gauge(
    "training_job_workers",
    Group.TRAINING,
    "Pods of the current attempt; active ones have not ended. While the job has no place, what is 0 is left out.",
    *_JOB,
    "state",
    state=WORKER_STATES,
)
JOB_GPUS = gauge("training_job_gpus", Group.TRAINING, "GPUs that the whole gang asks for.", *_JOB)
JOB_STEP = gauge("training_job_step", Group.TRAINING, "Optimizer steps made.", *_JOB)
JOB_TOTAL_STEPS = gauge("training_job_total_steps", Group.TRAINING, "Optimizer steps in all.", *_JOB)
JOB_LOSS = gauge("training_job_loss", Group.TRAINING, "Training loss of the last report.", *_JOB)
JOB_THROUGHPUT = gauge(
    "training_job_samples_per_second", Group.TRAINING, "Throughput over all workers together, while they run.", *_JOB
)
JOB_METRIC = gauge(
    "training_job_metric",
    Group.TRAINING,
    "A measure on held-out data as the trainer reports it, such as accuracy or mse; of each job the first 16 names that it ever told.",
    *_JOB,
    "name",
)
JOB_MEASURES_LEFT_OUT = gauge(
    "training_job_measures_left_out",
    Group.TRAINING,
    "Measures of the last report that have no series, since the job told 16 other names before; absent where there are none.",
    *_JOB,
)
JOB_ETA = gauge(
    "training_job_eta_seconds",
    Group.TRAINING,
    "Time left until the last step; absent when the rate is unknown or no step is left.",
    *_JOB,
)
JOB_RESTARTS = counter(
    "training_job_restarts",
    Group.TRAINING,
    "Restarts of the gang; a disruption was not the program's fault.",
    *_JOB,
    "cause",
    cause=("failure", "disruption"),
)
JOB_LAST_PROGRESS = gauge(
    "training_job_last_progress_timestamp_seconds",
    Group.TRAINING,
    "When the trainer was last heard of, in Unix time.",
    *_JOB,
)
JOB_CHECKPOINT_STEP = gauge(
    "training_job_checkpoint_step", Group.TRAINING, "Step of the last durable checkpoint.", *_JOB
)
JOB_CHECKPOINT_TIME = gauge(
    "training_job_checkpoint_timestamp_seconds",
    Group.TRAINING,
    "When the last durable checkpoint became known, in Unix time.",
    *_JOB,
)
JOB_CHECKPOINT_INTERVAL = gauge(
    "training_job_checkpoint_interval_steps",
    Group.TRAINING,
    "Steps from one checkpoint to the next, as spec.training says or its trainer decided; absent without a claim, and for programs of the user's own.",
    *_JOB,
)
JOB_CHECKPOINT_SECONDS = gauge(
    "training_job_checkpoint_interval_seconds",
    Group.TRAINING,
    "Time from one checkpoint to the next as its trainer decided it; absent unless checkpointEverySteps is auto, as the next two.",
    *_JOB,
)
JOB_CHECKPOINT_STALL = gauge(
    "training_job_checkpoint_stall_seconds",
    Group.TRAINING,
    "How long training stands still for a checkpoint, by the median of the last ones.",
    *_JOB,
)
JOB_INTERRUPTION = gauge(
    "training_job_expected_interruption_seconds",
    Group.TRAINING,
    "How far apart unplanned interruptions of the gang are expected to be, as its trainer was told last.",
    *_JOB,
)
JOB_CHECKPOINT_FAILURES = counter(
    "training_job_checkpoint_failures",
    Group.TRAINING,
    "Checkpoints that could not be written since the program was started last, e.g. since the volume is full.",
    *_JOB,
)
JOB_BUDGET = gauge(
    "training_job_budget_gpu_seconds",
    Group.TRAINING,
    "GPU time that the job may use in all (spec.budget); absent without a budget.",
    *_JOB,
)
JOB_BUDGET_USED = gauge(
    "training_job_budget_used_gpu_seconds",
    Group.TRAINING,
    "GPU time that it has used until now; absent without a budget.",
    *_JOB,
)
JOB_FIRST_STEP = gauge(
    "training_job_first_step_seconds", Group.TRAINING, "From the job's creation to the end of its first step.", *_JOB
)
JOB_STRAGGLER = gauge(
    "training_job_straggler_factor",
    Group.TRAINING,
    "How many times as long as the others a worker on the node needed for its own part of a step when it was found to hold "
    "them up; absent while none does.",
    *_JOB,
    "node",
)
STRAGGLERS = counter(
    "training_job_stragglers",
    Group.TRAINING,
    "Workers that were found to hold their job up since the operator started.",
    "queue",
)
COMPLETIONS = counter(
    "training_job_completions",
    Group.TRAINING,
    "Jobs that ended since the operator started.",
    "queue",
    "result",
    result=("complete", "failed"),
)
FAILURES = counter(
    "training_job_failures",
    Group.TRAINING,
    "Failures that ended an attempt since the operator started, by class.",
    "queue",
    "class",
    **{"class": tuple(each.value for each in FailureClass)},
)
LEDGER_SECONDS = gauge(
    "training_job_ledger_seconds",
    Group.TRAINING,
    "What the time of jobs was spent on since their creation, summed over all of the queue that exist.",
    "queue",
    "category",
    category=tuple(each.value for each in Category),
)
GOODPUT = gauge(
    "training_job_goodput_ratio",
    Group.TRAINING,
    "Productive share of the GPU time that the jobs of the queue which exist have held; absent while they held none.",
    "queue",
)
UNPRODUCTIVE = gauge(
    "training_job_unproductive_gpu_seconds",
    Group.TRAINING,
    "GPU time that was held and not productive, by what took it, summed over all jobs of the queue that exist: class of a "
    "failure, reason of a status, Saving, DataWait, Hang, or other.",
    "queue",
    "cause",
)
