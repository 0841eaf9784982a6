"""`trainyard simulate`: the production code on traces, and errors that point at what is wrong in a file."""

import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainyard.api.names import GPU
from trainyard.cli.__main__ import main
from trainyard.cli.errors import CliError
from trainyard.cli.simulation.files import TraceJob, nodes_of, parse_jobs, work_of
from trainyard.cli.simulation.placement import place_pods
from trainyard.cli.simulation.queues import site
from trainyard.cli.simulation.replay import Job, gang, replay
from trainyard.cli.simulation.scenario import Scenario, from_file, simulate
from trainyard.scheduling.fleet import Fleet
from trainyard.scheduling.traces import TraceError, TraceNode, TracePod

EXAMPLES = Path(__file__).parents[3] / "examples" / "simulate"
JOBS = "timestamp,duration,num_gpus,cluster\n"
NODES = "sn,cpu_milli,memory_mib,gpu,model\n"
PODS = "name,cpu_milli,memory_mib,num_gpu,gpu_milli\n"


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """What the command prints with -o json."""
    assert main(["simulate", *arguments, "-o", "json"]) == 0
    return json.loads(capsys.readouterr().out)


def complaint(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["simulate", *arguments]) != 0
    return capsys.readouterr().err


def a_job(name: str, gpus: int, submitted: float, seconds: float, queue: str = "q") -> Job:
    return Job(name, queue, submitted, seconds, gang(gpus, 8))


def run(jobs: list[Job], nodes: int = 1) -> Any:
    views = [TraceNode(f"n{number}", 96_000, 1024, 8).view() for number in range(nodes)]
    return replay(site(views, jobs, None), jobs, "fgd", "true")


def test_a_job_waits_until_those_before_it_have_ended() -> None:
    found = run([a_job("a", 8, 0, 100), a_job("b", 8, 10, 50), a_job("c", 8, 20, 5)])
    assert found.waited.tolist() == [0, 90, 130]
    assert found.completed.tolist() == [100, 140, 135]
    assert found.unfinished == found.left_out == 0


def test_a_short_job_starts_in_the_gap_before_a_large_one() -> None:
    found = run([a_job("a", 4, 0, 100), a_job("large", 8, 1, 100), a_job("short", 4, 2, 50), a_job("long", 4, 3, 500)])
    assert found.waited.tolist() == [0, 99, 0, 197]


def test_a_job_larger_than_everything_is_left_out_and_counted() -> None:
    found = run([a_job("a", 8, 0, 100), a_job("huge", 9, 1, 100)])
    assert found.left_out == 1
    assert len(found.waited) == 1


def test_allocation_is_a_mean_over_the_time_in_which_jobs_arrive() -> None:
    assert run([a_job("a", 8, 0, 50), a_job("b", 4, 100, 10)]).allocation == (50.0,)


