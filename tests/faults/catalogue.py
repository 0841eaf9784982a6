"""Ninety-nine faults that an operator of a datacentre meets, and what Trainyard promises in each.

A test that injects one and judges what follows says so: `@pytest.mark.fault(12)`. Judges that serve for any fault are
`tests/simulation/oracles.py`. A row without a test says why it cannot strike here, or what happens instead of what is
promised. `docs/faults.md` is written from these rows, from those marks and from what the tests did when they last ran.

Longer than other modules because it is a table.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One row."""

    number: int
    what: str
    expected: str
    not_applicable: str = ""
    """Why it cannot strike here."""
    not_survived: str = ""
    """What happens instead of what is expected."""


@dataclass(frozen=True, slots=True)
class Group:
    """Rows about one part of the world."""

    title: str
    faults: tuple[Fault, ...]


API_SERVER = Group(
    "Between the operator and the API server",
    (
        Fault(
            1,
            "the operator is killed after any one write while an object comes to life",
            "the end is that of a run without the fault: nothing twice, nothing left over, no gang in part",
        ),
        Fault(
            2,
            "the same while objects are admitted, resized, preempted, restarted, rolled out or deleted",
            "as 1, and no quota stays taken",
        ),
        Fault(
            3,
            "SIGTERM in the midst of writes",
            "writes under way end, the Lease is handed back, the process ends within its grace period",
        ),
        Fault(4, "a write is carried out and its answer lost", "it is looked at again; nothing is made twice"),
        Fault(
            5,
            "429 with Retry-After",
            "waited for as asked; other objects go on",
        ),
        Fault(
            6,
            "ten minutes of 500, 502 and 503",
            "asked at a bounded rate; well again within a minute after; no running pod dies",
        ),
        Fault(
            7,
            "no request is answered any more",
            "no running pod dies, the ages of watches tell, and never two lead",
        ),
        Fault(8, "410 at a watch, also in the stream", "listed again; what was deleted in between is noticed"),
        Fault(9, "a watch falls silent without ending", "noticed by its silence, and opened anew"),
        Fault(10, "a watch leaves out an event, each one in turn", "repaired by the next complete list, and counted"),
        Fault(
            11,
            "a watch repeats events, changes their order or tells old ones again",
            "no older state replaces a newer one; the end is the same",
        ),
        Fault(
            12,
            "what the operator sees is seconds behind the truth",
            "nothing is made or deleted by it twice: writes name uid and version",
        ),
        Fault(
            13, "409 at every second write of a status", "written on the fresh state; what users wrote meanwhile stays"
        ),
        Fault(14, "somebody edits or deletes what the operator made", "repaired or left, and no fight over it"),
        Fault(15, "annotations and labels of others on everything", "they stay"),
        Fault(
            16,
            "one right of the operator is taken away",
            "those concerned say so in the API server's words; everything else goes on",
        ),
        Fault(17, "the namespace is being deleted while pods are created", "no storm of attempts; others go on"),
        Fault(
            18,
            "a ResourceQuota, a LimitRange or Pod Security refuses a pod",
            "its words are the reason; no part of a gang stays",
        ),
        Fault(
            19,
            "somebody else's admission webhook is down",
            "our own block nobody, since there are none; what it keeps from starting is told and starts when it is back",
        ),
        Fault(
            20,
            "our own webhook is down",
            "objects are taken as their schema says, and judged by the operator",
            not_applicable="there is no webhook: schemas and rules in the CRDs refuse what is wrong, without a server of ours",
        ),
        Fault(
            21,
            "the serving certificate nears its end, or its Secret is gone or damaged",
            "renewed in time by the same authority, made anew if need be",
        ),
    ),
)

