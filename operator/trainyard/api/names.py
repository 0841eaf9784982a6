"""Every name that other programs see: group, labels, annotations, resource names. Each is defined here and nowhere else."""

from typing import Final

GROUP: Final = "trainyard.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = "trainyard.dev/v1alpha1"

# Labels on the pods, Services and claims that we make.
JOB_LABEL = f"{GROUP}/job"
"""Name of the TrainingJob that owns the object."""
SERVICE_LABEL = f"{GROUP}/service"
"""Name of the InferenceService that owns the object."""
ROLE_LABEL = f"{GROUP}/role"
"""worker, spare or another role of a job, replica or gateway."""
ADDRESSED_LABEL = f"{GROUP}/addressed"
"""On pods of a job that others look for by name."""
ATTEMPT_LABEL = f"{GROUP}/attempt"
"""Attempt of the job that the pod belongs to, counted from 1."""
INDEX_LABEL = f"{GROUP}/index"
"""Rank of a worker's node, or serial number of a replica."""
QUEUE_LABEL = f"{GROUP}/queue"
"""Queue whose quota the pod uses."""
FLAVOR_LABEL = f"{GROUP}/flavor"
"""Flavor whose quota the pod uses."""
LEADS_LABEL = f"{GROUP}/leads"
"""On the operator's pod that leads: its Service sends trainers, gateways and people there."""
TENSORBOARD_LABEL = f"{GROUP}/tensorboard"
"""On the pod of a TensorBoard: name of the TrainingJob that it shows."""
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGED_BY = "trainyard"

# Annotations on jobs.
CHECKPOINT_REQUESTED = f"{GROUP}/checkpoint-requested"
"""Somebody wants a checkpoint now; another value asks again."""

# Annotations on any of our kinds.
RESTORING = f"{GROUP}/restoring"
"""Digest of the backup that is being restored: until it is taken away, an object without a place is left alone."""

# Annotations on what we make.
DIGEST = f"{GROUP}/digest"
"""On a replica: digest of the model that it serves."""
SHAPE = f"{GROUP}/shape"
"""On a replica: mark of what the spec asked of its pod."""
CONTENT = f"{GROUP}/content"
"""On a Deployment: hash of what we applied."""
SAFE_TO_EVICT = "cluster-autoscaler.kubernetes.io/safe-to-evict"
"""Keeps the cluster autoscaler from moving a worker, which would restart its whole gang."""
DO_NOT_DISRUPT = "karpenter.sh/do-not-disrupt"
"""The same for Karpenter."""

# Annotations on nodes.
GPU_ERRORS = f"{GROUP}/gpu-errors"
"""Errors of the node's GPUs by device and kind, counted by the adapter of DCGM's exporter."""
NODE_HEALTH = f"{GROUP}/health"
"""How the node stands and why, as JSON; written by the operator where it may act by itself."""
REMEDY_APPROVED = f"{GROUP}/remedy-approved"
"""What happened, in the operator's name for it, and a person wants the node drained for it."""
REMEDY_REFUSED = f"{GROUP}/remedy-refused"
"""The same of all that speaks against the node, with spaces between, and a person wants it left in use."""

GPU = "nvidia.com/gpu"
WATTS = "trainyard.dev/watts"
"""What quotas of power count; no node offers it, and no pod asks for it."""
INCIDENTS = "trainyard-incidents"
"""ConfigMap in the operator's namespace with the last interruptions of jobs, also of those that are gone."""
INCIDENTS_KEY = "incidents.json"
PRIORITY_CLASS = "trainyard-gang"
"""PriorityClass with preemptionPolicy Never, installed by the chart: who is preempted is our scheduler's decision."""
LEARNED = "trainyard-learned"
"""ConfigMap in which the operator keeps what it learned of how long jobs run and wait."""
LEARNED_KEY = "learned.json"
OPERATOR_LEASE = "trainyard-operator"
"""Lease in the operator's namespace that whoever leads holds."""
OPERATOR_TLS = "trainyard-operator-tls"
"""Secret in the operator's namespace with its authority and the certificate of its endpoint."""
OUTCOMES = "trainyard-nodes"
"""ConfigMap in which the operator keeps how attempts of jobs ended on nodes."""
OUTCOMES_KEY = "outcomes.json"
SYSTEM_NAMESPACE = "trainyard-system"
"""Where the operator is, unless it is told."""
TOKEN_AUDIENCE = GROUP
"""Audience of the projected tokens with which pods speak to the operator."""
FIELD_MANAGER = "trainyard"
MAX_NAME = 50
"""Longest name of a job or service: pod hostnames and label values derive from it and hold 63 characters."""
MAX_LABEL = 63
"""Longest name of a queue or flavor: it is the value of a label of pods."""
WORKER = "worker"
"""Role of spec.workers."""
SPARE = "spare"
"""Role of the pods that stand by for workers, spec.workers.spares."""
MAX_HOSTNAME = 57
"""Longest name of a job and of one of its roles together: with two dashes and four digits they make a hostname."""
MAX_PODS = 8192
"""Largest gang: keeps the admission record, and so the object, below 512 KiB."""