@pytest.mark.parametrize(("gpus", "pods"), [(1, [(1, 1)]), (8, [(1, 8)]), (12, [(1, 8), (1, 4)]), (32, [(4, 8)])])
def test_large_jobs_take_whole_nodes(gpus: int, pods: list[tuple[int, int]]) -> None:
    assert [(each.count, each.requests[GPU] // 1000) for each in gang(gpus, 8)] == pods


def test_durations_may_be_known_learned_or_not(capsys: pytest.CaptureFixture[str]) -> None:
    trace = ("--nodes", "4x8", "--pods", str(EXAMPLES / "jobs.csv"))
    means = {
        known: answer(capsys, *trace, "--durations", known)["waiting_seconds"]["mean"]
        for known in ("true", "learned", "none")
    }
    assert len(set(means.values())) == 3


def test_a_replay_says_how_each_queue_fared(capsys: pytest.CaptureFixture[str]) -> None:
    queues = ("--queues", str(EXAMPLES / "queues.yaml"))
    found = answer(capsys, "--nodes", "4x8", "--pods", str(EXAMPLES / "jobs.csv"), *queues)
    assert {each["name"]: each["guaranteed_gpus"] for each in found["queues"]} == {"product": 8, "research": 24}
    assert sum(each["jobs"] for each in found["queues"]) == 150
    assert found["completion_seconds"]["p50"] > found["waiting_seconds"]["p50"] >= 0
    assert 0.5 <= found["fairness"] <= 1


def test_pods_are_placed_until_the_demand_is_met(capsys: pytest.CaptureFixture[str]) -> None:
    trace = ("--nodes", str(EXAMPLES / "nodes.csv"), "--pods", str(EXAMPLES / "pods.csv"))
    found = answer(capsys, *trace, "--seeds", "3", "--demand", "1.2")
    assert found["seeds"] == 3
    assert [each["demand_percent"] for each in found["by_demand"]] == list(range(10, 121, 10))
    assert found["by_demand"][-1]["allocation_percent"] == pytest.approx(found["allocation_percent"])
    assert 90 < found["allocation_percent"] <= 100
    assert found["allocation_percent_std"] > 0
    assert found["waiting_seconds"] is None, "these pods say no times"
    assert answer(capsys, *trace, "--seeds", "3", "--demand", "1.2") == found, "the same seeds, the same figures"


def test_nobody_gets_more_than_there_is() -> None:
    nodes = nodes_of(str(EXAMPLES / "nodes.csv"))
    pods = [each for each in work_of(str(EXAMPLES / "pods.csv")) if isinstance(each, TracePod)]
    for policy in ("fgd", "bestfit", "binpack", "spread"):
        (curve,) = place_pods(nodes, pods, policy, 2.0, [1]).curves
        assert np.all(np.diff(curve.allocation) >= 0)
        assert np.all(curve.allocation + curve.fragmentation <= 100.0001)
    assert Fleet([node.view() for node in nodes]).gpu_capacity.sum() == 80_000


def test_pods_with_times_are_replayed_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pods = tmp_path / "pods.csv"
    header = f"{PODS.strip()},creation_time,deletion_time,scheduled_time\n"
    pods.write_text(f"{header}a,1000,1,1,1000,0,100,0\nb,1000,1,1,1000,10,70,20\n")
    found = answer(capsys, "--nodes", "1x1", "--pods", str(pods), "--demand", "1")
    assert found["waiting_seconds"]["max"] == 90
    assert found["completion_seconds"]["max"] == 140


def test_two_scenarios_are_set_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(EXAMPLES / f"{name}.yml") for name in ("fgd", "spread")]
    found = answer(capsys, "--compare", *files)
    change = found["b"]["allocation_percent"] - found["a"]["allocation_percent"]
    assert found["change"]["allocation_percent"] == pytest.approx(change, abs=1e-3)
    assert change < 0, "spread fragments"
    assert main(["simulate", "--compare", *files]) == 0
    assert "allocation_percent" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("work", "suffix", "begins"), [("pods.csv", ".png", b"\x89PNG"), ("jobs.csv", ".svg", b"<?xml")]
)
def test_a_picture_is_drawn(work: str, suffix: str, begins: bytes, tmp_path: Path) -> None:
    picture = tmp_path / f"figure{suffix}"
    assert main(["simulate", "--nodes", "4x8", "--pods", str(EXAMPLES / work), "--plot", str(picture)]) == 0
    assert picture.read_bytes().startswith(begins)


