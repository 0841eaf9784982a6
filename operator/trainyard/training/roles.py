"""What roles of a gang are to each other: which wait for which at the start, and whose end makes the job complete."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from trainyard.api.names import WORKER
from trainyard.api.training_gang import Dependency
from trainyard.api.training_job import TrainingJob
from trainyard.api.training_job_spec import TrainingJobSpec
from trainyard.workloads.pod_state import PodState


def success(job: TrainingJob, pods: Iterable[PodState]) -> str | None:
    """Why the job is complete, as spec.successPolicy has it; None while it is not. pods: of the current attempt."""
    policy, counts = job.spec.success_policy, job.counts()
    roles = dict.fromkeys(policy.roles if policy and policy.roles else [WORKER])
    done = sum(pod.role in roles and pod.phase == "Succeeded" for pod in pods)
    wanted = sum(counts.get(role, 0) for role in roles) - (job.joining() if WORKER in roles else 0)
    if not wanted or done < (1 if policy and policy.operator == "Any" else wanted):
        return None
    if policy is None:
        return f"all {done} workers ended with exit code 0"
    return f"{done} of {wanted} pods of {', '.join(roles)} ended with exit code 0, as spec.successPolicy asks"


def dependencies(spec: TrainingJobSpec) -> dict[str, tuple[Dependency, ...]]:
    """What each role waits for at the start; spares wait for nobody."""
    return {WORKER: spec.workers.depends_on} | {each.name: each.depends_on for each in spec.roles}


def waiting_roles(job: TrainingJob, pods: Sequence[PodState]) -> dict[str, Dependency]:
    """Roles none of whose pods may be started yet, each with the first that it waits for. What was started once stays."""
    asked = dependencies(job.spec)
    if not any(asked.values()):
        return {}
    started, counts = {pod.role for pod in pods}, job.counts()
    found = {}
    for role, needed in asked.items():
        unmet = next((each for each in needed if not _met(each, pods, counts)), None)
        if unmet is not None and role not in started:
            found[role] = unmet
    return found


def _met(needed: Dependency, pods: Iterable[PodState], counts: Mapping[str, int]) -> bool:
    complete = needed.status == "Complete"
    there = (pod for pod in pods if pod.role == needed.role)
    # One that has ended well was ready before, however short it was.
    fit = sum(pod.phase == "Succeeded" or (not complete and pod.running and pod.ready) for pod in there)
    return fit >= counts.get(needed.role, 0)


def unknown_role(spec: TrainingJobSpec) -> str | None:
    """What is wrong with a role that is named where there is none like it, field first; None if all is well."""
    known = [WORKER, *(each.name for each in spec.roles)]
    for field, role in _named(spec):
        if role not in known:
            return f"{field}: there is no role {role!r}; there are: {', '.join(known)}"
    return None


def _named(spec: TrainingJobSpec) -> Iterator[tuple[str, str]]:
    for number, rule in enumerate(spec.restart.rules):
        yield from ((f"spec.restart.rules[{number}].roles", role) for role in rule.roles or ())
    for role in (spec.success_policy and spec.success_policy.roles) or ():
        yield "spec.successPolicy.roles", role
    for name, needed in dependencies(spec).items():
        field = "spec.workers" if name == WORKER else f"spec.roles[{name}]"
        yield from ((f"{field}.dependsOn", each.role) for each in needed)


def cycle(spec: TrainingJobSpec) -> str | None:
    """Roles that wait for each other in a ring, so that none would ever start; None if there is no ring."""
    asked = dependencies(spec)

    def ring(role: str, path: tuple[str, ...]) -> tuple[str, ...] | None:
        if role in path:
            return (*path[path.index(role) :], role)
        return next((found for each in asked.get(role, ()) if (found := ring(each.role, (*path, role)))), None)

    found = next((found for role in asked if (found := ring(role, ()))), None)
    return f"dependsOn: {' waits for '.join(found)}; none of them would ever start" if found else None
