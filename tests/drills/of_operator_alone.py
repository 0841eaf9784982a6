"""Of the alerts about the operator that its own stop, standstill or blindness brings about: one after the other, when nobody else needs it.

The last one ends it.
"""

import json
import os
import signal
import time
from typing import Any

from dev.cluster.kwok import COMPLETE_AFTER, EXIT_CODE
from dev.operator_process import OperatorProcess
from tests import builders as b
from tests.apiserver.operator_process import SYSTEM, USER
from tests.drills import operator_pod
from tests.drills.drill import Drill
from tests.drills.ground import Ground

_FLOW = "flowcontrol.apiserver.k8s.io/v1"
_TURN = 1.6
_REFUSED = 12
OLD_RELEASE = "trainyard-old"


def _has_no_cpu(ground: Ground) -> None:
    """The kernel lets the process run half of the time, in turns of a second and a half."""
    pid = ground.operator.pid

    def stop() -> None:
        os.kill(pid, signal.SIGSTOP)
        time.sleep(_TURN)
        os.kill(pid, signal.SIGCONT)

    ground.keeps(stop, every=_TURN)


def _api_server_is_overloaded(ground: Ground) -> None:
    """It answers 429 to what the operator asks for in one namespace: a level of priority without seats."""
    ground.lay_out()
    limits = {"nominalConcurrencyShares": 0, "lendablePercent": 0, "limitResponse": {"type": "Reject"}}
    level = {"type": "Limited", "limited": limits | {"borrowingLimitPercent": 0}}
    _flow(ground, "PriorityLevelConfiguration", "prioritylevelconfigurations", level)
    account = {"kind": "ServiceAccount", "serviceAccount": {"namespace": SYSTEM, "name": USER.rpartition(":")[2]}}
    asks = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"], "namespaces": [ground.namespace]}
    flow = {
        "priorityLevelConfiguration": {"name": ground.namespace},
        "matchingPrecedence": 2,
        "rules": [{"subjects": [account], "resourceRules": [asks]}],
    }
    _flow(ground, "FlowSchema", "flowschemas", flow)
    for number in range(_REFUSED):
        ground.job(f"refused-{number}")


def _flow(ground: Ground, kind: str, plural: str, spec: dict[str, Any]) -> None:
    body = {"apiVersion": _FLOW, "kind": kind, "metadata": {"name": ground.namespace}, "spec": spec}
    ground.api.create(f"/apis/{_FLOW}/{plural}", body)
    ground.undo.callback(ground.api.delete, f"/apis/{_FLOW}/{plural}/{ground.namespace}")


def _another_holds_the_lease(ground: Ground) -> None:
    """Somebody runs the operator at home, against this cluster; Prometheus knows nothing of that one."""
    other = OperatorProcess(ground.cluster, env={"TRAINYARD_IDENTITY": "at-home"})
    ground.undo.callback(ground.operator.wait_ready)
    ground.undo.callback(other.stop)
    ground.operator.stop()
    other.start()
    other.wait_ready()
    ground.operator.start()


def _second_release(ground: Ground) -> None:
    ground.create(b.a_namespace(OLD_RELEASE))
    ground.undo.callback(ground.second.stop)
    ground.second.start()


def _may_not_list_claims(ground: Ground) -> None:
    """The operator is newer than the role that it has."""
    ground.operator.stop()
    ground.undo.callback(ground.operator.wait_ready)
    roles = json.loads(ground.kubectl("get", "clusterroles", "-l", "app.kubernetes.io/part-of=trainyard", "-o", "json"))
    for role in roles["items"]:
        rules = [each for each in role["rules"] if "persistentvolumeclaims" not in each.get("resources", ())]
        if rules != role["rules"]:
            path = f"/apis/rbac.authorization.k8s.io/v1/clusterroles/{role['metadata']['name']}"
            ground.api.patch(path, {"rules": rules})
            ground.undo.callback(ground.api.patch, path, {"rules": role["rules"]})
    ground.operator.start()


def _process_is_killed(ground: Ground) -> None:
    """As the kernel does it for want of memory; kwok tells the API server of the container's end, as kubelet would."""
    ground.operator.kill()
    notes = {COMPLETE_AFTER: "0s", EXIT_CODE: "137"}
    path = f"/api/v1/namespaces/{SYSTEM}/pods/{operator_pod.NAME}"
    ground.api.patch(path, {"metadata": {"annotations": notes}})


DRILLS = (
    Drill("TrainyardEventLoopBlocked", _has_no_cpu, shows=("the event loop was late",)),
    Drill(
        "TrainyardApiServerErrors",
        _api_server_is_overloaded,
        shows=("apiservererrors",),
    ),
    Drill("TrainyardNoLeader", _another_holds_the_lease, shows=("holderIdentity: at-home",)),
    Drill("TrainyardTwoLeaders", _second_release, shows=(OLD_RELEASE,)),
    Drill(
        "TrainyardCacheNotFilled",
        _may_not_list_claims,
        {"resource": "persistentvolumeclaims"},
        ("cannot list resource",),
    ),
    Drill("TrainyardOperatorDown", _process_is_killed, shows=("137",)),
)
