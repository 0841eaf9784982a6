"""Judges that serve for every fault: what must be true of a cluster when a fault is over, whatever it was.

O1 `end_state`: as in a run without the fault. O2 `stray`: nothing twice, nothing orphaned. O3 quota and capacity hold at
every moment: that is `auditor.py`, and the operator's own. O4 `torn`: a gang is there whole or not at all. O5 `quiet`: who has
nothing to do writes nothing. O6 `untrue`: statuses say what is. O7 `noisy`: writes and events stay few. O8 `leaked`: metrics
name nothing that is gone. O9 `running`: uids of the pods that run, to be compared.
"""

from collections import Counter
from collections.abc import Iterator

from tests.simulation.operator_sim import Simulation, condition_of
from trainyard.api.names import ATTEMPT_LABEL, INDEX_LABEL, MANAGED_BY, MANAGED_BY_LABEL, ROLE_LABEL
from trainyard.api.training_job import TrainingJob
from trainyard.cluster.resources import (
    CLAIMS,
    DEPLOYMENTS,
    EVENTS,
    INFERENCE_SERVICES,
    POD_DISRUPTION_BUDGETS,
    PODS,
    QUEUES,
    SERVICES,
    TRAINING_JOBS,
    Object,
)
from trainyard.metrics.collector import WorldCollector

_ENDED = ("Succeeded", "Failed")
_OWNERS = (TRAINING_JOBS, INFERENCE_SERVICES)
_CHILDREN = (PODS, SERVICES, CLAIMS, DEPLOYMENTS, POD_DISRUPTION_BUDGETS)
_SETTLE_SECONDS, _QUIET_SECONDS = 30.0, 60.0


async def judge(sim: Simulation, writes_each: int = 60) -> None:
    """O2 and O4 to O8, half a minute after the fault is over. Simulations look at O3 by themselves."""
    await sim.rest(_SETTLE_SECONDS)
    found = [*stray(sim), *torn(sim), *untrue(sim), *noisy(sim, writes_each), *leaked(sim)]
    assert found == [], found
    before = len(sim.writes())
    await sim.rest(_QUIET_SECONDS)
    wrote = [f"{each.verb} {each.resource} {each.name}" for each in sim.writes()[before:]]
    assert wrote == [], wrote


def end_state(sim: Simulation) -> object:
    """What must not depend on faults: which objects there are, and what the statuses say."""
    objects = {
        str(kind): sorted((each["metadata"]["namespace"], each["metadata"]["name"]) for each in sim.api.all(kind))
        for kind in (*_OWNERS, SERVICES, CLAIMS, DEPLOYMENTS, POD_DISRUPTION_BUDGETS)
    }
    jobs = [
        {key: sim.status(each["metadata"]["name"])[key] for key in ("phase", "restarts", "disruptions", "attempt")}
        for each in sim.api.all(TRAINING_JOBS)
    ]
    services = [
        {key: sim.served(each["metadata"]["name"])[key] for key in ("phase", "replicas", "readyReplicas", "gateways")}
        for each in sim.api.all(INFERENCE_SERVICES)
    ]
    alive = sorted((pod["metadata"]["labels"][ROLE_LABEL], pod["status"]["phase"]) for pod in _alive(sim))
    return objects, jobs, services, alive


def stray(sim: Simulation) -> Iterator[str]:
    """Children whose owner is gone or was never named, and pods of which there are two."""
    owners = {each["metadata"]["uid"] for kind in _OWNERS for each in sim.api.all(kind)}
    for kind in _CHILDREN:
        for each in sim.api.all(kind):
            meta = each["metadata"]
            if meta.get("labels", {}).get(MANAGED_BY_LABEL) != MANAGED_BY:
                continue
            named = {owner["uid"] for owner in meta.get("ownerReferences", ())}
            if kind != CLAIMS and not named & owners:
                yield f"{kind} {meta['name']} belongs to nobody"
    ranks = Counter(
        (_owner(pod), labels.get(ROLE_LABEL), labels.get(INDEX_LABEL), labels.get(ATTEMPT_LABEL))
        for pod in _alive(sim)
        for labels in [pod["metadata"]["labels"]]
        if ATTEMPT_LABEL in labels
    )
    yield from (f"{count} pods are {rank}" for rank, count in ranks.items() if count > 1)


