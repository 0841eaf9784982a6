"""The TensorBoard of a job: a Deployment that reads the job's folder, and the Service in front of it.

It lives beside the job: from when spec.tensorboard is set until it is taken back or the job is deleted, also after the
job's end. It must never be in the job's way. So it holds no volume that the job may need elsewhere: of a claim that only
one node can have, it runs on the worker's node while the gang runs and after the job's end, and not in between; of one
that only one pod can have, after the job's end. A refusal of it is told and changes nothing else.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from trainyard.api.names import JOB_LABEL, SAFE_TO_EVICT, TENSORBOARD_LABEL, WORKER
from trainyard.api.reasons import ConditionType
from trainyard.api.tensorboard import TensorBoard
from trainyard.api.training_job import TrainingJob
from trainyard.training.observed import Board, Observed
from trainyard.training.pods import claim_name, folder, node_of
from trainyard.training.workload import finished
from trainyard.workloads import conditions
from trainyard.workloads.deployments import as_wanted, deployment, ready_replicas
from trainyard.workloads.plan import Delete, Object, Plan
from trainyard.workloads.pod_template import (
    STORAGE,
    metadata,
    owner_reference,
    pinned,
    restricted_container,
    restricted_pod,
)

CONTAINER = "tensorboard"
PORT = 6006
FOLDER = "tensorboard"
"""Where in the job's folder the trainer writes what is shown."""
MOST_MESSAGE = 1024
_SHARED = "ReadWriteMany"
_ONE_POD = "ReadWriteOncePod"
_USUAL = ("", "ContainerCreating", "PodInitializing")


def name(job: TrainingJob) -> str:
    """Of the Deployment and of the Service."""
    return f"{job.metadata.name}-tensorboard"


def told(plan: Plan, observed: Observed) -> Plan:
    """The plan of the job, with what its status is to say of its TensorBoard."""
    job = observed.job
    if not (job.spec.tensorboard or job.status.tensorboard) or job.metadata.deletion_timestamp or plan.delete_self:
        return plan
    said = _said(observed)
    if said == job.status.tensorboard:
        return plan
    written = said.model_dump(by_alias=True, mode="json") if said else None
    return replace(plan, status={**(plan.status or {}), "tensorboard": written}, urgent=True)


def plan_tensorboard(observed: Observed) -> Plan | None:
    """What is to be made or taken away; None if nothing is."""
    job, board = observed.job, observed.board
    if job.metadata.deletion_timestamp:
        return None  # the garbage collector takes all of it
    if not job.spec.tensorboard:
        gone = _everything(job, board)
        return Plan(delete=gone) if gone else None
    # Its pod on a lost node would keep the volume there, and the next worker waiting for it.
    lost = tuple(Delete(pod.name, pod.uid, 0) for pod in board.pods if pod.node in observed.lost_nodes)
    made = () if board.refusal else _missing(observed)
    return Plan(create=made, delete=lost) if made or lost else None


def _everything(job: TrainingJob, board: Board) -> tuple[Delete, ...]:
    found = []
    if board.deployment is not None:
        found.append(Delete(name(job), board.deployment["metadata"]["uid"], kind="Deployment"))
    if board.service:
        found.append(Delete(name(job), "", kind="Service"))
    return tuple(found)


def _missing(observed: Observed) -> tuple[Object, ...]:
    job, board = observed.job, observed.board
    if observed.claim is None:
        return ()
    wanted = _deployment(observed)
    found = [] if board.service else [_service(job)]
    if not as_wanted(board.deployment, wanted) and (board.deployment is not None or wanted["spec"]["replicas"]):
        found.append(wanted)
    return tuple(found)


# What is said about it.


def _said(observed: Observed) -> TensorBoard | None:
    job = observed.job
    if not job.spec.tensorboard:
        return None
    state, message = _state(observed)
    return TensorBoard(state=state, service=name(job), message=message[:MOST_MESSAGE])


def _state(observed: Observed) -> tuple[Literal["Ready", "Starting", "Waiting", "Refused"], str]:
    job, board, before = observed.job, observed.board, observed.job.status.tensorboard
    if job.spec.storage is None:
        return "Refused", "spec.tensorboard needs spec.storage, where the logs are kept"
    if board.refusal:
        return "Refused", board.refusal
    if board.deployment is None and before is not None and before.state == "Refused":
        return "Refused", before.message  # it is being tried again
    if observed.claim is None:
        return "Waiting", f"claim {claim_name(job)!r} does not exist"
    if not _runs(observed):
        return "Waiting", _meaning(observed)
    if _answers(observed):
        return "Ready", _meaning(observed)
    return "Starting", _why_not_yet(board)


def _answers(observed: Observed) -> bool:
    there = observed.board.deployment
    if there is None or not as_wanted(there, _deployment(observed)):
        return False
    seen = there.get("status", {}).get("observedGeneration", 0) >= there["metadata"].get("generation", 0)
    return seen and ready_replicas(there) > 0


