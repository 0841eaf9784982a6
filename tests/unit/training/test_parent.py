"""Which model a job compresses: what it waits for, with which words, and that it is written down before anything follows."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tests import builders as b
from trainyard.api.compression import CompressionParent, ParentModel
from trainyard.api.reasons import Waiting
from trainyard.api.training_job import TrainingJob
from trainyard.scheduling.snapshot import Admit, Assignment, Verdict, WorkloadKey
from trainyard.training.observed import Claim, Observed, ParentSeen
from trainyard.training.parent import find_parent
from trainyard.training.plan import plan_training_job
from trainyard.training.workload import workload

NOW = datetime(2026, 11, 23, tzinfo=UTC)
FOUND = ParentModel(claim_name="models", path="p/model/attempt-1", digest=b.DIGEST)
RESULT = {"claimName": "models", "path": "p/model/attempt-1", "digest": b.DIGEST}
PINNED = b.status(parent=RESULT)


def job(*modifiers: b.Modifier, name: str = "small") -> TrainingJob:
    stamp = b.meta(uid="01234567-89", generation=1, creationTimestamp=NOW.isoformat())
    return TrainingJob.model_validate(b.training_job(name, stamp, *modifiers))


def observed(child: TrainingJob, parent: TrainingJob | None = None, *, claim: bool = True) -> Observed:
    return Observed(child, parent=ParentSeen(parent, claim), claim=Claim("results", ("ReadWriteMany",)))


def condition(kind: str, message: str = "") -> dict[str, Any]:
    return {"type": kind, "status": "True", "reason": "x", "message": message, "lastTransitionTime": NOW.isoformat()}


def test_a_job_that_compresses_nothing_or_its_own_model_has_no_parent() -> None:
    assert find_parent(observed(job())) is None
    assert find_parent(observed(job(b.compresses()))) is None


def test_the_parent_is_the_result_of_the_job_that_is_named() -> None:
    parent = job(b.storage("models"), b.status(result=RESULT), name="p")
    assert find_parent(observed(job(b.compresses("p")), parent)) == FOUND


def test_the_parent_may_lie_on_a_claim() -> None:
    child = job(b.compresses(claimName="models", path="digits/1"))
    assert find_parent(observed(child)) == ParentModel(claim_name="models", path="digits/1")
    missing = find_parent(observed(child, claim=False))
    assert isinstance(missing, Verdict)
    assert missing.message == (
        "spec.compression.parent.claimName: there is no PersistentVolumeClaim 'models' in namespace 'team';"
        " create it and the job goes on"
    )


STORED = b.storage("models")


@pytest.mark.parametrize(
    ("parent", "reason", "words"),
    [
        (None, Waiting.MODEL_NOT_READY, "there is no TrainingJob 'p' in namespace 'team'; create it"),
        ([STORED], Waiting.MODEL_NOT_READY, "it is Pending and has exported no model yet; this job goes on as soon"),
        ([STORED, b.status(phase="Running")], Waiting.MODEL_NOT_READY, "it is Running and has exported no model yet"),
        (
            [STORED, b.suspended(), b.status(phase="Suspended")],
            Waiting.MODEL_NOT_READY,
            "it is Suspended and has exported no model yet; set its spec.suspend to false",
        ),
        ([], Waiting.MISCONFIGURED, "has no spec.storage and exports nothing; delete this job and create it with"),
        (
            [STORED, b.status(phase="Failed", conditions=[condition("Failed", "out of memory")])],
            Waiting.MISCONFIGURED,
            "failed before it exported a model (out of memory); delete this job",
        ),
        (
            [STORED, b.status(phase="Complete", conditions=[condition("Complete")])],
            Waiting.MISCONFIGURED,
            "is complete and has exported no model",
        ),
    ],
)
def test_a_job_waits_for_its_parent_and_says_what_helps(
    parent: list[b.Modifier] | None, reason: Waiting, words: str
) -> None:
    seen = observed(job(b.compresses("p")), None if parent is None else job(*parent, name="p"))
    found = workload(seen, NOW)
    assert found is not None
    assert found.blocked is not None
    assert found.blocked.reason is reason
    assert found.blocked.message.startswith("spec.compression.parent.trainingJob: ")
    assert words in found.blocked.message


def test_what_was_found_is_written_down_before_a_place_is_taken() -> None:
    parent = job(STORED, b.status(result=RESULT), name="p")
    child = job(b.compresses("p"))
    place = Admit(
        WorkloadKey("TrainingJob", "team", "small"), child.metadata.uid, Assignment("h200", {"worker": ("n0",)})
    )
    plan = plan_training_job(replace(observed(child, parent), decision=place), NOW)
    assert plan.status is not None
    assert plan.status["parent"] == FOUND.model_dump(by_alias=True)
    assert plan.urgent
    assert "admission" not in plan.status
    pinned = replace(observed(job(b.compresses("p"), PINNED), parent), decision=place)
    after = plan_training_job(pinned, NOW).status
    assert after is not None
    assert after["phase"] == "Admitted"


def test_what_was_written_down_outlives_the_parent_and_its_next_result() -> None:
    child = job(b.compresses("p"), PINNED)
    other = job(STORED, b.status(result=RESULT | {"path": "p/model/attempt-2"}), name="p")
    for parent in (None, other):
        assert find_parent(observed(child, parent)) == FOUND
        seen = workload(observed(child, parent), NOW)
        assert seen is not None
        assert seen.blocked is None


def test_variants_are_measured_by_one_process() -> None:
    seen = workload(observed(job(b.compresses(), b.gpus(2))), NOW)
    assert seen is not None
    assert seen.blocked is not None
    assert seen.blocked.message.startswith(
        "spec.workers.resources.limits[nvidia.com/gpu]: 2 is too many with spec.compression, expected at most 1"
    )


@pytest.mark.parametrize("parent", [{}, {"path": "digits/1"}, {"claimName": "models"}])
def test_a_parent_that_an_older_crd_let_through_is_told_by_its_field(parent: dict[str, str]) -> None:
    child = job(b.compresses(claimName="models", path="digits/1"))
    compression = child.spec.compression
    assert compression is not None
    asked = compression.model_copy(update={"parent": CompressionParent.model_validate(parent)})
    child = child.model_copy(update={"spec": child.spec.model_copy(update={"compression": asked})})
    found = find_parent(observed(child))
    assert isinstance(found, Verdict)
    assert found.reason is Waiting.MISCONFIGURED
    assert "spec.compression.parent names no model" in found.message