def torn(sim: Simulation) -> Iterator[str]:
    """Jobs with a place and a part of their pods, or with pods and no place."""
    for obj in sim.api.all(TRAINING_JOBS):
        job = TrainingJob.model_validate(obj)
        name, there = job.metadata.name, len(sim.pods(job.metadata.name, job.metadata.namespace))
        if job.status.admission is None and there:
            yield f"job {name} has {there} pods and no place"
        if job.status.phase == "Running" and not 0 < there <= sum(job.counts().values()):
            yield f"job {name} runs with {there} of {job.counts()} pods"


def untrue(sim: Simulation) -> Iterator[str]:
    """Statuses of an earlier generation, waits without a reason, and phases that the pods contradict."""
    for kind in _OWNERS:
        for each in sim.api.all(kind):
            name, status = each["metadata"]["name"], each.get("status", {})
            if status.get("observedGeneration") != each["metadata"]["generation"]:
                yield f"the status of {name} is of generation {status.get('observedGeneration')}"
            phases = [pod["status"]["phase"] for pod in sim.pods(name, each["metadata"]["namespace"])]
            if status.get("phase") == "Running" and "Running" not in phases:
                yield f"{name} says Running, and its pods are {phases}"
            if status.get("phase") == "Pending" and not condition_of(status, "Admitted")["message"]:
                yield f"{name} waits and does not say why"


def noisy(sim: Simulation, writes_each: int) -> Iterator[str]:
    """Objects that were written or told of more often than a budget for each."""
    written = Counter(
        (each.resource.kind, each.namespace, each.name) for each in sim.writes() if each.resource != EVENTS
    )
    for what, count in written.items():
        if count > writes_each:
            yield f"{what} was written {count} times"
    told = Counter(each["involvedObject"]["name"] for each in sim.api.all(EVENTS))
    yield from (f"{name} has {count} events" for name, count in told.items() if count > writes_each)


def leaked(sim: Simulation) -> Iterator[str]:
    """Series of jobs, services and queues that are gone, and negative values of what only grows."""
    app = sim.process.app
    there = {
        "training_job": {each["metadata"]["name"] for each in sim.api.all(TRAINING_JOBS)},
        "inference_service": {each["metadata"]["name"] for each in sim.api.all(INFERENCE_SERVICES)},
        "queue": {"(unknown)", *(each["metadata"]["name"] for each in sim.api.all(QUEUES))},
    }
    for family in WorldCollector(app.world, app.ground.clock, lambda: True).collect():
        for sample in family.samples:
            for label, known in there.items():
                if label == "queue" and "training_job" in sample.labels:
                    continue  # what its spec says
                if sample.labels.get(label, next(iter(known), "")) not in known | {""}:
                    yield f"{sample.name} tells of {label} {sample.labels[label]}"
            if sample.value < 0 and sample.name.endswith(("_total", "_seconds")):
                yield f"{sample.name}{sample.labels} is {sample.value}"


def running(sim: Simulation) -> set[str]:
    """Uids of the pods that run."""
    return {pod["metadata"]["uid"] for pod in sim.api.all(PODS) if pod["status"].get("phase") == "Running"}


def _alive(sim: Simulation) -> list[Object]:
    return [pod for pod in sim.api.all(PODS) if pod["status"].get("phase") not in _ENDED and _owner(pod)]


def _owner(pod: Object) -> str:
    return next((str(each["uid"]) for each in pod["metadata"].get("ownerReferences", ())), "")
