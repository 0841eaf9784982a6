"""Alerts about the operator itself. What trains and serves goes on without it; nothing new starts and nobody restarts what fails."""

from dev.alerting.rule import Alert, Group, Severity

_PODS = "kubectl get pods -n trainyard-system -l app.kubernetes.io/component=operator"
_LOGS = "kubectl logs -n trainyard-system -l app.kubernetes.io/component=operator --tail=200"
_ALL_LOGS = "kubectl logs -n trainyard-system -l app.kubernetes.io/component=operator --tail=-1"
_EARLIER_LOGS = f"{_LOGS} --previous"
_LEASE = "kubectl get lease trainyard-operator -n trainyard-system -o yaml"
_API_SERVER = "kubectl get --raw='/readyz?verbose'"
_FORBIDDEN = 'trainyard_kube_requests_total{code=~"401|403"}'
_ACCOUNT = "--as=system:serviceaccount:trainyard-system:trainyard"
_CERTIFICATE_END = "max by (certificate) (trainyard_certificate_expiry_timestamp_seconds)"
_CERTIFICATE_START = "max by (certificate) (trainyard_certificate_start_timestamp_seconds)"
_GENERATIONS = (
    "custom-columns=IN:.metadata.namespace,NAME:.metadata.name,IS:.metadata.generation,SEEN:.status.observedGeneration"
)

