"""Real workers, one of them slow: what they report leads the operator's own judgement to that one."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from trainer.objective import Objective

from tests.unit.trainer.gang import StartGang, specification
from tests.unit.trainer.test_pace import slowed
from trainyard.training.reports import ReportBoard
from trainyard.training.stragglers import Slow, found

BEGIN = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.mark.fault(57)
@pytest.mark.slow
def test_a_slow_worker_is_found_from_reports_as_they_come(
    start_gang: StartGang, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.pace.WINDOW_SECONDS", 0.3)
    monkeypatch.setattr(Objective, "forward", slowed(Objective.forward, 0.03))
    gang = start_gang(specification(epochs=100_000), workers=2)
    board, limit = ReportBoard(), time.monotonic() + 60
    slow: Slow | None = None
    while slow is None:
        assert time.monotonic() < limit, board.of("uid-1")
        body = gang.wait_for(lambda progress: progress["stepSeconds"] is not None)
        # A comparison takes ten seconds where nobody is in a hurry.
        seen = board.of("uid-1")
        board.put(body, BEGIN + timedelta(seconds=10 * len(seen.paces) if seen else 0))
        report = board.of("uid-1")
        assert report is not None
        slow = found(report.paces, ["n0", "n1"])
        time.sleep(0.05)
    assert (slow.rank, slow.node) == (1, "n1")
    assert slow.factor > 2
