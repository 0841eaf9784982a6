"""What of a change of a status belongs on record: who got a place, who was asked to make way, whose place was given back. Pure.

Read off the statuses themselves, as the API server has them, so that nothing is forgotten: whichever part of the operator decided
it, whether or not its write was answered, and also when somebody deletes what had a place.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from trainyard.api.audit import Action
from trainyard.runtime.audit_chain import Entry
from trainyard.workloads.keys import Key
from trainyard.workloads.plan import Delete

Object = Mapping[str, Any]
_OVER = ("Complete", "Failed")
_SHOWN = 16
"""Victims and nodes that are named; how many there are is said besides."""
_GONE: Object = {"reason": "Deleted"}
"""The status of an object that is no more."""
TELLS = {"admission", "preemption", "nomination", "nominations", "attempt", "phase", "reason"}
"""Fields of a status that are looked at."""


def decided(key: Key, before: Object, after: Object | None) -> Iterator[Entry]:
    """Entries for the change from one status to the next, None for an object that is gone. key: of a TrainingJob or InferenceService."""
    now = _GONE if after is None else after
    if key.kind == "TrainingJob":
        yield from _of_place(str(key), _job(before), _job(now), now)
        return
    was, is_ = _replicas(before), _replicas(now)
    for serial in sorted(was.keys() | is_.keys()):
        yield from _of_place(f"{key} replica {serial}", was.get(serial, {}), is_.get(serial, {}), now)


def forced(key: Key, pod: Delete, *, answered: bool) -> Iterator[Entry]:
    """A pod that is deleted without waiting for its node."""
    if pod.grace_seconds == 0:
        facts = {"kind": pod.kind, "name": pod.name, "uid": pod.uid, "answered": answered}
        yield Entry(Action.FORCE_DELETED, str(key), facts)


def refusal(message: str) -> Action:
    """What it is that the API server will not take a pod for."""
    return Action.PRIVILEGES_REFUSED if "violates PodSecurity" in message else Action.PODS_REFUSED


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
    elif new and old and (_place(new), _pods(new)) != (_place(old), _pods(old)):
        yield Entry(Action.PLACE_CHANGED, about, {**_place(new), **_moved(old, new)})
    elif old and not new:
        preempted = bool(was.get("preemption")) and status is not _GONE
        facts = {**_place(old), "phase": status.get("phase"), "reason": status.get("reason")}
        yield Entry(Action.PREEMPTED if preempted else Action.PLACE_GIVEN_BACK, about, facts)


def _place(place: Object) -> dict[str, Any]:
    """Of a job's admission, or a replica's."""
    pods = _pods(place)
    nodes = sorted(_nodes(place))
    return {
        "flavor": place["flavor"],
        "epoch": place.get("epoch"),
        "pods": pods.total(),
        "nodes": len(nodes),
        "firstNode": nodes[0],
    }


def _pods(place: Object) -> Counter[tuple[str, str]]:
    """How many there are of each role on each node."""
    pods: Counter[tuple[str, str]] = Counter()
    for role in place.get("roles", ()):
        for run in role["runs"]:
            pods[role["name"], role.get("prefix", "") + run.get("node", "")] += run["count"]
    return pods or Counter({("", place.get("node", "")): 1})


def _moved(old: Object, new: Object) -> dict[str, Any]:
    left, taken = sorted((was := _nodes(old)) - (now := _nodes(new))), sorted(now - was)
    return {
        "podsBefore": _pods(old).total(),
        "nodesLeft": left[:_SHOWN],
        "nodesLeftInAll": len(left),
        "nodesTaken": taken[:_SHOWN],
        "nodesTakenInAll": len(taken),
    }


def _nodes(place: Object) -> set[str]:
    return {node for _, node in _pods(place)}


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
