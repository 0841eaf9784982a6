"""Which model a service serves: of its job, or one of the variants, and in which words it says that there is none."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tests import builders as b
from trainyard.api.inference_service import InferenceService, ServedModel
from trainyard.api.training_job import TrainingJob
from trainyard.inference.model import named, resolve
from trainyard.inference.observed import Observed

NOW = datetime(2026, 11, 23, tzinfo=UTC)
HALF = {
    "name": "half",
    "verdict": "Published",
    "path": "a/model/variants/half",
    "digest": "sha256:" + "b" * 64,
    "reason": "1.80 times as fast",
}
BYTES = {"name": "bytes", "verdict": "Refused", "reason": "slower than the parent at batch size 1: 2 ms against 1 ms"}
WHOLE = ServedModel(claim_name="results", path="a/model", digest=b.DIGEST)
SERVED_HALF = ServedModel(claim_name="results", path="a/model/variants/half", digest=HALF["digest"], variant="half")


def job(*variants: dict[str, Any], **status: Any) -> TrainingJob:
    result = {"claimName": "results", "path": "a/model", "digest": b.DIGEST, "variants": list(variants)}
    return TrainingJob.model_validate(b.training_job("a", b.compresses(), b.status(result=result, **status)))


def seen(source: TrainingJob | None, *modifiers: b.Modifier) -> Observed:
    service = b.inference_service("s", b.meta(uid="u"), *modifiers)
    return Observed(InferenceService.model_validate(service), source=source)


def condition(kind: str, message: str = "") -> dict[str, Any]:
    return {"type": kind, "status": "True", "reason": "x", "message": message, "lastTransitionTime": NOW.isoformat()}


DONE: dict[str, Any] = {"phase": "Complete", "conditions": [condition("Complete")]}


def test_without_a_variant_the_result_itself_is_served() -> None:
    assert named(seen(job(HALF, BYTES), b.served_job("a"))) == WHOLE


def test_a_published_variant_is_served_from_its_folder_with_its_digest() -> None:
    assert named(seen(job(HALF, BYTES), b.served_job("a", "half"))) == SERVED_HALF


@pytest.mark.parametrize(
    ("source", "variant", "words"),
    [
        (
            job(HALF, BYTES, **DONE),
            "bytes",
            "TrainingJob 'a' refused variant 'bytes': slower than the parent at batch size 1: 2 ms against 1 ms; published are: half; refused: bytes (slower",
        ),
        (
            job(HALF, BYTES, **DONE),
            "tiny",
            "TrainingJob 'a' has no variant 'tiny'; published are: half; refused: bytes (slower",
        ),
        (job(BYTES, **DONE), "tiny", "published are: none; refused: bytes"),
        (job(**DONE), "half", "has no variant 'half'; published are: none"),
        (job(phase="Running"), "half", "TrainingJob 'a' is Running and still makes its variants"),
    ],
)
def test_one_that_cannot_be_served_is_told_with_those_that_can(source: TrainingJob, variant: str, words: str) -> None:
    found = named(seen(source, b.served_job("a", variant)))
    assert isinstance(found, str)
    assert found.startswith("spec.model.variant: ")
    assert words in found


def test_a_job_that_failed_for_want_of_a_good_variant_is_told_in_its_words() -> None:
    failed = b.status(phase="Failed", conditions=[condition("Failed", "no variant is published. bytes: slower")])
    source = TrainingJob.model_validate(b.training_job("a", b.compresses("p"), failed))
    found = named(seen(source, b.served_job("a", "bytes")))
    assert isinstance(found, str)
    assert "it failed and has exported no model: no variant is published. bytes: slower" in found


def test_what_is_served_outlives_its_job_and_no_other_variant_takes_its_place() -> None:
    pinned = b.status(model=SERVED_HALF.model_dump(by_alias=True))
    assert named(seen(None, b.served_job("a", "half"), pinned)) == SERVED_HALF
    for other in ("", "bytes"):
        found = named(seen(None, b.served_job("a", other), pinned))
        assert isinstance(found, str)
        assert "there is no TrainingJob 'a'" in found


def test_a_service_goes_on_with_what_it_serves_while_the_spec_names_what_is_not_there() -> None:
    serving = b.status(model=SERVED_HALF.model_dump(by_alias=True), readyTime=NOW.isoformat())
    assert resolve(seen(job(HALF, BYTES, **DONE), b.served_job("a", "bytes"), serving)) == SERVED_HALF


@pytest.mark.parametrize(
    ("strategy", "model"), [("Replace", WHOLE), ("Canary", SERVED_HALF), ("BlueGreen", SERVED_HALF)]
)
def test_another_variant_is_another_model_to_roll_out(strategy: str, model: ServedModel) -> None:
    serving = b.status(model=SERVED_HALF.model_dump(by_alias=True), readyTime=NOW.isoformat())
    careful = b.spec(rollout={"strategy": strategy})
    changed = seen(job(HALF, **DONE), b.served_job("a"), careful, serving)
    assert (named(changed), resolve(changed)) == (WHOLE, model)
