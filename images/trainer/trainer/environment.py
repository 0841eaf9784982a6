"""The names of the environment variables that a trainer reads, and the environment as one frozen value.

No other module reads os.environ, so that this page is the whole list. What the operator sets is described in
the trainer pod contract; the last group exists for running a trainer outside a pod.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from trainer.errors import ConfigurationError

NAMESPACE: Final = "TRAINYARD_NAMESPACE"  # namespace of the job
JOB: Final = "TRAINYARD_JOB"  # name of the job
JOB_UID: Final = "TRAINYARD_JOB_UID"  # its uid, sent with every report
ATTEMPT: Final = "TRAINYARD_ATTEMPT"  # number of this attempt, from 1; fences the storage
ROLE: Final = "TRAINYARD_ROLE"  # worker, or another role of the job
SPEC: Final = "TRAINYARD_SPEC"  # JSON of spec.model, spec.dataset, spec.training and spec.compression
DIRECTORY: Final = "TRAINYARD_DIR"  # the job's folder on its claim; unset means no storage
PROGRESS_URL: Final = "TRAINYARD_PROGRESS_URL"  # where reports go; unset means no reports
PROGRESS_CA: Final = "TRAINYARD_PROGRESS_CA"  # PEM text of the authority that signed the operator's certificate
PROGRESS_SECONDS: Final = "TRAINYARD_PROGRESS_SECONDS"  # least time between two reports of one phase
TOKEN_FILE: Final = "TRAINYARD_TOKEN_FILE"  # noqa: S105 - where the pod's token is projected, not a token
RUN_DIRECTORY: Final = "TRAINYARD_RUN_DIR"  # where agent and workers of one pod meet; the agent sets it
TERMINATION_LOG: Final = "TRAINYARD_TERMINATION_LOG"  # where the kubelet picks up the last message
DNS_WAIT_SECONDS: Final = "TRAINYARD_DNS_WAIT_SECONDS"  # how long the master's name may take to resolve
PET_NNODES: Final = "PET_NNODES"  # torchrun: number of pods
PET_NPROC_PER_NODE: Final = "PET_NPROC_PER_NODE"  # torchrun: processes in a pod, a number or auto, gpu, cpu
PET_NODE_RANK: Final = "PET_NODE_RANK"  # torchrun: number of this pod, from 0
PET_MASTER_ADDR: Final = "PET_MASTER_ADDR"  # torchrun: name of pod 0
RESTARTS_LEFT: Final = "TRAINYARD_RESTARTS_LEFT"  # how often the program may be started again in its pods
HANG_SECONDS: Final = "TRAINYARD_HANG_SECONDS"  # silence that is never taken for a hang; 0 never judges
INTERRUPTION_SECONDS: Final = "TRAINYARD_INTERRUPTION_SECONDS"  # expected between two interruptions; unset: unknown
CONTROL_PORT: Final = "TRAINYARD_CONTROL_PORT"  # where pod 0's agent listens for the others'
ELASTIC: Final = "TRAINYARD_ELASTIC"  # 1 where the number of pods may change while they stay
JOINS: Final = "TRAINYARD_JOINS"  # 1 in a pod that comes to others who train: it waits until they take it in
ROUND: Final = "TRAINYARD_ROUND"  # the agent: which start of the program this is, from 1
GROUNDS: Final = "TRAINYARD_GROUNDS"  # the agent, for strays/hook: which files are the job's
RANK: Final = "RANK"  # set by torchrun in a worker
LOCAL_RANK: Final = "LOCAL_RANK"  # set by torchrun in a worker
WORLD_SIZE: Final = "WORLD_SIZE"  # set by torchrun in a worker

DEFAULT_TOKEN_FILE: Final = Path("/var/run/secrets/trainyard/token")
DEFAULT_TERMINATION_LOG: Final = Path("/dev/termination-log")


@dataclass(frozen=True)
class Environment:
    """What the pod was told about itself."""

    namespace: str
    job: str
    job_uid: str
    attempt: int
    role: str
    specification: str
    directory: Path | None
    progress_url: str | None
    progress_ca: str | None
    progress_seconds: float
    token_file: Path
    run_directory: Path
    termination_log: Path
    dns_wait_seconds: float
    nodes: int
    processes_per_node: str
    node_rank: int
    master_address: str | None
    rank: int
    local_rank: int
    restarts_left: int
    hang_seconds: float
    interruption_seconds: float | None
    control_port: int
    elastic: bool
    joins: bool
    round: int

    def claim_path(self, path: Path) -> str:
        """The path as the operator records it: relative to the root of the claim, which holds the job's folder."""
        if self.directory is None or not path.is_relative_to(self.directory):
            return str(path)
        return str(path.relative_to(self.directory.parent))

    def workers(self) -> int | None:
        """Number of worker processes of the whole job, or None while only torchrun can count them (auto, gpu)."""
        return self.nodes * int(self.processes_per_node) if self.processes_per_node.isdecimal() else None


