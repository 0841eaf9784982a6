"""What a failure is called, what follows from it, and which of several is named."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from tests import builders as b
from trainyard.api.failure import FailureClass, FailureRow
from trainyard.api.training_job import TrainingJob
from trainyard.training.failure import Consequence, Ended, how_ended, ignored, recorded
from trainyard.training.failure_classes import REMEDIES, TABLE, classify
from trainyard.training.observed import Observed
from trainyard.training.workload import workload
from trainyard.workloads.pod_state import Exit, PodState

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def a_job(*rules: Mapping[str, Any]) -> TrainingJob:
    stamp = b.meta(uid="u", generation=1, creationTimestamp="2026-11-23T00:00:00Z")
    return TrainingJob.model_validate(b.training_job("a", stamp, b.spec(restart={"rules": list(rules)})))


def failed(
    code: int | None = 1,
    said: str = "",
    *,
    index: int = 0,
    role: str = "worker",
    after: float = 0,
    why: str = "Error",
    reason: str = "",
) -> PodState:
    """A pod that failed."""
    exit_ = None if code is None else Exit(code, why, said, NOW + timedelta(seconds=after))
    name = f"a-{role}-{index}-1"
    return PodState(
        name, name, role, index, 1, f"n{index}", "Failed", False, NOW, exit=exit_, reason=reason, message=said
    )


def ended(pods: list[PodState], *rules: Mapping[str, Any]) -> Ended | None:
    return how_ended(Observed(a_job(*rules)), pods)


@pytest.mark.fault(58)
@pytest.mark.parametrize(
    ("pod", "kind"),
    [
        (failed(1, "ValueError: shapes do not match"), FailureClass.USER_ERROR),
        (failed(1), FailureClass.USER_ERROR),
        (failed(64, "no model 'resnet'"), FailureClass.USER_ERROR),
        (failed(65, "row 7 of train.csv has 3 columns"), FailureClass.DATA),
        (failed(137, why="OOMKilled"), FailureClass.OUT_OF_MEMORY),
        (failed(1, "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate"), FailureClass.OUT_OF_MEMORY),
        (failed(1, "RuntimeError: CUDA error: device-side assert triggered"), FailureClass.USER_ERROR),
        (failed(1, "RuntimeError: CUDA error: an illegal memory access"), FailureClass.GPU),
        (failed(134, "NCCL WARN ... watchdog timeout"), FailureClass.NETWORK),
        (failed(1, "[gloo] Connection closed by peer [10.0.0.3]"), FailureClass.NETWORK),
        (failed(1, "OSError: [Errno 28] No space left on device"), FailureClass.STORAGE),
        (failed(128, why="StartError"), FailureClass.INFRASTRUCTURE),
        (failed(127, "trian.py: not found"), FailureClass.INFRASTRUCTURE),
        (failed(137, reason="Evicted"), FailureClass.NODE),
        (failed(None, reason="NodeLost"), FailureClass.NODE),
        (failed(75), FailureClass.PREEMPTED),
        (failed(77, "hang: no step for 90 s; the process of rank 1 is stopped"), FailureClass.HANG),
    ],
)
def test_a_failure_gets_its_class(pod: PodState, kind: FailureClass) -> None:
    assert classify(pod) == (kind, REMEDIES[kind])


def deleted(pod: PodState) -> PodState:
    return replace(pod, deleting_since=NOW)


RUNS = replace(failed(), phase="Running", exit=None)


@pytest.mark.parametrize(
    ("pod", "consequence", "blameless"),
    [
        (failed(None, reason="Preempting"), Consequence.UNDO, True),
        (failed(None, reason="OutOfnvidia.com/gpu"), Consequence.UNDO, True),
        (failed(None, reason="UnexpectedAdmissionError"), Consequence.UNDO, False),
        (failed(137, reason="Terminated"), Consequence.DISRUPTION, True),
        (failed(137, reason="Evicted"), Consequence.DISRUPTION, False),
        (deleted(failed(143)), Consequence.DISRUPTION, True),
        (deleted(failed(137)), Consequence.DISRUPTION, True),
        (deleted(failed(137, why="OOMKilled")), Consequence.RESTART, False),
        (deleted(failed(1, "CUDA error")), Consequence.RESTART, False),
        (deleted(RUNS), Consequence.DISRUPTION, True),
        (failed(1, "CUDA error"), Consequence.RESTART, False),
    ],
)
def test_a_pod_that_was_sent_away_says_nothing_of_its_node(
    pod: PodState, consequence: Consequence, blameless: bool
) -> None:
    found = ended([pod])
    assert found is not None
    assert (found.consequence, found.blameless) == (consequence, blameless)
    assert blameless is (found.blamed == "")
    kept = recorded(found, None, attempt=1, step=None, now=NOW)
    assert kept is not None
    assert kept.blameless is blameless


@pytest.mark.parametrize("is_deleted", [False, True], ids=["silent", "taken away after a while"])
@pytest.mark.parametrize("departing", [False, True])
def test_a_node_that_fell_silent_failed_unless_somebody_was_taking_it_away(is_deleted: bool, departing: bool) -> None:
    pod = deleted(RUNS) if is_deleted else RUNS
    nodes = frozenset({"n0"})
    found = how_ended(Observed(a_job(), lost_nodes=nodes, departing=nodes if departing else frozenset()), [pod])
    assert found is not None
    assert (found.kind, found.blameless) == (FailureClass.NODE, departing)


def test_those_who_lost_the_connection_to_a_pod_that_was_evicted_did_not_fail() -> None:
    evicted, peer = deleted(RUNS), failed(1, "NCCL: connection reset by peer", index=1)
    found = ended([evicted, peer])
    assert found is not None
    assert (found.consequence, found.blamed) == (Consequence.DISRUPTION, "")


def test_every_class_has_a_remedy_and_words_are_in_lower_case() -> None:
    assert set(REMEDIES) == set(FailureClass)
    assert all(word == word.lower() for row in TABLE for word in row.contains)


@pytest.mark.parametrize(
    ("row", "pod", "expected"),
    [
        ({"class": "Storage", "contains": ["Ceph: mount ERROR"]}, failed(1, "ceph: mount error 5"), "Storage"),
        ({"class": "GPU", "exitCodes": [139]}, failed(139), "GPU"),
        ({"class": "GPU", "reasons": ["DeviceLost"]}, failed(None, reason="DeviceLost"), "GPU"),
        ({"class": "Data", "exitCodes": [64]}, failed(64), "Data"),
        ({"class": "GPU", "exitCodes": [139]}, failed(1, "NCCL error"), "Network"),
    ],
)
def test_rows_of_a_cluster_come_before_the_table(row: dict[str, Any], pod: PodState, expected: str) -> None:
    own = (FailureRow.model_validate(row | {"remedy": "call the storage team"}),)
    kind, remedy = classify(pod, own)
    assert kind == expected
    assert (remedy == "call the storage team") == (row["class"] == expected)


@pytest.mark.parametrize(
    "row", [{"class": "GPU"}, {"class": "Gpu", "exitCodes": [1]}, {"class": "GPU", "exitCode": [1], "reasons": ["x"]}]
)
def test_a_row_that_would_never_fit_or_is_misspelt_is_refused(row: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"exitCode|class"):
        FailureRow.model_validate(row)


@pytest.mark.parametrize(
    ("rule", "pod", "consequence"),
    [
        ({"action": "Fail", "exitCodes": [3, 4]}, failed(3), Consequence.FAIL),
        ({"action": "Fail", "exitCodes": [3, 4]}, failed(5), Consequence.RESTART),
        ({"action": "RestartUncounted", "classes": ["Network"]}, failed(1, "NCCL error"), Consequence.DISRUPTION),
        ({"action": "Restart", "exitCodes": [64]}, failed(64, "flaky"), Consequence.RESTART),
        ({"action": "Fail", "reasons": ["OOMKilled"]}, failed(137, why="OOMKilled"), Consequence.FAIL),
        ({"action": "Fail", "contains": "loss is NaN"}, failed(1, "step 7: Loss is nan"), Consequence.FAIL),
        ({"action": "Fail", "contains": "nan", "exitCodes": [2]}, failed(1, "nan"), Consequence.RESTART),
        ({"action": "Fail", "exitCodes": [1], "roles": ["ps"]}, failed(1), Consequence.RESTART),
        ({"action": "Fail", "reasons": ["Evicted"]}, failed(None, reason="Evicted"), Consequence.FAIL),
    ],
)
def test_a_rule_decides_what_follows(rule: dict[str, Any], pod: PodState, consequence: Consequence) -> None:
    end = ended([pod], rule)
    assert end is not None
    assert end.consequence is consequence


def test_the_first_rule_that_matches_decides() -> None:
    narrow, wide = {"action": "Fail", "exitCodes": [3]}, {"action": "RestartUncounted", "exitCodes": [3, 4]}
    assert [ended([failed(3)], *order).consequence for order in ((narrow, wide), (wide, narrow))] == [  # type: ignore[union-attr]
        Consequence.FAIL,
        Consequence.DISRUPTION,
    ]


def test_what_is_ignored_ends_nothing() -> None:
    rule = {"action": "Ignore", "exitCodes": [1], "roles": ["eval"]}
    pod = failed(1, role="eval")
    assert ended([pod], rule) is None
    seen = Observed(a_job(rule))
    assert ignored(pod, seen)
    assert not ignored(failed(2, role="eval"), seen)


def test_of_several_failures_the_first_is_named_and_not_those_that_followed_from_it() -> None:
    crowd = [
        failed(1, "NCCL: connection reset by peer", index=0, after=2),
        failed(1, "ValueError: label 10 is out of range", index=5, after=1),
        failed(1, json.dumps({"cause": "rank 5 is gone", "consequence": True}), index=3, after=0),
    ]
    end = ended(crowd)
    assert end is not None
    assert (end.pod, end.kind) == (crowd[1], FailureClass.USER_ERROR)


def test_in_the_same_second_a_lost_connection_is_taken_for_the_echo() -> None:
    end = ended([failed(1, "gloo: connection closed by peer", index=0), failed(137, why="OOMKilled", index=1)])
    assert end is not None
    assert end.kind is FailureClass.OUT_OF_MEMORY


def test_a_rule_for_a_role_that_is_not_there_holds_the_job_back() -> None:
    job = a_job({"action": "Ignore", "exitCodes": [1], "roles": ["evl"]})
    found = workload(Observed(job), NOW)
    assert found is not None
    assert found.blocked is not None
    assert found.blocked.message == "spec.restart.rules[0].roles: there is no role 'evl'; there are: worker"
