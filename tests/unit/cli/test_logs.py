"""`trainyard logs`: the pods that are meant, what they write, and why there is nothing to read."""

import threading
from collections.abc import Iterator

import pytest

from tests import builders as b
from tests.unit.cli.conftest import Run
from tests.unit.cli.stub_api import TOKEN, Object, StubApi, serving, status
from trainyard.cli import logs
from trainyard.cli.access import Access
from trainyard.cli.api_server import ApiServer
from trainyard.cli.gang_pods import GangPod
from trainyard.cluster.errors import ClusterError

PODS = "/api/v1/namespaces/vision/pods"
NOT_STARTED = status(
    "BadRequest", 'container "trainer" in pod "digits-worker-1-1" is waiting to start: ContainerCreating'
)


def a_pod(
    index: int, attempt: int = 1, role: str = "worker", owner: str = "uid-digits", phase: str = "Running"
) -> Object:
    labels = {"job": "digits", "role": role, "index": str(index), "attempt": str(attempt)}
    metadata: Object = {
        "name": f"digits-{role}-{index}-{attempt}",
        "namespace": "vision",
        "labels": {f"trainyard.dev/{key}": value for key, value in labels.items()},
        "ownerReferences": [{"kind": "TrainingJob", "name": "digits", "uid": owner}],
    }
    return {"kind": "Pod", "apiVersion": "v1", "metadata": metadata, "status": {"phase": phase}}


def gang(api: StubApi, *modifiers: b.Modifier, workers: int = 2, attempt: int = 1, watcher: bool = False) -> None:
    """A running job with its pods, each of which has written two lines."""
    state = b.status(phase="Running", reason="Running", attempt=attempt)
    roles = (b.role("watcher"),) if watcher else ()
    api.add(b.training_job("digits", b.namespace("vision"), b.workers(workers), *roles, state, *modifiers))
    pods = [a_pod(index, attempt) for index in range(workers)]
    pods += [a_pod(0, attempt, "watcher")] if watcher else []
    api.add(*pods)
    for each in pods:
        name = each["metadata"]["name"]
        api.logs[name] = [f"{name} began", f"{name} ended"]


# Which pods.


def test_lines_of_several_pods_tell_whose_they_are(run: Run, api: StubApi) -> None:
    gang(api, watcher=True)
    code, out, err = run("logs", "digits")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "worker-0 | digits-worker-0-1 began",
        "worker-0 | digits-worker-0-1 ended",
        "worker-1 | digits-worker-1-1 began",
        "worker-1 | digits-worker-1-1 ended",
        "watcher-0 | digits-watcher-0-1 began",
        "watcher-0 | digits-watcher-0-1 ended",
    ]
    assert {each.query["container"] for each in api.asked("GET") if each.path.endswith("/log")} == {"trainer"}


def test_pods_come_in_order_of_rank(run: Run, api: StubApi) -> None:
    gang(api, workers=11)
    lines = run("logs", "digits", "--tail", "1")[1].splitlines()
    assert [line.partition(" ")[0] for line in lines] == [f"worker-{index}" for index in range(11)]


def test_lines_of_one_pod_are_as_it_wrote_them(run: Run, api: StubApi) -> None:
    gang(api, watcher=True)
    assert run("logs", "tyj/digits", "--role", "watcher", "--tail", "1")[1] == "digits-watcher-0-1 ended\n"


@pytest.mark.parametrize(
    ("gpus", "rank", "index"), [("0", 1, 1), ("500m", 1, 1), ("1", 1, 1), ("4", 3, 0), ("4", 4, 1), ("4", 7, 1)]
)
def test_a_rank_is_that_of_a_process_and_each_whole_gpu_has_one(
    run: Run, api: StubApi, gpus: str, rank: int, index: int
) -> None:
    gang(api, b.resources(**{"nvidia.com/gpu": gpus}))
    assert run("logs", "digits", "--rank", str(rank))[1].startswith(f"digits-worker-{index}-1 began\n")


def test_the_attempt_before_is_shown_on_request(run: Run, api: StubApi) -> None:
    gang(api, attempt=2)
    api.add(a_pod(1, 1))
    api.logs["digits-worker-1-1"] = ["it fails here"]
    assert run("logs", "digits", "--previous")[1] == "it fails here\n"
    assert run("logs", "digits", "--rank", "1", "--tail", "1")[1] == "digits-worker-1-2 ended\n"


def test_pods_of_an_earlier_job_of_the_same_name_are_not_its_own(run: Run, api: StubApi) -> None:
    gang(api, workers=1)
    api.add(a_pod(1, owner="uid-of-another"))
    assert run("logs", "digits")[1].startswith("digits-worker-0-1 began\n")


# Following.


def test_followed_pods_are_shown_until_the_last_ends(run: Run, api: StubApi) -> None:
    gang(api)
    code, out, _ = run("logs", "digits", "-f")
    assert code == 0
    assert sorted(out.splitlines()) == [
        f"worker-{index} | digits-worker-{index}-1 {what}" for index in range(2) for what in ("began", "ended")
    ]
    assert [each.query["follow"] for each in api.asked("GET") if each.path.endswith("/log")] == ["true", "true"]


@pytest.fixture
def source(api: StubApi) -> Iterator[logs.Source]:
    """Of the server without TLS."""
    with serving(api.answer, None) as url:
        yield logs.Source(ApiServer(Access(url, "vision", f"Bearer {TOKEN}")), "vision", {}, lambda _: None)


def test_a_line_is_shown_when_it_is_written(api: StubApi, source: logs.Source) -> None:
    written = threading.Event()

    def lines() -> Iterator[str]:
        yield "first"
        written.wait(10)
        yield "second"

    api.logs["digits-worker-0-1"] = lines()
    pod = GangPod("digits-worker-0-1", "worker", 0)
    found = source.as_they_come([pod])
    assert next(found) == (pod, "first")
    written.set()
    assert list(found) == [(pod, "second")]