OPERATOR = Group(
    "The operator itself, its versions and its objects",
    (
        Fault(22, "two operators", "one acts, the other waits and takes over"),
        Fault(
            23,
            "the leader stands still for longer than its Lease and goes on",
            "it writes nothing more; its successor waited until nothing of its could land",
        ),
        Fault(
            24,
            "the Lease is deleted, or a replica's clock is ten minutes off",
            "never two leaders: what counts is how long a Lease was seen to stand still",
        ),
        Fault(25, "the clock jumps back an hour", "no negative time in any ledger; everything goes on"),
        Fault(26, "an upgrade while jobs run", "no pod of theirs is touched"),
        Fault(27, "a newer operator's fields in a status", "they stay when an older one writes"),
        Fault(28, "objects that an older operator wrote", "what they lack has a default"),
        Fault(29, "the chart is uninstalled while jobs run", "kinds, objects and pods stay; objects can be deleted"),
        Fault(
            30, "the CRD of a kind is deleted", "the operator lives, other kinds go on, and it follows when it is back"
        ),
        Fault(31, "a finalizer stays and the operator is gone", "nothing of ours ever keeps an object from going"),
        Fault(
            32,
            "deletion in the background, in the foreground and with orphans",
            "a known end of each; quota is free when the pods are",
        ),
        Fault(
            33,
            "deleted in the midst of its creation and made anew under its name",
            "pods of the old one are never taken for those of the new one",
        ),
        Fault(34, "a status is emptied by hand", "known again from the pods that run, which nobody kills"),
        Fault(35, "our labels are taken off pods", "known by their owner and name; nothing is made twice"),
        Fault(
            36,
            "the operator is killed for its memory at more than a thousand objects",
            "its successor is steady within a minute",
        ),
        Fault(
            37,
            "more than a thousand jobs at its start",
            "lists come in pages, what fits starts, and no flood of events or writes",
        ),
        Fault(38, "an object that can never be reconciled", "others do not notice; it is tried ever more seldom"),
        Fault(39, "a reconcile hangs", "cut off and tried again"),
        Fault(40, "the event loop stands still for seconds", "measured and alarmed; the Lease is kept"),
    ),
)

NODES = Group(
    "Nodes and devices",
    (
        Fault(41, "a node is not ready for a moment", "nothing is done"),
        Fault(42, "a node is gone or silent for good", "the job goes on elsewhere from its checkpoint"),
        Fault(43, "a node takes no pods any more between placement and start", "placed elsewhere, never stuck"),
        Fault(44, "several nodes of one gang are lost at once", "placed anew once, counted as one disruption"),
        Fault(45, "most nodes fall silent together", "nothing is restarted or deleted by force"),
        Fault(46, "they come back after days", "what counts is what is true then; nothing old is acted on"),
        Fault(
            47,
            "a fatal XID of the kind that only its program suffers from",
            "the job restarts, the node stays in use",
        ),
        Fault(
            48,
            "a GPU is off the bus or needs a reset",
            "the node takes nothing new; what runs there goes on elsewhere after a checkpoint, when a person or the level says so",
        ),
        Fault(
            49,
            "the same XID twice",
            "counted twice",
        ),
        Fault(
            50,
            "a condition that speaks against a node ends",
            "the node is used again after a while, without a word from anybody",
        ),
        Fault(
            51, "a node offers fewer GPUs under a running job", "the job stays; the next one is told what is missing"
        ),
        Fault(52, "a device plugin restarts: no GPUs for twenty seconds", "nobody is stopped"),
        Fault(
            53,
            "the exporter of GPU metrics is away",
            "unknown is not zero; what totals tell is not lost",
        ),
        Fault(54, "a person cordons and uncordons a node", "both are obeyed at once, and nobody does it over again"),
    ),
)

TRAINERS = Group(
    "Training",
    (
        Fault(55, "a worker is killed", "started again in its pod, from the last checkpoint"),
        Fault(56, "a worker is stopped by a signal", "found and named; the gang starts again"),
        Fault(57, "a worker is much slower than the others", "named with its node, and not killed"),
        Fault(58, "out of memory, of the host or of the GPU", "told as such, and not tried for ever"),
        Fault(
            59,
            "the program fails at its start, always",
            "the user's fault with its last words; a bounded number of starts",
        ),
        Fault(
            60, "the program fails after some steps, on any node", "given up within its budget; the checkpoint stays"
        ),
        Fault(
            61, "a pod is evicted, drained or deleted", "a checkpoint first where there is time; replaced, counted once"
        ),
        Fault(62, "preempted twice while it saves", "no torn checkpoint is ever loaded"),
        Fault(
            63,
            "a checkpoint is damaged, cut off or of another size of gang",
            "the one before it is taken, and that is told",
        ),
        Fault(64, "the volume is full, read-only or slow", "counted and told; training goes on"),
        Fault(65, "the loss is no number", "the job ends and exports nothing; the status says why"),
        Fault(66, "the image cannot be pulled", "told within half a minute; the place is given back at the deadline"),
        Fault(67, "a volume cannot be mounted or is not bound", "told as such"),
        Fault(68, "names resolve late, addresses change", "waited for, given up with advice, and never two gangs"),
    ),
)

