"""What of a written status belongs on record: who got a place, who was asked to make way, whose place was given back. Pure.

Read off the statuses themselves, before and after the API server took the write, so that nothing that was decided by whichever
part of the operator is forgotten.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from trainyard.api.audit import Action
from trainyard.runtime.audit_chain import Entry
from trainyard.workloads.keys import Key
from trainyard.workloads.plan import Delete

Object = Mapping[str, Any]
_OVER = ("Complete", "Failed")
_LONGEST = 512
_SHOWN = 16
"""Victims that are named; how many there are is said besides."""


def decided(key: Key, before: Object, after: Object) -> Iterator[Entry]:
    """Entries for the change from one status to the next. key: of a TrainingJob or InferenceService; others have none."""
    match key.kind:
        case "TrainingJob":
            yield from _of_place(str(key), _job(before), _job(after), after)
        case "InferenceService":
            was, is_ = _replicas(before), _replicas(after)
            for serial in sorted(was.keys() | is_.keys()):
                yield from _of_place(f"{key} replica {serial}", was.get(serial, {}), is_.get(serial, {}), after)


def forced(key: Key, deletes: tuple[Delete, ...]) -> Iterator[Entry]:
    """Pods that are deleted without waiting for their node."""
    for each in deletes:
        if each.grace_seconds == 0:
            yield Entry(Action.FORCE_DELETED, str(key), {"kind": each.kind, "name": each.name, "uid": each.uid})


def refused(key: Key, message: str) -> Entry:
    """A pod that the API server will not take."""
    privileges = "violates PodSecurity" in message
    action = Action.PRIVILEGES_REFUSED if privileges else Action.PODS_REFUSED
    return Entry(action, str(key), {"why": message[:_LONGEST]})


def _job(status: Object) -> Object:
    """Place, request to make way and nomination, as a replica has them. A job that is over keeps no place, though its status tells of it."""
    return {
        "place": None if status.get("phase") in _OVER else status.get("admission"),
        "preemption": status.get("preemption"),
        "nomination": status.get("nomination"),
        "attempt": status.get("attempt", 1),
    }


def _replicas(status: Object) -> dict[int, Object]:
    """The same of each replica by its serial number."""
    places = {each["serial"]: each for each in status.get("admission") or ()}
    nominations = {each["serial"]: each for each in status.get("nominations") or ()}
    return {
        serial: {
            "place": places.get(serial),
            "preemption": places.get(serial, {}).get("preemption"),
            "nomination": nominations.get(serial),
        }
        for serial in places.keys() | nominations.keys()
    }


def _of_place(about: str, was: Object, now: Object, status: Object) -> Iterator[Entry]:
    old, new = was.get("place"), now.get("place")
    if now.get("nomination") and not was.get("nomination"):
        yield Entry(Action.NOMINATED, about, _nomination(now["nomination"]))
    if now.get("preemption") and not was.get("preemption"):
        asked = now["preemption"]
        yield Entry(Action.ASKED_TO_MAKE_WAY, about, {"by": _named(asked["by"]), "deadline": asked["deadline"]})
    if new and not old:
        yield Entry(Action.ADMITTED, about, {**_place(new), "attempt": now.get("attempt")})
    elif new and old and _place(new) != _place(old):
        yield Entry(Action.PLACE_CHANGED, about, {**_place(new), "podsBefore": _place(old)["pods"]})
    elif old and not new:
        preempted = bool(was.get("preemption"))
        facts = {**_place(old), "phase": status.get("phase"), "reason": status.get("reason")}
        yield Entry(Action.PREEMPTED if preempted else Action.PLACE_GIVEN_BACK, about, facts)


def _place(place: Object) -> dict[str, Any]:
    """Of a job's admission, or a replica's."""
    runs = [
        (role.get("prefix", "") + run.get("node", ""), run["count"])
        for role in place.get("roles", ())
        for run in role["runs"]
    ]
    nodes = sorted({node for node, _ in runs}) or [place.get("node", "")]
    return {
        "flavor": place["flavor"],
        "epoch": place.get("epoch"),
        "pods": sum(count for _, count in runs) or 1,
        "nodes": len(nodes),
        "firstNode": nodes[0],
    }


def _nomination(nomination: Object) -> dict[str, Any]:
    victims = nomination.get("victims") or ()
    return {
        "flavor": nomination["flavor"],
        "deadline": nomination["deadline"],
        "victims": [_named(each) for each in victims[:_SHOWN]],
        "victimsInAll": len(victims),
    }


def _named(reference: Object) -> str:
    """As `api.preemption.WorkloadReference` is printed."""
    replica = f" replica {reference['serial']}" if reference.get("serial") else ""
    return f"{reference['kind']} {reference['namespace']}/{reference['name']}{replica}"