@pytest.mark.parametrize("name", ["figure.pdf", "nowhere/figure.png"])
def test_a_picture_that_cannot_be_drawn_is_refused_before_anything_is_computed(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "--plot" in complaint(capsys, "--nodes", "4x8", "--pods", "nothing.csv", "--plot", str(tmp_path / name))


def test_text_is_plain_when_it_is_piped(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--nodes", "4x8", "--pods", str(EXAMPLES / "jobs.csv"), "--first", "20"]) == 0
    printed = capsys.readouterr()
    assert "simulated 20 jobs on 4 nodes with 32 GPUs, policy fgd" in printed.out
    assert "\x1b" not in printed.out + printed.err


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            f"{JOBS}2026-11-23 08:00:00,60,x,a\n",
            "line 2, column num_gpus: 'x' is not what is expected there: a whole number",
        ),
        (f"{JOBS}2026-11-23 08:00:00,60,1,a\n\nyesterday,60,1,a\n", "line 4, column timestamp: 'yesterday'"),
        (f"{JOBS}0,-1,1,a\n", "line 2, column duration: '-1'"),
        (f"{JOBS}0,60,1,\n", "line 2, column cluster: ''"),
        (f"{JOBS}0,60,1\n", "line 2: expected as many values"),
        (JOBS, "there is nothing below the header"),
        (f"{PODS}a,1,1,2,500\n", "line 2, column gpu_milli: '500'"),
        ("a,b\n1,2\n", "line 1: the columns are 'a,b'"),
        (f"{PODS}a,1,1,0,0\n", "no pod asks for a GPU"),
    ],
)
def test_a_bad_trace_is_named_by_line_and_column(
    text: str, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "work.csv"
    path.write_text(text)
    said = complaint(capsys, "--nodes", "1x8", "--pods", str(path))
    assert said.startswith(f"error: {path}: ")
    assert expected in said


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("kind: Queue\nmetadata: {name: a}\nspec: {weight: -1}\n", "line 3, column 16: spec.weight: '-1'"),
        ("kind: Pod\n", "line 1, column 7: kind: 'Pod' is not what is expected there: Queue or Flavor"),
        ("kind: Queue\nspec: {}\n", "line 1, column 1: metadata is missing"),
        ("kind: [\n", "not YAML"),
        ("- a\n", "line 1: a list where an object is expected"),
        ("", "there is nothing in it"),
        ("kind: Queue\nmetadata: {name: a}\nspec: {}\n", "no queue that takes jobs is named product, research"),
    ],
)
def test_a_bad_file_of_queues_is_named_by_line_and_column(
    text: str, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "queues.yaml"
    path.write_text(text)
    said = complaint(capsys, "--nodes", "1x8", "--pods", str(EXAMPLES / "jobs.csv"), "--queues", str(path))
    assert f"{path}: " in said
    assert expected in said


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "nodes: 1x8\npods: p.csv\nseed: 3\n",
            "line 3, column 7: seed: '3' is not what is expected there: one of demand",
        ),
        ("nodes: 1x8\n", "pods is missing"),
        ("nodes: 1x8\npods: p\nseeds: many\n", "seeds: 'many' is not what is expected there: a whole number"),
        ("nodes: 1x8\npods: p\npolicy: best\n", "policy: 'best' is none"),
        ("nodes: 1x8\npods: p\ndemand: 99\n", "demand: 99"),
    ],
)
def test_a_bad_scenario_is_named(text: str, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(CliError) as raised:
        from_file(path)
    assert expected in str(raised.value)


@pytest.mark.parametrize("arguments", [(), ("--nodes", "1x8"), ("--compare", "a", "b", "--nodes", "1x8")])
def test_a_wrong_call_says_what_is_needed(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", *arguments]) == 2
    assert "--nodes" in capsys.readouterr().err


def test_compressed_files_are_read(tmp_path: Path) -> None:
    raw = f"{JOBS}5,60,1,a\n".encode()
    (tmp_path / "a.csv.xz").write_bytes(lzma.compress(raw))
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(raw))
    assert work_of(str(tmp_path / "a.csv.xz")) == work_of(str(tmp_path / "a.csv.gz")) == (TraceJob(5, 60, 1, "a"),)
    (tmp_path / "b.csv.xz").write_bytes(raw)
    with pytest.raises(CliError, match="is not what its name says"):
        work_of(str(tmp_path / "b.csv.xz"))
    (tmp_path / "c.csv").write_bytes(b"a\n\xff")
    with pytest.raises(CliError, match="line 2: byte 2 is no UTF-8"):
        work_of(str(tmp_path / "c.csv"))


def test_jobs_are_in_order_of_submission() -> None:
    jobs = parse_jobs(f"{JOBS}2026-11-23 08:00:00,60,1,a\n2026-11-23 07:00:00,0,1,b\n")
    assert [job.queue for job in jobs] == ["b", "a"]
    assert jobs[0].seconds == 1, "what ends at once takes a second"
    with pytest.raises(TraceError):
        parse_jobs(f'{JOBS}0,60,1,"a\n')


def test_nodes_without_gpus_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "nodes.csv"
    path.write_text(f"{NODES}a,1000,1,0,\n")
    with pytest.raises(CliError, match="none of the 1 nodes has a GPU"):
        simulate(Scenario(str(path), str(EXAMPLES / "pods.csv")))
