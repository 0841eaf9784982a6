"""The table by which a failure gets its class: exit codes, reasons and words, read from top to bottom."""

from collections.abc import Iterable

from trainyard.api.failure import FailureClass, FailureRow
from trainyard.workloads.pod_state import PodState

NODE_REASONS = ("Evicted", "NodeShutdown", "Terminated", "NodeLost")
"""Reasons with which a node sends a pod away."""


TABLE: tuple[FailureRow, ...] = (
    FailureRow(kind=FailureClass.NODE, reasons=frozenset(NODE_REASONS)),
    FailureRow(kind=FailureClass.PREEMPTED, exit_codes=frozenset({75})),
    FailureRow(kind=FailureClass.HANG, exit_codes=frozenset({77})),
    FailureRow(kind=FailureClass.USER_ERROR, exit_codes=frozenset({64}), contains=("device-side assert",)),
    FailureRow(kind=FailureClass.DATA, exit_codes=frozenset({65})),
    FailureRow(
        kind=FailureClass.OUT_OF_MEMORY,
        reasons=frozenset({"OOMKilled"}),
        contains=("out of memory", "outofmemoryerror", "bad_alloc", "cannot allocate memory", "memoryerror"),
    ),
    FailureRow(
        kind=FailureClass.STORAGE,
        contains=("no space left on device", "disk quota exceeded", "read-only file system", "stale file handle"),
    ),
    FailureRow(
        kind=FailureClass.INFRASTRUCTURE,
        exit_codes=frozenset({125, 126, 127, 128}),
        reasons=frozenset({"ContainerCannotRun", "StartError", "CreateContainerError", "RunContainerError"}),
    ),
    FailureRow(
        kind=FailureClass.GPU,
        contains=("cuda error", "uncorrectable ecc", "nvlink", "xid", "no cuda gpus are available", "cudnn_status"),
    ),
    FailureRow(
        kind=FailureClass.NETWORK,
        contains=(
            "nccl",
            "gloo",
            "connection reset by peer",
            "connection refused",
            "connection closed by peer",
            "connection timed out",
            "no route to host",
            "network is unreachable",
            "name or service not known",
            "temporary failure in name resolution",
            "rendezvous",
        ),
    ),
)

REMEDIES: dict[FailureClass, str] = {
    FailureClass.USER_ERROR: "read the log of the pod, mend the program or its configuration, and create the job anew",
    FailureClass.OUT_OF_MEMORY: "give each worker more memory in resources.limits, or lower training.batchSize",
    FailureClass.DATA: "check the data set that the message names; the job fails the same way again until it is mended",
    FailureClass.NETWORK: "nothing, if it happens once; if the same node is named again and again, cordon it",
    FailureClass.GPU: "the gang restarts; if the same node is named again, cordon it and reset the GPU",
    FailureClass.NODE: "nothing: the gang restarts on other nodes from its last checkpoint",
    FailureClass.HANG: "the stacks of all ranks are on the claim; if the same node is named again, cordon it",
    FailureClass.PREEMPTED: "nothing: it goes on from its checkpoint",
    FailureClass.STORAGE: "make room on the claim, or enlarge it; checkpoints are not written until then",
    FailureClass.INFRASTRUCTURE: "see the message: the image, its command, or whoever deletes pods",
}
"""What usually helps, told with the failure."""


REPEATING = frozenset({FailureClass.USER_ERROR, FailureClass.DATA, FailureClass.OUT_OF_MEMORY})
"""Classes that come again at the same step for the same cause."""
SAME_FAILURES = 3
"""After so many failures of one kind at one step a restart is not tried any more."""


def classify(pod: PodState, own: Iterable[FailureRow] = ()) -> tuple[FailureClass, str]:
    """The class of a pod that failed, and what usually helps. Without a better answer it is the program's own error.

    own: rows of the cluster, which come before the table.
    """
    # Where no container ran, the words are the node's, of which the table knows nothing.
    row = next((row for row in (*own, *(TABLE if pod.exit else ())) if _fits(row, pod)), None)
    kind = row.kind if row else _without_a_row(pod)
    return kind, (row and row.remedy) or REMEDIES[kind]


def _fits(row: FailureRow, pod: PodState) -> bool:
    code, reasons = (pod.exit.code, {pod.reason, pod.exit.reason}) if pod.exit else (None, {pod.reason})
    said = last_words(pod).lower()
    return (
        code in row.exit_codes
        or not reasons.isdisjoint(row.reasons)
        or any(text.lower() in said for text in row.contains)
    )


def _without_a_row(pod: PodState) -> FailureClass:
    if pod.exit is not None:
        return FailureClass.USER_ERROR
    return FailureClass.NODE if pod.reason in NODE_REASONS else FailureClass.INFRASTRUCTURE


def last_words(pod: PodState) -> str:
    """What the pod said last, or what is said about it."""
    if pod.exit is None:
        return pod.message
    said = pod.exit.report.get("cause") or pod.exit.message or pod.message or "it said nothing; see its log"
    return str(said).strip()[:700]
