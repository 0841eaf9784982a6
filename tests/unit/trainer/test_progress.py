"""Reports arrive over TLS with the token, and nothing that happens there reaches training."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from trainer.progress import Progress, ProgressClient, ProgressError, Reporter

from tests.unit.trainer.gang import StartGang, specification
from tests.unit.trainer.listening import Operator, listening_operator

Start = Callable[..., Reporter]


def client(operator: Operator, **changes: Any) -> ProgressClient:
    return ProgressClient(
        **{"url": operator.url, "authority": operator.authority, "token_file": operator.token_file, **changes}
    )


@pytest.fixture
def start() -> Iterator[Start]:
    reporters: list[Reporter] = []

    def start_reporter(client: ProgressClient | None, *, every: float = 0.02, folder: Path | None = None) -> Reporter:
        progress = Progress(job_uid="uid-1", attempt=3)
        reporters.append(Reporter(progress, client=client, every=every, folder=folder).start())
        return reporters[-1]

    yield start_reporter
    for reporter in reporters:
        reporter.close(1)


def test_a_report_has_the_token_and_the_contracts_names(operator: Operator, start: Start) -> None:
    reporter = start(client(operator))
    reporter.update(phase="training", step=4, total_steps=10, loss=0.5, first_step_at="2026-01-01T00:00:00Z")
    report = operator.wait_for(lambda report: report["phase"] == "training")
    assert operator.tokens[0] == "token-1"
    assert report.keys() == {
        *("jobUid", "attempt", "phase", "step", "totalSteps", "epoch", "loss", "metrics", "throughput", "worldSize"),
        *("checkpoint", "restoredStep", "firstStepAt", "result", "warning", "restarted"),
        *("checkpointFailures", "checkpointing", "stepSeconds", "joules", "spent"),
    }
    assert (report["jobUid"], report["attempt"], report["step"], report["totalSteps"]) == ("uid-1", 3, 4, 10)


def test_the_token_is_read_again_for_each_report(operator: Operator, start: Start) -> None:
    start(client(operator))
    operator.wait_for(lambda _: True)
    operator.token_file.write_text("token-2")
    operator.wait_for(lambda _: "token-2" in operator.tokens)


def test_a_new_phase_is_reported_at_once_and_the_rest_in_its_time(operator: Operator, start: Start) -> None:
    reporter = start(client(operator), every=600)
    operator.wait_for(lambda report: report["phase"] == "starting")
    reporter.update(step=1)
    reporter.update(step=2)
    time.sleep(0.2)
    assert len(operator.received) == 1
    reporter.update(phase="evaluating")
    assert operator.wait_for(lambda report: report["phase"] == "evaluating")["step"] == 2


def test_closing_sends_the_last_state(operator: Operator, start: Start) -> None:
    reporter = start(client(operator), every=600)
    operator.wait_for(lambda _: True)
    reporter.update(step=99)
    reporter.close()
    assert operator.received[-1]["step"] == 99


def test_a_warning_is_sent_once(operator: Operator, start: Start) -> None:
    reporter = start(client(operator))
    reporter.update(warning="checkpoint of step 3 is corrupt")
    operator.wait_for(lambda report: report["warning"] == "checkpoint of step 3 is corrupt")
    count = len(operator.received)
    operator.wait_for(lambda _: len(operator.received) > count + 2)
    assert [report["warning"] for report in operator.received].count("checkpoint of step 3 is corrupt") == 1


def test_commands_in_the_reply_are_heard(operator: Operator, start: Start) -> None:
    expected = [{"interruptionSeconds": each} for each in (7200.5, 0, "often", True)]
    operator.commands = [{"checkpoint": True}, *expected, {"stopAtStep": 12}, {"danceAtStep": 3}, "nonsense"]  # type: ignore[list-item]
    reporter = start(client(operator))
    limit = time.monotonic() + 10
    while reporter.stop_at_step is None and time.monotonic() < limit:
        time.sleep(0.01)
    assert reporter.stop_at_step == 12
    assert reporter.interruption_seconds == 7200.5
    assert reporter.take_checkpoint_request()
    assert not reporter.take_checkpoint_request()


def test_another_authoritys_certificate_gets_no_token(operator: Operator, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with listening_operator(tmp_path / "other") as impostor:
        with pytest.raises(ProgressError, match="CERTIFICATE_VERIFY_FAILED"):
            client(operator, url=impostor.url).post({})
        assert impostor.received == []


def test_the_token_is_sent_over_nothing_but_tls(operator: Operator) -> None:
    with pytest.raises(ProgressError, match="no https address"):
        client(operator, url=operator.url.replace("https", "http")).post({})


def test_a_refusal_is_an_error_with_its_status(operator: Operator) -> None:
    operator.status = 403
    with pytest.raises(ProgressError, match="answered 403"):
        client(operator).post({})


@pytest.mark.parametrize("port", [1])
def test_a_dead_operator_costs_neither_time_nor_training(operator: Operator, start: Start, port: int) -> None:
    reporter = start(client(operator, url=f"https://127.0.0.1:{port}/v1/progress"))
    began = time.monotonic()
    for step in range(1000):
        reporter.update(step=step, phase=str(step))
    assert time.monotonic() - began < 1


def test_a_hanging_operator_costs_neither_time_nor_training(operator: Operator, start: Start) -> None:
    operator.hang = Event()
    reporter = start(client(operator, timeout=0.2))
    began = time.monotonic()
    for step in range(1000):
        reporter.update(step=step)
    assert time.monotonic() - began < 1
    operator.hang.set()
    operator.wait_for(lambda report: report["step"] == 999)


def test_a_missing_token_is_no_reason_to_stop(operator: Operator, start: Start) -> None:
    operator.token_file.unlink()
    reporter = start(client(operator))
    reporter.update(phase="training")
    operator.token_file.write_text("late")
    operator.wait_for(lambda report: report["phase"] == "training")


def test_without_an_operator_the_state_is_kept_for_the_agent(start: Start, tmp_path: Path) -> None:
    reporter = start(None, folder=tmp_path)
    reporter.update(step=5)
    reporter.close()
    assert '"step": 5' in (tmp_path / "progress.json").read_text()


def test_a_real_job_reports_its_phases_and_obeys(operator: Operator, start_gang: StartGang, tmp_path: Path) -> None:
    spec = specification(epochs=100_000, checkpointEverySteps=10**9)
    gang = start_gang(spec, workers=2, directory=tmp_path / "job", **operator.variables())
    training = operator.wait_for(lambda report: report["step"] > 0)
    assert (training["worldSize"], training["totalSteps"]) == (2, 100_000 * 8)
    assert training["firstStepAt"] is not None
    operator.commands = [{"checkpoint": True}]
    saved = operator.wait_for(lambda report: report["checkpoint"] is not None)
    operator.commands = [{"stopAtStep": saved["step"] + 100_000}, {"stopAtStep": saved["step"] + 50}]
    assert gang.exit_codes() == [75, 75]
    assert operator.received[-1]["checkpoint"]["step"] >= saved["step"] + 50


def test_a_real_job_does_not_notice_that_the_operator_hangs(
    operator: Operator, start_gang: StartGang, tmp_path: Path
) -> None:
    operator.hang = Event()
    gang = start_gang(specification(), directory=tmp_path / "job", **operator.variables())
    done = gang.wait_for(lambda progress: progress["phase"] == "done", timeout=30)
    assert done["result"]["path"] == "job/model/attempt-1"
    operator.hang.set()
    assert gang.exit_codes() == [0]


def test_what_is_not_finite_is_left_out_of_a_report() -> None:
    sent = Progress("uid-1", 1, loss=float("nan"), metrics={"good": 1.0, "bad": float("inf")}).as_json()
    assert (sent["loss"], sent["metrics"]) == (None, {"good": 1.0})
