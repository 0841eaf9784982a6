"""One training job: is it getting on, what would a restart cost, who holds it up."""

from dev.dashboards.board import CLUSTERS, NAMESPACES, TRAINING_JOB, Board, Row, Variable, scope
from dev.dashboards.fleet import PHASES
from dev.dashboards.panel import NEVER, PLAIN, Color, Look, Panel, Query, Unit, growing, number
from dev.dashboards.query import top
from trainyard.metrics import definitions as d

_VARIABLES = (CLUSTERS, NAMESPACES, Variable("training_job", "Training job", d.JOB_INFO, one=True))
_S = scope(*_VARIABLES)
_STEP, _SAVED, _STEPS = (_S.once(each) for each in (d.JOB_STEP, d.JOB_CHECKPOINT_STEP, d.JOB_TOTAL_STEPS))
_RATE = f"max by (cluster, namespace, training_job) (deriv({_S.series(d.JOB_STEP)}[10m]))"
_RUNS = f"and on (cluster, namespace, training_job) ({_S.once(d.JOB_PHASE, phase='Running')} == 1)"
_WORKERS = {
    "desired": Color.PLAIN,
    "active": Color.IDLE,
    "ready": Color.GOOD,
    "succeeded": Color.BUSY,
    "failed": Color.BAD,
}

