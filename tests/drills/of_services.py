"""Of the alerts about InferenceServices that need neither a real gateway nor a real model server."""

from typing import Any

from tests import builders as b
from tests.drills.drill import Drill
from tests.drills.ground import Ground
from tests.drills.voices import Gateway
from trainyard.api.names import ROLE_LABEL

_NEW = "sha256:" + "b" * 64
_NOT_SERVED = "nobody-serves"
_LATE = 8.0


def _claim(ground: Ground, name: str, storage_class: str = "") -> None:
    claim = b.a_claim(name, namespace=ground.namespace)
    claim["spec"] |= {"resources": {"requests": {"storage": "1Gi"}}}
    claim["spec"] |= {"storageClassName": storage_class} if storage_class else {}
    ground.create(claim)


def _serves(ground: Ground, name: str, *modifiers: b.Modifier, storage_class: str = "", **ground_plan: Any) -> None:
    """A service on a ground of its own."""
    ground.lay_out(**ground_plan)
    _claim(ground, "models", storage_class)
    mine = (b.namespace(ground.namespace), b.queue(ground.queue))
    ground.create(b.inference_service(name, *mine, *modifiers))


def _is_ready(ground: Ground, name: str) -> None:
    def ready() -> bool:
        return ground.status(name, "InferenceService").get("phase") == "Ready"

    ground.until(ready, 120)


def _volume_is_not_there(ground: Ground) -> None:
    _serves(ground, "waits", storage_class=_NOT_SERVED)


def _quota_for_one_of_two(ground: Ground) -> None:
    _serves(ground, "halved", b.replicas(2), quota=1)


def _volume_comes_late(ground: Ground) -> None:
    """An administrator makes it when asked."""
    _serves(ground, "late", storage_class=_NOT_SERVED)
    ground.until(lambda: any("FailedScheduling" in said for said in ground.events("late-1")), 60)
    ground.over.wait(_LATE)
    claim = {"kind": "PersistentVolumeClaim", "namespace": ground.namespace, "name": "models"}
    spec = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteMany"],
        "storageClassName": _NOT_SERVED,
        "hostPath": {"path": "/nowhere"},
        "claimRef": claim,
    }
    body = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": ground.namespace}, "spec": spec}
    ground.api.create("/api/v1/persistentvolumes", body)
    gateway = Gateway(ground, "late")
    ground.keeps(lambda: gateway.sees("late-1"))


def _new_model_has_no_volume(ground: Ground) -> None:
    canary = b.spec(rollout={"strategy": "Canary", "readySeconds": 5})
    _serves(ground, "rolled", canary)
    _is_ready(ground, "rolled")
    _claim(ground, "new-models", _NOT_SERVED)
    model = {"claimName": "new-models", "path": "digits", "digest": _NEW}
    ground.patch("InferenceService", "rolled", {"spec": {"model": model}})


def _nobody_asks_the_new_model(ground: Ground) -> None:
    rollout = {"strategy": "Canary", "stepSeconds": 1, "deadlineSeconds": 1, "contract": "Ignore"}
    _serves(ground, "paused", b.spec(rollout=rollout))
    _is_ready(ground, "paused")
    ground.patch("InferenceService", "paused", {"spec": {"model": {"digest": _NEW}}})


def _quota_for_no_new_replica(ground: Ground) -> None:
    _serves(ground, "full", b.spec(rollout={"strategy": "Canary"}), quota=1)
    _is_ready(ground, "full")
    ground.patch("InferenceService", "full", {"spec": {"model": {"digest": _NEW}}})


def _no_pods_allowed(ground: Ground, left: int) -> None:
    """Somebody lowers the number of pods of the namespace, and then gateways are lost."""
    _serves(ground, "bare")
    _is_ready(ground, "bare")
    body = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}, "spec": {"hard": {"pods": "1"}}}
    ground.create(body)
    gateways = ground.kubectl("get", "pods", "-l", f"{ROLE_LABEL}=gateway", "-o", "name").split()
    ground.until(lambda: (ground.get("ResourceQuota", "few") or {}).get("status", {}).get("used"))
    ground.kubectl("delete", *gateways[left:])


def _nobody_scrapes(ground: Ground) -> None:
    _serves(ground, "unseen", b.spec(slo={"latencyMs": 100}))
    _is_ready(ground, "unseen")


def _service(alert: str, name: str) -> dict[str, str]:
    return {"namespace": alert, "inference_service": name}


DRILLS = (
    Drill("TrainyardServiceDown", _volume_is_not_there, _service("servicedown", "waits"), (_NOT_SERVED,)),
    Drill(
        "TrainyardServiceReplicasMissing",
        _quota_for_one_of_two,
        _service("servicereplicasmissing", "halved"),
        ("WaitingForQuota",),
    ),
    Drill(
        "TrainyardStartsSlow",
        _volume_comes_late,
        {"stage": "scheduling"},
        ("pod has unbound immediate PersistentVolumeClaims", "late-1"),
        {"SERVICE": "late", "NAMESPACE": "startsslow"},
    ),
    Drill("TrainyardRolledBack", _new_model_has_no_volume, _service("rolledback", "rolled"), ("NotReady",)),
    Drill("TrainyardRolloutPaused", _nobody_asks_the_new_model, _service("rolloutpaused", "paused"), ("Paused",)),
    Drill("TrainyardSchedulerStalled", _quota_for_no_new_replica, {"queue": "schedulerstalled"}, ("full",)),
    Drill(
        "TrainyardGatewaysDown",
        lambda ground: _no_pods_allowed(ground, 0),
        _service("gatewaysdown", "bare"),
        ("exceeded quota: few",),
    ),
    Drill(
        "TrainyardGatewaysMissing",
        lambda ground: _no_pods_allowed(ground, 1),
        _service("gatewaysmissing", "bare"),
        ("exceeded quota: few",),
    ),
    Drill(
        "TrainyardGatewayNotScraped",
        _nobody_scrapes,
        _service("gatewaynotscraped", "unseen"),
        ("No resources found",),
    ),
    Drill("TrainyardSloNotMeasured", _nobody_scrapes, _service("slonotmeasured", "unseen"), ("No resources found",)),
)
