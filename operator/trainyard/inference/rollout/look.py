"""From what was observed of a service to the next state of its rollout."""

from collections.abc import Callable
from datetime import datetime

from trainyard.api.inference_service import ReplicaAdmission, ServedModel
from trainyard.inference.model import named, resolve
from trainyard.inference.observed import Observed
from trainyard.inference.rollout.stages import GOING
from trainyard.inference.rollout.steps import SETTLE_SECONDS, Look, Step, advance

LOOK_SECONDS = 1.0


def rollout_step(
    observed: Observed,
    ready: Callable[[ReplicaAdmission], bool],
    refused: Callable[[ReplicaAdmission], str | None],
    now: datetime,
) -> Step:
    """The rollout one look later. ready and refused answer for one replica: whether it serves, and why it never will."""
    service = observed.service
    stable, wanted = resolve(observed), named(observed)
    if isinstance(stable, str) or isinstance(wanted, str):
        return Step(service.status.rollout)
    staying = [each for each in service.status.admission if not each.release]
    answering = [each.digest for each in staying if ready(each)]
    new = [words for each in staying if each.digest == wanted.digest and (words := refused(each))]
    look = Look(
        spec=service.spec.rollout,
        stable=stable,
        wanted=wanted,
        target=service.target(),
        ready={digest: answering.count(digest) for digest in answering},
        refused=new[0] if new else "",
        counted=observed.counted,
        contracts=observed.contracts,
    )
    return advance(service.status.rollout, look, now)


def kept_apart(observed: Observed, now: datetime) -> frozenset[str]:
    """Digests whose replicas are not drained for being of another model: the canary's, and for a moment those it has replaced."""
    rollout = observed.service.status.rollout
    if rollout is None:
        return frozenset()
    if rollout.phase in GOING:
        return frozenset({rollout.canary.digest})
    settling = rollout.phase == "Promoted" and (now - rollout.since).total_seconds() < SETTLE_SECONDS
    return frozenset({rollout.stable.digest}) if settling else frozenset()


def model_for(observed: Observed, digest: str, model: ServedModel) -> ServedModel:
    """What a replica of this digest loads: `model`, unless it is one of the two of a rollout."""
    rollout = observed.service.status.rollout
    for each in () if rollout is None else (rollout.canary, rollout.stable):
        if each.digest == digest:
            return ServedModel(claim_name=each.claim_name, path=each.path, digest=digest, variant=each.variant)
    return model


def look_again(observed: Observed) -> float | None:
    """Seconds until the rollout is due for another look, as counts come in without an event."""
    rollout = observed.service.status.rollout
    if rollout is None or rollout.phase == "RolledBack":
        return None
    old = any(each.digest == rollout.stable.digest and not each.release for each in observed.service.status.admission)
    return LOOK_SECONDS if rollout.phase in GOING or old else None
