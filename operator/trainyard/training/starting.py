"""How far the start of a gang is: what its rules and those of its end look at."""

from datetime import datetime

from trainyard.training import pods as children
from trainyard.training.case import Case
from trainyard.training.failure import ignored
from trainyard.training.roles import waiting_roles
from trainyard.workloads.plan import Object

SETTLE_SECONDS = 1.0
"""As batch/v1 collects changes of pods for a second before it writes a Job's status."""


def pods_that_ran(case: Case) -> int:
    """Pods that run, ran to their end, or failed and are not missed."""
    return sum(pod.running or pod.phase == "Succeeded" or ignored(pod, case.observed) for pod in case.gang)


def all_ran(case: Case) -> datetime:
    """Since when all pods of the gang run, or ran."""
    return max((pod.started for pod in case.gang if pod.started), default=case.now)


def settles_in(case: Case) -> float:
    """Seconds until a gang that has just begun to run is said to run: what ends at once costs one status write less."""
    if case.ready() or not any(pod.started for pod in case.gang):
        return 0.0
    passed = (case.now - all_ran(case)).total_seconds()
    return SETTLE_SECONDS - passed if passed >= 0 else 0.0  # a node's clock, or ours, is wrong


def prepares(case: Case) -> bool:
    """Whether all pods run that may, and what is missing waits until some of them have ended, which takes as long as it takes."""
    later = waiting_roles(case.job, case.current)
    works = all(pod.running or pod.phase == "Succeeded" for pod in case.gang)
    return (
        works and any(on.status == "Complete" for on in later.values()) and later.keys() >= dict(case.missing()).keys()
    )


def starting_since(case: Case) -> datetime:
    """Since when the gang that does not run yet is starting: its place, its newest pod, or a pod's replacement or end."""
    assert case.status.admission is not None
    restart = case.status.last_restart
    replaced = [restart.time] if restart is not None and restart.attempt == case.status.attempt else []
    ended = (pod.exit.finished_at for pod in case.gang if pod.phase == "Succeeded" and pod.exit)
    times = (*(pod.created for pod in case.gang), *replaced, *(time for time in ended if time))
    return max((case.status.admission.time, *times))


def storage(case: Case) -> tuple[Object, ...]:
    """The claim that is to be made, unless it was refused a moment ago."""
    storage, seen = case.spec.storage, case.observed
    missing = storage is not None and storage.claim_template is not None and seen.claim is None
    return (children.claim(case.job),) if missing and not seen.refusal else ()
