"""The fleet: which GPUs there are, who holds them, which are out of use."""

from dev.dashboards.board import CLUSTERS, FLAVORS, FLEET, INFERENCE_SERVICE, TRAINING_JOB, Board, Row, scope
from dev.dashboards.panel import NEVER, PLAIN, Color, Look, Panel, Query, Unit, growing, number
from dev.dashboards.query import top, total
from trainyard.metrics import definitions as d

_VARIABLES = (CLUSTERS, FLAVORS)
_S = scope(*_VARIABLES)
_GPUS = _S.once(d.NODE_GPUS)
STATES = {"allocated": Color.BUSY, "free": Color.GOOD, "cordoned": Color.DOUBT, "unhealthy": Color.BAD}
NODES = {
    "ready": Color.GOOD,
    "cordoned": Color.DOUBT,
    "leaving": Color.OFF,
    "broken": Color.BAD,
    "not_ready": Color.WORSE,
}
STANDS = {
    "suspect": Color.DOUBT,
    "quarantined": Color.BAD,
    "draining": Color.WORSE,
    "validating": Color.WAIT,
}
XID_CLASSES = {
    "application": Color.PLAIN,
    "noted": Color.WAIT,
    "unknown": Color.DOUBT,
    "device": Color.BAD,
    "node": Color.WORSE,
}
PHASES = {
    "Pending": Color.WAIT,
    "Admitted": Color.IDLE,
    "Running": Color.GOOD,
    "Restarting": Color.DOUBT,
    "Suspending": Color.OFF,
    "Suspended": Color.OFF,
    "Complete": Color.PLAIN,
    "Failed": Color.BAD,
}


def _in_state(state: str, *by: str) -> str:
    return total(_S.once(d.NODE_GPUS, state=state), by)


