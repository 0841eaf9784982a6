"""Alerts about nodes and flavors: what is lost of the fleet, and what of it nobody can use."""

from dev.alerting.rule import Alert, Group, Recording, Severity

_NODES = "kubectl get nodes -o wide"
_NODE = "kubectl describe node NODE"
_FLAVOR = "kubectl get tyf FLAVOR -o yaml"
_TOP = "trainyard top"

_RECORDINGS = (Recording("node:trainyard_node_gpus:max", "max by (node, flavor, state) (trainyard_node_gpus)"),)
_SICK = (
    Alert(
        name="TrainyardNodesNotReady",
        severity=Severity.WARNING,
        expr='max by (flavor) (trainyard_flavor_sick_nodes{state="not_ready"}) > 0',
        after="10m",
        summary="{{ $value }} nodes of flavor {{ $labels.flavor }} are not ready",
        description="Nodes of the flavor have not been ready for ten minutes. Their jobs were restarted elsewhere as far as there was room.",
        impact="Less capacity; jobs that found no other nodes wait.",
        diagnosis=(_NODES, _NODE, _FLAVOR, _TOP),
        remedy="Repair or remove the node (kubectl delete node NODE) so that its pods are freed. A node that comes and goes: kubectl cordon NODE.",
    ),
    Alert(
        name="TrainyardNodesBroken",
        severity=Severity.WARNING,
        expr='max by (flavor) (trainyard_flavor_sick_nodes{state="broken"}) > 0',
        after="15m",
        summary="{{ $value }} nodes of flavor {{ $labels.flavor }} are called broken by a monitor",
        description="A monitor says by a condition of the node that its hardware is broken. It gets no new pods.",
        impact="Less capacity. What runs there goes on, and may fail.",
        diagnosis=(_TOP, _NODES, _NODE),
        remedy="trainyard top names the node and what helps. trainyard approve NODE cordons it and lets jobs leave after a checkpoint; trainyard refuse NODE where the monitor errs. It is used again ten minutes after the condition went; whoever approved uncordons it.",
    ),
    Alert(
        name="TrainyardNodesSuspect",
        severity=Severity.INFO,
        expr='max by (flavor) (trainyard_flavor_sick_nodes{state="suspect"}) > 0',
        after="30m",
        summary="Several workloads failed on {{ $value }} nodes of flavor {{ $labels.flavor }}",
        description="Workloads of several owners failed there lately, so these nodes are the last choice for a while.",
        impact="None yet, unless only those nodes are free.",
        diagnosis=(_FLAVOR, "trainyard get -A -o wide", _NODE),
        remedy="Test the node. If it is at fault: kubectl cordon NODE. If the programs are, nothing: the suspicion ends by itself.",
    ),
    Alert(
        name="TrainyardBreakerOpen",
        severity=Severity.CRITICAL,
        expr="max by (flavor) (trainyard_flavor_breaker_open) == 1",
        after="1m",
        summary="Most nodes of flavor {{ $labels.flavor }} are sick",
        description="So many nodes of the flavor are sick that a common cause is likelier than that many faults. Broken nodes take pods as a last choice meanwhile, so that work does not stop for a monitor's mistake.",
        impact="Jobs of the flavor fail or wait.",
        diagnosis=(_FLAVOR, _NODES, "kubectl get events -A --field-selector involvedObject.kind=Node"),
        remedy="Look for what the nodes share: driver or image of the last upgrade, switch, storage, the monitor itself. The breaker closes by itself when enough of them are well.",
    ),
    Alert(
        name="TrainyardFleetDegraded",
        severity=Severity.CRITICAL,
        expr='sum(node:trainyard_node_gpus:max{state="unhealthy"}) / sum(node:trainyard_node_gpus:max) > 0.1',
        after="15m",
        summary="{{ $value | humanizePercentage }} of the GPUs stand on unhealthy nodes",
        description="More than a tenth of all GPUs is not held by anybody and stands on nodes that are not ready or broken.",
        impact="Less capacity for everybody.",
        diagnosis=(_NODES, _TOP, "kubectl get tyf"),
        remedy="Look for a common cause first, then for single nodes: their conditions name it. Cordoned nodes are not counted here.",
    ),
)
_REPAIR = (
    Alert(
        name="TrainyardNodeFaultFatal",
        severity=Severity.WARNING,
        expr='sum by (xid) (increase(trainyard_gpu_xids_total{class=~"device|node"}[15m])) > 0',
        after="0m",
        summary="A GPU reported XID {{ $labels.xid }}, which only a reset or a reboot mends",
        description="NVIDIA's driver reported an error with which a GPU, or its node, is of no use until it is repaired.",
        impact="The job that had the GPU fails and starts again elsewhere. The node takes no new pods.",
        diagnosis=(
            _TOP,
            "kubectl get events -n default --field-selector involvedObject.kind=Node,reason=NodeQuarantined",
        ),
        remedy="trainyard top names the node and what helps. trainyard approve NODE empties it after checkpoints; repair it then.",
    ),
    Alert(
        name="TrainyardNodeRepairSlow",
        severity=Severity.WARNING,
        expr='max by (node, state) (trainyard_node_health_seconds{state=~"quarantined|draining|validating"}) > 14400',
        after="5m",
        summary="Node {{ $labels.node }} has been {{ $labels.state }} for {{ $value | humanizeDuration }}",
        description="A node that should be repaired has stood so for over four hours: a proposal that nobody answered, pods that do not leave, or a repair that nobody made.",
        impact="Less capacity.",
        diagnosis=(_TOP, _NODE, "kubectl get pods -A -o wide --field-selector spec.nodeName=NODE"),
        remedy="quarantined: trainyard approve NODE, or trainyard refuse NODE. draining: see which pods are left. validating: repair the node, or kubectl uncordon NODE where it is well.",
    ),
    Alert(
        name="TrainyardNodeBreakerOpen",
        severity=Severity.CRITICAL,
        expr="max(trainyard_node_breaker_open) == 1",
        after="0m",
        summary="So many nodes are to be taken out of use that none is",
        description="More than a fifth of all nodes with GPUs, or of those without, were quarantined within half an hour. That is hardly the nodes' fault, so none of these is cordoned or drained without a person.",
        impact="Broken nodes keep their jobs. They take no new pods, unless the breaker of their flavor is open, too.",
        diagnosis=(_TOP, _NODES, "kubectl get events -n default --field-selector involvedObject.kind=Node"),
        remedy="Look for what the nodes share: driver or firmware of the last upgrade, power, cooling, a switch, the monitor itself. What a monitor says in error: trainyard refuse NODE. The breaker closes by itself.",
    ),
    Alert(
        name="TrainyardNodeLemon",
        severity=Severity.INFO,
        expr="max by (node) (trainyard_node_lemon_ratio) >= 3",
        after="1h",
        summary="Attempts of jobs fail on node {{ $labels.node }} at least {{ $value | humanize }} times as often as elsewhere",
        description="Whatever monitors say, jobs fail there far more often, and not by their own fault. The node is the last choice.",
        impact="Jobs that get it restart more often.",
        diagnosis=(_TOP, _NODE, "trainyard get -A -o wide"),
        remedy="kubectl cordon NODE and test it for longer than a burn-in (dcgmi diag -r 3). If it is well, nothing: what is held against it fades within weeks.",
    ),
)
_USE = (
    Alert(
        name="TrainyardGpusFragmented",
        severity=Severity.INFO,
        expr="""
            max by (flavor) (trainyard_flavor_fragmented_gpus)
            / on (flavor) (sum by (flavor) (node:trainyard_node_gpus:max{state="free"}) >= 8)
            > 0.5
        """,
        after="1h",
        summary="{{ $value | humanizePercentage }} of the free GPUs of {{ $labels.flavor }} are of no use to typical jobs",
        description="Most of the flavor's free GPUs are spread so that what usually asks for GPUs cannot use them.",
        impact="Jobs wait although there are free GPUs.",
        diagnosis=(_TOP, "trainyard get -A | grep Pending"),
        remedy="It goes away as jobs end. Jobs of odd sizes cause it: let them be elastic (spec.workers.minReplicas), or give them a flavor of their own.",
    ),
    Alert(
        name="TrainyardNodeSlow",
        severity=Severity.INFO,
        expr="max by (node) (trainyard_node_slowness) > 3",
        after="30m",
        summary="Jobs say that node {{ $labels.node }} holds them up",
        description="Workers on the node were found to hold their jobs up, lately and strongly. It is the last choice among equal nodes.",
        impact="Jobs with a worker there run at its speed.",
        diagnosis=(
            "trainyard get -A -o wide",
            _NODE,
            "kubectl get pods -A -o wide --field-selector spec.nodeName=NODE",
        ),
        remedy="Look for throttling, a slow link or neighbours that take its CPU; then kubectl cordon NODE. trainyard why JOB says how to have the job placed anew.",
    ),
)
NODES = Group("Nodes", _RECORDINGS, (*_SICK, *_REPAIR, *_USE))
