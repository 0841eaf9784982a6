"""Of the alerts about the operator itself that its faults on single objects bring about. What stops all of it is in `of_operator_alone`."""

import base64
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from dev.cluster.api import ApiError
from dev.cluster.kwok import EXIT_CODE
from tests import builders as b
from tests.apiserver.operator_process import SYSTEM
from tests.apiserver.yard import Object, completes_after
from tests.drills.drill import Drill
from tests.drills.ground import Ground
from trainyard.api.names import OPERATOR_TLS
from trainyard.endpoint.certificates import AUTHORITY_DAYS, up_to_date

_MANY = 8
_BETWEEN_COPIES = 10.0


def _limit(ground: Ground, **hard: str) -> None:
    body = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": hard}}
    ground.create(body)
    ground.until(lambda: (ground.get("ResourceQuota", "none") or {}).get("status", {}).get("used"))


def _no_pods_allowed(ground: Ground) -> None:
    ground.lay_out()
    _limit(ground, pods="0")
    ground.job("refused")


def _no_events_allowed(ground: Ground) -> None:
    """And jobs that fail in a loop have much to tell."""
    _refuse(ground, "", "events", "CREATE", f"object.metadata.namespace != '{ground.namespace}'")
    ground.lay_out()
    for number in range(3):
        ground.job(f"loops-{number}", b.max_restarts(30), completes_after("1s"), b.annotated(**{EXIT_CODE: "127"}))


def _refuse_status(ground: Ground, probe: Object) -> None:
    """Of objects of the probe's kind that are named like the drill; returns when that is so."""
    kind, name = probe["kind"], probe["metadata"]["name"]
    named_otherwise = f"!object.metadata.name.startsWith('{ground.namespace}')"
    _refuse(ground, "trainyard.dev", f"{kind.lower()}s/status", "UPDATE", named_otherwise)
    ground.create(probe)

    def refused() -> bool:
        try:
            ground.patch(kind, name, {"status": {"conditions": []}}, "/status")
        except ApiError:
            return True
        return False

    ground.until(refused, 60)


def _refuse(ground: Ground, group: str, resource: str, operation: str, allowed: str) -> None:
    """A policy of the cluster forbids it. allowed: in CEL, what it does not."""
    rule = {"apiGroups": [group], "apiVersions": ["*"], "operations": [operation], "resources": [resource]}
    asked = {
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": allowed, "message": "policy of the day"}],
    }
    _admission(ground, "ValidatingAdmissionPolicy", "validatingadmissionpolicies", asked)
    bound = {"policyName": ground.namespace, "validationActions": ["Deny"]}
    _admission(ground, "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings", bound)


def _admission(ground: Ground, kind: str, plural: str, spec: dict[str, Any]) -> None:
    group = "admissionregistration.k8s.io/v1"
    body = {"apiVersion": group, "kind": kind, "metadata": {"name": ground.namespace}, "spec": spec}
    ground.api.create(f"/apis/{group}/{plural}", body)
    ground.undo.callback(ground.api.delete, f"/apis/{group}/{plural}/{ground.namespace}")


def _flavors_are_corrected_in_vain(ground: Ground, flavors: int) -> None:
    """Their owners change them again and again, and nobody may write what came of it."""
    _refuse_status(ground, b.a_flavor(f"{ground.flavor}-probe", b.selects(nowhere="yes")))
    names = [f"{ground.flavor}-{number}" for number in range(flavors)]
    for name in names:
        ground.create(b.a_flavor(name, b.selects(nowhere="yes")))
    prices = count(1)

    def correct() -> None:
        for name in names:
            ground.patch("Flavor", name, {"spec": {"pricePerHour": next(prices)}})

    ground.keeps(correct)


def _queue_cannot_be_written(ground: Ground) -> None:
    _refuse_status(ground, b.a_queue(f"{ground.queue}-probe"))
    ground.lay_out()


def _two_of_a_rank(ground: Ground) -> None:
    """Somebody copies a worker's pod, of one job after the other."""
    ground.lay_out(4)
    numbers = count(1)
    ground.keeps(lambda: _double(ground, f"doubled-{next(numbers)}"), _BETWEEN_COPIES)


def _double(ground: Ground, job: str) -> None:
    ground.job(job)
    ground.until_phase(job, "Running", 90)
    (pod,) = ground.pods(job)
    meta = pod["metadata"]
    kept = {key: meta[key] for key in ("namespace", "labels", "annotations", "ownerReferences") if key in meta}
    spec = {key: value for key, value in pod["spec"].items() if key not in ("nodeName", "hostname")}
    ground.create({"apiVersion": "v1", "kind": "Pod", "metadata": kept | {"name": f"{job}-copy"}, "spec": spec})


def _authority_is_old(_: Ground) -> None:
    """It has been so from the beginning: `old_authority`."""


def old_authority(now: datetime) -> dict[str, Any]:
    """The Secret as an operator wrote it that has run here for nearly as long as an authority lives."""
    made = up_to_date(None, "localhost", now - timedelta(days=AUTHORITY_DAYS - 60))
    fields = {"ca.crt": made.authority, "ca.key": made.authority_key, "tls.crt": made.certificate, "tls.key": made.key}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": OPERATOR_TLS, "namespace": SYSTEM},
        "data": {name: base64.b64encode(text).decode() for name, text in fields.items()},
    }


DRILLS = (
    Drill(
        "TrainyardCertificateExpires",
        _authority_is_old,
        {"certificate": "authority"},
        ("notAfter=",),
    ),
    Drill(
        "TrainyardRequestsForbidden",
        _no_pods_allowed,
        {"verb": "create", "resource": "pods"},
        ("exceeded quota: none",),
    ),
    Drill("TrainyardEventsDropped", _no_events_allowed, shows=("an event could not be written", "policy of the day")),
    Drill(
        "TrainyardReconcilesFail",
        lambda ground: _flavors_are_corrected_in_vain(ground, _MANY),
        {"kind": "Flavor"},
        ("policy of the day",),
    ),
    Drill(
        "TrainyardObjectKeepsFailing",
        lambda ground: _flavors_are_corrected_in_vain(ground, 1),
        {"kind": "Flavor"},
        ("policy of the day",),
    ),
    Drill("TrainyardStatusBehind", _queue_cannot_be_written, {"kind": "Queue"}, ("<none> statusbehind 1 <none>",)),
    Drill(
        "TrainyardInvariantViolated",
        _two_of_a_rank,
        {"invariant": "TwoOfARank"},
        ("invariantviolated/doubled-1 has two pods of rank 0",),
    ),
)
