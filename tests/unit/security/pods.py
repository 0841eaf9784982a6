"""A pod of each program of ours that runs in the cluster, as the operator makes it."""

from datetime import UTC, datetime
from functools import cache
from typing import Any

from tests import builders as b
from trainyard.api.inference_service import InferenceService, ReplicaAdmission, ServedModel
from trainyard.api.training_job import TrainingJob
from trainyard.inference.gateway import gateway_children
from trainyard.inference.observed import Observed as Served
from trainyard.inference.replica import replica_pod
from trainyard.training.observed import Claim
from trainyard.training.observed import Observed as Trained
from trainyard.training.pods import pods_of
from trainyard.training.tensorboard import plan_tensorboard

Object = dict[str, Any]
NOW = datetime(2026, 11, 30, tzinfo=UTC)
_GATEWAY = {"grpc": True, "tls": {"secretName": "certificate"}, "auth": {"apiKeysSecret": "keys"}}
_PLACE = {
    "epoch": 1,
    "queue": "research",
    "flavor": "h200",
    "time": NOW.isoformat(),
    "roles": [{"name": "worker", "prefix": "n", "runs": [{"node": "0", "count": 2}]}],
}


@cache
def pods() -> dict[str, Object]:
    """By program; those of a Deployment are its template."""
    stamp = b.meta(uid="0123456789", generation=1)
    service = InferenceService.model_validate(b.inference_service("s", stamp, b.spec(gateway=_GATEWAY)))
    served = Served(service)
    place = ReplicaAdmission(serial=1, node="n", flavor="f", digest="d", admitted_at=NOW)
    job = b.training_job("a", stamp, b.workers(2), b.storage(), b.spec(tensorboard=True), b.status(admission=_PLACE))
    trained = Trained(TrainingJob.model_validate(job), claim=Claim("results", ("ReadWriteMany",)))
    board = plan_tensorboard(trained)
    assert board is not None
    return {
        "gateway": _template(gateway_children(served)),
        "server": replica_pod(served, place, ServedModel(claim_name="c", path="p", digest="d")),
        "trainer": next(iter(pods_of(trained, "worker", [0]))),
        "tensorboard": _template(board.create),
    }


def _template(children: tuple[Object, ...]) -> Object:
    template: Object = next(each["spec"]["template"] for each in children if each["kind"] == "Deployment")
    return template