def _why_not_yet(board: Board) -> str:
    """What keeps its pod from running, apart from the usual steps."""
    stated = (board.deployment or {}).get("status", {}).get("conditions", ())
    failed = [
        each.get("message", "") for each in stated if each["type"] == "ReplicaFailure" and each["status"] == "True"
    ]
    waits = {pod.unschedulable or pod.waiting for pod in board.pods if not pod.ready and not pod.deleting_since}
    return "; ".join((*failed, *sorted(waits.difference(_USUAL))))


def _meaning(observed: Observed) -> str:
    """What the claim means for it; nothing where any pod can have it."""
    claim = observed.claim
    assert claim is not None
    if _SHARED in claim.access_modes:
        return ""
    if _ONE_POD in claim.access_modes:
        return (
            f"claim {claim.name!r} is {_ONE_POD}: it runs when the job is over, and no other pod can use the claim then"
        )
    if finished(observed.job):
        return (
            f"claim {claim.name!r} can be used on one node at a time: it holds it there until spec.tensorboard is false"
        )
    return f"claim {claim.name!r} can be used on one node at a time: it runs on the worker's node, and only while the worker runs"


# What it is made of.


def _runs(observed: Observed) -> bool:
    """Whether its pod may have the volume now."""
    claim, job = observed.claim, observed.job
    if claim is None:
        return False
    if _SHARED in claim.access_modes:
        return True
    if finished(job):
        return all(pod.finished for pod in observed.pods)
    return _ONE_POD not in claim.access_modes and conditions.holds(job.status.conditions, ConditionType.READY)


def _service(job: TrainingJob) -> Object:
    spec = {"selector": _selector(job), "ports": [{"name": "http", "port": 80, "targetPort": PORT}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": _meta(job), "spec": spec}


def _deployment(observed: Observed) -> Object:
    job = observed.job
    theirs: Mapping[str, Any] = (job.spec.workers.template or {}).get("spec", {})
    pod: Object = {
        # As those have it who write what it reads.
        "securityContext": theirs.get("securityContext", restricted_pod()),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "containers": [_container(observed)],
        "volumes": [
            {"name": "tmp", "emptyDir": {}},
            {"name": "storage", "persistentVolumeClaim": {"claimName": claim_name(job)}},
        ],
    }
    if secrets := theirs.get("imagePullSecrets"):
        pod["imagePullSecrets"] = secrets
    if observed.claim is not None and _SHARED not in observed.claim.access_modes:
        pod |= _where_the_volume_is(observed, theirs)
    spec = {
        "replicas": int(_runs(observed)),
        "strategy": {"type": "Recreate"},
        "selector": {"matchLabels": _selector(job)},
        "template": {"metadata": {"labels": _selector(job), "annotations": {SAFE_TO_EVICT: "true"}}, "spec": pod},
    }
    return deployment(_meta(job), spec)


def _where_the_volume_is(observed: Observed, theirs: Mapping[str, Any]) -> Object:
    """Whatever node has a volume that one node can have: the worker's while it runs, any that fits afterwards."""
    job, admission = observed.job, observed.job.status.admission
    flavor = observed.flavors.get(admission.flavor) if admission else None
    ours = [each.model_dump(by_alias=True, exclude_defaults=True) for each in flavor.tolerations] if flavor else []
    found: Object = {"tolerations": [*theirs.get("tolerations", ()), *ours]}
    node = "" if finished(job) else node_of(job, WORKER, 0)
    return found | ({"affinity": pinned({}, node)} if node else {})


def _container(observed: Observed) -> Object:
    job = observed.job
    logs = f"{STORAGE}/{folder(job)}/{FOLDER}"
    title = f"{job.metadata.namespace}/{job.metadata.name}"
    command = ["python", "-m", "tensorboard.main", "--logdir", logs, "--port", str(PORT), "--bind_all"]
    # It asks the process that reads the files, as a page does.
    probe = {"httpGet": {"path": "/data/environment", "port": PORT}, "timeoutSeconds": 10}
    return {
        "name": CONTAINER,
        "image": observed.surroundings.trainer_image,
        "imagePullPolicy": "IfNotPresent",
        "command": [*command, "--window_title", title],
        "env": [{"name": "HOME", "value": "/tmp"}],
        "ports": [{"name": "http", "containerPort": PORT}],
        "readinessProbe": {**probe, "periodSeconds": 2, "failureThreshold": 3},
        "livenessProbe": {**probe, "periodSeconds": 20, "failureThreshold": 6},
        "resources": {"requests": {"cpu": "50m", "memory": "256Mi"}, "limits": {"memory": "2Gi"}},
        "securityContext": restricted_container(),
        "volumeMounts": [
            {"name": "tmp", "mountPath": "/tmp"},
            {"name": "storage", "mountPath": STORAGE, "readOnly": True},
        ],
    }


def _selector(job: TrainingJob) -> dict[str, str]:
    """Not the job's own label: by that one its workers are found."""
    return {TENSORBOARD_LABEL: job.metadata.name}


def _meta(job: TrainingJob) -> Object:
    owner = owner_reference("TrainingJob", job.metadata.name, job.metadata.uid)
    return metadata(name(job), job.metadata.namespace, owner, {JOB_LABEL: job.metadata.name})
