"""The children of a TrainingJob: worker pods, the headless Service that gives them names, the claim for results."""

import json
from typing import Any

from trainyard.api.names import ATTEMPT_LABEL, FLAVOR_LABEL, GPU, INDEX_LABEL, JOB_LABEL, QUEUE_LABEL, ROLE_LABEL
from trainyard.api.training_job import TrainingJob
from trainyard.scheduling.resources import parse
from trainyard.training.observed import CONTAINER, ROLE, Observed
from trainyard.workloads.plan import Object
from trainyard.workloads.pod_template import (
    STORAGE,
    Surroundings,
    build_pod,
    core_resources,
    env,
    metadata,
    owner_reference,
    restricted_container,
    token_mount,
    token_volume,
)

MASTER_PORT = "29500"
AGENT = ["python", "-m", "trainer.agent"]


def pod_name(job: TrainingJob, index: int, attempt: int) -> str:
    """Deterministic, so that a repeated create is recognised, and new with each attempt."""
    return f"{job.metadata.name}-{ROLE}-{index}-{attempt}"


def claim_name(job: TrainingJob) -> str | None:
    """The claim that the job stores on."""
    if job.spec.storage is None:
        return None
    return job.spec.storage.claim_name or job.metadata.name


def folder(job: TrainingJob) -> str:
    """The job's folder on its claim: a job created anew under an old name does not find the old one's checkpoints."""
    return f"{job.metadata.name}-{job.metadata.uid[:8]}"


def service_name(job: TrainingJob) -> str:
    return f"{job.metadata.name}-workers"


def worker(observed: Observed, index: int) -> Object:
    """The pod of one rank of the current attempt."""
    job, admission = observed.job, observed.job.status.admission
    assert admission is not None
    node = next(role for role in admission.roles if role.name == ROLE).nodes()[index]
    labels = {
        JOB_LABEL: job.metadata.name,
        ROLE_LABEL: ROLE,
        INDEX_LABEL: str(index),
        ATTEMPT_LABEL: str(job.status.attempt),
        QUEUE_LABEL: job.spec.queue,
        FLAVOR_LABEL: admission.flavor,
    }
    meta = metadata(pod_name(job, index, job.status.attempt), job.metadata.namespace, _owner(job), labels)
    pod = build_pod(
        job.spec.workers.template,
        meta,
        _container(job, index, observed.surroundings),
        _volumes(job),
        node=node,
        flavor=observed.flavors.get(admission.flavor),
        restart="Never",
    )
    if job.size() > 1:
        pod["spec"] |= {"hostname": _hostname(job, index), "subdomain": service_name(job)}
    return pod


def sample(observed: Observed) -> Object:
    """A pod like the workers', for the API server's dry run: no node, no rank that matters."""
    job = observed.job
    meta = metadata(
        pod_name(job, 0, job.status.attempt),
        job.metadata.namespace,
        _owner(job),
        {JOB_LABEL: job.metadata.name, ROLE_LABEL: ROLE},
    )
    return build_pod(
        job.spec.workers.template,
        meta,
        _container(job, 0, observed.surroundings),
        _volumes(job),
        node="any",
        flavor=None,
        restart="Never",
    )


def service(job: TrainingJob) -> Object:
    """Gives rank 0 a DNS name, also before it is ready: the workers meet there while they start.

    Only rank 0: each address more is written twice, to Endpoints and to an EndpointSlice, whenever any of the pods changes.
    """
    meta = metadata(service_name(job), job.metadata.namespace, _owner(job), {JOB_LABEL: job.metadata.name})
    spec = {
        "clusterIP": "None",
        "publishNotReadyAddresses": True,
        "selector": {JOB_LABEL: job.metadata.name, ROLE_LABEL: ROLE, INDEX_LABEL: "0"},
        "ports": [{"name": "rendezvous", "port": int(MASTER_PORT)}],
    }
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}


def claim(job: TrainingJob) -> Object:
    """The claim made from spec.storage.claimTemplate. One that is retained has no owner: results outlive their job."""
    assert job.spec.storage is not None
    assert job.spec.storage.claim_template is not None
    template = job.spec.storage.claim_template
    meta = metadata(job.metadata.name, job.metadata.namespace, _owner(job), {JOB_LABEL: job.metadata.name})
    if job.spec.storage.reclaim == "Retain":
        del meta["ownerReferences"]
    spec: Object = {"accessModes": list(template.access_modes), "resources": {"requests": {"storage": template.size}}}
    if template.storage_class_name is not None:
        spec["storageClassName"] = template.storage_class_name
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta, "spec": spec}


