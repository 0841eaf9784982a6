"""Alerts about callers and users who try what they may not, and about the audit trail itself."""

from dev.alerting.rule import Alert, Group, Severity

_LOGS = "kubectl logs -n trainyard-system -l app.kubernetes.io/component=operator --tail=-1"


def _refused(action: str, window: str) -> str:
    return f'sum(increase(trainyard_audit_records_total{{action="{action}"}}[{window}]))'


SECURITY = Group(
    "Security",
    (),
    (
        Alert(
            name="TrainyardTokensRefused",
            severity=Severity.WARNING,
            expr=f"{_refused('TokenRefused', '15m')} > 100",
            after="0m",
            summary="{{ $value | humanize }} calls of the operator without a good token within 15 minutes",
            description="Many calls of the operator's endpoint had no token, or one that the API server does not know or that is for somebody else. Pods of Trainyard have good ones; a person who mistypes one makes a handful.",
            impact="Nothing is told to such callers. They may be somebody who tries tokens, or a gateway or trainer whose token is not renewed: then its reports do not arrive.",
            diagnosis=(
                f"{_LOGS} | grep TokenRefused",
                "kubectl get pods -A -o wide -l app.kubernetes.io/managed-by=trainyard",
            ),
            remedy="The records say from which address and why. An address of a pod of ours: delete the pod, so that it gets a new token. Of another pod: ask its owner, and keep it out with a NetworkPolicy. Tokens 'not meant for trainyard.dev' are those of pods that were made without the operator.",
        ),
        Alert(
            name="TrainyardForgedReports",
            severity=Severity.WARNING,
            expr=f"{_refused('Forged', '1h')} > 0",
            after="0m",
            summary="{{ $value | humanize }} reports by pods about jobs or services that are not theirs",
            description="A pod with a good token spoke for a job or service that it does not belong to. No program of Trainyard does so.",
            impact="Such reports are refused and change nothing. Somebody in that namespace runs a program that tries.",
            diagnosis=(f"{_LOGS} | grep Forged", "kubectl get pods -A -o wide"),
            remedy="The record's address is that of the pod: kubectl get pods -A -o wide shows whose it is. Ask its owner what it is for; take away the right to create pods in that namespace if there is no good answer.",
        ),
        Alert(
            name="TrainyardJobStrays",
            severity=Severity.WARNING,
            expr=f"{_refused('Strayed', '1h')} > 0",
            after="0m",
            summary="Programs of jobs touched files of other jobs that they do not name ({{ $value | humanize }} reports)",
            description="On a claim that several jobs share, a program opened, listed or changed files in the folder of another job, and its own job's manifest names no such path. Seen are Python's own file operations in pods that run Trainyard's agent.",
            impact="Nothing is hindered: whoever may create jobs in a namespace may use its claims. It may be a mistake that spoils another job's checkpoints or results, or somebody who collects what is not theirs.",
            diagnosis=(
                "kubectl get events -A --field-selector reason=Strayed",
                f"{_LOGS} | grep Strayed",
            ),
            remedy="The event names job, pod and paths; ask its owner. A path that is wanted belongs into the manifest, in spec.dataset, the command or a variable, and is no stray then. Teams that must not read each other's files need a claim each, or namespaces of their own.",
        ),
        Alert(
            name="TrainyardPrivilegesRefused",
            severity=Severity.INFO,
            expr=f"{_refused('PrivilegesRefused', '1h')} > 5",
            after="0m",
            summary="Pod Security refused {{ $value | humanize }} templates of jobs and services within an hour",
            description="Jobs or services ask for what the Pod Security of their namespace does not allow: privileges, paths or the network of the node, running as root.",
            impact="Those jobs wait with the reason in their status. Nobody else is touched.",
            diagnosis=(
                f"{_LOGS} | grep PrivilegesRefused",
                "kubectl get trainingjobs -A",
            ),
            remedy="The records name the objects and what they ask for. Usually an image that wants to run as root: it needs a USER, and spec.template no securityContext. The same object again and again is worth a question to its owner.",
        ),
        Alert(
            name="TrainyardAuditIncomplete",
            severity=Severity.WARNING,
            expr="sum(increase(trainyard_audit_records_lost_total[15m])) > 0",
            after="0m",
            summary="{{ $value | humanize }} records of the audit trail are not in its file",
            description="The audit file failed or hung until more records waited for it than the operator keeps, so some stand in the operator's log alone. When the file takes records again, one in it says how many those are, with the hashes of the first and the last.",
            impact="Decisions go on. The file cannot prove what happened meanwhile; the log can, where it is kept.",
            diagnosis=(
                f"{_LOGS} | grep -e 'a record could not be written' -e 'the audit file'",
                "kubectl describe pods -n trainyard-system -l app.kubernetes.io/component=operator",
            ),
            remedy="A full volume: enlarge it, or lower audit.fileBytes or audit.filesKept. A volume that is read-only or gone: see its claim; audit.claimName may name another.",
        ),
        Alert(
            name="TrainyardAuditStalled",
            severity=Severity.WARNING,
            expr="max(trainyard_audit_stalled_seconds) > 30",
            after="1m",
            summary="The file of the audit trail has taken no record for {{ $value | humanizeDuration }}",
            description="A write to the audit file hangs, or fails each time: the server of its volume does not answer, or the volume is full or read-only. Only the thread that writes this file waits for it.",
            impact="Decisions go on, and every record is in the operator's log. The operator keeps some thousands of records for the file; those after them will be missed by it (TrainyardAuditIncomplete). An operator that is killed meanwhile leaves a gap.",
            diagnosis=(
                f"{_LOGS} | grep -e 'a record could not be written' -e 'the audit file'",
                "kubectl describe pods -n trainyard-system -l app.kubernetes.io/component=operator",
            ),
            remedy="Bring the volume's server back: what waits is written then, and nothing needs to be restarted. If it is gone for good, let audit.claimName name another claim.",
        ),
    ),
)
