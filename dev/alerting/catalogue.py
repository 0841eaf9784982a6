"""All rules."""

from dev.alerting.of_nodes import NODES
from dev.alerting.of_operator import OPERATOR
from dev.alerting.of_queues import QUEUES
from dev.alerting.of_security import SECURITY
from dev.alerting.of_services import SERVICES
from dev.alerting.of_training_jobs import TRAINING_JOBS
from dev.alerting.rule import Alert, Group, Recording

GROUPS: tuple[Group, ...] = (OPERATOR, QUEUES, NODES, TRAINING_JOBS, SERVICES, SECURITY)
ALERTS: tuple[Alert, ...] = tuple(alert for group in GROUPS for alert in group.alerts)
RECORDINGS: tuple[Recording, ...] = tuple(recording for group in GROUPS for recording in group.recordings)
