"""How a job that has run gets on: what its time was spent on, who holds it up, and what helps."""

from datetime import datetime
from typing import Any

from trainyard.api.energy import carbon
from trainyard.api.ledger import Category, Spent
from trainyard.api.straggler import Straggler
from trainyard.api.training_job import TrainingJob
from trainyard.questions.picture import Picture
from trainyard.training.charges import draw_of
from trainyard.training.checkpoint_interval import advice
from trainyard.training.stragglers import current
from trainyard.training.workload import finished

_INTERRUPTIONS = 3
"""So many are told."""
_BEFORE = {Category.QUEUED.value, Category.SUSPENDED.value}


def told_of(job: TrainingJob, picture: Picture) -> dict[str, Any]:
    """Fields of the answer."""
    return {
        "stragglers": current(job.status.stragglers),
        "helps": [*_helps(job), *_checkpoints(job, picture.now)],
        "checkpoints": _how_often(job),
        "incidents": job.status.incidents[: -_INTERRUPTIONS - 1 : -1],
        "spent": _spent(job, picture),
    }


def _how_often(job: TrainingJob) -> str:
    """Where the trainer decides it, and has."""
    if finished(job) or job.status.progress is None or job.status.progress.checkpointing is None:
        return ""
    return job.status.progress.checkpointing.why


def _spent(job: TrainingJob, picture: Picture) -> Spent | None:
    if job.status.ledger is None:
        return None
    spent = job.status.ledger.spent(picture.now, job.held_gpus(), draw_of(job, picture.snapshot.flavors))
    if not spent.seconds.keys() - _BEFORE:
        return None
    if spent.energy is None:
        return spent
    grams = carbon(spent.energy.estimated_joules, picture.carbon_grams_per_kwh)
    return spent.model_copy(update={"energy": spent.energy.model_copy(update={"carbon_grams": grams})})


def _helps(job: TrainingJob) -> list[str]:
    return [text for each in current(job.status.stragglers) for text in _against(job, each)]


def _checkpoints(job: TrainingJob, now: datetime) -> list[str]:
    if finished(job) or (found := advice(job, now)) is None:
        return []
    better = f"training.checkpointEverySteps: auto in a job like it, or {found.steps}"
    costs = f"checkpoints and their age cost {100 * found.lost_now:.2g} % of its training, and would cost {100 * found.lost_then:.2g} %"
    since = f"one takes {found.cost:.2g} s, every {found.now:.0f} s, and an interruption comes every {found.mtbf:.0f} s"
    return [f"{better}: {costs} ({since})"]


def _against(job: TrainingJob, straggler: Straggler) -> list[str]:
    """Where the rank was slow on other nodes too, its own work is the likelier cause."""
    others = sorted({each.node for each in job.status.stragglers if each.rank == straggler.rank} - {straggler.node})
    if others:
        return [
            f"look at what rank {straggler.rank} does that the others do not: it was slow on {', '.join(others)} before"
        ]
    name = f"{job.metadata.name} -n {job.metadata.namespace}"
    patch = f'kubectl patch tyj {name} --type merge -p \'{{"spec":{{"suspend":true}}}}\''
    loses = "its last checkpoint" if job.spec.storage else "the beginning, as it has no storage"
    return [
        f"kubectl cordon {straggler.node}, if the node is to blame; for some hours it comes last anyway",
        f"then let the job be placed anew, from {loses}: {patch}, and with false when its pods are gone",
    ]
