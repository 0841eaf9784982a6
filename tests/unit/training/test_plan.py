"""Rules of a TrainingJob's life that simulations do not reach, or that read best as a table."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import builders as b
from trainyard.api.names import RESTORING
from trainyard.api.training_job import TrainingJob
from trainyard.scheduling.snapshot import Admit, Assignment, WorkloadKey
from trainyard.training import pods
from trainyard.training.failure import Consequence, how_ended
from trainyard.training.observed import Observed
from trainyard.training.plan import plan_training_job
from trainyard.training.progress import _duration
from trainyard.training.reports import BadReport, ReportBoard, parse_last_words
from trainyard.training.status import Draft
from trainyard.training.workload import workload
from trainyard.workloads.plan import Plan
from trainyard.workloads.pod_state import Exit, PodState
from trainyard.workloads.pod_template import Surroundings
from trainyard.workloads.times import MEND_SECONDS

NOW = datetime(2026, 11, 23, tzinfo=UTC)
ADMISSION = {
    "epoch": 1,
    "queue": "research",
    "flavor": "h200",
    "time": NOW.isoformat(),
    "roles": [{"name": "worker", "prefix": "n", "runs": [{"node": "0", "count": 1}]}],
}


def a_job(*modifiers: b.Modifier) -> TrainingJob:
    stamp = b.meta(uid="01234567-89", generation=1, creationTimestamp="2026-11-23T00:00:00Z")
    return TrainingJob.model_validate(b.training_job("a", stamp, *modifiers))


def a_pod(phase: str = "Running", code: int | None = None, message: str = "", **fields: Any) -> PodState:
    exit_ = None if code is None else Exit(code, "Error", message, NOW)
    given: dict[str, Any] = {"node": "n0", "created": NOW, "exit": exit_, "ready": phase == "Running", **fields}
    return PodState("a-worker-0-1", "u", "worker", 0, 1, phase=phase, **given)


def a_container(observed: Observed, role: str = "worker", index: int = 0) -> dict[str, Any]:
    """Of one pod."""
    (pod,) = pods.pods_of(observed, role, [index])
    (container,) = pod["spec"]["containers"]
    return dict(container)


@pytest.mark.parametrize(
    ("pod", "lost", "consequence"),
    [
        (a_pod(), (), None),
        (a_pod("Succeeded", 0), (), None),
        (a_pod("Succeeded", 0), ("n0",), None),
        (a_pod(), ("n0",), Consequence.DISRUPTION),
        (a_pod("Failed", 1), (), Consequence.RESTART),
        (a_pod("Failed", 137), (), Consequence.RESTART),
        (a_pod("Failed", 64), (), Consequence.FAIL),
        (a_pod("Failed", 65), (), Consequence.FAIL),
        (a_pod("Failed", 75), (), Consequence.DISRUPTION),
        (a_pod("Failed", reason="Evicted"), (), Consequence.DISRUPTION),
        (a_pod("Failed", 137, reason="NodeShutdown"), (), Consequence.DISRUPTION),
        (a_pod("Failed"), (), Consequence.DISRUPTION),
        (a_pod("Failed", reason="OutOfcpu"), (), Consequence.UNDO),
        (a_pod(deleting_since=NOW), (), Consequence.DISRUPTION),
    ],
)
def test_what_the_end_of_a_pod_means(pod: PodState, lost: tuple[str, ...], consequence: Consequence | None) -> None:
    end = how_ended(Observed(a_job(), lost_nodes=frozenset(lost)), [pod])
    assert (end.consequence if end else None) is consequence


def test_the_worst_end_decides() -> None:
    end = how_ended(Observed(a_job()), [a_pod("Failed", 1), a_pod("Failed", 64, "bad"), a_pod("Failed", 75)])
    assert end is not None
    assert end.consequence is Consequence.FAIL


def test_nothing_is_created_before_the_admission_is_durable() -> None:
    decision = Admit(WorkloadKey("TrainingJob", "team", "a"), "u", Assignment("h200", {"worker": ("n0",)}))
    first = plan_training_job(Observed(a_job(), decision=decision), NOW)
    assert first.create == ()
    assert first.status is not None
    after = a_job(b.status(**first.status))
    assert [each["metadata"]["name"] for each in plan_training_job(Observed(after), NOW).create] == ["a-worker-0-1"]


def test_a_job_that_is_being_deleted_is_left_to_the_garbage_collector() -> None:
    job = a_job(b.meta(deletionTimestamp="2026-11-23T00:00:00Z"), b.status(admission=ADMISSION))
    assert plan_training_job(Observed(job), NOW).create == ()
    assert workload(Observed(job), NOW) is None


def test_pods_on_a_lost_node_are_deleted_without_waiting_and_others_asked() -> None:
    job = a_job(b.suspended(), b.status(admission=ADMISSION))
    observed = Observed(job, pods=(a_pod(),))
    assert plan_training_job(observed, NOW).delete[0].grace_seconds is None
    lost = replace(observed, lost_nodes=frozenset({"n0"}))
    assert plan_training_job(lost, NOW).delete[0].grace_seconds == 0


@pytest.mark.parametrize(("seconds", "kept"), [(0, True), (MEND_SECONDS - 1, True), (MEND_SECONDS, False)])
def test_a_place_that_lost_its_node_before_pods_were_there_is_kept_for_a_while(seconds: float, kept: bool) -> None:
    admitted = {**ADMISSION, "time": (NOW - timedelta(seconds=seconds)).isoformat()}
    plan = plan_training_job(Observed(a_job(b.status(admission=admitted)), lost_nodes=frozenset({"n0"})), NOW)
    assert plan.create == ()
    assert ("admission" in (plan.status or {})) is not kept
    assert plan.again == MEND_SECONDS - seconds


def test_an_idle_running_job_has_no_news() -> None:
    observed = Observed(a_job(b.status(admission=ADMISSION)), pods=(a_pod(),))
    first = plan_training_job(observed, NOW)
    assert first.status is not None
    settled = replace(observed, job=a_job(b.status(admission=ADMISSION), b.status(**first.status)))
    assert plan_training_job(settled, NOW + timedelta(hours=1)).status is None


REPORTS = st.fixed_dictionaries(
    {"jobUid": st.just("u"), "attempt": st.just(1), "step": st.integers(0, 10**6)},
    optional={
        "totalSteps": st.none() | st.integers(0, 10**6),
        "loss": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "metrics": st.dictionaries(st.text(max_size=80), st.floats(-1, 1), max_size=40),
        "stepsPerSecond": st.none() | st.floats(0, 100),
        "warning": st.none() | st.text(max_size=2000),
        "checkpoint": st.none() | st.just({"step": 3, "path": "c"}),
        "result": st.none() | st.just({"path": "m", "digest": b.DIGEST}),
        "firstStepAt": st.none() | st.just("2026-11-23T02:00:00+02:00"),
    },
)


@pytest.mark.fault(81)
@given(REPORTS, REPORTS)
def test_any_report_becomes_a_status_that_reads_back(first: dict[str, Any], second: dict[str, Any]) -> None:
    board = ReportBoard()
    draft = Draft(a_job(b.storage()), NOW)
    for body in (first, second):
        board.put(body, NOW)
        report = board.of("u")
        assert report is not None
        draft.reported(report)
    status = draft.status()
    text = status.model_dump_json(by_alias=True)
    assert len(text) < 100_000
    assert type(status).model_validate_json(text).progress is not None


@pytest.mark.fault(81)
@given(
    st.dictionaries(st.text(max_size=12) | st.sampled_from(["step", "metrics", "checkpoint"]), st.none() | st.text())
)
def test_last_words_of_any_program_do_no_harm(body: dict[str, Any]) -> None:
    Draft(a_job(b.storage()), NOW).last_words(body)
    assert isinstance(parse_last_words(body), dict)


def test_a_report_of_an_earlier_attempt_is_ignored() -> None:
    board = ReportBoard()
    assert board.put({"jobUid": "u", "attempt": 2}, NOW)
    assert not board.put({"jobUid": "u", "attempt": 1, "step": 9}, NOW)
    kept = board.of("u")
    assert kept is not None
    assert (kept.attempt, kept.received) == (2, NOW)
    with pytest.raises(BadReport, match="attempt"):
        board.put({"jobUid": "u"}, NOW)
    board.forget("u")
    assert board.of("u") is None


@pytest.mark.parametrize(("seconds", "text"), [(45, "45s"), (200, "3m20s"), (18_720, "5h12m"), (0, "0s")])
def test_durations(seconds: float, text: str) -> None:
    assert _duration(seconds) == text


def test_a_users_own_image_runs_its_command_without_our_agent() -> None:
    entry = {"command": ["torchrun", "x.py"], "env": {"MINE": "1"}}
    modifiers = (b.status(admission=ADMISSION), b.own_claim(), b.spec(model=None, entrypoint=entry))
    around = Surroundings("trainer", "server", "gateway")
    ours = a_container(Observed(a_job(*modifiers), surroundings=around))
    assert ours["command"] == ["python", "-m", "trainer.agent", "--", "torchrun", "x.py"]
    entry["image"] = "theirs"
    theirs = a_container(Observed(a_job(*modifiers), surroundings=around))
    assert (theirs["image"], theirs["command"]) == ("theirs", ["torchrun", "x.py"])
    assert {"name": "MINE", "value": "1"} in theirs["env"]


@pytest.mark.parametrize(
    ("modifier", "words"),
    [
        (b.resources(**{"nvidia.com/gpu": "500m"}), "not a whole number of GPUs"),
        (b.resources(cpu="-1"), "negative"),
        (b.resources(cpu="fast"), "is not a quantity"),
        (b.template(spec={"containers": None}), "spec.workers.template"),
        (b.storage("missing"), "there is no PersistentVolumeClaim 'missing'"),
    ],
)
def test_a_job_that_cannot_start_as_written_says_which_field(modifier: b.Modifier, words: str) -> None:
    found = workload(Observed(a_job(modifier)), NOW)
    assert found is not None
    assert found.blocked is not None
    assert words in found.blocked.message


def test_a_pod_of_another_role_runs_its_own_program_and_finds_its_peers() -> None:
    places = [
        {"name": "worker", "prefix": "n", "runs": [{"node": "0", "count": 2}]},
        {"name": "ps", "prefix": "n", "runs": [{"node": "1", "count": 2}]},
    ]
    around = Surroundings("trainer", "server", "gateway", endpoint="https://op")
    job = a_job(b.workers(2), b.role("ps", 2), b.status(admission={**ADMISSION, "roles": places}))
    observed = Observed(job, surroundings=around)
    server = a_container(observed, "ps", 1)
    given = {each["name"]: each["value"] for each in server["env"]}
    assert server["command"] == ["python", "-m", "trainer.agent", "--", "python", "ps.py"]
    assert server["resources"] == {}
    assert (given["TRAINYARD_ROLE"], given["PET_NODE_RANK"], given["PET_NNODES"]) == ("ps", "1", "2")
    assert json.loads(given["TRAINYARD_ROLES"]) == {"worker": 2, "ps": 2}
    assert given["PET_MASTER_ADDR"] == f"a-ps-0.{given['TRAINYARD_DOMAIN']}"
    assert "TRAINYARD_SPEC" not in given
    assert "TRAINYARD_PROGRESS_URL" not in given, "the job's progress is that of its workers"
    found = [pod for role in ("worker", "ps") for pod in pods.pods_of(observed, role, range(2))]
    assert [pod["spec"]["hostname"] for pod in found] == ["a-worker-0", "a-worker-1", "a-ps-0", "a-ps-1"]
    selector = pods.service(job)["spec"]["selector"].items()
    addressed = [pod["spec"]["hostname"] for pod in found if selector <= pod["metadata"]["labels"].items()]
    assert addressed == ["a-worker-0", "a-ps-0", "a-ps-1"]


def test_what_is_wrong_with_a_role_is_told_with_its_path() -> None:
    found = workload(Observed(a_job(b.role("ps"), b.role("eval"), _role_limits("eval", cpu="fast"))), NOW)
    assert found is not None
    assert found.blocked is not None
    assert found.blocked.message.startswith("spec.roles[eval].resources.limits[cpu]: ")


def _role_limits(name: str, **limits: str) -> b.Modifier:
    def modify(obj: dict[str, Any]) -> None:
        next(each for each in obj["spec"]["roles"] if each["name"] == name)["resources"] = {"limits": limits}

    return modify


def test_a_job_that_is_being_restored_is_left_alone_unless_it_has_pods() -> None:
    """Whoever marks his own job must not keep pods without a place by that."""
    job = a_job(b.meta(annotations={RESTORING: "sha256:x"}), b.status(attempt=2, phase="Pending"))
    assert plan_training_job(Observed(job), NOW) == Plan()
    plan = plan_training_job(Observed(job, pods=(a_pod(),)), NOW)
    assert [each.name for each in plan.delete] == ["a-worker-0-1"]
    assert workload(Observed(job), NOW) is None


def test_the_mark_of_a_restore_means_nothing_to_a_job_with_a_place() -> None:
    job = a_job(b.meta(annotations={RESTORING: "sha256:x"}), b.status(admission=ADMISSION))
    assert workload(Observed(job), NOW) is not None
    assert plan_training_job(Observed(job), NOW) != Plan()