QUEUES = Group(
    "Quota and specs",
    (
        Fault(69, "a queue is deleted while its jobs run", "they run on; those that wait say what is missing"),
        Fault(70, "a quota is cut below what is used", "nobody is stopped; nothing starts until enough was given back"),
        Fault(71, "a quota is raised, a flavor goes, parents form a circle", "admitted at once; told with the path"),
        Fault(72, "a queue is deleted and made anew", "use and positions are counted anew"),
        Fault(73, "the spec of a running job is edited", "refused by field, or done as documented; never in part"),
        Fault(74, "4 replicas, none, and 4 again within a second", "what was asked last is what there is"),
        Fault(75, "suspended and resumed while it is admitted", "no place is held twice"),
        Fault(76, "more than there could ever be", "told at once, with both numbers"),
        Fault(77, "small jobs come without end before a large gang", "it starts within a bound"),
        Fault(78, "two gangs that each could hold half", "one holds all it needs, or none"),
    ),
)

TENANTS = Group(
    "Users and tenants",
    (
        Fault(
            79,
            "a spec that wants privileges, a node, a billion pods, or names that fool a terminal",
            "refused by schema or Pod Security; log lines stay single",
        ),
        Fault(80, "names meant for PromQL, dashboards or a shell", "taken as text"),
        Fault(81, "any value in any field", "refused or reconciled; never a crash"),
        Fault(82, "a claim or a model of another namespace", "not found: names lead nowhere but into one's own"),
        Fault(83, "a model that is a program", "refused unread"),
        Fault(84, "a model with another digest, a download cut off", "not served; what served goes on"),
    ),
)

SERVING = Group(
    "Serving",
    (
        Fault(85, "replicas crash after they were ready", "not ready any more; a good revision keeps its traffic"),
        Fault(86, "a new model fails, is slow or answers otherwise", "rolled back with the numbers"),
        Fault(87, "no replica answers", "told at once when to come back; no queue without end"),
        Fault(
            88,
            "a replica takes requests and does not answer",
            "put out for a while; asked again elsewhere if that is safe",
        ),
        Fault(89, "a replica ends while it streams", "the stream ends first"),
        Fault(90, "ten times the load at once, from zero too", "a bounded queue, one decision, no flapping"),
        Fault(91, "no figures for the autoscaler", "the number is kept"),
    ),
)

WATCHING = Group(
    "Watching it",
    (
        Fault(92, "scrapes that are slow, many at once or of a hostile Host", "answered; reconciles do not wait"),
        Fault(93, "the collector of traces is down", "traces are lost and nothing else"),
        Fault(94, "forged progress", "only the job's own pods are believed, within their bounds"),
        Fault(
            95,
            "no source of energy, or one that falls silent",
            "left out of what was measured; never guessed, never negative",
        ),
        Fault(96, "a bad setting", "refused by name before anything starts"),
        Fault(97, "events are refused", "counted as dropped; everything else goes on"),
        Fault(98, "the token of the service account is replaced", "read again without a restart"),
        Fault(
            99,
            "a cluster of IPv6 alone",
            "the operator, the servers and the gateways listen on both families",
        ),
    ),
)

GROUPS = (API_SERVER, OPERATOR, NODES, TRAINERS, QUEUES, TENANTS, SERVING, WATCHING)
FAULTS = {fault.number: fault for group in GROUPS for fault in group.faults}
