"""The table by which a failure gets its class: exit codes, reasons and words, read from top to bottom."""

from dataclasses import dataclass

from trainyard.api.failure import FailureClass
from trainyard.workloads.pod_state import PodState

NODE_REASONS = ("Evicted", "NodeShutdown", "Terminated", "NodeLost")
"""Reasons with which a node sends a pod away."""


@dataclass(frozen=True, slots=True)
class Row:
    """A pod belongs to the class if its exit code or reason is named, or one of the words stands in what it said last."""

    kind: FailureClass
    codes: frozenset[int] = frozenset()
    reasons: frozenset[str] = frozenset()
    words: tuple[str, ...] = ()
    """In lower case."""

    def fits(self, code: int | None, reasons: frozenset[str], said: str) -> bool:
        return code in self.codes or bool(self.reasons & reasons) or any(word in said for word in self.words)


TABLE: tuple[Row, ...] = (
    Row(FailureClass.NODE, reasons=frozenset(NODE_REASONS)),
    Row(FailureClass.PREEMPTED, codes=frozenset({75})),
    Row(FailureClass.HANG, codes=frozenset({77})),
    Row(FailureClass.USER_ERROR, codes=frozenset({64}), words=("device-side assert",)),
    Row(FailureClass.DATA, codes=frozenset({65})),
    Row(
        FailureClass.OUT_OF_MEMORY,
        reasons=frozenset({"OOMKilled"}),
        words=("out of memory", "outofmemoryerror", "bad_alloc", "cannot allocate memory", "memoryerror"),
    ),
    Row(
        FailureClass.STORAGE,
        words=("no space left on device", "disk quota exceeded", "read-only file system", "stale file handle"),
    ),
    Row(
        FailureClass.INFRASTRUCTURE,
        codes=frozenset({125, 126, 127, 128}),
        reasons=frozenset({"ContainerCannotRun", "StartError", "CreateContainerError", "RunContainerError"}),
    ),
    Row(
        FailureClass.GPU,
        words=("cuda error", "uncorrectable ecc", "nvlink", "xid", "no cuda gpus are available", "cudnn_status"),
    ),
    Row(
        FailureClass.NETWORK,
        words=(
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


def classify(pod: PodState) -> FailureClass:
    """The class of a pod that failed. Without a better answer it is the program's own error."""
    if pod.exit is None:
        return FailureClass.NODE if pod.reason in NODE_REASONS else FailureClass.INFRASTRUCTURE
    reasons = frozenset({pod.reason, pod.exit.reason})
    said = last_words(pod).lower()
    return next((row.kind for row in TABLE if row.fits(pod.exit.code, reasons, said)), FailureClass.USER_ERROR)


def last_words(pod: PodState) -> str:
    """What the pod said last, or what is said about it."""
    if pod.exit is None:
        return pod.message
    said = pod.exit.report.get("cause") or pod.exit.message or pod.message or "it said nothing; see its log"
    return str(said).strip()[:700]
