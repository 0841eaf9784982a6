"""What `trainyard why` prints of a rollout."""

from datetime import UTC, datetime

import pytest

from trainyard.api.rollout import Revision, RevisionCounts, RolloutStatus
from trainyard.cli.rollouts import print_rollout

NOW = datetime(2026, 11, 30, 5, tzinfo=UTC)


def test_a_rollout_is_told_with_the_numbers_of_both_models(capsys: pytest.CaptureFixture[str]) -> None:
    print_rollout(
        RolloutStatus(
            phase="Progressing",
            strategy="Canary",
            stable=Revision(claim_name="models", path="old", digest="sha256:a"),
            canary=Revision(claim_name="models", path="new", digest="sha256:b"),
            weight=25,
            started_at=NOW,
            since=NOW,
            counted_at=NOW,
            message="600 requests of at least 1000",
            canary_counts=RevisionCounts(requests=600, errors=2, answered=598, slow=20),
        )
    )
    first, new, old = capsys.readouterr().out.splitlines()
    assert (
        "Canary, Progressing since 2026-11-30 05:00:00Z, 25 % of the requests: 600 requests of at least 1000" in first
    )
    assert "new: 600 requests in this step, 2 failed, 20 of 598 slow" in new
    assert "old: 0 requests in this step" in old


def test_the_reason_of_a_rollback_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    model = Revision(claim_name="models", path="old", digest="sha256:a")
    print_rollout(
        RolloutStatus(
            phase="RolledBack",
            reason="ContractChanged",
            strategy="Canary",
            stable=model,
            canary=model,
            started_at=NOW,
            since=NOW,
            counted_at=NOW,
        )
    )
    assert "Canary, RolledBack (ContractChanged) since" in capsys.readouterr().out
