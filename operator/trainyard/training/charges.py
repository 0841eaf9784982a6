"""What a TrainingJob draws and pays for the place that it holds now."""

from collections.abc import Mapping

from trainyard.api.energy import NOTHING, Draw
from trainyard.api.flavor import FlavorSpec
from trainyard.api.training_job import TrainingJob
from trainyard.scheduling.power import draw

_UNIT = 1000


def draw_of(job: TrainingJob, flavors: Mapping[str, FlavorSpec]) -> Draw:
    """Nothing while it holds none, or on a flavor that is gone."""
    admission = job.status.admission
    flavor = flavors.get(admission.flavor) if admission else None
    if flavor is None:
        return NOTHING
    resource = flavor.resources[0]
    return draw(flavor, {resource: round(job.held(resource) * _UNIT)})
