"""What is put on record (docs/security.md), each with what it means."""

from enum import StrEnum


class Action(StrEnum):
    """The word that a record of the audit trail begins with."""

    BEGAN = "Began"
    ENDED = "Ended"
    MISSED = "Missed"
    NOMINATED = "Nominated"
    ADMITTED = "Admitted"
    PLACE_CHANGED = "PlaceChanged"
    PLACE_GIVEN_BACK = "PlaceGivenBack"
    ASKED_TO_MAKE_WAY = "AskedToMakeWay"
    PREEMPTED = "Preempted"
    FORCE_DELETED = "ForceDeleted"
    DELETED = "Deleted"
    TOKEN_REFUSED = "TokenRefused"  # noqa: S105  a word, not a token
    CALL_FORBIDDEN = "CallForbidden"
    FORGED = "Forged"
    STRAYED = "Strayed"
    PRIVILEGES_REFUSED = "PrivilegesRefused"
    PODS_REFUSED = "PodsRefused"


MEANING = {
    Action.BEGAN: "an operator leads from now on",
    Action.ENDED: "it does no more, and nothing lacks",
    Action.MISSED: "records before it are in the log only: how many, and the hashes of the first and the last",
    Action.NOMINATED: "a place was promised, and who makes way for it",
    Action.ADMITTED: "a job or replica got a place: flavor, pods, nodes",
    Action.PLACE_CHANGED: "it has another size or other nodes",
    Action.PLACE_GIVEN_BACK: "its place is free, and why",
    Action.ASKED_TO_MAKE_WAY: "it is to stop so that another can start, and until when",
    Action.PREEMPTED: "it made way",
    Action.FORCE_DELETED: "a pod was deleted without waiting for its node, which is lost",
    Action.DELETED: "the operator deleted a job, as its time to live says",
    Action.TOKEN_REFUSED: "a caller of the endpoint has no token, or none that is good; with how many since the last such record",
    Action.CALL_FORBIDDEN: "a caller may not do what it asks for; with how many",
    Action.FORGED: "a pod spoke for a job or service that is not its own; with how many",
    Action.STRAYED: "a job's program touched files of other jobs on its claim that the job does not name; with how many reports",
    Action.PRIVILEGES_REFUSED: "Pod Security of the namespace refused what a template asks for",
    Action.PODS_REFUSED: "the API server refused a pod for another reason: a quota, a webhook, a mistake in the template",
}
