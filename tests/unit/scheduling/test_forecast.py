"""Forecasts of starts: bands in order, what was seen is believed, what is over does not come back."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import EVERYBODY
from trainyard.api.flavor import FlavorSpec
from trainyard.api.names import GPU
from trainyard.api.queue import QueueSpec
from trainyard.scheduling.engine import Engine
from trainyard.scheduling.forecast import Forecast, Line, crowd, gpus, line_for
from trainyard.scheduling.snapshot import NodeView, PodSet, Workload, WorkloadKey

LINE = Line("research", 8, 600, 4)
lines = st.builds(
    Line, st.sampled_from("ab"), st.sampled_from([0, 0.5, 1, 8, 64]), st.floats(0, 1e7), st.integers(0, 10_000)
)


@given(st.lists(st.tuples(lines, st.floats(0, 1e7)), max_size=30), lines, st.floats(0, 1e8))
def test_a_band_is_in_order_and_in_the_future(seen: list[tuple[Line, float]], line: Line, waited: float) -> None:
    forecast = Forecast()
    for found, took in seen:
        forecast.observe(found, took)
    band = forecast.band(line, waited)
    assert 0 <= band.earliest <= band.likely <= band.latest


def test_what_the_same_line_meant_before_is_expected_again() -> None:
    forecast = Forecast()
    for _ in range(50):
        forecast.observe(LINE, 900)
        forecast.observe(Line("research", 8, 60_000, 400), 90_000)
    assert forecast.band(LINE, 0).likely == pytest.approx(900, rel=0.3)
    assert forecast.band(Line("research", 8, 60_000, 400), 0).likely == pytest.approx(90_000, rel=0.3)


def test_who_waits_longer_than_usual_is_not_told_that_it_starts_at_once() -> None:
    forecast = Forecast()
    for _ in range(50):
        forecast.observe(LINE, 900)
    assert forecast.band(LINE, 9000).likely > 60


def test_a_line_counts_what_is_expected_of_others_on_all_gpus_there_are() -> None:
    engine = Engine()
    engine.set_nodes([NodeView("n", {}, {GPU: 8000, "pods": 110_000})])
    quota = {"name": "gpu", "resources": [{"name": GPU, "guaranteed": 8}]}
    queue = QueueSpec.model_validate({"namespaceSelector": EVERYBODY, "flavors": [quota]})
    names = {"team": {"kubernetes.io/metadata.name": "team"}}
    engine.configure(queues={"research": queue}, flavors={"gpu": FlavorSpec()}, namespaces=names)
    jobs = [
        Workload(
            WorkloadKey("TrainingJob", "team", f"job-{number}"),
            f"uid-{number}",
            "research",
            datetime(2026, 1, 1, tzinfo=UTC),
            (PodSet("worker", number + 1, {GPU: 1000}),),
            duration=800.0,
        )
        for number in range(3)
    ]
    for each in jobs:
        engine.arrive(each)
    assert gpus(jobs[2]) == 3
    assert line_for(engine, jobs[2], crowd(engine)) == Line("research", 3, 300.0, 2)
