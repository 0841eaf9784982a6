"""The children of a TrainingJob: pods of its roles, the headless Service that gives them names, the claim for results."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from trainyard.api.meta import PodTemplate, ResourceRequirements
from trainyard.api.names import (
    ADDRESSED_LABEL,
    ATTEMPT_LABEL,
    FLAVOR_LABEL,
    GPU,
    INDEX_LABEL,
    JOB_LABEL,
    QUEUE_LABEL,
    ROLE_LABEL,
    SPARE,
    WORKER,
)
from trainyard.api.training_job import TrainingJob
from trainyard.api.training_program import Entrypoint
from trainyard.scheduling.resources import parse
from trainyard.training.compressing import compression_recipe, parent_mount, parent_volume
from trainyard.training.observed import CONTAINER, Observed
from trainyard.training.restart_limit import restarts_left
from trainyard.workloads.plan import Object
from trainyard.workloads.pod_template import (
    STORAGE,
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
_SILENCE = 60
_SILENCE_OF_ENTRYPOINTS = 600
"""A user's program does not say when it evaluates or saves rather than trains."""
_STORAGE_VOLUME = "trainyard-storage"
AGENT = ["python", "-m", "trainer.agent"]
STAND_BY = ("sh", "-c", "trap 'exit 0' TERM; while :; do sleep 3600 & wait $!; done")
"""What a spare does: it waits, in any image that has a shell, and ends at once when asked to."""


@dataclass(frozen=True, slots=True)
class Part:
    """What the pods of one role are made of."""

    role: str
    field: str
    """Path of what follows in the job."""
    replicas: int
    least: int | None
    """How many will do, for a role that is elastic."""
    resources: ResourceRequirements
    template: PodTemplate | None
    entrypoint: Entrypoint | None


def parts(job: TrainingJob) -> tuple[Part, ...]:
    """The workers, the other roles, the workers' spares."""
    first, spec = job.spec.workers, job.spec
    workers = Part(
        WORKER, "spec.workers", first.replicas, first.min_replicas, first.resources, first.template, spec.entrypoint
    )
    spares = Part(
        SPARE,
        "spec.workers.spares",
        first.spares or 0,
        None,
        first.resources,
        first.template,
        Entrypoint(command=list(STAND_BY), image=spec.entrypoint.image if spec.entrypoint else ""),
    )
    others = (
        Part(each.name, f"spec.roles[{each.name}]", each.replicas, None, each.resources, each.template, each.entrypoint)
        for each in spec.roles
    )
    return (workers, *others, spares) if first.spares else (workers, *others)


def pod_name(job: TrainingJob, role: str, index: int, attempt: int) -> str:
    """Deterministic, so that a repeated create is recognised, and new with each attempt."""
    return f"{_hostname(job, role, index)}-{attempt}"


def claim_name(job: TrainingJob) -> str | None:
    """The claim that the job stores on."""
    if job.spec.storage is None:
        return None
    return job.spec.storage.claim_name or job.metadata.name


def in_place(job: TrainingJob) -> bool:
    """Whether the job's pods may start their programs again by themselves."""
    return job.spec.restart.in_place and not (own_image(job) or job.spec.roles or job.spec.restart.rules)


def elastic(job: TrainingJob) -> bool:
    """Whether workers may come and go while the others keep their pods: the built-in program saves, and starts again with another number."""
    return job.spec.workers.min_replicas is not None and job.spec.entrypoint is None and in_place(job)


def alone(job: TrainingJob) -> bool:
    """Whether there is one pod, which nobody will look for."""
    return sum(_members(job).values()) == 1 and not elastic(job)


