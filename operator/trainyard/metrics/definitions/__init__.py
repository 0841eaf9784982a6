"""Every metric: name, type, labels and the line that explains it. Code that measures and docs/metrics.md both start here.

Base units, one unit a metric. Series of an object are rendered from the world at scrape time, so they end with the
object; what must outlive objects is keyed by queue. `values` lists a label's values where they are known beforehand.

A module for each noun. Whoever measures reads all of them under one name: `from trainyard.metrics import definitions as d`.
"""

from trainyard.metrics.definitions.energy import *
from trainyard.metrics.definitions.incidents import *
from trainyard.metrics.definitions.inference_services import *
from trainyard.metrics.definitions.metric import *
from trainyard.metrics.definitions.nodes import *
from trainyard.metrics.definitions.operator import *
from trainyard.metrics.definitions.queues import *
from trainyard.metrics.definitions.training_jobs import *

ALL: tuple[Metric, ...] = tuple(each for each in list(globals().values()) if isinstance(each, Metric))