def read_environment(environ: Mapping[str, str] | None = None) -> Environment:
    """Read the environment. Raises ConfigurationError for a number that is none."""
    source = os.environ if environ is None else environ
    directory = source.get(DIRECTORY)
    temporary = Path(source.get("TMPDIR", "/tmp"))
    return Environment(
        namespace=source.get(NAMESPACE, "default"),
        job=source.get(JOB, "local"),
        job_uid=source.get(JOB_UID, ""),
        attempt=_whole(source, ATTEMPT, "1", least=1),
        role=source.get(ROLE) or "worker",
        specification=source.get(SPEC, "{}"),
        directory=Path(directory) if directory else None,
        progress_url=source.get(PROGRESS_URL) or None,
        progress_ca=source.get(PROGRESS_CA) or None,
        progress_seconds=_seconds(source, PROGRESS_SECONDS, "2"),
        token_file=Path(source.get(TOKEN_FILE, DEFAULT_TOKEN_FILE)),
        run_directory=Path(source.get(RUN_DIRECTORY, temporary / "trainyard")),
        termination_log=termination_log(source),
        dns_wait_seconds=_seconds(source, DNS_WAIT_SECONDS, "60"),
        nodes=_whole(source, PET_NNODES, "1", least=1),
        processes_per_node=source.get(PET_NPROC_PER_NODE, "1"),
        node_rank=_whole(source, PET_NODE_RANK, "0", least=0),
        master_address=source.get(PET_MASTER_ADDR) or None,
        rank=_whole(source, RANK, "0", least=0),
        local_rank=_whole(source, LOCAL_RANK, "0", least=0),
        restarts_left=_whole(source, RESTARTS_LEFT, "0", least=0),
        hang_seconds=_seconds(source, HANG_SECONDS, "0"),
        interruption_seconds=_seconds(source, INTERRUPTION_SECONDS, "0") or None,
        control_port=_whole(source, CONTROL_PORT, "29400", least=1),
        elastic=source.get(ELASTIC) == "1",
        joins=source.get(JOINS) == "1",
        round=_whole(source, ROUND, "1", least=1),
    )


def termination_log(environ: Mapping[str, str] | None = None) -> Path:
    """Where the last message goes; can be asked for when the rest of the environment is wrong."""
    return Path((os.environ if environ is None else environ).get(TERMINATION_LOG, DEFAULT_TERMINATION_LOG))


def _whole(source: Mapping[str, str], name: str, default: str, *, least: int) -> int:
    text = source.get(name, default)
    if not text.isdecimal() or int(text) < least:
        raise ConfigurationError(name, text, f"a whole number of at least {least}")
    return int(text)


def _seconds(source: Mapping[str, str], name: str, default: str) -> float:
    text = source.get(name, default)
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise ConfigurationError(name, text, "a number of seconds, 0 or more")
    return value


def is_set(name: str) -> bool:
    """Whether the variable is there at all."""
    return name in os.environ
