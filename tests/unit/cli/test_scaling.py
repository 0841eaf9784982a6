"""A decision about the number of replicas, as people read it."""

from datetime import UTC, datetime

import pytest

from trainyard.api.autoscaling import ColdStart, Scaling, StartStage
from trainyard.cli.scaling import print_scaling


def test_the_decision_is_printed_with_what_it_was_made_from(capsys: pytest.CaptureFixture[str]) -> None:
    stages = [StartStage(name="image", p50_seconds=4.0, p90_seconds=6.0)]
    start = ColdStart(flavor="h200", starts=9, p50_seconds=28.5, p90_seconds=41.25, stages=stages)
    print_scaling(
        Scaling(
            desired=4,
            reason="Surge",
            message="4: 23.1 requests at a time; wanted 7, spec.autoscaling.maxReplicas is 4",
            decided_at=datetime(2026, 11, 30, 9, 15, tzinfo=UTC),
            queued=3,
            in_flight=16,
            ready=4,
            cold_start=start,
        )
    )
    out = capsys.readouterr().out
    assert "replicas wanted (Surge at 2026-11-30 09:15:00Z): 4: 23.1 requests at a time; wanted 7" in out
    assert "0 held, 3 queued, 16 in flight; 4 replicas ready, 0 starting" in out
    assert "28.5 s, nine times out of ten below 41.2 s on h200 (9 seen; image 4.0 s)" in out
