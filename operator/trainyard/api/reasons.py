"""Condition types and reasons: the vocabulary in which the operator explains itself, each with the line that documents it."""

from enum import StrEnum


class ConditionType(StrEnum):
    """Types of `status.conditions`, readable by kstatus and `kubectl wait`."""

    ADMITTED = "Admitted"
    READY = "Ready"
    SUSPENDED = "Suspended"
    COMPLETE = "Complete"
    FAILED = "Failed"
    WITHIN_BUDGET = "WithinBudget"  # stated once most of spec.budget is used


class Waiting(StrEnum):
    """Why something has no place yet: the reason of `Admitted=False`."""

    DEACTIVATED = "Deactivated"  # it ended, or is being deleted
    ON_HOLD = "OnHold"  # its queue is held by stopPolicy, or has used up its budget
    MISCONFIGURED = "Misconfigured"  # it can never start as it is written; the message names the field
    NO_MATCHING_FLAVOR = "NoMatchingFlavor"  # no flavor of its queue offers the resources it asks for
    SUSPENDED = "Suspended"  # spec.suspend is true
    MODEL_NOT_READY = "ModelNotReady"  # the model that it compresses does not exist yet
    ADMISSION_GATED = "AdmissionGated"  # an outside decision is awaited
    WAITING_FOR_PODS_READY = "WaitingForPodsReady"  # an earlier attempt still holds pods
    EXCEEDS_MAX_QUOTA = "ExceedsMaxQuota"  # larger than its queue could ever hold
    WAITING_FOR_QUOTA = "WaitingForQuota"  # others of its queue, or of the tree, hold the quota
    TOPOLOGY_PLACEMENT_FAILED = "TopologyPlacementFailed"  # quota is there, but no set of nodes fits the whole gang
    WAITING_FOR_PREEMPTED_WORKLOADS = "WaitingForPreemptedWorkloads"  # its victims have not ended yet
    PENDING_EVALUATION = "PendingEvaluation"  # the scheduler has not looked at it yet


class Reason(StrEnum):
    """Reasons of the other conditions and of events."""

    ADMITTED = "Admitted"  # quota and nodes are assigned
    PODS_STARTING = "PodsStarting"  # admitted; pods are created, pulled or starting
    RUNNING = "Running"  # every pod of the gang runs
    RESTARTING = "Restarting"  # the gang is stopped and started again from its last checkpoint
    RESTORED = "Restored"  # created anew from a backup; it goes on when it gets a place
    RESTARTED_IN_PLACE = "RestartedInPlace"  # the program was started again in the pods that are there
    POD_REPLACED = "PodReplaced"  # a pod was lost; another takes its part while the others wait
    SUSPENDED = "Suspended"  # stopped by spec.suspend
    BUDGET_LOW = "BudgetLow"  # 80 % of spec.budget are used
    BUDGET_EXHAUSTED = "BudgetExhausted"  # stopped after a checkpoint because spec.budget is used up
    BUDGET_RAISED = "BudgetRaised"  # spec.budget was raised, and less than 80 % of it are used again
    STOPPING = "Stopping"  # pods are asked to write a checkpoint and end
    RESUMED = "Resumed"  # what the job was suspended for was lifted
    COMPLETED = "Completed"  # every worker ended with exit code 0
    TERMINAL_EXIT = "TerminalExit"  # a worker said that a restart cannot help (exit code 64 or 65)
    RESTART_LIMIT = "RestartLimitExceeded"  # more failures than spec.restart.maxRestarts
    REPEATED_FAILURE = "RepeatedFailure"  # failed three times in the same way at the same step; a restart does not help
    ATTEMPT_UNDONE = "AttemptUndone"  # a pod could not be created or bound; the place in the queue is kept
    SPARE_USED = "SpareUsed"  # a worker of a lost node is started where a spare stood by
    SPARE_LOST = "SpareLost"  # a spare ended or its node is gone; its place is given back
    NODE_LOST = "NodeLost"  # a node of the gang is gone or not ready
    MODEL_NOT_READY = "ModelNotReady"  # the model that spec.model names does not exist yet
    MODEL_REFUSED = "ModelRefused"  # the server refused the model file; the message says why
    REPLICAS_STARTING = "ReplicasStarting"  # replicas are admitted but not all are ready
    GATEWAY_STARTING = "GatewayStarting"  # replicas are ready, no gateway is yet
    SERVING = "Serving"  # every replica answers behind the gateway
    SCALED_TO_ZERO = "ScaledToZero"  # no replica is wanted
    ROLLOUT_STARTED = "RolloutStarted"  # replicas of a changed model start beside those of the old one
    ROLLOUT_STEP = "RolloutStep"  # the new model gets a larger share of the requests
    ROLLOUT_PAUSED = "RolloutPaused"  # no evidence either way in time, or it waits to be promoted by hand
    ROLLOUT_PROMOTED = "RolloutPromoted"  # the new model has taken the place of the old one
    ROLLED_BACK = "RolledBack"  # the new model was given up; it is not tried again until spec.model changes
    SCALED_UP = "ScaledUp"  # the autoscaler wants more replicas; the message has the arithmetic
    SCALED_DOWN = "ScaledDown"  # the autoscaler wants fewer replicas
    DRAINING = "Draining"  # replicas are finishing their requests before they stop
    STRAGGLER_FOUND = (
        "StragglerFound"  # a worker that the others wait for in each step; its node is used last for a while
    )
    STRAGGLER_GONE = "StragglerGone"  # it keeps pace with the others again
    TENSORBOARD_REFUSED = (
        "TensorBoardRefused"  # the API server does not take its Deployment or Service; the job goes on
    )
    STATUS_MENDED = "StatusMended"  # a part of the status that this version cannot read was taken out and is made anew
    UNREADABLE = "Unreadable"  # this version cannot read the object; it is left alone, with its pods
    STRAYED = "Strayed"  # its program touched files of other jobs on the claim that it does not name
    WARNING = "TrainerWarning"  # the trainer reported something a user should know
    ACTIVE = "Active"  # a queue takes jobs, or a flavor has nodes
    NO_NODES = "NoNodes"  # no node fits the flavor's selector
    UNKNOWN_FLAVOR = "UnknownFlavor"  # a queue names a flavor that does not exist
    MISCONFIGURED = (
        "Misconfigured"  # a queue's parents form a cycle, or its parent does not exist; the message gives the path
    )
    PREEMPTED = "Preempted"  # stopped after a checkpoint so that another could start; it waits for a new place
    RESIZED = "Resized"  # an elastic job goes on with more or fewer pods from its last checkpoint
    RUN_TIME_EXCEEDED = "RunTimeExceeded"  # ran longer than spec.maxRunSeconds or its queue's
    QUEUE_DRAINED = "QueueDrained"  # stopped after a checkpoint because its queue has stopPolicy HoldAndDrain
    NODE_SUSPECT = "NodeSuspect"  # something speaks against the node; it is the last choice for pods
    NODE_QUARANTINED = "NodeQuarantined"  # the node should be repaired; it takes no new pods
    NODE_DRAINING = "NodeDraining"  # the node is cordoned, and jobs leave it after a checkpoint
    NODE_DRAINED = "NodeDrained"  # no pod of ours is left on it: it may be repaired
    NODE_HEALTHY = "NodeHealthy"  # nothing speaks against the node any more, or a person said so
    BREAKER_OPEN = "BreakerOpen"  # so many nodes are to be taken out of use at once that it is left to people
