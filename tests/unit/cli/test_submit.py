"""`trainyard submit`: all of a file or nothing, with words for everything that can be wrong, and jobs followed to their end."""

import io
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import builders as b
from tests.unit.cli.conftest import Run
from tests.unit.cli.stub_api import Object, StubApi, kubeconfig, status
from trainyard.cli import following

JOBS = "/apis/trainyard.dev/v1alpha1/namespaces/vision/trainingjobs"
JOB = {"kind": "TrainingJob", "apiVersion": "trainyard.dev/v1alpha1", "metadata": {"name": "digits"}}
EXAMPLES = sorted((Path(__file__).parents[3] / "examples" / "training").glob("*.yaml"))
SPEC = {"queue": "research", "model": {"name": "cnn"}, "dataset": {"name": "digits"}}


def a_job(name: str = "digits", **spec: Any) -> Object:
    return {**JOB, "metadata": {"name": name}, "spec": {**SPEC, **spec}}


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "PERIOD_SECONDS", 0.001)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "jobs.yaml"


def write(file: Path, *documents: Object) -> str:
    file.write_text(yaml.safe_dump_all(documents, sort_keys=False))
    return str(file)


# Creating.


def test_everything_of_a_file_is_created_after_all_of_it_was_tried(run: Run, api: StubApi, file: Path) -> None:
    service = b.inference_service("digits", b.namespace("serving"))
    name = write(file, b.a_flavor("h200"), b.a_queue("research"), a_job(), service)
    code, out, err = run("submit", "-f", name)
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "Flavor h200 created",
        "Queue research created",
        "TrainingJob vision/digits created",
        "InferenceService serving/digits created",
    ]
    posts = api.asked("POST")
    assert ["dryRun" in each.query for each in posts] == [True] * 4 + [False] * 4
    assert [each.path for each in posts[:4]] == [each.path for each in posts[4:]]
    assert {each.query["fieldValidation"] for each in posts} == {"Strict"}
    assert api.created()[2]["metadata"] == {"name": "digits", "namespace": "vision"}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_created_as_it_stands(run: Run, example: Path) -> None:
    code, _, err = run("submit", "-n", "vision", "-f", str(example))
    assert (code, err) == (0, "")


def test_the_namespace_is_that_of_the_option_or_of_the_document(run: Run, api: StubApi, file: Path) -> None:
    name = write(file, a_job("a"), b.training_job("b", b.namespace("other")))
    assert run("submit", "-f", write(file, a_job("a")), "-n", "other")[0] == 0
    assert [each["metadata"]["namespace"] for each in api.created()] == ["other"]
    api.objects.clear()
    write(file, a_job("a"), b.training_job("b", b.namespace("other")))
    assert run("submit", "-f", name)[0] == 0
    assert [each["metadata"]["namespace"] for each in api.created()[1:]] == ["vision", "other"]


def test_standard_input_is_read(run: Run, api: StubApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(yaml.safe_dump(a_job())))
    assert run("submit", "-f", "-")[1] == "TrainingJob vision/digits created\n"


def test_values_are_read_as_kubectl_reads_them(run: Run, api: StubApi, file: Path) -> None:
    file.write_text(
        """
apiVersion: trainyard.dev/v1alpha1
kind: TrainingJob
metadata: {name: digits, labels: {day: 2026-11-23, time: 12:30}}
spec:
  queue: research
  model: {name: cnn}
  dataset: {name: digits}
  training: {learningRate: 1e-3}
  workers: {resources: {limits: {nvidia.com/gpu: 2}}}
"""
    )
    assert run("submit", "-f", str(file))[0] == 0
    (made,) = api.created()
    assert made["metadata"]["labels"] == {"day": "2026-11-23", "time": "12:30"}
    assert made["spec"]["training"] == {"learningRate": 0.001}
    assert made["spec"]["workers"]["resources"]["limits"] == {"nvidia.com/gpu": 2}


# What is wrong in a file.


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (
            a_job(priority="high"),
            "spec.priority: 'high' is not what is expected there: Input should be a valid integer",
        ),
        (
            a_job(workers={"replicas": 0}),
            "spec.workers.replicas: '0' is not what is expected there: Input should be gre",
        ),
        (
            a_job(workers={"replicas": "4"}),
            "spec.workers.replicas: '4' is not what is expected there: Input should be a",
        ),
        (a_job(training={"optimizer": "lion"}), "spec.training.optimizer: 'lion' is not what is expected there: Input"),
        (a_job(trainning={"epochs": 3}), "spec.trainning is no field of the API; near to it: training"),
        (
            a_job(workers={"min_replicas": 1}),
            "spec.workers.min_replicas is no field of the API; near to it: minReplicas",
        ),
        ({**JOB, "spec": {"model": {"name": "cnn"}}}, "spec.queue is missing; expected a value"),
        ({**a_job(), "metadata": {}}, "metadata.name is missing; expected a value"),
        (
            {**a_job(), "kind": "Pod"},
            "kind: 'Pod' is not what is expected there: one of Flavor, Queue, TrainingJob, Infer",
        ),
        ({**a_job(), "apiVersion": "v1"}, "apiVersion: 'v1' is not what is expected there: trainyard.dev/v1alpha1"),
        (a_job(priority=2**80), "the document: 'a mapping' is not what is expected there: what JSON can say: Integer"),
        ({**a_job(), "specs": {}}, "specs is no field of the API; near to it: spec"),
        (
            a_job("good"),
            "metadata.name: 'good' is not what is expected there: a name of its own: document 1 is TrainingJob",
        ),
    ],
)
def test_a_bad_document_is_named_and_nothing_is_created(
    run: Run, api: StubApi, file: Path, document: Object, words: str
) -> None:
    code, out, err = run("submit", "-f", write(file, a_job("good"), document))
    assert (code, out) == (1, "")
    assert f"{file}: document 2, line " in err
    assert words in err
    assert api.requests == []