_NOW = (
    number(
        "How far is it?",
        "Optimizer steps made, as a share of all.",
        Unit.SHARE,
        f"max ({_STEP} / {_STEPS})",
        *PLAIN,
        width=3,
    ),
    number(
        "How long will it take?",
        "Time left until the last step, at the throughput of now; none when the rate is unknown or no step is left.",
        Unit.SECONDS,
        f"max ({_S.once(d.JOB_ETA)})",
        *PLAIN,
        width=3,
        empty="unknown",
    ),
    number(
        "When was it last heard of?",
        "Time since the last report of the trainer, while the job runs. Reports come at least each half minute while it makes steps.",
        Unit.SECONDS,
        f"time() - max ({_S.once(d.JOB_LAST_PROGRESS)} {_RUNS})",
        *growing(120, 600),
        width=3,
        empty="it does not run",
    ),
    number(
        "What would a restart cost?",
        "Steps since the last durable checkpoint: a restart makes them again.",
        Unit.STEPS,
        f"max (({_STEP} - {_SAVED}) {_RUNS})",
        *PLAIN,
        width=3,
        empty="no checkpoint, or it does not run",
    ),
    number(
        "How old is the last checkpoint?",
        "Time since the last durable checkpoint became known; it grows while the job waits, too.",
        Unit.SECONDS,
        f"time() - max ({_S.once(d.JOB_CHECKPOINT_TIME)})",
        *PLAIN,
        width=3,
        empty="no checkpoint",
    ),
    number(
        "How much of the budget is used?",
        "GPU time used, as a share of spec.budget. At 80 % the owner is warned, at 100 % the job is suspended after a checkpoint.",
        Unit.SHARE,
        f"max ({_S.once(d.JOB_BUDGET_USED)} / {_S.once(d.JOB_BUDGET)})",
        *growing(0.8, 1),
        width=3,
        empty="no budget",
    ),
    number(
        "Do checkpoints fail?",
        "Checkpoints that could not be written since the program was started last. Usually the volume is full: status.conditions say so.",
        Unit.COUNT,
        f"max ({_S.once(d.JOB_CHECKPOINT_FAILURES)})",
        *NEVER,
        width=3,
    ),
    number(
        "How often did it restart?",
        "Restarts since its creation, whatever the cause.",
        Unit.COUNT,
        f"sum ({_S.once(d.JOB_RESTARTS)})",
        *growing(1, 5),
        width=3,
    ),
)
_LIFE = (
    Panel(
        "In what phase was it when?",
        "The job's phase. Restarting again and again: look at status.lastFailure.",
        Unit.YES,
        (Query(f"max by (phase) ({_S.series(d.JOB_PHASE)} == 1)", "{{phase}}"),),
        Look.RIBBON,
        colors=PHASES,
    ),
    Panel(
        "Are all workers there?",
        "Pods of the current attempt by state. Fewer ready than desired for long: kubectl describe pod of the missing one.",
        Unit.COUNT,
        (Query(f"max by (state) ({_S.series(d.JOB_WORKERS)})", "{{state}}"),),
        colors=_WORKERS,
    ),
    Panel(
        "Does it restart, and whose fault is it?",
        "Restarts since its creation by cause: disruption is the cluster's, failure the program's.",
        Unit.COUNT,
        (Query(f"max by (cause) ({_S.series(d.JOB_RESTARTS)})", "{{cause}}"),),
        colors={"failure": Color.BAD, "disruption": Color.DOUBT},
    ),
    Panel(
        "Who holds it up?",
        "How many times as long as the others a worker on the node needed for its own part of a step, while it holds them up.",
        Unit.FACTOR,
        (Query(top(_S.once(d.JOB_STRAGGLER)), "{{node}}"),),
        limits=growing(1.2, 2),
        empty="nobody",
    ),
)
_PROGRESS = (
    Panel(
        "Does it make steps, and are they saved?",
        "Optimizer steps made, and the step of the last durable checkpoint. A flat line of steps is a hang or a restart; a flat one of checkpoints means work at risk.",
        Unit.STEPS,
        (Query(f"max ({_STEP})", "made"), Query(f"max ({_SAVED})", "saved")),
        colors={"made": Color.GOOD, "saved": Color.IDLE},
    ),
    Panel(
        "Do checkpoints come in time?",
        "Steps since the last durable checkpoint, as a multiple of those from one to the next. Above 2 one is overdue.",
        Unit.FACTOR,
        (Query(f"max (({_STEP} - {_SAVED}) / {_S.once(d.JOB_CHECKPOINT_INTERVAL)} {_RUNS})", "since the last"),),
        limits=growing(1.5, 2),
        empty="no checkpoint, or its own program",
    ),
    Panel(
        "How often does it save, and why?",
        "With checkpointEverySteps: auto, the time from one checkpoint to the next, how long training stands still for one, and how far apart interruptions are expected to be.",
        Unit.SECONDS,
        (
            Query(f"max ({_S.once(d.JOB_CHECKPOINT_SECONDS)})", "from one to the next"),
            Query(f"max ({_S.once(d.JOB_CHECKPOINT_STALL)})", "held up by one"),
            Query(f"max ({_S.once(d.JOB_INTERRUPTION)})", "expected between interruptions"),
        ),
        empty="its spec says how often",
    ),
    Panel(
        "How old is the last checkpoint, in work?",
        "Time that the steps since the last durable checkpoint took, at the rate of now.",
        Unit.SECONDS,
        (Query(f"max (({_STEP} - {_SAVED}) / ({_RATE} > 0) {_RUNS})", "work at risk"),),
        limits=growing(1800, 7200),
    ),
    Panel(
        "How fast is it?",
        "Samples a second over all workers together. A fall without a restart: stragglers, data, or a neighbour.",
        Unit.PER_SECOND,
        (Query(f"max ({_S.once(d.JOB_THROUGHPUT)})", "samples"),),
    ),
    Panel(
        "Does it learn?",
        "Training loss of the last report.",
        Unit.COUNT,
        (Query(f"max ({_S.once(d.JOB_LOSS)})", "loss"),),
    ),
    Panel(
        "How good is it on held-out data?",
        "Measures on held-out data as the trainer reports them, such as accuracy or mse; the first 16 names that it ever told.",
        Unit.COUNT,
        (
            Query(top(f"max by (name) ({_S.series(d.JOB_METRIC)})"), "{{name}}"),
            Query(f"max ({_S.once(d.JOB_MEASURES_LEFT_OUT)})", "names left out"),
        ),
    ),
    Panel(
        "How long did its first step take to come?",
        "From the job's creation to the end of its first step, waiting included.",
        Unit.SECONDS,
        (Query(f"max ({_S.once(d.JOB_FIRST_STEP)})", "first step"),),
        Look.RANKING,
        empty="not yet",
    ),
)
BOARD = Board(
    TRAINING_JOB,
    "Training job",
    "Is the job getting on, what would a restart cost, and who holds it up?",
    _VARIABLES,
    (Row("Now", _NOW), Row("Life", _LIFE), Row("Progress", _PROGRESS)),
)
