"""One inference service: do callers get answers in time, and if not, where does a request lose its time."""

from dev.dashboards import served as s
from dev.dashboards.board import CLUSTERS, INFERENCE_SERVICE, Board, Row, Variable, scope
from dev.dashboards.panel import PLAIN, Color, Look, Panel, Query, Unit, falling, growing, number
from dev.dashboards.query import RANGE, top, total
from trainyard.metrics import definitions as d

_VARIABLES = (
    CLUSTERS,
    Variable("namespace", "Namespace", d.SERVICE_INFO),
    Variable("inference_service", "Service", d.SERVICE_INFO, one=True),
)
_S = scope(*_VARIABLES)
_STATES = {"desired": Color.PLAIN, "admitted": Color.IDLE, "ready": Color.GOOD}
_CALLS = "Needs the PodMonitor of gateways and servers."


def _good(window: str) -> str:
    good, requests = (_S.increase(each, window=window) for each in (s.SLO_GOOD, s.SLO_REQUESTS))
    return f"{good} / ({requests} > 0)"


def _missed(window: str) -> str:
    return f"(1 - {_good(window)}) / (1 - max ({_S.once(d.SERVICE_SLO)}))"


_NOW = (
    number(
        "Does it answer?",
        "Ready: every replica that is asked for answers behind the gateway.",
        Unit.YES,
        f"min ({_S.once(d.SERVICE_READY)})",
        *falling(0, 1),
        width=3,
    ),
    number(
        "How many replicas answer?",
        "Replicas that are ready, as a share of those that are asked for; none when it is scaled to zero.",
        Unit.SHARE,
        f"{total(_S.once(d.SERVICE_REPLICAS, state='ready'))} / ({total(_S.once(d.SERVICE_REPLICAS, state='desired'))} > 0)",
        *falling(0.5, 1),
        width=3,
        empty="scaled to zero",
    ),
    number(
        "Is the objective met?",
        f"With spec.slo: share of the requests that were answered, and in time, within the dashboard's time range. {_CALLS}",
        Unit.SHARE,
        _good(RANGE),
        *falling(0.95, 0.99),
        empty="no requests",
    ),
    number(
        "How fast is the error budget spent?",
        f"Requests of the last hour that missed the objective, as a multiple of those it allows: at 1 the budget lasts exactly its time, at 14 a month's is gone in two days. {_CALLS}",
        Unit.FACTOR,
        _missed("1h"),
        *growing(1, 6),
        empty="no requests",
    ),
    number(
        "How slow are the slowest answers?",
        f"95th percentile of an inference at the server, its queue included. {_CALLS}",
        Unit.SECONDS,
        _S.quantile(0.95, s.REQUEST_SECONDS),
        *PLAIN,
    ),
    number(
        "How many requests are inside?",
        f"Accepted by a server and not yet answered. {_CALLS}",
        Unit.COUNT,
        total(_S.series(s.IN_FLIGHT)),
        *PLAIN,
        width=3,
    ),
    number(
        "How many wait for a first replica?",
        f"Requests that gateways hold because no replica is there yet. {_CALLS}",
        Unit.COUNT,
        total(_S.series(s.HELD)),
        *growing(1, 50),
        width=3,
    ),
)
_ANSWERS = (
    Panel(
        "What do servers answer?",
        f"Inferences a second by HTTP status: 429 is a full queue, 499 a caller that left, 504 a deadline. {_CALLS}",
        Unit.REQUESTS,
        (Query(top(_S.rate(s.REQUESTS, ["code"])), "{{code}}"),),
        Look.STACK,
        colors={"200": Color.GOOD, "429": Color.DOUBT, "499": Color.OFF, "500": Color.BAD, "503": Color.WORSE},
    ),
    Panel(
        "How long do answers take?",
        f"From the end of the headers to the answer, at the server. {_CALLS}",
        Unit.SECONDS,
        tuple(Query(_S.quantile(share, s.REQUEST_SECONDS), f"p{share * 100:g}") for share in (0.5, 0.95, 0.99)),
    ),
    Panel(
        "How are the times spread?",
        f"Inferences a second by how long they took: two bands are two kinds of requests, or a slow replica. {_CALLS}",
        Unit.SECONDS,
        (Query(_S.rate(s.REQUEST_SECONDS, ["le"], "_bucket"), "{{le}}"),),
        Look.HEAT,
    ),
    Panel(
        "Is the objective met?",
        f"Share of the requests that were answered, and in time, waiting at the gateway included, and the share that is wanted (spec.slo). {_CALLS}",
        Unit.SHARE,
        (Query(_good("5m"), "answered well"), Query(f"max ({_S.once(d.SERVICE_SLO)})", "wanted")),
        colors={"answered well": Color.GOOD, "wanted": Color.PLAIN},
    ),
    Panel(
        "Where does a request lose its time?",
        f"Means: the wait for the compute thread, and one forward pass of one batch. Much wait and little computing: more replicas, or larger batches. {_CALLS}",
        Unit.SECONDS,
        (Query(_S.mean(s.QUEUE_SECONDS), "waits"), Query(_S.mean(s.COMPUTE_SECONDS), "is computed")),
        colors={"waits": Color.WAIT, "is computed": Color.BUSY},
    ),
    Panel(
        "Where do requests wait?",
        f"Requests that wait for a server's compute thread, at a gateway for a replica that has room, and there for a first replica. {_CALLS}",
        Unit.COUNT,
        (
            Query(total(_S.series(s.QUEUE_DEPTH)), "at servers"),
            Query(total(_S.series(s.QUEUED)), "at gateways"),
            Query(total(_S.series(s.HELD)), "for a first replica"),
        ),
        Look.STACK,
    ),
)
_REPLICAS = (
    Panel(
        "Are there as many replicas as are wanted?",
        "Replicas asked for (desired), holding a place (admitted), answering (ready). Not admitted: the queue is full; not ready: the image or the model loads.",
        Unit.COUNT,
        (
            Query(f"max by (state) ({_S.series(d.SERVICE_REPLICAS)})", "{{state}}"),
            Query(total(_S.series(s.READY)), "ready, as they say themselves"),
        ),
        colors=_STATES,
    ),
    Panel(
        "Which model is served?",
        f"Replicas by the digest of the model that they have loaded, and the one that the service's status names. {_CALLS}",
        Unit.COUNT,
        (
            Query(top(total(_S.series(s.MODEL), ["digest"])), "{{digest}}"),
            Query(top(f"max by (digest) ({_S.once(d.SERVICE_INFO)})"), "status.model: {{digest}}"),
        ),
    ),
    Panel(
        "Where does a start lose its time?",
        "Mean of each part of the starts of replicas within the dashboard's time range, of all services together: a place, a bound pod, a running server, a loaded model, a gateway that sends it requests.",
        Unit.SECONDS,
        (Query(_S.mean(d.START_STAGE, ["stage"], RANGE), "{{stage}}"),),
        Look.RANKING,
    ),
    Panel(
        "How long did its first start take?",
        "From the service's creation to its becoming ready for the first time, the wait for quota included.",
        Unit.SECONDS,
        (Query(f"max ({_S.once(d.SERVICE_START)})", "first start"),),
        Look.RANKING,
        empty="not yet",
    ),
    Panel(
        "How long do replicas load and warm up?",
        f"Time to check and load the model, and to compute the warm-up batches, of the slowest replicas. {_CALLS}",
        Unit.SECONDS,
        (
            Query(top(total(_S.series(s.LOAD_SECONDS), ["pod"])), "{{pod}} loads"),
            Query(top(total(_S.series(s.WARM_UP_SECONDS), ["pod"])), "{{pod}} warms up"),
        ),
        Look.RANKING,
    ),
    Panel(
        "How do rollouts go?",
        "Phase of the rollout that goes on, or of the last one. RolledBack: status.rollout.reason and trainyard why say what was worse.",
        Unit.YES,
        (Query(f"max by (phase) ({_S.series(d.SERVICE_ROLLOUT)} == 1)", "{{phase}}"),),
        Look.RIBBON,
        colors={"Promoted": Color.GOOD, "Progressing": Color.IDLE, "Paused": Color.WAIT, "RolledBack": Color.BAD},
        empty="no rollout",
    ),
    Panel(
        "Does a shadow answer as the stable model does?",
        f"With copies of requests to a canary: sent, come to nothing, compared, and found to differ. {_CALLS}",
        Unit.COUNT,
        (
            Query(_S.increase(s.COPIES_SENT, window="$__interval"), "sent"),
            Query(_S.increase(s.COPIES_DROPPED, window="$__interval"), "came to nothing"),
            Query(_S.increase(s.ANSWERS_COMPARED, window="$__interval"), "compared"),
            Query(_S.increase(s.ANSWERS_DIFFERENT, window="$__interval"), "differ"),
        ),
        colors={"sent": Color.IDLE, "came to nothing": Color.OFF, "compared": Color.GOOD, "differ": Color.BAD},
    ),
    Panel(
        "Which replicas are put out?",
        f"Times that a gateway sent a replica nothing for a while, because its answers failed, by gateway pod. {_CALLS}",
        Unit.COUNT,
        (Query(top(_S.increase(s.EJECTIONS, ["pod"], "$__interval")), "{{pod}}"),),
        Look.BARS,
    ),
    Panel(
        "Which replicas are slow?",
        f"Time of a replica as a multiple of the median one's, where it is clearly another; such a one gets fewer requests. {_CALLS}",
        Unit.FACTOR,
        (Query(top(f"max by (member) ({_S.series(s.SLOWNESS)})"), "{{member}}"),),
        limits=growing(1.5, 3),
        empty="none",
    ),
    Panel(
        "Do gateways follow?",
        f"Servers that gateways know, by state, of the gateway that knows the most; and by how many lists of members the slowest gateway is behind. {_CALLS}",
        Unit.COUNT,
        (
            Query(f"max by (state) ({_S.series(s.MEMBERS)})", "{{state}}"),
            Query(f"max ({_S.series(s.GENERATION)}) - min ({_S.series(s.GENERATION)})", "lists behind"),
        ),
        colors={"UP": Color.GOOD, "DOWN": Color.BAD, "DRAIN": Color.OFF},
    ),
    Panel(
        "Are the gateways well?",
        f"Gateway pods asked for and ready; those to which the operator does not answer keep the replicas that they know. {_CALLS}",
        Unit.COUNT,
        (
            Query(f"max by (state) ({_S.series(d.SERVICE_GATEWAYS)})", "{{state}}"),
            Query(total(_S.series(s.OPERATOR_AWAY)), "without the operator"),
            Query(_S.increase(s.HAPROXY_RESTARTS), "HAProxy restarts"),
            Query(_S.increase(s.SYNCS, result="failed"), "failed calls to the operator"),
        ),
        colors=_STATES | {"without the operator": Color.DOUBT, "HAProxy restarts": Color.BAD},
    ),
    Panel(
        "Is computing saved or wasted?",
        f"Rows a second that nobody waited for any more: dropped before they were computed, or computed all the same. {_CALLS}",
        Unit.PER_SECOND,
        (
            Query(_S.rate(s.SAVED_ROWS, ["reason"]), "saved, {{reason}}"),
            Query(_S.rate(s.WASTED_ROWS, ["reason"]), "wasted, {{reason}}"),
        ),
        empty="none",
    ),
    Panel(
        "How large are batches?",
        f"Mean rows that are computed together. {_CALLS}",
        Unit.COUNT,
        (Query(_S.mean(s.BATCH_ROWS), "rows"),),
    ),
)
_LANGUAGE = (
    Panel(
        "How soon does the first token come?",
        f"From the request to its first token, from one token to the next, and a step of all that run; 95th percentile by model. {_CALLS}",
        Unit.SECONDS,
        (
            Query(_S.quantile(0.95, s.FIRST_TOKEN, ["model"]), "first, {{model}}"),
            Query(_S.quantile(0.95, s.NEXT_TOKEN, ["model"]), "next, {{model}}"),
            Query(_S.quantile(0.95, s.STEP_SECONDS, ["model"]), "a step, {{model}}"),
        ),
        empty="no language model",
    ),
    Panel(
        "How many tokens go in and out?",
        f"Tokens a second: of prompts, those of them that were found in the cache, and generated. {_CALLS}",
        Unit.PER_SECOND,
        (
            Query(_S.rate(s.PROMPT_TOKENS), "prompts"),
            Query(_S.rate(s.CACHED_TOKENS), "of them from the cache"),
            Query(_S.rate(s.GENERATED_TOKENS), "generated"),
        ),
        empty="no language model",
    ),
    Panel(
        "Is the cache full?",
        f"Part of the cache's blocks that sequences hold, of the fullest replica. Full: sequences are sent back and computed anew. {_CALLS}",
        Unit.SHARE,
        (Query(f"max ({_S.series(s.CACHE_USED)})", "held"),),
        limits=growing(0.8, 0.95),
        empty="no language model",
    ),
    Panel(
        "How many sequences run and wait?",
        f"Sequences that have blocks of the cache, that wait for some, that were sent back because blocks ran out, and that ended at their deadline. {_CALLS}",
        Unit.COUNT,
        (
            Query(total(_S.series(s.RUNNING)), "run"),
            Query(total(_S.series(s.WAITING)), "wait"),
            Query(_S.increase(s.SENT_BACK), "sent back"),
            Query(_S.increase(s.EXPIRED), "ended at their deadline"),
        ),
        colors={
            "run": Color.GOOD,
            "wait": Color.WAIT,
            "sent back": Color.BAD,
            "ended at their deadline": Color.WORSE,
        },
        empty="no language model",
    ),
)
_OTHERS = (
    Panel(
        "How do explanations end?",
        f"Explanations a second by HTTP status; inferences do not count them. {_CALLS}",
        Unit.REQUESTS,
        (Query(top(_S.rate(s.EXPLANATIONS, ["code"])), "{{code}}"),),
        Look.STACK,
        empty="none",
    ),
    Panel(
        "How long does an explanation take?",
        f"From the end of the headers to the explanation. {_CALLS}",
        Unit.SECONDS,
        tuple(Query(_S.quantile(share, s.EXPLANATION_SECONDS), f"p{share * 100:g}") for share in (0.5, 0.95)),
        empty="none",
    ),
    Panel(
        "Which stage of a graph takes the time?",
        f"95th percentile of what a stage took, targets and combination together. {_CALLS}",
        Unit.SECONDS,
        (Query(top(_S.quantile(0.95, s.STAGE_SECONDS, ["stage"])), "{{stage}}"),),
        empty="no graph",
    ),
    Panel(
        "How do the stages of a graph end?",
        f"Requests a second to the targets of stages by HTTP status: 499 was given up, 502 had no answer. {_CALLS}",
        Unit.REQUESTS,
        (Query(top(_S.rate(s.STAGE_REQUESTS, ["stage", "code"])), "{{stage}}, {{code}}"),),
        Look.STACK,
        empty="no graph",
    ),
)
BOARD = Board(
    INFERENCE_SERVICE,
    "Inference service",
    "Do callers get answers in time, and if not, where does a request lose its time?",
    _VARIABLES,
    (
        Row("Now", _NOW),
        Row("Answers", _ANSWERS),
        Row("Replicas and gateways", _REPLICAS),
        Row("Language models", _LANGUAGE),
        Row("Explanations and graphs", _OTHERS),
    ),
)