def test_everything_that_is_wrong_is_told_at_once(run: Run, file: Path) -> None:
    name = write(file, a_job("a", priority="high", suspend="maybe"), a_job("b", workers={"replicas": -1}))
    _, _, err = run("submit", "-f", name)
    assert [line.split(": ")[2] for line in err.splitlines()[1:]] == [
        "spec.priority",
        "spec.suspend",
        "spec.workers.replicas",
    ]


def test_a_document_of_another_namespace_than_asked_for_is_refused(run: Run, file: Path) -> None:
    code, _, err = run("submit", "-f", write(file, b.training_job("a", b.namespace("other"))), "-n", "vision")
    assert code == 1
    assert "metadata.namespace: 'other' is not what is expected there: vision, as -n says" in err


def test_documents_are_counted_as_they_stand_in_the_file(run: Run, file: Path) -> None:
    file.write_text(f"# nothing yet\n---\nnull\n---\n{yaml.safe_dump(a_job(priority='high'))}")
    assert f"{file}: document 2, line " in run("submit", "-f", str(file))[2]


# What the API server refuses.


def test_what_exists_already_is_said_to_and_nothing_is_created(run: Run, api: StubApi, file: Path) -> None:
    api.add(b.training_job("b", b.namespace("vision")))
    code, out, err = run("submit", "-f", write(file, a_job("a"), a_job("b")))
    assert (code, out, api.created()) == (1, "", [])
    assert "nothing was created" in err
    assert f"{file}: document 2: TrainingJob vision/b exists already; delete it first" in err


@pytest.mark.parametrize(
    ("code", "body", "words"),
    [
        (
            422,
            status("Invalid", 'TrainingJob "digits" is invalid: spec: spec takes exactly one of model and entrypoint'),
            'the API server refuses it: TrainingJob "digits" is invalid: spec: spec takes exactly one of model and',
        ),
        (403, status("Forbidden", 'User "ann" cannot create it'), 'that is forbidden: User "ann" cannot create it'),
        (404, status("NotFound", 'namespaces "vision" not found'), "there is no namespace 'vision'; create it"),
        (404, "404 page not found", "this cluster does not know Trainyard's kinds: install the chart"),
        (500, status("InternalError", "etcd is away"), "the cluster cannot answer now (500): etcd is away"),
        (401, status("Unauthorized", "Unauthorized"), "does not know you: Unauthorized. Log in anew"),
    ],
)
def test_what_the_api_server_refuses_is_told_in_its_words(
    run: Run, api: StubApi, file: Path, code: int, body: Object | str, words: str
) -> None:
    api.errors["POST", JOBS] = [(code, body)]
    found, out, err = run("submit", "-f", write(file, a_job()))
    assert (found, out) == (1, "")
    assert words in err
    assert {"dryRun" in each.query for each in api.asked("POST")} == {True}


def test_a_refusal_after_the_rehearsal_says_what_was_not_created(run: Run, api: StubApi, file: Path) -> None:
    good = (201, {"metadata": {"name": "a", "uid": "1"}})
    api.errors["POST", JOBS] = [good, good, good, good, (500, status("InternalError", "etcd is away"))]
    code, out, err = run("submit", "-f", write(file, a_job("a"), a_job("b"), a_job("c")))
    assert (code, out) == (1, "TrainingJob vision/a created\n")
    assert "TrainingJob vision/b: the cluster cannot answer now (500): etcd is away" in err
    assert "it may have been created all the same" in err
    assert "Not created either: TrainingJob vision/c" in err


def test_a_cluster_that_is_not_there_is_said_not_to_answer(run: Run, tmp_path: Path, file: Path) -> None:
    kubeconfig(tmp_path / "config", {"server": "https://127.0.0.1:1"}, {"token": "any"})
    code, _, err = run("submit", "-f", write(file, a_job()))
    assert code == 1
    assert "the cluster does not answer at https://127.0.0.1:1" in err


# Waiting.