def test_a_pod_that_has_not_started_is_waited_for(
    api: StubApi, source: logs.Source, capsys: pytest.CaptureFixture[str]
) -> None:
    api.add(a_pod(1, phase="Pending"))
    path = f"{PODS}/digits-worker-1-1/log"
    api.errors["GET", path] = [(400, NOT_STARTED), (400, NOT_STARTED), (200, "began\nand goes on")]
    pod = GangPod("digits-worker-1-1", "worker", 1)
    assert list(source.as_they_come([pod])) == [(pod, "began"), (pod, "and goes on")]
    assert capsys.readouterr().err.count("worker-1 has not started yet: container") == 1


def test_a_pod_that_will_not_start_is_not_waited_for(api: StubApi, source: logs.Source) -> None:
    api.add(a_pod(1, phase="Failed"))
    api.errors["GET", f"{PODS}/digits-worker-1-1/log"] = [(400, NOT_STARTED)]
    ((_, error),) = source.as_they_come([GangPod("digits-worker-1-1", "worker", 1)])
    assert isinstance(error, ClusterError)


def test_more_pods_than_can_be_followed_are_refused(run: Run, api: StubApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MOST_FOLLOWED", 1)
    gang(api)
    code, _, err = run("logs", "digits", "-f")
    assert code == 1
    assert "2 pods are more than can be followed together (1); choose with --rank or --role" in err


# Nothing to read.


@pytest.mark.parametrize(
    ("state", "words", "complaint"),
    [
        (
            b.status(phase="Pending", reason="WaitingForQuota"),
            (),
            "attempt 1: its pods are not there yet; the job is Pending (WaitingForQuota). `trainyard why digits -n vision`",
        ),
        (
            b.status(phase="Pending", reason="Preempted", attempt=2),
            ("--rank", "0"),
            "attempt 2: worker 0 is not there yet; the job is Pending (Preempted). `trainyard why digits -n vision` tells what it waits for. The attempt before: --previous",
        ),
        (
            b.status(
                phase="Running",
                attempt=2,
                lastRestart={"attempt": 1, "cause": "worker 0 ended with 1", "time": "2026-11-23T10:00:00Z"},
            ),
            ("--previous", "--role", "worker"),
            "attempt 1: the pods of role worker are gone: a log goes with its pod, and pods that did not end by themselves are deleted before the next attempt. That attempt ended so: worker 0 ended with 1",
        ),
        (b.status(), ("--previous",), "is in its first attempt: there is none before it; leave out --previous"),
        (b.status(), ("--role", "ps"), "has no role 'ps'; there are: worker, watcher"),
        (
            b.status(),
            ("--rank", "2"),
            "there is no rank 2 in TrainingJob vision/digits: 2 workers with 1 processes each",
        ),
        (b.status(), ("--rank", "0", "--role", "watcher"), "--rank counts the processes of the workers"),
    ],
)
def test_why_there_is_nothing_to_read(
    run: Run, api: StubApi, state: b.Modifier, words: tuple[str, ...], complaint: str
) -> None:
    api.add(b.training_job("digits", b.namespace("vision"), b.workers(2), b.role("watcher"), state))
    code, out, err = run("logs", "digits", *words)
    assert code != 0
    assert out == ""
    assert complaint in err


def test_pods_of_a_job_that_ended_may_be_gone(run: Run, api: StubApi) -> None:
    complete = {
        "type": "Complete",
        "status": "True",
        "reason": "Completed",
        "lastTransitionTime": "2026-11-23T10:00:00Z",
    }
    state = b.status(phase="Complete", reason="Completed", conditions=[complete])
    api.add(b.training_job("digits", b.namespace("vision"), state))
    assert "its pods are gone, and so is what was written; the job is Complete (Completed)" in run("logs", "digits")[2]


def test_a_pod_that_has_not_started_is_told_beside_the_logs_of_the_others(run: Run, api: StubApi) -> None:
    gang(api)
    api.errors["GET", f"{PODS}/digits-worker-1-1/log"] = [(400, NOT_STARTED)]
    code, out, err = run("logs", "digits")
    assert (code, len(out.splitlines())) == (1, 2)
    assert "the log of worker-1 cannot be read: container" in err
    assert "`trainyard why digits -n vision` tells of its job" in err


def test_an_empty_log_of_a_pod_without_a_node_is_no_log(run: Run, api: StubApi) -> None:
    api.add(b.training_job("digits", b.namespace("vision"), b.status(phase="Admitted", reason="PodsStarting")))
    api.add(a_pod(0, phase="Pending"))
    api.logs["digits-worker-0-1"] = []
    code, _, err = run("logs", "digits")
    assert code == 1
    assert "the log of worker-0 cannot be read: it waits for its node" in err
    api.add(a_pod(0, phase="Running"))
    assert run("logs", "digits") == (0, "", "")


def test_who_may_not_read_logs_is_told_so(run: Run, api: StubApi) -> None:
    gang(api, workers=1)
    api.errors["GET", f"{PODS}/digits-worker-0-1/log"] = [(403, status("Forbidden", "ann cannot get pods/log"))]
    code, _, err = run("logs", "digits")
    assert code == 1
    assert "the log of worker-0 cannot be read: ann cannot get pods/log" in err


@pytest.mark.parametrize("words", [("--tail", "-1"), ("--rank", "first")])
def test_numbers_that_are_none(run: Run, words: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("logs", "digits", *words)
    assert f"{words[1]!r} is no whole number from 0 on" in capsys.readouterr().err
