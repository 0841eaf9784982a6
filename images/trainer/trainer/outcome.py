"""How the pod ended: what each worker leaves for the agent, and the last message that the agent leaves for the kubelet.

A worker's exit code alone does not survive torchrun, and a worker that lost its peers fails with them: the message
should name the cause, not the consequence. So workers write down how they ended, and whether by their own doing.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from trainer.durable import read_json, write_json
from trainer.progress import PROGRESS_FILE, ROUND_FILE

if TYPE_CHECKING:
    from trainer.gang import Round

MOST_MESSAGE_BYTES: Final = 4096
_PREFIX: Final = "outcome-"
_ELLIPSIS: Final = " ... "
_REPORTED: Final[Mapping[str, Any]] = {
    "step": 0,
    "metrics": {},
    "result": None,
    "checkpoint": None,
    "firstStepAt": None,
    "restoredStep": None,
    "spent": {},
}
# The order in which parts are given up when the message is too long, the cause having been cut to its least.
_EXPENDABLE: Final = ("metrics", "spent", "restarted", "firstStepAt", "checkpoint", "result")
_LEAST_CAUSE: Final = 200
_LEAST_OF_VARIANT: Final = ("name", "verdict", "digest")
_LEAST_REASON: Final = 60


@dataclass(frozen=True)
class Outcome:
    """How a worker ended. A consequence is a failure that another worker's end brought about."""

    exit_code: int
    cause: str
    consequence: bool = False


def record_outcome(folder: Path, local_rank: int, outcome: Outcome) -> None:
    """Leave a worker's outcome for the agent; without an agent there is no folder and nothing is left."""
    if folder.is_dir():
        document = {"exitCode": outcome.exit_code, "cause": outcome.cause, "consequence": outcome.consequence}
        write_json(folder / f"{_PREFIX}{local_rank}.json", {**document, "at": time.time()})


def forget_outcomes(folder: Path) -> None:
    """Remove what an earlier start of the container left in the folder."""
    for file in [*folder.glob(f"{_PREFIX}*.json"), folder / PROGRESS_FILE]:
        file.unlink(missing_ok=True)


def record_round(folder: Path, begun: "Round") -> None:
    """Leave for the program, and so for the operator, which start of it this is and what ended the one before."""
    step = (read_json(folder / PROGRESS_FILE) or {}).get("step")
    write_json(folder / ROUND_FILE, {"round": begun.round, "step": step, **begun.failure.as_json()})


def has_outcomes(folder: Path) -> bool:
    """Whether any worker got far enough to say how it ended."""
    return any(folder.glob(f"{_PREFIX}*.json"))


def decide(folder: Path, child_code: int) -> Outcome:
    """The pod's outcome: a worker's own failure first, then a death by signal, then a consequence."""
    documents = [document for file in folder.glob(f"{_PREFIX}*.json") if (document := read_json(file))]
    documents.sort(key=lambda document: (bool(document["consequence"]), document["at"]))
    if child_code == 0:
        return Outcome(0, "finished")
    for document in documents:
        own = not document["consequence"]
        if own or child_code < 128:  # noqa: PLR2004 - above it a signal killed somebody, which came first
            return Outcome(document["exitCode"], document["cause"], document["consequence"])
    if child_code > 128:  # noqa: PLR2004
        return Outcome(child_code, f"a process died of signal {child_code - 128}")
    return Outcome(child_code, f"the command ended with exit code {child_code}")


def termination_message(outcome: Outcome, folder: Path) -> bytes:
    """The last message as JSON of at most 4,096 bytes; parts are cut or left out until it is, never the JSON itself."""
    progress = read_json(folder / PROGRESS_FILE) or {}
    message: dict[str, Any] = {"exitCode": outcome.exit_code, "cause": outcome.cause}
    message |= {name: progress.get(name, unknown) for name, unknown in _REPORTED.items()}
    if (begun := read_json(folder / ROUND_FILE)) is not None:
        message["restarted"] = begun
    surplus = len(json.dumps(message)) - MOST_MESSAGE_BYTES
    if surplus > 0:
        message["cause"] = _shortened(outcome.cause, surplus)
    if len(json.dumps(message)) > MOST_MESSAGE_BYTES and (result := message["result"]):
        message["result"] = {**result, **_names_of_variants(result)}
    for name in _EXPENDABLE:
        if len(json.dumps(message)) > MOST_MESSAGE_BYTES and name in message:
            message[name] = _REPORTED.get(name)
    return json.dumps(message).encode()


def _names_of_variants(result: Mapping[str, Any]) -> dict[str, Any]:
    """Without their figures: what can be served, and what cannot and why in a few words. The rest stands on the claim."""
    short = []
    for each in result.get("variants") or ():
        kept = {key: each[key] for key in _LEAST_OF_VARIANT if key in each}
        short.append(kept if "digest" in kept else kept | {"reason": str(each.get("reason", ""))[:_LEAST_REASON]})
    return {"variants": short} if short else {}


def _shortened(cause: str, surplus: int) -> str:
    """The cause with its middle left out: the start says what happened, the end usually why."""
    keep = len(cause)
    while keep > _LEAST_CAUSE:
        keep = max(_LEAST_CAUSE, keep * 9 // 10)
        half = keep // 2
        short = cause[:half] + _ELLIPSIS + cause[-half:]
        # JSON escapes make some characters longer than one byte, so the length that counts is the encoded one.
        if len(json.dumps(cause)) - len(json.dumps(short)) >= surplus:
            return short
    return cause[:_LEAST_CAUSE] + _ELLIPSIS