def processes(resources: ResourceRequirements) -> int:
    """Of a pod with these resources: one for each GPU."""
    return max(1, parse(resources.limits.get(GPU, "0")) // 1000)


def own_image(job: TrainingJob) -> bool:
    """Whether the workers run without our agent."""
    return job.spec.entrypoint is not None and bool(job.spec.entrypoint.image)


def hang_seconds(job: TrainingJob) -> int:
    """Silence that is never taken for a hang; 0 if nothing is."""
    asked = job.spec.restart.hang_seconds
    if asked is not None:
        return asked
    return _SILENCE_OF_ENTRYPOINTS if job.spec.entrypoint else _SILENCE


def folder(job: TrainingJob) -> str:
    """The job's folder on its claim: a job created anew under an old name does not find the old one's checkpoints, one restored does."""
    return f"{job.metadata.name}-{job.first_uid()[:8]}"


def service_name(job: TrainingJob) -> str:
    return f"{job.metadata.name}-workers"


def node_of(job: TrainingJob, role: str, index: int) -> str:
    """Where a pod of the current attempt is to be; empty without a place."""
    admission = job.status.admission
    found = next((each for each in admission.roles if each.name == role), None) if admission else None
    nodes = found.nodes() if found else []
    return nodes[index] if index < len(nodes) else ""


def pods_of(observed: Observed, role: str, indices: Iterable[int]) -> Iterator[Object]:
    """The pods of one role of the current attempt."""
    job, admission = observed.job, observed.job.status.admission
    assert admission is not None
    nodes = next(each for each in admission.roles if each.name == role).nodes()
    part = next(each for each in parts(job) if each.role == role)
    counts, lonely = _members(job), alone(job)
    for index in indices:
        labels = {
            JOB_LABEL: job.metadata.name,
            ROLE_LABEL: role,
            INDEX_LABEL: str(index),
            ATTEMPT_LABEL: str(job.status.attempt),
            QUEUE_LABEL: job.spec.queue,
            FLAVOR_LABEL: admission.flavor,
        }
        if not lonely and role != SPARE and (role != WORKER or index == 0):
            # Of the workers the first alone, where they meet while they start: each address more is written twice, to
            # Endpoints and to an EndpointSlice, whenever any of the pods changes.
            labels[ADDRESSED_LABEL] = "true"
        meta = metadata(pod_name(job, role, index, job.status.attempt), job.metadata.namespace, _owner(job), labels)
        pod = build_pod(
            part.template,
            meta,
            _container(observed, part, index, counts),
            _volumes(job),
            node=nodes[index],
            flavor=observed.flavors.get(admission.flavor),
            restart="Never",
        )
        if not lonely:
            pod["spec"] |= {"hostname": _hostname(job, role, index), "subdomain": service_name(job)}
        yield pod


def samples(observed: Observed) -> list[Object]:
    """A pod like those of each role, for the API server's dry run: no node, no rank that matters."""
    job, counts, found = observed.job, _members(observed.job), []
    for part in parts(job):
        name = pod_name(job, part.role, 0, job.status.attempt)
        labels = {JOB_LABEL: job.metadata.name, ROLE_LABEL: part.role}
        meta = metadata(name, job.metadata.namespace, _owner(job), labels)
        container = _container(observed, part, 0, counts)
        found.append(build_pod(part.template, meta, container, _volumes(job), node="any", flavor=None, restart="Never"))
    return found


def _members(job: TrainingJob) -> dict[str, int]:
    """Pods of each role that the others know of: spares are none."""
    return {role: count for role, count in job.counts().items() if role != SPARE}


def service(job: TrainingJob) -> Object:
    """Gives pods that others look for a DNS name, also before they are ready."""
    meta = metadata(service_name(job), job.metadata.namespace, _owner(job), {JOB_LABEL: job.metadata.name})
    spec = {
        "clusterIP": "None",
        "publishNotReadyAddresses": True,
        "selector": {JOB_LABEL: job.metadata.name, ADDRESSED_LABEL: "true"},
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


def _hostname(job: TrainingJob, role: str, index: int) -> str:
    return f"{job.metadata.name}-{role}-{index}"


def _domain(job: TrainingJob) -> str:
    return f"{service_name(job)}.{job.metadata.namespace}.svc"


def _container(observed: Observed, part: Part, index: int, counts: Mapping[str, int]) -> Object:
    """counts: pods of each role, which takes long to count where there are thousands."""
    job, program = observed.job, part.entrypoint
    own_image = program is not None and bool(program.image)
    mounts = [
        {"name": "trainyard-shm", "mountPath": "/dev/shm"},
        {"name": "trainyard-tmp", "mountPath": "/tmp"},
        token_mount(),
    ]
    if job.spec.storage is not None:
        mounts.append({"name": _STORAGE_VOLUME, "mountPath": STORAGE})
    mounts += parent_mount(job, claim_name(job), _STORAGE_VOLUME)
    return {
        "name": CONTAINER,
        "image": program.image if program and own_image else observed.surroundings.trainer_image,
        "imagePullPolicy": "IfNotPresent",
        "command": list(STAND_BY) if part.role == SPARE else _command(program, own_image=own_image),
        "env": env(_environment(observed, part, index, counts)),
        "resources": core_resources(part.resources),
        "volumeMounts": mounts,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": restricted_container(read_only=not own_image),
    }


def _command(program: Entrypoint | None, *, own_image: bool) -> list[str]:
    """Our agent round the built-in program or the user's command; the user's own image knows no agent."""
    if program is None:
        return AGENT
    return list(program.command) if own_image else [*AGENT, "--", *program.command]


def _environment(observed: Observed, part: Part, index: int, counts: Mapping[str, int]) -> dict[str, str]:
    job, around = observed.job, observed.surroundings
    master = "127.0.0.1" if alone(job) else f"{_hostname(job, part.role, 0)}.{_domain(job)}"
    variables = {
        "HOME": "/tmp",
        "TRAINYARD_NAMESPACE": job.metadata.namespace,
        "TRAINYARD_JOB": job.metadata.name,
        "TRAINYARD_JOB_UID": job.metadata.uid,
        "TRAINYARD_ATTEMPT": str(job.status.attempt),
        "TRAINYARD_ROLE": part.role,
        "PET_NNODES": str(counts.get(part.role, 1)),
        "PET_NPROC_PER_NODE": str(processes(part.resources)),
        "PET_NODE_RANK": str(index),
        "PET_MASTER_ADDR": master,
        "PET_MASTER_PORT": MASTER_PORT,
        "PET_MAX_RESTARTS": "0",
    }
    if part.role == WORKER and in_place(job):
        variables["TRAINYARD_RESTARTS_LEFT"] = str(restarts_left(job))
    if part.role == WORKER and elastic(job):
        variables["TRAINYARD_ELASTIC"] = "1"
        if index >= counts[WORKER] - job.joining():
            variables["TRAINYARD_JOINS"] = "1"
    if part.role == WORKER and not own_image(job) and (seconds := hang_seconds(job)):
        variables["TRAINYARD_HANG_SECONDS"] = str(seconds)
    if job.spec.roles:
        variables |= {"TRAINYARD_DOMAIN": _domain(job), "TRAINYARD_ROLES": json.dumps(dict(counts), sort_keys=True)}
    if part.entrypoint is None:
        variables["TRAINYARD_SPEC"] = json.dumps(_recipe(job), sort_keys=True)
    if part.role == WORKER and observed.interruption_seconds is not None:
        variables["TRAINYARD_INTERRUPTION_SECONDS"] = f"{observed.interruption_seconds:.0f}"
    if job.spec.storage is not None:
        variables["TRAINYARD_DIR"] = f"{STORAGE}/{folder(job)}"
    if around.endpoint and part.role == WORKER:  # the job's progress is that of its workers
        variables |= {
            "TRAINYARD_PROGRESS_URL": f"{around.endpoint}/v1/progress",
            "TRAINYARD_PROGRESS_CA": around.certificate_authority,
        }
    return variables | (part.entrypoint.env if part.entrypoint else {})


def _recipe(job: TrainingJob) -> dict[str, Any]:
    """What the built-in program is to do; unset fields are left to its own defaults."""
    trained = {"model": job.spec.model, "dataset": job.spec.dataset, "training": job.spec.training}
    recipe: dict[str, Any] = {
        name: part.model_dump(by_alias=True, exclude_none=True, mode="json")
        for name, part in (trained.items() if job.spec.model else ())
        if part
    }
    compression = compression_recipe(job)
    return recipe | {"compression": compression} if compression else recipe


def _volumes(job: TrainingJob) -> list[Object]:
    volumes: list[Object] = [
        {"name": "trainyard-shm", "emptyDir": {"medium": "Memory"}},
        {"name": "trainyard-tmp", "emptyDir": {}},
        token_volume(),
    ]
    if job.spec.storage is not None:
        volumes.append({"name": _STORAGE_VOLUME, "persistentVolumeClaim": {"claimName": claim_name(job)}})
    return volumes + parent_volume(job, claim_name(job))
