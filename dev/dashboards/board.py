"""What a dashboard is: variables, rows of panels."""

from collections.abc import Iterator
from dataclasses import dataclass

from dev.dashboards.panel import Panel
from dev.dashboards.query import CLUSTER, Scope, Source
from trainyard.metrics import definitions as d

FLEET = "trainyard-fleet"
GOODPUT = "trainyard-goodput"
QUEUES = "trainyard-queues"
TRAINING_JOB = "trainyard-training-job"
INFERENCE_SERVICE = "trainyard-inference-service"
OPERATOR = "trainyard-operator"


@dataclass(frozen=True)
class Variable:
    """A choice at the top of a dashboard. label: the one whose values it offers, and its name; source: the metric that has them.

    one: a single value must be chosen; first: the value chosen at first, where one is.
    """

    label: str
    title: str
    source: Source
    one: bool = False
    first: str = ""


@dataclass(frozen=True)
class Row:
    """Panels under a heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Board:
    """A dashboard. question: what it is opened for."""

    uid: str
    title: str
    question: str
    variables: tuple[Variable, ...]
    rows: tuple[Row, ...]
    hours: int = 6

    @property
    def panels(self) -> Iterator[Panel]:
        for row in self.rows:
            yield from row.panels


CLUSTERS = Variable(CLUSTER, "Cluster", d.BUILD_INFO)
"""Of every dashboard. The label comes from Prometheus' own configuration; at All, series without it are found too."""
NAMESPACES = Variable("namespace", "Namespace", d.JOB_INFO)
QUEUE_NAMES = Variable("queue", "Queue", d.ADMITTED)
FLAVORS = Variable("flavor", "Flavor", d.QUOTA_GUARANTEED)
RESOURCES = Variable("resource", "Resource", d.QUOTA_GUARANTEED, one=True, first="nvidia.com/gpu")


def scope(*variables: Variable) -> Scope:
    """What queries of a dashboard with these variables select by."""
    return Scope(tuple(each.label for each in variables))
