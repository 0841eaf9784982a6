"""What failed attempts and stragglers say of a node."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import builders as b
from trainyard.api.training_job import TrainingJob
from trainyard.workloads.node_health import FAILURE_SECONDS, HALF_LIFE_SECONDS, failures, shares_gpus, slowness

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def a_job(name: str, **status: object) -> TrainingJob:
    return TrainingJob.model_validate({**b.training_job(name), "status": status})


def restarted(node: str, ago: float) -> dict[str, object]:
    return {"attempt": 1, "cause": "exit code 1", "time": (NOW - timedelta(seconds=ago)).isoformat(), "node": node}


def test_jobs_that_failed_on_a_node_lately_are_counted_once_each() -> None:
    avoid = [{"name": "n1", "until": (NOW + timedelta(seconds=60)).isoformat()}]
    over = [{"name": "n1", "until": NOW.isoformat()}]
    jobs = [
        a_job("a", avoid=avoid, lastRestart=restarted("n1", 60)),
        a_job("b", lastRestart=restarted("n1", FAILURE_SECONDS - 1)),
        a_job("c", lastRestart=restarted("n1", FAILURE_SECONDS + 1)),
        a_job("d", avoid=over),
        a_job("e", lastRestart=restarted("", 60)),
        a_job("f", lastRestart=restarted("n2", 60)),
        a_job("g"),
        a_job("h", avoid=[{**each, "blameless": True} for each in avoid]),
    ]
    assert failures(jobs, NOW) == {"n1": 2, "n2": 1}


@pytest.mark.parametrize(
    ("labels", "shared"),
    [
        ({}, False),
        ({"nvidia.com/gpu.sharing-strategy": "none", "nvidia.com/gpu.replicas": "1"}, False),
        ({"nvidia.com/gpu.sharing-strategy": "time-slicing", "nvidia.com/gpu.replicas": "4"}, True),
        ({"nvidia.com/gpu.sharing-strategy": "mps"}, True),
        ({"nvidia.com/gpu.replicas": "4"}, True),
        ({"nvidia.com/gpu.replicas": "many"}, False),
    ],
)
def test_gpus_that_are_handed_out_several_times_are_known_by_labels(labels: dict[str, str], shared: bool) -> None:
    assert shares_gpus(labels) is shared


def slow_on(*nodes: str, over: float | None = None) -> list[dict[str, object]]:
    """Stragglers on these nodes that are over since so many half-lives, or last."""
    until = None if over is None else (NOW - timedelta(seconds=over * HALF_LIFE_SECONDS)).isoformat()
    named = {"rank": 1, "pod": "a-worker-1-1", "attempt": 1, "factor": 1.6, "since": "2026-11-01T00:00:00Z"}
    return [{**named, "node": node, **({"until": until} if until else {})} for node in nodes]


@pytest.mark.parametrize(("over", "level"), [(None, 3), (0, 3), (0.3, 3), (1, 2), (2, 1), (2.3, 1), (2.4, 0), (99, 0)])
def test_what_one_job_says_of_a_node_is_forgotten_by_and_by(over: float | None, level: int) -> None:
    assert slowness([a_job("a", stragglers=slow_on("n1", over=over))], NOW).get("n1", 0) == level


def test_several_jobs_say_it_louder_than_one_that_repeats_itself() -> None:
    one = a_job("a", stragglers=slow_on("n1"))
    repeats = a_job("a", stragglers=[*slow_on("n1", over=0.1), *slow_on("n1", over=0.2), *slow_on("n1")])
    assert slowness([one], NOW) == slowness([repeats], NOW) == {"n1": 3}
    assert slowness([one, a_job("b", stragglers=slow_on("n1")), a_job("c")], NOW) == {"n1": 4}


def test_a_job_that_is_slow_wherever_it_runs_says_little_of_its_nodes() -> None:
    assert slowness([a_job("a", stragglers=slow_on("n1", "n2"))], NOW) == {"n1": 2, "n2": 2}
    assert slowness([a_job("a", stragglers=slow_on(*(f"n{number}" for number in range(8))))], NOW) == {}
    moved = a_job("a", stragglers=[*slow_on("n1", over=20), *slow_on("n2")])
    assert slowness([moved], NOW) == {"n2": 3}, "what was long ago does not divide it any more"


ENDED = st.lists(st.tuples(st.sampled_from(["n1", "n2", "n3"]), st.floats(0, 40)), min_size=1, max_size=8)


@given(st.lists(ENDED, min_size=1, max_size=6), st.floats(0, 40))
def test_time_only_makes_it_less_and_another_job_only_more(told: list[list[tuple[str, float]]], later: float) -> None:
    jobs = [
        a_job(f"j{number}", stragglers=[each for node, over in ended for each in slow_on(node, over=over)])
        for number, ended in enumerate(told)
    ]
    now, then = slowness(jobs, NOW), slowness(jobs, NOW + timedelta(seconds=later * HALF_LIFE_SECONDS))
    assert all(level <= now.get(node, 0) for node, level in then.items())
    fewer = slowness(jobs[1:], NOW)
    assert all(level <= now.get(node, 0) for node, level in fewer.items())
    assert slowness(jobs, NOW + timedelta(seconds=60 * HALF_LIFE_SECONDS)) == {}
    assert max(now.values(), default=0) <= 3 + len(jobs) // 2