_LEADER = (
    Alert(
        name="TrainyardOperatorDown",
        severity=Severity.CRITICAL,
        expr="absent(trainyard_build_info)",
        after="5m",
        summary="No Trainyard operator is scraped",
        description="Prometheus has no metrics of any operator: it does not run, does not answer, or is not scraped. All other alerts about jobs, queues and nodes are blind meanwhile.",
        impact="Running jobs and services go on. Nothing is admitted, restarted, scaled or rolled out, and gateways keep the replicas that they know.",
        diagnosis=(
            _PODS,
            "kubectl describe pods -n trainyard-system -l app.kubernetes.io/component=operator",
            _EARLIER_LOGS,
            "kubectl get servicemonitors -n trainyard-system",
        ),
        remedy="Where the pod does not run, its events say why (image, memory limit, node); where it does, look at Prometheus' page of targets: a ServiceMonitor whose labels the Prometheus does not select, or a network policy.",
    ),
    Alert(
        name="TrainyardNoLeader",
        severity=Severity.CRITICAL,
        expr="sum(trainyard_operator_leader) == 0",
        after="2m",
        summary="Operators run, and none of them leads",
        description="Every operator that is scraped stands by. One takes over within seconds when the Lease is free, so something keeps them from it.",
        impact="As without an operator: what runs goes on, nothing else happens.",
        diagnosis=(_LEASE, _LOGS, _API_SERVER),
        remedy="A Lease that a dead pod holds runs out by itself within 15 s. If its renewTime goes on, its holder is an operator that is not scraped. Otherwise the log says what the API server refuses: usually the rights on leases of the release's namespace.",
    ),
    Alert(
        name="TrainyardTwoLeaders",
        severity=Severity.CRITICAL,
        expr="sum(trainyard_operator_leader) > 1",
        after="2m",
        summary="{{ $value }} operators say that they lead",
        description="More than one operator says that it leads. Either two releases are scraped by one Prometheus, or one of them has not noticed that it lost the Lease.",
        impact="Two leaders of one cluster would undo each other's decisions. A write needs a valid Lease, so this lasts seconds unless there are two Leases.",
        diagnosis=(
            "kubectl get leases -A",
            "kubectl get pods -A -l app.kubernetes.io/component=operator,app.kubernetes.io/part-of=trainyard",
            _LEASE,
        ),
        remedy="Uninstall the release that should not be there. Of one release: kubectl delete pod of the one that is not the Lease's holderIdentity. Two clusters behind one Prometheus need a copy of the rules each, with a label of the cluster.",
    ),
    Alert(
        name="TrainyardLeaderChangesOften",
        severity=Severity.WARNING,
        expr="count(max_over_time(trainyard_operator_leader[1h]) == 1) + (sum(resets(trainyard_event_loop_lag_seconds_count[1h])) or vector(0)) > 3",
        after="0m",
        summary="{{ $value }} terms of leadership within an hour",
        description="The leader changed or started anew again and again. An upgrade or a lost node explains one change, not three.",
        impact="Each change costs seconds without decisions and a complete list of all objects; estimates of starts are less exact afterwards.",
        diagnosis=(_PODS, _LEASE, _EARLIER_LOGS, "kubectl top pods -n trainyard-system", _API_SERVER),
        remedy="The Lease counts its transitions. Restarts with reason OOMKilled need a higher operator.resources.limits.memory. 'leadership lost' in the log means a slow API server, or an operator without enough CPU: raise the request, and leave the limit unset.",
    ),
)
_EYES = (
    Alert(
        name="TrainyardWatchStale",
        severity=Severity.WARNING,
        expr="max by (resource) (trainyard_watch_last_activity_age_seconds) > 600",
        after="5m",
        summary="Nothing was heard of {{ $labels.resource }} for {{ $value | humanizeDuration }}",
        description="The operator has heard nothing of this kind from the API server for ten minutes, not even a bookmark or the complete list that comes each operator.repairSeconds (300 s; of what is not Trainyard's own, every second time).",
        impact="The operator decides on an old picture: pods that ended or nodes that came back may not be known to it.",
        diagnosis=(_LOGS, _API_SERVER, "kubectl get apiservices"),
        remedy="If the API server is well, restart the operator: kubectl rollout restart deployment -n trainyard-system -l app.kubernetes.io/component=operator. With operator.repairSeconds above 600 (300, of other kinds) this alert is wrong for Trainyard's own kinds in a quiet cluster.",
    ),
    Alert(
        name="TrainyardCacheNotFilled",
        severity=Severity.CRITICAL,
        expr="""
            (max by (resource) (trainyard_cache_objects) unless on (resource) max by (resource) (trainyard_watch_last_activity_age_seconds))
            and on () sum(trainyard_operator_leader) > 0
        """,
        after="5m",
        summary="The leader has never read a complete list of {{ $labels.resource }}",
        description="The operator leads, but the first complete list of this kind has not come. It does nothing until it has all of them.",
        impact="Nothing is admitted, restarted or scaled.",
        diagnosis=(_LOGS, "kubectl get crd | grep trainyard.dev", _API_SERVER),
        remedy="403 in the log: the release's ClusterRole is missing or older than the operator (rbac.create). 404: the CustomResourceDefinitions are not installed (crds.install). Otherwise the API server does not manage to answer.",
    ),
    Alert(
        name="TrainyardApiServerErrors",
        severity=Severity.WARNING,
        expr='sum(rate(trainyard_kube_requests_total{code=~"5..|429|0"}[5m])) / sum(rate(trainyard_kube_requests_total[5m])) > 0.05',
        after="10m",
        summary="{{ $value | humanizePercentage }} of the operator's requests fail at the API server",
        description="The API server answers with 5xx or 429, or not at all, to more than one request in twenty.",
        impact="Decisions are late. Requests are repeated, so none is lost.",
        diagnosis=(
            _API_SERVER,
            "kubectl get --raw=/debug/api_priority_and_fairness/dump_priority_levels",
            _LOGS,
        ),
        remedy="429: give the operator's ServiceAccount a FlowSchema of its own. 5xx or no answer: the control plane or the way to it is at fault.",
    ),
    Alert(
        name="TrainyardRequestsForbidden",
        severity=Severity.WARNING,
        # The first refusal of a kind begins a series, in which nothing has increased yet.
        expr=f"sum by (verb, resource) (({_FORBIDDEN} unless {_FORBIDDEN} offset 15m) or increase({_FORBIDDEN}[15m])) > 0",
        after="5m",
        summary="The operator may not {{ $labels.verb }} {{ $labels.resource }}",
        description="The API server refuses what the operator asks: its rights are not those that its version needs, or an admission controller forbids it.",
        impact="What needs that request does not happen; the status of the object concerned says so.",
        diagnosis=(
            f"kubectl auth can-i --list {_ACCOUNT}",
            f"{_ALL_LOGS} | grep forbidden",
        ),
        remedy="Upgrade the chart with the operator, so that both are of one version; with rbac.create=false compare your roles with those of the chart. A ResourceQuota or a policy of one namespace answers 403, too.",
    ),
    Alert(
        name="TrainyardNamespaceUnseen",
        severity=Severity.WARNING,
        expr='max by (namespace, state) (trainyard_namespace_view{state!="seen"}) > 0',
        after="5m",
        summary="The operator does not see namespace {{ $labels.namespace }}: it is {{ $labels.state }}",
        description="The operator is confined to some namespaces, and this one is missing (deleted, or never made), refused (its Role was taken away, or lacks a right), or still unread.",
        impact="In a namespace that is missing there is nothing to do. In one that is refused what runs goes on, and nobody admits, restarts, scales or rolls out anything; its status stays as it was. Other namespaces are not touched.",
        diagnosis=(
            "kubectl get namespaces --show-labels",
            f"kubectl auth can-i --list -n NAMESPACE {_ACCOUNT}",
            f"{_ALL_LOGS} | grep -e 'a namespace cannot be seen' -e 'may not be read in this namespace'",
            f"{_LOGS} | grep 'cannot follow the kind'",
        ),
        remedy="missing: create the namespace and upgrade the chart, which makes the Role in it, or take it out of operator.namespaces. refused: upgrade the chart, or with rbac.create=false give the Role back that docs/chart.md describes; trainyard doctor names the rights that lack. unread for minutes: the API server does not answer for it. It counts again within half a minute of being readable.",
    ),
)
_CERTIFICATE = (
    Alert(
        name="TrainyardCertificateExpires",
        severity=Severity.WARNING,
        # An authority lives for years, and nobody renews it: a third of that would be an alert for years.
        expr=f"""
            ({_CERTIFICATE_END} - time()) < ({_CERTIFICATE_END} - {_CERTIFICATE_START}) / 3
            unless on (certificate) trainyard_certificate_expiry_timestamp_seconds{{certificate="authority"}} - time() > 90 * 86400
        """,
        after="3h",
        summary="The {{ $labels.certificate }} certificate of the operator's endpoint ends in {{ $value | humanizeDuration }}",
        description="Less than a third of the certificate's life is left, 90 days for its authority, and it has not been renewed. The operator looks each hour whether its serving certificate must be.",
        impact="When it has ended, trainers and gateways do not reach the operator: jobs report no progress, and gateways keep the replicas that they know.",
        diagnosis=(
            f"{_LOGS} | grep 'certificate'",
            r"kubectl get secret trainyard-operator-tls -n trainyard-system -o jsonpath='{.data.ca\.crt}' | base64 -d | openssl x509 -noout -enddate",
            r"kubectl get secret trainyard-operator-tls -n trainyard-system -o jsonpath='{.data.tls\.crt}' | base64 -d | openssl x509 -noout -enddate",
            f"kubectl auth can-i patch secrets/trainyard-operator-tls -n trainyard-system {_ACCOUNT}",
        ),
        remedy="serving: the log says why it could not be stored, usually rights on the Secret; after that restart the operator. authority: delete the Secret and restart the operator, which makes both anew; pods that run trust the old one until they are replaced, so do it in a quiet hour.",
    ),
)
_WORK = (
    Alert(
        name="TrainyardReconcilesFail",
        severity=Severity.WARNING,
        expr='sum by (kind) (rate(trainyard_reconcile_total{result="error"}[10m])) / sum by (kind) (rate(trainyard_reconcile_total[10m])) > 0.1',
        after="15m",
        summary="{{ $value | humanizePercentage }} of the reconciles of kind {{ $labels.kind }} end with an error",
        description="More than one reconcile in ten raises an error: many objects are concerned.",
        impact="Those objects are tried again and again, later each time, and do not move on.",
        diagnosis=(f"{_ALL_LOGS} | grep 'reconcile failed'", "trainyard get -A", _API_SERVER),
        remedy="The log names object and error. One error for all: the API server, or rights. Errors that began with an upgrade: roll it back (helm rollback trainyard -n trainyard-system) and report them.",
    ),
    Alert(
        name="TrainyardObjectKeepsFailing",
        severity=Severity.INFO,
        expr='sum by (kind) (increase(trainyard_reconcile_total{result="error"}[15m])) > 0',
        after="45m",
        summary="Some {{ $labels.kind }} has failed to be reconciled for most of an hour",
        description="There was an error in each quarter of an hour. Few objects are concerned, or TrainyardReconcilesFail would fire.",
        impact="At least one object does not move on.",
        diagnosis=(f"{_ALL_LOGS} | grep 'reconcile failed'",),
        remedy="The log names object and error. Correct or delete the object; if it is as it should be, report the error.",
    ),
    Alert(
        name="TrainyardReconcileLate",
        severity=Severity.WARNING,
        expr="max by (kind) (trainyard_reconcile_oldest_age_seconds) > 120",
        after="5m",
        summary="A change of kind {{ $labels.kind }} has waited for {{ $value | humanizeDuration }} to be looked at",
        description="Objects that are due wait for a worker for minutes; usually they wait for milliseconds.",
        impact="Starts, restarts and scaling are late by that time.",
        diagnosis=("kubectl top pods -n trainyard-system", _API_SERVER, _LOGS),
        remedy="Slow requests to the API server: see there. A busy CPU: raise operator.resources.requests.cpu. Neither: raise operator.workers.",
    ),
    Alert(
        name="TrainyardStatusBehind",
        severity=Severity.WARNING,
        expr="max by (kind) (trainyard_objects_unobserved) > 0",
        after="15m",
        summary="The status of {{ $value }} objects of kind {{ $labels.kind }} does not describe their newest spec",
        description="Objects were made or changed a quarter of an hour ago, and their status.observedGeneration is still older than metadata.generation. Usually that takes a second.",
        impact="What their owners wrote has no effect yet, and nobody says why.",
        diagnosis=(
            f"kubectl get trainingjobs -A -o {_GENERATIONS}",
            f"kubectl get tyi -A -o {_GENERATIONS}",
            f"kubectl get tyq -o {_GENERATIONS}",
            f"{_LOGS} | grep 'cannot be read'",
        ),
        remedy="An object that cannot be read is named in the log with the field that is wrong: it was written under an older definition, so correct or delete it. Otherwise see TrainyardReconcileLate and TrainyardObjectKeepsFailing.",
    ),
    Alert(
        name="TrainyardEventLoopBlocked",
        severity=Severity.WARNING,
        expr="histogram_quantile(0.99, sum by (le) (rate(trainyard_event_loop_lag_seconds_bucket[5m]))) > 1",
        after="10m",
        summary="The operator's event loop is late by {{ $value | humanizeDuration }}",
        description="One wake-up in a hundred of the operator comes more than a second late: it is short of CPU, or something computes where it should not.",
        impact="Everything that the operator does is late, and its probes may fail.",
        diagnosis=("kubectl top pods -n trainyard-system", f"{_ALL_LOGS} | grep 'event loop was late'"),
        remedy="Raise operator.resources.requests.cpu and remove a limit on CPU. If CPU is free, report it with the number of objects (trainyard_cache_objects).",
    ),
    Alert(
        name="TrainyardAdmissionSlow",
        severity=Severity.WARNING,
        expr="histogram_quantile(0.95, sum by (le) (rate(trainyard_admission_cycle_seconds_bucket[10m]))) > 5",
        after="15m",
        summary="An admission cycle takes {{ $value | humanizeDuration }}",
        description="A cycle decides for half a second and goes on in the next; these take more than five.",
        impact="Jobs and replicas get their places late.",
        diagnosis=("trainyard top", "kubectl top pods -n trainyard-system", _LOGS),
        remedy="Raise operator.resources.requests.cpu. If CPU is free, report it with the numbers of nodes, pods and waiting workloads.",
    ),
    Alert(
        name="TrainyardSchedulerStalled",
        severity=Severity.WARNING,
        expr='sum by (queue) (max by (queue, reason) (trainyard_queue_pending_workloads{reason="PendingEvaluation"})) > 0',
        after="15m",
        summary="Something in queue {{ $labels.queue }} has not been looked at for 15 minutes",
        description="The scheduler looks at everything that waits within seconds and says why it waits. Here it has not, for a quarter of an hour.",
        impact="Jobs or replicas of the queue do not start although they perhaps could.",
        diagnosis=("trainyard get -A", "kubectl get tyi -A", _LOGS, _PODS),
        remedy="Restart the operator: kubectl rollout restart deployment -n trainyard-system -l app.kubernetes.io/component=operator. If it comes back, the log has an error for an object that cannot be read; correct that object. New replicas of a rollout that wait for quota are counted here, too: trainyard why tyi/SERVICE says so, and then nothing is wrong with the scheduler.",
    ),
)
_PROMISES = (
    Alert(
        name="TrainyardInvariantViolated",
        severity=Severity.CRITICAL,
        expr="sum by (invariant) (increase(trainyard_invariant_violations_total[1h])) > 0",
        after="0m",
        summary="Trainyard broke a promise: {{ $labels.invariant }}",
        description="The auditor found something that only a fault of Trainyard brings about; docs/metrics.md lists the promises.",
        impact="Depends on the promise: a queue above its quota, two pods of one rank, pods without an owner.",
        diagnosis=(
            "kubectl get events -A --field-selector reason=INVARIANT",
            "kubectl logs -n trainyard-system -l app.kubernetes.io/component=operator --tail=-1 | grep 'invariant violated'",
        ),
        remedy="The event names the object. Please report it with the operator's log. OrphanPods and TwoOfARank are safe to repair by deleting the pods that are named.",
    ),
    Alert(
        name="TrainyardKeptPlaceBroken",
        severity=Severity.WARNING,
        expr='increase(trainyard_kept_places_total{result="broken"}[1h]) > 0',
        after="0m",
        summary="The time of a kept place came, and pods stand in it that no job accounts for",
        description="A place is kept for the first that waits, and others may use it only until its time. That time came, all that was expected to end had ended, and yet the job did not fit: pods stand there that Trainyard did not place, or pods of a job that is gone go on ending. It was promised a later time. Nodes that leave or break, quotas that are lowered and jobs that run longer than expected are not counted here: after those, all is promised anew.",
        impact="A large job waits longer than it was told, and again if such pods stay.",
        diagnosis=(
            "trainyard get -A",
            "kubectl get pods -A -o wide -l '!trainyard.dev/job,!trainyard.dev/service' --field-selector status.phase=Running",
            "kubectl get pods -A -o wide -l trainyard.dev/job | grep Terminating",
        ),
        remedy="Keep pods of others off the nodes of a flavor by a taint on the nodes, which the flavor tolerates (spec.tolerations), or move them to other nodes. A pod that stays Terminating is held by a finalizer or by a node that does not answer: kubectl describe pod and kubectl get node say which. The job that waits needs nothing. If there is neither, it is a fault of the scheduler: please report it with the operator's log of that time.",
    ),
    Alert(
        name="TrainyardEventsDropped",
        severity=Severity.INFO,
        expr="sum(rate(trainyard_events_dropped_total[15m])) > 0",
        after="30m",
        summary="Kubernetes Events are dropped, {{ $value | humanize }} a second",
        description="Events were over the rate at which they are written, or the API server refused them, for half an hour without a pause.",
        impact="Users see fewer events; conditions and metrics are complete.",
        diagnosis=(
            "kubectl get events -A --sort-by=.lastTimestamp",
            f"{_ALL_LOGS} | grep 'event could not be written'",
        ),
        remedy="Look for what repeats itself in the events; an object that restarts in a loop is the usual reason.",
    ),
    Alert(
        name="TrainyardSeriesLeftOut",
        severity=Severity.WARNING,
        expr="max by (family) (trainyard_metric_series_dropped) > 0",
        after="15m",
        summary="{{ $value }} series of {{ $labels.family }} are left out of each scrape",
        description="A family of metrics has more series than its cap of 50,000, so that Prometheus stays up.",
        impact="Alerts do not see the objects whose series are left out.",
        diagnosis=(
            "kubectl get trainingjobs -A --no-headers | wc -l",
            "kubectl get pods -A -l trainyard.dev/job --no-headers | wc -l",
        ),
        remedy="Delete jobs that ended, or let them go by themselves with spec.ttlSecondsAfterFinished.",
    ),
)

OPERATOR = Group("Operator", (), (*_LEADER, *_EYES, *_CERTIFICATE, *_WORK, *_PROMISES))
