"""Goodput: what the time of jobs and GPUs is spent on, and what it is lost to."""

from dev.dashboards.board import CLUSTERS, GOODPUT, QUEUE_NAMES, TRAINING_JOB, Board, Row, scope
from dev.dashboards.panel import Color, Look, Panel, Query, Unit, falling, growing, number
from dev.dashboards.query import RANGE, bottom, top, total
from trainyard.metrics import definitions as d

_VARIABLES = (CLUSTERS, QUEUE_NAMES)
_S = scope(*_VARIABLES)
_TREND = "10m"
"""Long enough that one scrape more or less changes nothing."""
CATEGORIES = {
    "productive": Color.GOOD,
    "queued": Color.WAIT,
    "suspended": Color.OFF,
    "provisioning": Color.IDLE,
    "pulling": Color.IDLE,
    "starting": Color.IDLE,
    "loading": Color.BUSY,
    "saving": Color.BUSY,
    "dataWait": Color.DOUBT,
    "recovering": Color.DOUBT,
    "lostWork": Color.BAD,
    "hang": Color.WORSE,
}
_RESULTS = {"complete": Color.GOOD, "failed": Color.BAD}
_LEDGER = "Categories exclude each other and add up to the jobs' ages: queued and suspended hold no GPUs; lostWork is steps that a restart has to make again, counted when they are lost: a hump."

_NOW = (
    number(
        "How good is the goodput of the worst queue?",
        "Productive share of the GPU time that the queue's jobs have held, since their creation. The lowest of the queues.",
        Unit.SHARE,
        f"min ({_S.once(d.GOODPUT)})",
        *falling(0.7, 0.9),
        width=6,
    ),
    number(
        "How many GPU hours were unproductive?",
        "GPU time that was held and made no lasting step, of all jobs that exist.",
        Unit.GPU_HOURS,
        f"{total(_S.once(d.UNPRODUCTIVE))} / 3600",
        *growing(100, 1000),
        width=6,
    ),
    number(
        "How many attempts failed?",
        "Failures that ended an attempt, within the dashboard's time range.",
        Unit.COUNT,
        _S.increase(d.FAILURES, window=RANGE),
        *growing(1, 20),
        width=6,
    ),
    number(
        "How many workers held up their jobs?",
        "Stragglers that were found within the dashboard's time range.",
        Unit.COUNT,
        _S.increase(d.STRAGGLERS, window=RANGE),
        *growing(1, 5),
        width=6,
    ),
)
_TIME = (
    Panel(
        "What are jobs doing?",
        f"Jobs by what their time is spent on at the moment: growth of the ledgers. {_LEDGER}",
        Unit.JOBS,
        (Query(_S.slope(d.LEDGER_SECONDS, ["category"], _TREND), "{{category}}"),),
        Look.STACK,
        colors=CATEGORIES,
    ),
    Panel(
        "What was the time of all jobs spent on?",
        f"The ledgers of all jobs that exist, as shares of their time. {_LEDGER}",
        Unit.SHARE,
        (
            Query(
                f"{total(_S.once(d.LEDGER_SECONDS), ['category'])} / scalar({total(_S.once(d.LEDGER_SECONDS))})",
                "{{category}}",
            ),
        ),
        Look.RANKING,
    ),
    Panel(
        "How does goodput go?",
        "Productive share of the GPU time held, by queue; the ten lowest. A step down is a restart that lost work, or jobs that just start.",
        Unit.SHARE,
        (Query(bottom(_S.once(d.GOODPUT)), "{{queue}}"),),
        limits=falling(0.7, 0.9),
    ),
    Panel(
        "How fast do jobs start?",
        "From a job's creation to the end of its first step, waiting included; the ten slowest that exist.",
        Unit.SECONDS,
        (Query(top(_S.once(d.JOB_FIRST_STEP)), "{{namespace}}/{{training_job}}"),),
        Look.RANKING,
        opens=TRAINING_JOB,
    ),
)
_LOST = (
    Panel(
        "What holds GPUs without a step?",
        "GPUs that are held and not productive at the moment, by what takes them: class of a failure, reason of a status, Saving, DataWait, Hang. What a restart lost is counted when it is lost: a peak.",
        Unit.GPUS,
        (Query(top(_S.slope(d.UNPRODUCTIVE, ["cause"], _TREND)), "{{cause}}"),),
        Look.STACK,
    ),
    Panel(
        "Where did GPU hours go?",
        "GPU time that was held and not productive, by cause, of all jobs that exist; the ten largest.",
        Unit.GPU_HOURS,
        (Query(top(f"{total(_S.once(d.UNPRODUCTIVE), ['cause'])} / 3600"), "{{cause}}"),),
        Look.RANKING,
    ),
    Panel(
        "Why do attempts fail?",
        "Failures that ended an attempt, by class (docs/failure-classes.md). Network, GPU, Node, Storage and Infrastructure are the cluster's; a burst in one class has one cause.",
        Unit.COUNT,
        (Query(_S.increase(d.FAILURES, ["class"], "$__interval"), "{{class}}"),),
        Look.BARS,
    ),
    Panel(
        "Whose jobs fail?",
        "Failures of an attempt by queue, within the dashboard's time range; the ten largest.",
        Unit.COUNT,
        (Query(top(_S.increase(d.FAILURES, ["queue"], RANGE)), "{{queue}}"),),
        Look.RANKING,
    ),
    Panel(
        "How do jobs end?",
        "Jobs that ended for good, by result.",
        Unit.JOBS,
        (Query(_S.increase(d.COMPLETIONS, ["result"], "$__interval"), "{{result}}"),),
        Look.BARS,
        colors=_RESULTS,
    ),
    Panel(
        "What does making way cost?",
        "GPU hours of work after the last durable checkpoint of jobs that made way, by queue; the ten largest.",
        Unit.GPU_HOURS,
        (Query(f"{top(_S.increase(d.PREEMPTED_SECONDS, ['queue'], '$__interval'))} / 3600", "{{queue}}"),),
        Look.BARS,
    ),
)
_INCIDENTS = (
    Panel(
        "How fast are interruptions noticed?",
        "From the fault until it was noticed, 95 of 100 at most, by class; of a hang since the last step. Interruptions that somebody decided on are left out.",
        Unit.SECONDS,
        (Query(_S.quantile(0.95, d.INCIDENT_DETECTION, ["class"]), "{{class}}"),),
        limits=growing(60, 600),
    ),
    Panel(
        "How fast do jobs go on?",
        "From the fault to the first new step, a wait for a place included: half of the interruptions, and 95 of 100, by class.",
        Unit.SECONDS,
        (
            Query(_S.quantile(0.5, d.INCIDENT_RECOVERY, ["class"]), "half, {{class}}"),
            Query(_S.quantile(0.95, d.INCIDENT_RECOVERY, ["class"]), "95 of 100, {{class}}"),
        ),
        limits=growing(120, 900),
    ),
    Panel(
        "What did interruptions cost?",
        "GPU hours held until the first new step, and of steps that were made again, by class, counted when the interruption is over. `trainyard incidents` names each.",
        Unit.GPU_HOURS,
        (Query(f"{_S.increase(d.INCIDENT_LOST, ['class'], '$__interval')} / 3600", "{{class}}"),),
        Look.BARS,
    ),
)
BOARD = Board(
    GOODPUT,
    "Goodput",
    "How much of the GPU time makes steps that last, and what takes the rest?",
    _VARIABLES,
    (
        Row("Now", _NOW),
        Row("What time is spent on", _TIME),
        Row("What is lost, and to what", _LOST),
        Row("Interruptions", _INCIDENTS),
    ),
    hours=24,
)