_NOW = (
    number("How many GPUs are there?", "GPUs of all nodes, whatever their state.", Unit.GPUS, total(_GPUS), *PLAIN),
    number(
        "How many could be used and are idle?",
        "GPUs that no pod holds, of nodes that take pods. Idle ones while jobs wait: see the queues' reasons.",
        Unit.GPUS,
        _in_state("free"),
        *PLAIN,
    ),
    number(
        "What share of the usable GPUs is held?",
        "Held by pods, of those held or free. Held is not busy: see Goodput.",
        Unit.SHARE,
        f"{_in_state('allocated')} / {_in_state('allocated|free')}",
        *PLAIN,
    ),
    number(
        "How many are out of use?",
        "GPUs that no pod holds, of nodes that are cordoned, broken or not ready.",
        Unit.GPUS,
        _in_state("cordoned|unhealthy"),
        *growing(1, 8),
    ),
    number(
        "How many idle ones fit nobody?",
        "Free GPUs that typical workloads of now cannot use, because too few of them are on one node.",
        Unit.GPUS,
        total(_S.once(d.FRAGMENTED)),
        *growing(4, 16),
    ),
    number(
        "In how many flavors is the breaker open?",
        "So many nodes of the flavor are sick that broken ones take pods as a last choice: look for a common cause, such as a driver or a switch.",
        Unit.COUNT,
        total(_S.once(d.BREAKER)),
        *NEVER,
    ),
)
_HELD = (
    Panel(
        "Who holds the GPUs?",
        "GPUs by state: held by a pod (allocated), else out of use with their node (cordoned, unhealthy), else free.",
        Unit.GPUS,
        (Query(total(_GPUS, ["state"]), "{{state}}"),),
        Look.STACK,
        colors=STATES,
    ),
    Panel(
        "What do the jobs do with the GPUs they ask for?",
        "GPUs of training jobs by the job's phase. Admitted and Restarting ones are held and make no steps; Pending and Suspended ones are not held.",
        Unit.GPUS,
        (
            Query(
                total(
                    f"{_S.once(d.JOB_GPUS)} * on (cluster, namespace, training_job) group_right () ({_S.once(d.JOB_PHASE, phase='Pending|Admitted|Running|Restarting|Suspending|Suspended')} == 1)",
                    ["phase"],
                ),
                "{{phase}}",
            ),
        ),
        Look.STACK,
        colors=PHASES,
    ),
    Panel(
        "Which flavors are held?",
        "Share of each flavor's GPUs that pods hold. A node counts for the flavor with the narrowest selector that fits it.",
        Unit.SHARE,
        (Query(top(f"{_in_state('allocated', 'flavor')} / {total(_GPUS, ['flavor'])}"), "{{flavor}}"),),
    ),
    Panel(
        "Which flavors have idle GPUs?",
        "Free GPUs by flavor, and those of them that typical workloads cannot use.",
        Unit.GPUS,
        (
            Query(top(_in_state("free", "flavor")), "{{flavor}}"),
            Query(top(total(_S.once(d.FRAGMENTED), ["flavor"])), "{{flavor}}, fits nobody"),
        ),
    ),
    Panel(
        "How much do GPUs of each flavor work for running jobs?",
        "GPUs of training jobs that run, by flavor. Less than what is held: services, other pods, and jobs that start or restart.",
        Unit.GPUS,
        (
            Query(
                top(
                    total(
                        # The info on the side of the many: of a job that moves, two flavors may be there for a moment.
                        f"{_S.once(d.JOB_INFO, flavor='.+')} * on (cluster, namespace, training_job) group_left () ({_S.once(d.JOB_GPUS)} * on (cluster, namespace, training_job) ({_S.once(d.JOB_PHASE, phase='Running')} == 1))",
                        ["flavor"],
                    )
                ),
                "{{flavor}}",
            ),
        ),
    ),
    Panel(
        "Which jobs hold the most?",
        "GPUs that the whole gang asks for, of jobs that hold a place. Click on one for its dashboard.",
        Unit.GPUS,
        (
            Query(
                top(
                    f"{_S.once(d.JOB_GPUS)} and on (cluster, namespace, training_job) ({_S.once(d.JOB_PHASE, phase='Admitted|Running|Restarting|Suspending')} == 1)"
                ),
                "{{namespace}}/{{training_job}}",
            ),
        ),
        Look.RANKING,
        opens=TRAINING_JOB,
    ),
)
_SICK = (
    Panel(
        "In which state are nodes?",
        "Nodes by state: not_ready; broken, as a monitor says by a condition; leaving, by a taint or the kubelet's word; cordoned; else ready.",
        Unit.COUNT,
        (Query(total(_S.once(d.NODE_STATE), ["state"]), "{{state}}"),),
        Look.STACK,
        colors=NODES,
    ),
    Panel(
        "How many nodes are sick?",
        "Nodes that a monitor calls broken, on which several workloads failed lately (suspect), or that are not ready.",
        Unit.COUNT,
        (Query(total(_S.once(d.SICK_NODES), ["state"]), "{{state}}"),),
        Look.STACK,
        colors={"broken": Color.BAD, "suspect": Color.DOUBT, "not_ready": Color.WORSE},
    ),
    Panel(
        "On which nodes are GPUs out of use?",
        "GPUs of nodes that are cordoned, broken or not ready. kubectl describe node says since when and why.",
        Unit.GPUS,
        (Query(top(f"{_in_state('cordoned|unhealthy', 'node')} > 0"), "{{node}}"),),
        Look.RANKING,
        empty="none",
    ),
    Panel(
        "Which nodes hold up their jobs?",
        "How strongly jobs say that workers on the node were slower than the others: 1, and one more for twice as strongly. Such nodes come last among equal ones.",
        Unit.COUNT,
        (Query(top(_S.once(d.NODE_SLOWNESS)), "{{node}}"),),
        Look.RANKING,
        limits=growing(1, 3),
        empty="none",
    ),
    Panel(
        "Which nodes are being repaired?",
        "How long a node has stood so: suspect (the last choice), quarantined (waits for trainyard approve), draining, validating. docs/nodes.md says what follows.",
        Unit.SECONDS,
        (Query(top(_S.once(d.NODE_HEALTH)), "{{node}}, {{state}}"),),
        Look.RANKING,
        limits=growing(3600, 14_400),
        empty="none",
    ),
    Panel(
        "How do nodes come to be repaired and back?",
        "Nodes that came into each state within an hour. Quarantined and never healthy again: nobody repairs them. Many at once: see the breaker.",
        Unit.COUNT,
        (
            Query(
                _S.increase(d.NODE_CHANGES, ["state"], "1h", state="suspect|quarantined|draining|validating"),
                "{{state}}",
            ),
        ),
        colors=STANDS,
    ),
    Panel(
        "Is so much broken at once that nothing is done?",
        "1 while over a fifth of the nodes with GPUs, or of those without, were quarantined within half an hour: none of these is cordoned or drained without a person. Look for a common cause.",
        Unit.COUNT,
        (Query(total(_S.once(d.NODE_BREAKER)), "breaker"),),
        limits=growing(1, 1),
    ),
    Panel(
        "Which errors do GPUs report?",
        "XIDs of NVIDIA's driver within an hour by class: application and noted ones leave the node in use; device ones need a reset, node ones a reboot.",
        Unit.COUNT,
        (Query(_S.increase(d.XIDS, ["class"], "1h"), "{{class}}"),),
        Look.STACK,
        colors=XID_CLASSES,
    ),
    Panel(
        "Where do jobs fail more often than elsewhere?",
        "How many times as often attempts fail there, at least (95 % sure), for no fault of the program. From 3 on the node is the last choice.",
        Unit.COUNT,
        (Query(top(_S.once(d.NODE_LEMON)), "{{node}}"),),
        Look.RANKING,
        limits=growing(2, 3),
        empty="none",
    ),
    Panel(
        "Which nodes may fail soon?",
        "How much errors that harmed nobody (corrected memory errors, remapped rows, noted XIDs) foretell a failure. Such nodes come last among equal ones.",
        Unit.COUNT,
        (Query(top(_S.once(d.NODE_RISK)), "{{node}}"),),
        Look.RANKING,
        limits=growing(2, 4),
        empty="none",
    ),
    Panel(
        "Which jobs restart?",
        "Restarts since each job's creation, by whose fault it was: disruption is the cluster's, failure the program's.",
        Unit.COUNT,
        (Query(top(f"{_S.once(d.JOB_RESTARTS)} > 0"), "{{namespace}}/{{training_job}}, {{cause}}"),),
        Look.RANKING,
        opens=TRAINING_JOB,
        empty="none",
    ),
    Panel(
        "Which services lack replicas?",
        "Replicas that are asked for and do not answer. Click on one for its dashboard.",
        Unit.COUNT,
        (
            Query(
                top(
                    f"sum without (state) ({_S.once(d.SERVICE_REPLICAS, state='desired')}) - sum without (state) ({_S.once(d.SERVICE_REPLICAS, state='ready')}) > 0"
                ),
                "{{namespace}}/{{inference_service}}",
            ),
        ),
        Look.RANKING,
        limits=growing(1, 2),
        opens=INFERENCE_SERVICE,
        empty="none",
    ),
    Panel(
        "Which jobs went quiet?",
        "Time since the trainer was last heard of, of jobs that run. A job that makes no step for ten times as long as one takes is started again.",
        Unit.SECONDS,
        (
            Query(
                top(
                    f"time() - {_S.once(d.JOB_LAST_PROGRESS)} and on (cluster, namespace, training_job) ({_S.once(d.JOB_PHASE, phase='Running')} == 1)"
                ),
                "{{namespace}}/{{training_job}}",
            ),
        ),
        Look.RANKING,
        limits=growing(300, 1800),
        opens=TRAINING_JOB,
    ),
)
BOARD = Board(
    FLEET,
    "Fleet",
    "Which GPUs are there, who holds them, which are out of use, and whom does that hit?",
    _VARIABLES,
    (Row("Now", _NOW), Row("Held and idle", _HELD), Row("Out of use, and who suffers", _SICK)),
)
