"""The thin shell round `plan_tensorboard`: what there is of a job's TensorBoard, and what is made or taken away."""

from trainyard.api.reasons import Reason
from trainyard.api.training_job import TrainingJob
from trainyard.cluster.resources import TRAINING_JOBS
from trainyard.runtime.clock import Clock
from trainyard.training.observed import Board, Observed
from trainyard.training.tensorboard import MOST_MESSAGE, name, plan_tensorboard
from trainyard.workloads.applier import Applier, RefusedError
from trainyard.workloads.keys import Key
from trainyard.workloads.plan import Note
from trainyard.workloads.refusals import Refusals
from trainyard.workloads.world import World


class Boards:
    """TensorBoards of all jobs. A job without one costs no request."""

    def __init__(self, world: World, applier: Applier, clock: Clock) -> None:
        self._world, self._applier, self._refusals = world, applier, Refusals(clock)

    def observe(self, job: TrainingJob) -> Board:
        """What there is."""
        meta, place = job.metadata, (job.metadata.namespace, name(job))
        found = self._world.deployments.get(place)
        owners = found["metadata"].get("ownerReferences", ()) if found else ()
        return Board(
            deployment=found if meta.uid in {each["uid"] for each in owners} else None,
            service=self._world.services.get(place) == meta.uid,
            pods=self._world.pods.boards(meta.namespace, meta.name),
            refusal=self._refusals.known(meta.uid) or "",
        )

    async def keep(self, key: Key, observed: Observed) -> float | None:
        """Make what is asked for, or take it away. Returns seconds until to look again. Raises ClusterError."""
        uid, said = observed.job.metadata.uid, observed.job.status.tensorboard
        if plan := plan_tensorboard(observed):
            try:
                await self._applier.apply(key, TRAINING_JOBS, plan)
            except RefusedError as error:
                message = str(error)[:MOST_MESSAGE]
                self._refusals.refuse(uid, message)
                if said is None or said.message != message:
                    self._applier.note(key, Note(Reason.TENSORBOARD_REFUSED, message, warning=True))
                    return 0.0  # to tell it
        return self._refusals.left(uid) + 0.1 if self._refusals.known(uid) else None