def _owner(job: TrainingJob) -> Object:
    return owner_reference("TrainingJob", job.metadata.name, job.metadata.uid)


def _hostname(job: TrainingJob, index: int) -> str:
    return f"{job.metadata.name}-{ROLE}-{index}"


def _container(job: TrainingJob, index: int, around: Surroundings) -> Object:
    own_image = job.spec.entrypoint is not None and bool(job.spec.entrypoint.image)
    mounts = [
        {"name": "trainyard-shm", "mountPath": "/dev/shm"},
        {"name": "trainyard-tmp", "mountPath": "/tmp"},
        token_mount(),
    ]
    if job.spec.storage is not None:
        mounts.append({"name": "trainyard-storage", "mountPath": STORAGE})
    return {
        "name": CONTAINER,
        "image": job.spec.entrypoint.image if job.spec.entrypoint and own_image else around.trainer_image,
        "imagePullPolicy": "IfNotPresent",
        "command": _command(job, own_image=own_image),
        "env": env(_environment(job, index, around)),
        "resources": core_resources(job.spec.workers.resources),
        "volumeMounts": mounts,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": restricted_container(read_only=not own_image),
    }


def _command(job: TrainingJob, *, own_image: bool) -> list[str]:
    """Our agent round the built-in program or the user's command; the user's own image knows no agent."""
    if job.spec.entrypoint is None:
        return AGENT
    return list(job.spec.entrypoint.command) if own_image else [*AGENT, "--", *job.spec.entrypoint.command]


def _environment(job: TrainingJob, index: int, around: Surroundings) -> dict[str, str]:
    replicas = job.size()
    master = f"{_hostname(job, 0)}.{service_name(job)}.{job.metadata.namespace}.svc" if replicas > 1 else "127.0.0.1"
    processes = max(1, parse(job.spec.workers.resources.limits.get(GPU, "0")) // 1000)
    variables = {
        "HOME": "/tmp",
        "TRAINYARD_NAMESPACE": job.metadata.namespace,
        "TRAINYARD_JOB": job.metadata.name,
        "TRAINYARD_JOB_UID": job.metadata.uid,
        "TRAINYARD_ATTEMPT": str(job.status.attempt),
        "TRAINYARD_ROLE": ROLE,
        "PET_NNODES": str(replicas),
        "PET_NPROC_PER_NODE": str(processes),
        "PET_NODE_RANK": str(index),
        "PET_MASTER_ADDR": master,
        "PET_MASTER_PORT": MASTER_PORT,
        "PET_MAX_RESTARTS": "0",
    }
    if job.spec.model is not None:
        variables["TRAINYARD_SPEC"] = json.dumps(_recipe(job), sort_keys=True)
    if job.spec.storage is not None:
        variables["TRAINYARD_DIR"] = f"{STORAGE}/{folder(job)}"
    if around.endpoint:
        variables |= {
            "TRAINYARD_PROGRESS_URL": f"{around.endpoint}/v1/progress",
            "TRAINYARD_PROGRESS_CA": around.certificate_authority,
        }
    return variables | (job.spec.entrypoint.env if job.spec.entrypoint else {})


def _recipe(job: TrainingJob) -> dict[str, Any]:
    """What the built-in program is to do; unset fields are left to its own defaults."""
    parts = {"model": job.spec.model, "dataset": job.spec.dataset, "training": job.spec.training}
    return {
        name: part.model_dump(by_alias=True, exclude_none=True, mode="json") for name, part in parts.items() if part
    }


def _volumes(job: TrainingJob) -> list[Object]:
    volumes: list[Object] = [
        {"name": "trainyard-shm", "emptyDir": {"medium": "Memory"}},
        {"name": "trainyard-tmp", "emptyDir": {}},
        token_volume(),
    ]
    if job.spec.storage is not None:
        volumes.append({"name": "trainyard-storage", "persistentVolumeClaim": {"claimName": claim_name(job)}})
    return volumes
