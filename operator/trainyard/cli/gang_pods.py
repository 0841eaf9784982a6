"""The pods of one attempt of a job: which a user means by rank or role, and what to say where there is none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trainyard.api.names import ATTEMPT_LABEL, GPU, INDEX_LABEL, JOB_LABEL, ROLE_LABEL, WORKER
from trainyard.api.quantity import whole
from trainyard.api.training_job import TrainingJob
from trainyard.cli import job_facts as facts
from trainyard.cli.api_server import ApiServer, explained
from trainyard.cli.errors import USAGE, CliError
from trainyard.cluster.errors import ClusterError
from trainyard.cluster.resources import PODS, Object


@dataclass(frozen=True, slots=True)
class Choice:
    """Which pods of which attempt. role and index: None for all."""

    attempt: int
    role: str | None
    index: int | None

    @property
    def subject(self) -> str:
        """Begins a sentence that ends in "gone"."""
        if self.index is not None:
            return f"{self.role} {self.index} is"
        return f"the pods of role {self.role} are" if self.role else "its pods are"


@dataclass(frozen=True, slots=True)
class GangPod:
    """One pod."""

    name: str
    role: str
    index: int

    def __str__(self) -> str:
        return f"{self.role}-{self.index}"


def choice(job: TrainingJob, *, rank: int | None, role: str | None, previous: bool) -> Choice:
    """What the options mean for this job. Raises CliError for pods that it never has."""
    attempt, counts = job.status.attempt - previous, job.counts()
    if attempt < 1:
        raise CliError(
            f"TrainingJob {facts.name(job)} is in its first attempt: there is none before it; leave out --previous"
        )
    if role is not None and role not in counts:
        raise CliError(f"TrainingJob {facts.name(job)} has no role {role!r}; there are: {', '.join(counts)}")
    if rank is None:
        return Choice(attempt, role, None)
    if role not in (None, WORKER):
        raise CliError(f"--rank counts the processes of the workers; leave out --role {role}", USAGE)
    each = processes(job)
    # An elastic job may have had another size in an earlier attempt.
    world = max(counts[WORKER], job.spec.workers.replicas if previous else 0) * each
    if rank >= world:
        raise CliError(
            f"there is no rank {rank} in TrainingJob {facts.name(job)}: {world // each} workers with {each} processes each have ranks 0 to {world - 1}"
        )
    return Choice(attempt, WORKER, rank // each)


def processes(job: TrainingJob) -> int:
    """Of each worker: one for each whole GPU, and at least one."""
    return max(1, whole(job.spec.workers.resources.limits.get(GPU, "0")))


def pods_of(server: ApiServer, job: TrainingJob, chosen: Choice) -> list[GangPod]:
    """Those that are there, workers first, in order of rank. Raises CliError if there is none."""
    labels = {JOB_LABEL: job.metadata.name, ATTEMPT_LABEL: str(chosen.attempt)}
    if chosen.role is not None:
        labels[ROLE_LABEL] = chosen.role
    if chosen.index is not None:
        labels[INDEX_LABEL] = str(chosen.index)
    query = {"labelSelector": ",".join(f"{key}={value}" for key, value in labels.items())}
    try:
        found = server.items(PODS.path(job.metadata.namespace), query)
    except ClusterError as error:
        raise explained(error, server) from None
    roles = list(job.counts())
    pods = [_pod(each) for each in found if _owned(each, job.metadata.uid)]
    if not pods:
        raise CliError(_none(job, chosen))
    return sorted(pods, key=lambda pod: (roles.index(pod.role) if pod.role in roles else len(roles), pod.index))


def _owned(pod: Object, uid: str) -> bool:
    """A job created anew under an old name does not own the old one's pods, which may still end."""
    return any(each.get("uid") == uid for each in pod["metadata"].get("ownerReferences") or ())


def _pod(pod: Object) -> GangPod:
    labels: Mapping[str, str] = pod["metadata"].get("labels") or {}
    index = labels.get(INDEX_LABEL, "")
    return GangPod(pod["metadata"]["name"], labels.get(ROLE_LABEL, ""), int(index) if index.isdecimal() else 0)


def _none(job: TrainingJob, chosen: Choice) -> str:
    status = job.status
    found = f"TrainingJob {facts.name(job)}, attempt {chosen.attempt}: {chosen.subject}"
    if chosen.attempt < status.attempt:
        return f"{found} gone: a log goes with its pod, and pods that did not end by themselves are deleted before the next attempt{_how_it_ended(job)}"
    state = f"{facts.phase(job)} ({status.reason})" if status.reason else facts.phase(job)
    if facts.ended(job):
        return f"{found} gone, and so is what was written; the job is {state}"
    earlier = ". The attempt before: --previous" if status.attempt > 1 else ""
    return f"{found} not there yet; the job is {state}. {why(job)} tells what it waits for{earlier}"


def _how_it_ended(job: TrainingJob) -> str:
    restart = job.status.last_restart
    return f". That attempt ended so: {restart.cause}" if restart and restart.attempt == job.status.attempt - 1 else ""


def why(job: TrainingJob) -> str:
    """The command that explains."""
    return f"`trainyard why {job.metadata.name} -n {job.metadata.namespace}`"


def listed(pods: Sequence[GangPod], most: int = 5) -> str:
    """Some of them by name."""
    return ", ".join(map(str, pods[:most])) + (f" and {len(pods) - most} more" if len(pods) > most else "")
