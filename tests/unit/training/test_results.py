"""Variants in a status, from what trainers report and from what pods say last."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tests import builders as b
from trainyard.api.training_job import Result, TrainingJob
from trainyard.training.observed import Report
from trainyard.training.reports import BadReport, ReportBoard, parse_last_words
from trainyard.training.results import told_result
from trainyard.training.status import Draft

NOW = datetime(2026, 11, 23, tzinfo=UTC)
HALF: dict[str, Any] = {
    "name": "half",
    "method": "Pruned",
    "verdict": "Published",
    "reason": "1.80 times as fast",
    "digest": "sha256:" + "b" * 64,
    "sizeBytes": 4096,
    "metrics": {"accuracy": 0.96},
    "latencies": [{"batchSize": 1, "seconds": 0.001, "parentSeconds": 0.0018}],
    "speedup": 1.8,
}
BYTES: dict[str, Any] = {
    "name": "bytes",
    "method": "Int8Weights",
    "verdict": "Refused",
    "reason": "slower " + "x" * 600,
}


def body(*variants: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"path": "a/model/attempt-1", "digest": b.DIGEST, "variants": list(variants), **more}


def reported(result: dict[str, Any]) -> Report:
    board = ReportBoard()
    board.put({"jobUid": "u", "attempt": 1, "phase": "done", "result": result}, NOW)
    found = board.of("u")
    assert found is not None
    return found


def test_a_published_variant_has_its_folder_and_its_figures() -> None:
    result = told_result(reported(body(HALF, BYTES)).body["result"], "results", None)
    half, refused = result.variants
    assert (half.path, half.digest) == ("a/model/attempt-1/variants/half", HALF["digest"])
    assert (half.size_bytes, half.metrics, half.speedup) == (4096, {"accuracy": 0.96}, 1.8)
    assert [(each.batch_size, each.seconds, each.parent_seconds) for each in half.latencies] == [(1, 0.001, 0.0018)]
    assert (refused.verdict, refused.path, refused.digest, len(refused.reason)) == ("Refused", "", "", 512)
    assert Result.model_validate(result.model_dump(by_alias=True, mode="json")) == result


def test_one_that_is_called_published_without_a_digest_cannot_be_served() -> None:
    (found,) = told_result(body({"name": "half", "verdict": "Published"}), "results", None).variants
    assert (found.verdict, found.path) == ("Refused", "")


def test_a_last_message_without_figures_takes_none_away() -> None:
    job = TrainingJob.model_validate(b.training_job("a", b.meta(uid="u", generation=1), b.compresses()))
    draft = Draft(job, NOW)
    draft.durable(reported(body(HALF, BYTES)).body)
    short = {"name": "half", "verdict": "Published", "digest": HALF["digest"]}
    draft.last_words({"step": 9, "result": body(short)})
    assert draft.fields["result"].variants[0].metrics == {"accuracy": 0.96}
    assert len(draft.fields["result"].variants) == 2


def test_a_last_message_is_enough_when_no_report_came() -> None:
    job = TrainingJob.model_validate(b.training_job("a", b.meta(uid="u", generation=1), b.compresses()))
    draft = Draft(job, NOW)
    draft.last_words({"step": 9, "result": body({"name": "half", "verdict": "Published", "digest": HALF["digest"]})})
    assert [each.name for each in draft.fields["result"].variants] == ["half"]


def test_variants_of_another_model_take_the_place_of_the_old_ones() -> None:
    old = told_result(body(HALF), "results", None)
    assert told_result(body(BYTES, digest="sha256:" + "c" * 64), "results", old).variants[0].name == "bytes"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "../x"}, "result.variants.0.name"),
        ({"name": "a" * 41}, "result.variants.0.name"),
        ({"digest": "x"}, "result.variants.0.digest"),
        ({"verdict": "Perhaps"}, "result.variants.0.verdict"),
        ({"latencies": [{"batchSize": 0, "seconds": 1, "parentSeconds": 1}]}, "batchSize"),
    ],
)
def test_a_variant_that_no_trainer_tells_of_is_refused_with_its_field(change: dict[str, Any], words: str) -> None:
    with pytest.raises(BadReport, match=words):
        reported(body(HALF | change))
    assert parse_last_words({"step": 1, "result": body(HALF | change)}) == {}


def test_there_are_at_most_sixteen() -> None:
    with pytest.raises(BadReport, match=r"result\.variants"):
        reported(body(*({"name": f"v{number}", "verdict": "Refused"} for number in range(17))))
