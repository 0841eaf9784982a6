"""What another version wrote into a status costs its own fields and no more; a spec must be read whole."""

import pytest
from pydantic import ValidationError

from tests import builders as b
from trainyard.workloads.understood import understand

ENDED = {
    "type": "Complete",
    "status": "True",
    "reason": "Completed",
    "message": "",
    "lastTransitionTime": "2026-11-23T12:00:00Z",
}
RESTORED = {"uid": "old", "since": "2026-11-20T12:00:00Z", "taken": "2026-11-22T12:00:00Z"}


@pytest.mark.parametrize(
    ("status", "taken_out"),
    [
        ({"phase": "Running", "attempt": 3, "ledger": {"seconds": [1]}}, ("ledger",)),
        ({"phase": "Running", "attempt": "three", "restarts": 2}, ("attempt", "phase", "restarts")),
        ({"phase": "Running", "admission": {"roles": 3}, "attempt": 3}, ("admission", "phase")),
        ({"phase": "Complete", "conditions": [ENDED], "admission": 3}, ("admission",)),
        ({"phase": 7, "conditions": [ENDED], "attempt": 3}, ("phase",)),
        ({"phase": "Running", "gpus": "all", "attempt": 3, "restored": RESTORED}, ("gpus", "phase")),
    ],
    ids=["what is only told", "a number", "a place", "a place of one that ended", "that it ended", "who it was"],
)
def test_what_pods_depend_on_is_taken_out_whole_and_all_else_alone(
    status: dict[str, object], taken_out: tuple[str, ...]
) -> None:
    job = b.training_job("a", b.status(**status))
    read = understand("TrainingJob", job)
    assert read.damage is not None
    assert read.damage.fields == taken_out
    assert read.thing.status.model_dump(by_alias=True, exclude_unset=True).keys() == status.keys() - {*taken_out}
    assert job["status"] == status, "the object itself is left as it is"


def test_of_a_queue_the_field_alone_is_lost() -> None:
    queue = b.a_queue("research", b.status(pending=2, budget={"gpuHours": "all"}))
    read = understand("Queue", queue)
    assert read.damage is not None
    assert read.damage.fields == ("budget",)
    assert "status.budget" in read.damage.why


@pytest.mark.parametrize("wrong", [{"conditions": "all is well"}, {"result": {"path": 3}}])
def test_how_a_job_ended_is_not_guessed(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="status"):
        understand(
            "TrainingJob", b.training_job("a", b.status(**{"phase": "Complete", "conditions": [ENDED], **wrong}))
        )


def test_a_whole_one_has_no_damage() -> None:
    assert understand("Queue", b.a_queue("research")).damage is None


def test_a_spec_that_cannot_be_read_is_not_guessed() -> None:
    job = b.training_job("a", b.spec(workers="several"), b.status(attempt="three"))
    with pytest.raises(ValidationError, match=r"spec\.workers"):
        understand("TrainingJob", job)
