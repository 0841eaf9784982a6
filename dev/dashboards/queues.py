"""Queues: who waits and why, who holds how much of whose quota, who makes way for whom."""

from dev.dashboards.board import CLUSTERS, FLAVORS, QUEUE_NAMES, QUEUES, RESOURCES, Board, Row, scope
from dev.dashboards.panel import NEVER, Color, Look, Panel, Query, Unit, growing, number
from dev.dashboards.query import RANGE, top, total
from trainyard.metrics import definitions as d

_VARIABLES = (CLUSTERS, QUEUE_NAMES, FLAVORS, RESOURCES)
_S = scope(*_VARIABLES)
_CELL = ["queue", "flavor"]
_USED, _GUARANTEED = (total(_S.once(each), _CELL) for each in (d.QUOTA_USED, d.QUOTA_GUARANTEED))
_BELOW = "A queue with children counts for all of them."
REASONS = {
    "WaitingForQuota": Color.WAIT,
    "TopologyPlacementFailed": Color.DOUBT,
    "WaitingForPreemptedWorkloads": Color.BUSY,
    "WaitingForPodsReady": Color.IDLE,
    "ModelNotReady": Color.IDLE,
    "PendingEvaluation": Color.IDLE,
    "Suspended": Color.OFF,
    "OnHold": Color.OFF,
    "AdmissionGated": Color.OFF,
    "Deactivated": Color.PLAIN,
    "ExceedsMaxQuota": Color.BAD,
    "NoMatchingFlavor": Color.BAD,
    "Misconfigured": Color.WORSE,
}

