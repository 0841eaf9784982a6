"""`trainyard get`: jobs in a table as people want it, and one in detail."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from tests import builders as b
from tests.unit.cli.conftest import Run
from tests.unit.cli.stub_api import Object, StubApi, status
from trainyard.api.training_job import TrainingJob
from trainyard.cli import job_facts as facts

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
JOBS = "/apis/trainyard.dev/v1alpha1/namespaces/vision/trainingjobs"
MOMENT = "2026-11-23T10:00:00.000000Z"
VISION = b.namespace("vision")


def old(**ago: float) -> Callable[[Object], None]:
    """Created so long ago."""
    return b.meta(creationTimestamp=(datetime.now(UTC) - timedelta(**ago)).isoformat())


def place(*runs: tuple[str, int]) -> Object:
    roles = [{"name": "worker", "prefix": "gpu-", "runs": [{"node": node, "count": count} for node, count in runs]}]
    return {"epoch": 1, "queue": "research", "flavor": "h200", "time": MOMENT, "roles": roles}


RUNNING = b.status(
    phase="Running",
    reason="Running",
    attempt=2,
    restarts=1,
    gpus=3,
    admission=place(("1", 2), ("2", 1)),
    progress={
        "phase": "training",
        "step": 120,
        "totalSteps": 500,
        "epoch": 3,
        "loss": 0.31234,
        "throughput": 512.4,
        "metrics": {"accuracy": 0.91},
        "eta": "3m20s",
        "updatedAt": MOMENT,
    },
    checkpoint={"step": 100, "path": "pretrain/checkpoints/100", "time": MOMENT},
    lastFailure={
        "attempt": 1,
        "class": "OutOfMemory",
        "role": "worker",
        "index": 1,
        "node": "gpu-2",
        "exitCode": 137,
        "message": "CUDA out of memory",
        "remedy": "ask for less",
        "time": MOMENT,
    },
    conditions=[
        {
            "type": "Ready",
            "status": "True",
            "reason": "Running",
            "message": "all 3 workers run",
            "lastTransitionTime": MOMENT,
        }
    ],
)
WAITING = b.status(phase="Pending", reason="WaitingForQuota", queuePosition=2, gpus=8)


@pytest.fixture
def jobs(api: StubApi) -> StubApi:
    api.add(
        b.training_job("sweep", VISION, b.gpus(8), old(hours=5, minutes=12), WAITING),
        b.training_job("pretrain", VISION, b.workers(3), old(days=3, hours=2), RUNNING),
        b.training_job("new", b.namespace("other"), b.gpus(4), old(seconds=0)),
    )
    return api


def cells(line: str) -> list[str]:
    return [each.strip() for each in line.split("  ") if each.strip()]


def test_a_table_of_the_jobs_of_a_namespace(run: Run, jobs: StubApi) -> None:
    code, out, err = run("get")
    assert (code, err) == (0, "")
    assert [cells(line) for line in out.splitlines()] == [
        ["NAME", "PHASE", "REASON", "QUEUE", "POSITION", "GPUS", "PROGRESS", "ETA", "AGE"],
        ["pretrain", "Running", "Running", "research", "-", "3", "120/500 24%", "3m20s", "3d2h"],
        ["sweep", "Pending", "WaitingForQuota", "research", "2", "8", "-", "-", "5h12m"],
    ]


def test_of_all_namespaces_with_those_that_the_operator_has_not_seen_yet(run: Run, jobs: StubApi) -> None:
    lines = run("get", "-A")[1].splitlines()
    assert [cells(line)[:2] for line in lines[1:]] == [["other", "new"], ["vision", "pretrain"], ["vision", "sweep"]]
    assert cells(lines[1])[2:7] == ["Pending", "-", "research", "-", "4"]


def test_wide_adds_columns(run: Run, jobs: StubApi) -> None:
    header, line, _ = run("get", "-o", "wide")[1].splitlines()
    assert cells(header)[9:] == ["ATTEMPT", "RESTARTS", "NODES", "LOSS", "THROUGHPUT", "CHECKPOINT", "LAST FAILURE"]
    assert cells(line)[9:] == ["2", "1", "gpu-1*2,gpu-2", "0.3123", "512/s", "100", "OutOfMemory"]


def test_one_job_is_a_line_or_all_that_is_known(run: Run, jobs: StubApi) -> None:
    assert len(run("get", "tyj/pretrain")[1].splitlines()) == 2
    lines = run("get", "pretrain", "-o", "wide")[1].splitlines()
    assert lines[:2] == ["TrainingJob vision/pretrain in queue research, priority 0", "phase: Running (Running)"]
    assert "gang: 3 workers; 3 GPUs of flavor h200" in lines
    assert "nodes: gpu-1*2,gpu-2" in lines
    assert "progress: step 120/500 24%, training, epoch 3, loss 0.3123, 512/s samples, accuracy 0.91" in lines
    assert (
        "last failure: OutOfMemory of worker 1 on gpu-2, exit code 137, attempt 1: CUDA out of memory. What usually helps: ask for less"
        in lines
    )
    assert cells(lines[-1])[:3] == ["Ready", "True", "Running"]
    assert lines[-1].endswith("all 3 workers run")


@pytest.mark.parametrize(
    ("state", "message", "line"),
    [
        (
            "Ready",
            "",
            "tensorboard: `kubectl -n vision port-forward service/s-tensorboard 6006:80`, then open http://localhost:6006",
        ),
        ("Waiting", "claim 'c' does not exist", "tensorboard: Waiting (claim 'c' does not exist)"),
    ],
)
def test_the_way_to_a_tensorboard_is_told(run: Run, api: StubApi, state: str, message: str, line: str) -> None:
    told = b.status(tensorboard={"state": state, "service": "s-tensorboard", "message": message})
    api.add(b.training_job("s", VISION, old(hours=1), told))
    assert line in run("get", "s", "-o", "wide")[1].splitlines()


def test_what_a_job_compresses_and_its_variants_are_told(run: Run, api: StubApi) -> None:
    latencies = [{"batchSize": 1, "seconds": 0.001, "parentSeconds": 0.0018}]
    half = {"name": "half", "method": "Pruned", "verdict": "Published", "reason": "1.80 times as fast"}
    figures = {"sizeBytes": 4096, "metrics": {"accuracy": 0.96}, "latencies": latencies}
    refused = {"name": "fp8", "method": "Float8", "verdict": "Refused", "reason": "needs an NVIDIA GPU"}
    result = {"claimName": "results", "path": "s/model", "digest": "sha256:b", "variants": [half | figures, refused]}
    parent = {"claimName": "models", "path": "a/model", "digest": "sha256:a"}
    api.add(b.training_job("s", VISION, b.compresses("a"), b.status(parent=parent, result=result)))
    lines = run("get", "s", "-o", "wide")[1].splitlines()
    assert "compresses: a/model on claim models, sha256:a" in lines
    header, *rows = [cells(line) for line in lines[lines.index("variants:") + 1 :][:3]]
    assert header == ["NAME", "METHOD", "VERDICT", "SIZE", "METRIC", "LATENCY (PARENT'S)", "REASON"]
    assert rows == [
        ["half", "Pruned", "Published", "4.0 KiB", "accuracy 0.96", "1: 1 ms (1.8)", "1.80 times as fast"],
        ["fp8", "Float8", "Refused", "-", "-", "-", "needs an NVIDIA GPU"],
    ]


def test_json_is_what_the_api_server_has(run: Run, jobs: StubApi) -> None:
    one = json.loads(run("get", "sweep", "-o", "json")[1])
    assert (one["kind"], one["status"]) == ("TrainingJob", jobs.objects[f"{JOBS}/sweep"]["status"])
    many = json.loads(run("get", "-o", "json")[1])
    assert (many["kind"], len(many["items"])) == ("List", 2)


def test_names_alone(run: Run, jobs: StubApi) -> None:
    assert run("get", "-o", "name")[1].splitlines() == [
        "trainingjob.trainyard.dev/sweep",
        "trainingjob.trainyard.dev/pretrain",
    ]


def test_lists_are_read_page_by_page(run: Run, jobs: StubApi) -> None:
    jobs.page = 1
    assert len(run("get", "-A", "-o", "name")[1].splitlines()) == 3


def test_where_there_is_nothing_it_says_so(run: Run, api: StubApi) -> None:
    assert run("get", "-n", "empty") == (0, "", "there are no TrainingJobs in namespace 'empty'; see all with -A\n")


def test_a_job_that_is_not_there_is_told_with_those_that_are_like_it(run: Run, jobs: StubApi) -> None:
    code, _, err = run("get", "pretrian")
    assert code == 1
    assert "there is no TrainingJob 'pretrian' in namespace 'vision'; near to it: pretrain" in err


def test_a_job_of_another_version_is_left_out_and_told_of(run: Run, jobs: StubApi) -> None:
    jobs.add(b.training_job("odd", VISION, b.status(attempt="many")))
    code, out, err = run("get")
    assert (code, len(out.splitlines())) == (0, 3)
    assert "left out: TrainingJob vision/odd cannot be understood: status.attempt" in err
    assert run("get", "odd")[0] == 1


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("get", "a", "-A"), "-A goes with neither a name"),
        (("get", "-A", "-n", "vision"), "-A goes with neither -n"),
        (("get", "tyi/a"), "expected the name of a TrainingJob, as in a or tyj/a"),
    ],
)
def test_wrong_calls(run: Run, words: tuple[str, ...], complaint: str) -> None:
    code, _, err = run(*words)
    assert code != 0
    assert complaint in err


@pytest.mark.parametrize(
    ("code", "body", "words"),
    [
        (403, status("Forbidden", 'User "ann" cannot list it'), 'that is forbidden: User "ann" cannot list it'),
        (
            404,
            status("NotFound", "the server could not find the requested resource"),
            "does not know Trainyard's kinds",
        ),
    ],
)
def test_what_the_cluster_refuses(run: Run, api: StubApi, code: int, body: Object, words: str) -> None:
    api.errors["GET", JOBS] = [(code, body)]
    found, _, err = run("get")
    assert found == 1
    assert words in err


# What a status says.


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0s"),
        (119, "119s"),
        (120, "2m"),
        (200, "3m20s"),
        (3000, "50m"),
        (5 * 3600 + 720, "5h12m"),
        (30 * 3600, "30h"),
        (6 * 86400 + 14400, "6d4h"),
        (90 * 86400, "90d"),
    ],
)
def test_a_time_is_written_as_kubectl_does(seconds: float, text: str) -> None:
    assert facts.span(seconds) == text


def read(*modifiers: Callable[[Object], None]) -> TrainingJob:
    return TrainingJob.model_validate(b.training_job("a", *modifiers))


def test_a_waiting_job_tells_when_it_starts() -> None:
    likely = {"earliest": "2026-11-23T10:00:00Z", "latest": "2026-11-23T20:00:00Z", "likely": "2026-11-23T12:00:00Z"}
    job = read(b.status(phase="Pending", eta=likely))
    assert facts.eta(job, NOW) == "starts in 120m"
    assert facts.eta(job, NOW + timedelta(hours=3)) == "starts soon"


def test_what_is_left_of_an_earlier_attempt_is_no_eta() -> None:
    progress = {"step": 3, "eta": "3m20s", "updatedAt": MOMENT}
    job = read(b.status(phase="Restarting", progress=progress, admission=place(("1", 1))))
    assert (facts.eta(job, NOW), facts.progress(job)) == ("-", "3")


def test_of_many_nodes_the_first_are_named() -> None:
    job = read(b.status(admission=place(*((str(number), 1) for number in range(9)))))
    assert facts.nodes(job) == "gpu-0,gpu-1,gpu-2,gpu-3 and 5 more"
