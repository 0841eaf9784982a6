"""The last message fits, stays JSON and names the cause rather than a consequence."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trainer.outcome import MOST_MESSAGE_BYTES, Outcome, decide, forget_outcomes, record_outcome, termination_message


def message(cause: str, folder: Path, **progress: Any) -> dict[str, Any]:
    if progress:
        (folder / "progress.json").write_text(json.dumps(progress))
    encoded = termination_message(Outcome(1, cause), folder)
    assert len(encoded) <= MOST_MESSAGE_BYTES
    decoded: dict[str, Any] = json.loads(encoded)
    said = {"exitCode", "cause", "step", "metrics", "result", "checkpoint", "firstStepAt", "restoredStep", "spent"}
    assert decoded.keys() == said
    return decoded


def test_a_short_message_is_complete(tmp_path: Path) -> None:
    said = message("disk full", tmp_path, step=7, metrics={"accuracy": 0.9}, result=None, checkpoint={"step": 5})
    assert said["cause"] == "disk full"
    assert (said["step"], said["metrics"], said["checkpoint"]) == (7, {"accuracy": 0.9}, {"step": 5})


def test_a_long_cause_keeps_its_start_and_its_end(tmp_path: Path) -> None:
    said = message("RuntimeError: " + "x" * 100_000 + " out of memory", tmp_path, step=7)
    assert said["cause"].startswith("RuntimeError: ")
    assert said["cause"].endswith(" out of memory")
    assert said["step"] == 7


def test_metrics_are_left_out_before_the_result(tmp_path: Path) -> None:
    metrics = {f"metric-{number}": 0.123456789 for number in range(1000)}
    said = message("finished", tmp_path, step=9, metrics=metrics, result={"path": "p", "digest": "d"})
    assert said["metrics"] == {}
    assert said["result"] == {"path": "p", "digest": "d"}


def test_the_figures_of_variants_are_left_out_before_their_names(tmp_path: Path) -> None:
    digest = "sha256:" + "a" * 64
    latencies = [{"batchSize": size, "seconds": 0.001234, "parentSeconds": 0.002345} for size in range(8)]
    good = {"verdict": "Published", "reason": "1.80 times as fast", "digest": digest, "latencies": latencies}
    bad = {"verdict": "Refused", "reason": "slower " + "x" * 200, "latencies": latencies}
    variants = [{"name": f"{number:<40}".replace(" ", "v"), **(bad if number % 2 else good)} for number in range(16)]
    result = {"path": "p", "digest": digest, "variants": variants}
    said = message("finished", tmp_path, step=9, checkpoint={"step": 9, "path": "p" * 100}, result=result)
    assert said["checkpoint"]["step"] == 9
    told = said["result"]["variants"]
    assert [each["name"] for each in told] == [each["name"] for each in variants]
    assert told[0] == {"name": variants[0]["name"], "verdict": "Published", "digest": digest}
    assert told[1]["reason"] == bad["reason"][:60]


def test_variants_that_fit_keep_their_figures(tmp_path: Path) -> None:
    variants = [{"name": "half", "verdict": "Refused", "reason": "r" * 100, "sizeBytes": 7}]
    said = message("finished", tmp_path, result={"path": "p", "digest": "d", "variants": variants})
    assert said["result"]["variants"] == variants


def test_a_pod_that_had_nothing_to_report_says_so_in_the_fields_types(tmp_path: Path) -> None:
    said = message("finished", tmp_path)
    assert (said["step"], said["metrics"], said["result"]) == (0, {}, None)


@given(cause=st.text(max_size=50) | st.text(alphabet='\x00\u20ac\U0001f600"\\x', min_size=500, max_size=3000))
def test_any_cause_gives_json_that_fits(cause: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    message(cause * 3, tmp_path_factory.mktemp("run"))


def test_a_workers_own_failure_comes_before_its_peers_loss(tmp_path: Path) -> None:
    record_outcome(tmp_path, 0, Outcome(1, "lost another worker", consequence=True))
    record_outcome(tmp_path, 1, Outcome(64, "model.name: 'x' is not usable"))
    assert decide(tmp_path, 1) == Outcome(64, "model.name: 'x' is not usable")


def test_a_death_by_signal_comes_before_the_loss_that_it_caused(tmp_path: Path) -> None:
    record_outcome(tmp_path, 0, Outcome(1, "lost another worker", consequence=True))
    assert decide(tmp_path, 137).exit_code == 137


def test_the_stop_of_a_worker_is_the_pods(tmp_path: Path) -> None:
    record_outcome(tmp_path, 0, Outcome(75, "asked to stop"))
    assert decide(tmp_path, 143).exit_code == 75


def test_success_needs_no_outcome(tmp_path: Path) -> None:
    assert decide(tmp_path, 0) == Outcome(0, "finished")


def test_what_an_earlier_start_left_is_forgotten(tmp_path: Path) -> None:
    record_outcome(tmp_path, 0, Outcome(64, "before"))
    forget_outcomes(tmp_path)
    assert decide(tmp_path, 1).exit_code == 1