_NOW = (
    number(
        "How many wait?",
        "Jobs and replicas that wait for a place.",
        Unit.COUNT,
        total(_S.once(d.PENDING)),
        *growing(1, 100),
    ),
    number(
        "How many wait for ever?",
        "Jobs and replicas that no amount of waiting helps: larger than their queue can ever hold, without a flavor, or misconfigured. trainyard why NAME says what to change.",
        Unit.COUNT,
        total(_S.once(d.PENDING, reason="ExceedsMaxQuota|NoMatchingFlavor|Misconfigured")),
        *NEVER,
    ),
    number(
        "How long has the oldest waited?",
        "Age of the oldest that waits; 0 when none does.",
        Unit.SECONDS,
        f"max ({_S.once(d.OLDEST_PENDING)})",
        *growing(3600, 86400),
    ),
    number("How many hold a place?", "Jobs and replicas that are admitted.", Unit.COUNT, total(_S.once(d.ADMITTED))),
    number(
        "How many had to make way?",
        "Jobs and replicas that were asked to make way, within the dashboard's time range.",
        Unit.COUNT,
        _S.increase(d.PREEMPTIONS, window=RANGE),
        *growing(1, 20),
        empty="0",
    ),
    number(
        "How many promises were broken?",
        "Kept places that were moved later though no job ran longer than expected, within the dashboard's time range. Must stay 0.",
        Unit.COUNT,
        _S.increase(d.KEPT_PLACES, window=RANGE, result="broken"),
        *NEVER,
    ),
)
_WAITING = (
    Panel(
        "Why do they wait?",
        "Jobs and replicas by the reason that their status gives. trainyard why NAME tells the arithmetic of one of them.",
        Unit.COUNT,
        (Query(total(_S.once(d.PENDING), ["reason"]), "{{reason}}"),),
        Look.STACK,
        colors=REASONS,
    ),
    Panel(
        "In which queues do they wait?",
        "Jobs and replicas that wait, by queue; the ten longest. (unknown) stands for queues that do not exist.",
        Unit.COUNT,
        (Query(top(total(_S.once(d.PENDING), ["queue"])), "{{queue}}"),),
    ),
    Panel(
        "Where is the oldest?",
        "Age of the oldest that waits, by queue.",
        Unit.SECONDS,
        (Query(top(_S.once(d.OLDEST_PENDING)), "{{queue}}"),),
        limits=growing(3600, 86400),
    ),
    Panel(
        "How long did those wait who got a place?",
        "From the wish for a place to the admission.",
        Unit.SECONDS,
        (
            Query(_S.quantile(0.5, d.ADMISSION_WAIT), "half of them, at most"),
            Query(_S.quantile(0.95, d.ADMISSION_WAIT), "19 of 20, at most"),
        ),
    ),
    Panel(
        "How right are the starts that are foretold?",
        "Distance between the start that was first told to somebody who waited and the real one.",
        Unit.SECONDS,
        (
            Query(_S.quantile(0.5, d.ETA_ERROR), "half of them, at most"),
            Query(_S.quantile(0.95, d.ETA_ERROR), "19 of 20, at most"),
        ),
    ),
    Panel(
        "What becomes of kept places?",
        "Places kept for somebody who waits: made; moved_later because a job ran longer than expected; broken because pods stood in it that no job accounts for.",
        Unit.COUNT,
        (Query(_S.increase(d.KEPT_PLACES, ["result"], "$__interval"), "{{result}}"),),
        Look.BARS,
        colors={"made": Color.GOOD, "moved_later": Color.DOUBT, "broken": Color.BAD},
    ),
)
_QUOTA = (
    Panel(
        "How much is used of what is guaranteed?",
        f"Held by what is admitted, as a share of the guarantee, by queue and flavor; above 100 % is borrowed. {_BELOW}",
        Unit.SHARE,
        (Query(top(f"{_USED} / ({_GUARANTEED} > 0)"), "{{queue}}, {{flavor}}"),),
        Look.RANKING,
        limits=growing(1, 1.5),
    ),
    Panel(
        "Who borrows?",
        f"Held beyond the guarantee, in units of the resource. {_BELOW}",
        Unit.COUNT,
        (Query(top(f"clamp_min({_USED} - {_GUARANTEED}, 0)"), "{{queue}}, {{flavor}}"),),
    ),
    Panel(
        "Who does not use what is guaranteed?",
        f"The part of the guarantee that the queue does not hold: lent to those who borrow, or idle. It comes back by making way. {_BELOW}",
        Unit.COUNT,
        (Query(top(f"clamp_min({_GUARANTEED} - {_USED}, 0)"), "{{queue}}, {{flavor}}"),),
    ),
    Panel(
        "Who is next when something is free?",
        "What the queue borrows of its tree, of the resource of which it borrows most, divided by its weight: the smaller goes first.",
        Unit.SHARE,
        (Query(top(_S.once(d.BORROWED_SHARE)), "{{queue}}"),),
    ),
    Panel(
        "Who is near the limit?",
        f"Held, as a share of the most that the queue may hold; a full queue waits whatever else is free. {_BELOW}",
        Unit.SHARE,
        (Query(top(f"{_USED} / ({total(_S.once(d.QUOTA_LIMIT), _CELL)} > 0)"), "{{queue}}, {{flavor}}"),),
        Look.RANKING,
        limits=growing(0.9, 1),
        empty="no limits",
    ),
    Panel(
        "Whose budget comes to its end?",
        "GPU time that the queue's jobs used in the current period, as a share of spec.budget. At 100 % what runs goes on, and nothing new starts.",
        Unit.SHARE,
        (Query(top(f"{_S.once(d.QUEUE_BUDGET_USED)} / {_S.once(d.QUEUE_BUDGET)}"), "{{queue}}"),),
        Look.RANKING,
        limits=growing(0.8, 1),
        empty="no budgets",
    ),
    Panel(
        "Who makes way for whom?",
        "Jobs and replicas that were asked to make way, within the dashboard's time range, by both queues; the ten largest.",
        Unit.COUNT,
        (Query(top(_S.increase(d.PREEMPTIONS, ["queue", "by_queue"], RANGE)), "{{by_queue}} from {{queue}}"),),
        Look.RANKING,
        empty="nobody",
    ),
)
_ENERGY = (
    Panel(
        "How much power is drawn?",
        "By queue, estimated from wattsPerUnit of the flavors and what is held of them. A cap is a quota of trainyard.dev/watts: choose that resource above, and look at who is near the limit.",
        Unit.WATTS,
        (Query(top(_S.rate(d.ENERGY, ["queue"], source="estimated")), "{{queue}}"),),
        Look.STACK,
        empty="no flavor states wattsPerUnit",
    ),
    Panel(
        "How far is the estimate from what GPUs measure?",
        "Both count the same GPUs, so they do not add up. Only training jobs whose trainers report it are measured, and only while they run: less than the estimate is to be expected.",
        Unit.WATTS,
        (Query(_S.rate(d.ENERGY, ["source"]), "{{source}}"),),
        empty="no flavor states wattsPerUnit",
    ),
    Panel(
        "Which namespaces draw most?",
        "Estimated, as above; the ten largest.",
        Unit.WATTS,
        (Query(top(_S.rate(d.ENERGY, ["namespace"], source="estimated")), "{{namespace}}"),),
        Look.RANKING,
        empty="no flavor states wattsPerUnit",
    ),
    Panel(
        "What does it cost?",
        "Price of what held a place within the dashboard's time range, in the currency of the flavors, by queue.",
        Unit.MONEY,
        (Query(top(_S.increase(d.COST, ["queue"], RANGE)), "{{queue}}"),),
        Look.RANKING,
        empty="no flavor states pricePerHour",
    ),
    Panel(
        "How much CO2 is that?",
        "Of the energy that is estimated, within the dashboard's time range, by queue.",
        Unit.GRAMS,
        (Query(top(_S.increase(d.CARBON, ["queue"], RANGE)), "{{queue}}"),),
        Look.RANKING,
        empty="operator.carbonGramsPerKWh is not set",
    ),
)
BOARD = Board(
    QUEUES,
    "Queues",
    "Who waits and why, who holds how much of whose quota, who makes way for whom, and what does it draw and cost?",
    _VARIABLES,
    (Row("Now", _NOW), Row("Waiting", _WAITING), Row("Quota", _QUOTA), Row("Energy and money", _ENERGY)),
)