def states(api: StubApi, name: str, *found: Object) -> None:
    """What the job will be seen to be."""
    meta = {"name": name, "namespace": "vision", "uid": f"uid-{name}"}
    api.script[f"{JOBS}/{name}"] = [{**a_job(name), "metadata": meta, "status": each} for each in found]


WAITS = {"phase": "Pending", "reason": "WaitingForQuota", "queuePosition": 2}


def running(step: int) -> Object:
    moment = "2026-11-23T10:00:00.000000Z"
    progress = {"step": step, "totalSteps": 200, "eta": "3m20s", "updatedAt": moment}
    return {"phase": "Running", "reason": "Running", "progress": progress}


def ended(kind: str, reason: str, message: str, **more: Any) -> Object:
    statement = {"type": kind, "status": "True", "reason": reason, "message": message}
    return {
        "phase": kind,
        "reason": reason,
        "conditions": [{**statement, "lastTransitionTime": "2026-11-23T10:00:00Z"}],
        **more,
    }


DONE = ended("Complete", "Completed", "")


def test_a_job_is_followed_to_its_end_with_a_line_for_each_change(run: Run, api: StubApi, file: Path) -> None:
    states(api, "digits", {}, WAITS, WAITS, running(50), running(50), running(100), DONE)
    code, out, err = run("submit", "-f", write(file, a_job()), "--wait")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "TrainingJob vision/digits created",
        "vision/digits: Pending",
        "vision/digits: Pending (WaitingForQuota), position 2 in queue research",
        "vision/digits: Running, step 50/200 25%, 3m20s left",
        "vision/digits: Running, step 100/200 50%, 3m20s left",
        "vision/digits: Complete (Completed)",
    ]


def test_a_line_renews_itself_on_a_terminal(
    run: Run, api: StubApi, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    states(api, "digits", WAITS, running(50), running(100), DONE)
    _, out, _ = run("submit", "-f", write(file, a_job()), "--wait")
    assert out.split("\n")[1:] == [
        "\r\x1b[Kvision/digits: Pending (WaitingForQuota), position 2 in queue research",
        "\r\x1b[Kvision/digits: Running, step 50/200 25%, 3m20s left\r\x1b[Kvision/digits: Running, step 100/200 50%, 3m20s left",
        "\r\x1b[Kvision/digits: Complete (Completed)",
        "",
    ]


def test_a_job_that_fails_is_told_of_and_fails_the_command(run: Run, api: StubApi, file: Path) -> None:
    failure = {
        "attempt": 1,
        "class": "OutOfMemory",
        "remedy": "ask for more memory",
        "time": "2026-11-23T10:00:00.000000Z",
    }
    states(api, "a", DONE)
    states(api, "b", ended("Failed", "TerminalExit", "worker 0 ended", lastFailure=failure))
    code, out, err = run("submit", "-f", write(file, a_job("a"), a_job("b")), "--wait")
    assert code == 1
    assert "vision/a: Complete" in out
    assert (
        err
        == "error: TrainingJob vision/b failed: TerminalExit: worker 0 ended. What usually helps: ask for more memory\n"
    )


def test_a_job_that_is_deleted_meanwhile_fails_the_command(run: Run, api: StubApi, file: Path) -> None:
    api.errors["GET", f"{JOBS}/digits"] = [(404, status("NotFound", 'trainingjobs.trainyard.dev "digits" not found'))]
    code, _, err = run("submit", "-f", write(file, a_job()), "--wait")
    assert code == 1
    assert "TrainingJob vision/digits is gone before it was seen to end" in err


def test_a_job_of_the_same_name_is_not_taken_for_the_own_one(run: Run, api: StubApi, file: Path) -> None:
    states(api, "digits", DONE)
    api.script[f"{JOBS}/digits"][0]["metadata"]["uid"] = "another"
    assert run("submit", "-f", write(file, a_job()), "--wait")[0] == 1


def test_a_cluster_may_be_away_for_a_while(run: Run, api: StubApi, file: Path) -> None:
    states(api, "digits", DONE)
    path, away = f"{JOBS}/digits", (503, status("ServiceUnavailable", "it restarts"))
    api.errors["GET", path] = [away, away, (200, api.script[path][0])]
    code, _, err = run("submit", "-f", write(file, a_job()), "--wait")
    assert (code, err) == (0, "no answer, asking again: it restarts\n")


def test_a_cluster_that_stays_away_ends_the_waiting(
    run: Run, api: StubApi, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "PATIENCE_SECONDS", 0.05)
    api.errors["GET", f"{JOBS}/digits"] = [(503, status("ServiceUnavailable", "it restarts"))]
    code, _, err = run("submit", "-f", write(file, a_job()), "--wait")
    assert code == 1
    assert "The jobs go on by themselves; `trainyard get` tells of them" in err


def test_waiting_for_a_file_without_jobs_is_a_wrong_call(run: Run, api: StubApi, file: Path) -> None:
    code, _, err = run("submit", "-f", write(file, b.a_queue("research")), "--wait")
    assert (code, api.requests) == (2, [])
    assert "--wait follows TrainingJobs, and there is none in the file" in err
