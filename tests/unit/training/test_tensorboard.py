"""What a job's TensorBoard is made of, when it may have the job's volume, and what is said of it."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from tests import builders as b
from trainyard.api.flavor import Flavor
from trainyard.api.names import ADDRESSED_LABEL, JOB_LABEL
from trainyard.api.tensorboard import TensorBoard
from trainyard.api.training_job import TrainingJob
from trainyard.training.observed import Board, Claim, Observed
from trainyard.training.tensorboard import plan_tensorboard, told
from trainyard.workloads.keys import Key
from trainyard.workloads.plan import Delete, Object, Plan
from trainyard.workloads.pod_state import PodState
from trainyard.workloads.pod_template import Surroundings
from trainyard.workloads.world import World

BEGIN = datetime(2026, 11, 23, tzinfo=UTC)
WORKER = PodState("a-worker-0-1", "u", "worker", 0, 1, "n7", "Running", True, BEGIN, started=BEGIN)
SHOWER = PodState("a-tensorboard-x", "t", "", 0, 0, "n7", "Running", True, BEGIN)
PLACE = {
    "epoch": 1,
    "queue": "research",
    "flavor": "h200",
    "time": BEGIN.isoformat(),
    "roles": [{"name": "worker", "prefix": "n", "runs": [{"node": "7", "count": 1}]}],
}
SHARED, ONE_NODE, ONE_POD = "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"
TAINTED = Flavor.model_validate(
    b.a_flavor("h200", b.spec(tolerations=[{"key": "gpu", "operator": "Exists"}])) | {"status": {}}
).spec


def condition(kind: str) -> dict[str, Any]:
    return {
        "type": kind,
        "status": "True",
        "reason": "R",
        "message": "",
        "lastTransitionTime": BEGIN.isoformat(),
        "observedGeneration": 1,
    }


WAITS = b.status(phase="Pending")
RUNS = b.status(admission=PLACE, phase="Running", conditions=[condition("Ready")])
OVER = b.status(admission=PLACE, phase="Complete", conditions=[condition("Complete")], completionTime=BEGIN.isoformat())


def seen(*modifiers: b.Modifier, mode: str | None = SHARED, pods: tuple[PodState, ...] = (), **more: Any) -> Observed:
    """A job with storage and a TensorBoard, with its claim of that mode."""
    stamp = b.meta(uid="01234567-89", generation=1)
    job = TrainingJob.model_validate(
        b.training_job("a", stamp, b.storage("results"), b.spec(tensorboard=True), *modifiers)
    )
    claim = Claim("results", (mode,)) if mode else None
    around = Surroundings("trainer:1", "server:1", "gateway:1")
    return Observed(job, pods=pods, claim=claim, flavors={"h200": TAINTED}, surroundings=around, **more)


def made(observed: Observed) -> dict[str, Object]:
    """Children to be made, by kind."""
    plan = plan_tensorboard(observed)
    return {each["kind"]: each for each in plan.create} if plan else {}


def stands(observed: Observed, **status: Any) -> Board:
    """What there is once all of it was made."""
    deployment = made(observed)["Deployment"]
    meta = {**deployment["metadata"], "uid": "d", "generation": 1}
    return Board({**deployment, "metadata": meta, "status": {"observedGeneration": 1, **status}}, service=True)


def said(observed: Observed, plan: Plan | None = None) -> dict[str, Any] | None:
    """What is written of it; None for nothing, or to take it out."""
    status = told(plan or Plan(), observed).status
    assert status is not None
    found: dict[str, Any] | None = status["tensorboard"]
    return found


def test_a_job_without_one_costs_nothing() -> None:
    observed, plan = seen(RUNS, b.spec(tensorboard=False)), Plan(again=3)
    assert plan_tensorboard(observed) is None
    assert told(plan, observed) is plan


def test_it_reads_the_jobs_logs_and_can_do_no_more() -> None:
    deployment = made(seen())["Deployment"]
    pod = deployment["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert container["image"] == "trainer:1"
    logs = container["command"][container["command"].index("--logdir") + 1]
    assert logs == "/trainyard/storage/a-01234567/tensorboard"
    assert "--bind_all" in container["command"]
    storage = next(each for each in container["volumeMounts"] if each["name"] == "storage")
    assert storage == {"name": "storage", "mountPath": "/trainyard/storage", "readOnly": True}
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    assert pod["automountServiceAccountToken"] is False
    assert "nvidia.com/gpu" not in str(container["resources"])
    assert container["readinessProbe"]["httpGet"] == {"path": "/data/environment", "port": 6006}
    assert (deployment["spec"]["replicas"], deployment["spec"]["strategy"]) == (1, {"type": "Recreate"})
    assert "affinity" not in pod


def test_both_go_with_the_job_and_the_service_finds_the_pod_and_no_worker() -> None:
    children = made(seen())
    labels = children["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert (
        children["Service"]["spec"]["selector"] == labels == children["Deployment"]["spec"]["selector"]["matchLabels"]
    )
    assert not {JOB_LABEL, ADDRESSED_LABEL} & labels.keys()
    assert children["Service"]["spec"]["ports"] == [{"name": "http", "port": 80, "targetPort": 6006}]
    for each in children.values():
        assert each["metadata"]["name"] == "a-tensorboard"
        assert each["metadata"]["ownerReferences"][0]["uid"] == "01234567-89"


def test_the_longest_name_of_a_job_leaves_room_for_it() -> None:
    longest = b.meta(name="j" * 50)
    assert all(len(each["metadata"]["name"]) <= 63 for each in made(seen(longest)).values())


def test_it_reads_as_those_may_who_write_what_it_reads() -> None:
    theirs = {"securityContext": {"runAsUser": 7}, "imagePullSecrets": [{"name": "s"}], "nodeSelector": {"x": "y"}}
    pod = made(seen(b.template(spec=theirs)))["Deployment"]["spec"]["template"]["spec"]
    assert (pod["securityContext"], pod["imagePullSecrets"]) == ({"runAsUser": 7}, [{"name": "s"}])
    assert "nodeSelector" not in pod


@pytest.mark.parametrize("mode", [SHARED, ONE_NODE, ONE_POD])
@pytest.mark.parametrize(
    ("life", "pods", "modes"),
    [
        (WAITS, (), {SHARED}),
        (RUNS, (WORKER,), {SHARED, ONE_NODE}),
        (OVER, (WORKER,), {SHARED}),
        (OVER, (replace(WORKER, phase="Succeeded"),), {SHARED, ONE_NODE, ONE_POD}),
    ],
)
def test_it_has_the_volume_only_when_that_is_in_nobodys_way(
    life: b.Modifier, pods: tuple[PodState, ...], modes: set[str], mode: str
) -> None:
    observed = seen(life, mode=mode, pods=pods)
    assert ("Deployment" in made(observed)) == (mode in modes)
    board = stands(seen(OVER, mode=mode))
    later = made(replace(observed, board=board)).get("Deployment", board.deployment)
    assert later is not None
    assert later["spec"]["replicas"] == int(mode in modes)


def test_with_a_claim_of_one_node_it_runs_where_the_worker_does_and_afterwards_anywhere() -> None:
    pod = made(seen(RUNS, mode=ONE_NODE, pods=(WORKER,)))["Deployment"]["spec"]["template"]["spec"]
    term = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"][0]
    assert term["matchFields"][0]["values"] == ["n7"]
    assert pod["tolerations"] == [{"key": "gpu", "operator": "Exists"}]
    pod = made(seen(OVER, mode=ONE_NODE))["Deployment"]["spec"]["template"]["spec"]
    assert "affinity" not in pod
    assert pod["tolerations"] == [{"key": "gpu", "operator": "Exists"}]


def test_nothing_is_done_when_all_is_as_it_should_be() -> None:
    observed = seen(RUNS)
    assert plan_tensorboard(replace(observed, board=stands(observed))) is None


def test_another_image_is_rolled_out() -> None:
    observed = seen(RUNS)
    newer = replace(observed, board=stands(observed), surroundings=Surroundings("trainer:2", "", ""))
    assert made(newer).keys() == {"Deployment"}


def test_switched_off_it_is_taken_away_and_nothing_is_said_of_it_any_more() -> None:
    board = stands(seen(RUNS))
    ready = b.status(tensorboard={"state": "Ready", "service": "a-tensorboard", "message": ""})
    observed = seen(RUNS, ready, b.spec(tensorboard=False), board=board)
    plan = plan_tensorboard(observed)
    assert plan is not None
    assert plan.delete == (
        Delete("a-tensorboard", "d", kind="Deployment"),
        Delete("a-tensorboard", "", kind="Service"),
    )
    assert said(observed) is None


def test_of_a_job_that_is_being_deleted_nothing_is_made_or_said() -> None:
    observed = seen(RUNS, b.meta(deletionTimestamp=BEGIN.isoformat()))
    assert plan_tensorboard(observed) is None
    assert told(Plan(), observed) == Plan()


def test_its_pod_on_a_lost_node_gives_up_the_volume() -> None:
    observed = seen(WAITS, mode=ONE_NODE, lost_nodes=frozenset({"n7"}))
    plan = plan_tensorboard(replace(observed, board=Board(pods=(SHOWER,))))
    assert plan is not None
    assert plan.delete == (Delete("a-tensorboard-x", "t", 0),)


def test_what_the_job_says_is_kept_and_what_is_said_already_is_not_said_again() -> None:
    observed = seen(RUNS)
    ready = replace(observed, board=stands(observed, readyReplicas=1))
    plan = told(Plan(status={"phase": "Running"}, urgent=False), ready)
    assert plan.status == {
        "phase": "Running",
        "tensorboard": {"state": "Ready", "service": "a-tensorboard", "message": ""},
    }
    assert plan.urgent
    known = seen(RUNS, b.status(tensorboard=plan.status["tensorboard"]), board=ready.board)
    assert told(Plan(), known) == Plan()


@pytest.mark.parametrize(
    ("observed", "state", "words"),
    [
        (seen(WAITS, mode=None), "Waiting", "claim 'results' does not exist"),
        (seen(WAITS, mode=ONE_NODE), "Waiting", "only while the worker runs"),
        (seen(RUNS, mode=ONE_POD, pods=(WORKER,)), "Waiting", "ReadWriteOncePod: it runs when the job is over"),
        (seen(RUNS), "Starting", ""),
        (seen(RUNS, board=Board(refusal="exceeded quota")), "Refused", "exceeded quota"),
        (seen(RUNS, b.spec(storage=None)), "Refused", "spec.tensorboard needs spec.storage"),
        (
            seen(RUNS, board=Board(pods=(replace(SHOWER, ready=False, unschedulable="no room"),))),
            "Starting",
            "no room",
        ),
        (seen(RUNS, board=Board(pods=(replace(SHOWER, ready=False, waiting="ContainerCreating"),))), "Starting", ""),
    ],
)
def test_the_status_says_where_it_stands(observed: Observed, state: str, words: str) -> None:
    found = said(observed)
    assert found is not None
    assert found["state"] == state
    assert words in found["message"]
    assert words or not found["message"]


def test_ready_with_a_claim_of_one_node_says_what_that_means() -> None:
    observed = seen(RUNS, mode=ONE_NODE, pods=(WORKER,))
    running = said(replace(observed, board=stands(observed, readyReplicas=1)))
    over = seen(OVER, mode=ONE_NODE)
    afterwards = said(replace(over, board=stands(over, readyReplicas=1)))
    assert running is not None
    assert afterwards is not None
    assert running["state"] == afterwards["state"] == "Ready"
    assert "on the worker's node" in running["message"]
    assert "holds it there until spec.tensorboard is false" in afterwards["message"]


def test_it_is_not_ready_before_the_deployment_was_looked_at_again() -> None:
    observed = seen(RUNS)
    board = stands(observed, readyReplicas=1)
    assert board.deployment is not None
    board.deployment["metadata"]["generation"] = 2
    found = said(replace(observed, board=board))
    assert found is not None
    assert found["state"] == "Starting"


def test_its_pod_is_seen_with_the_job_and_is_no_pod_of_the_gang() -> None:
    world, key = World(), Key("TrainingJob", "team", "a")
    owner = {"kind": "ReplicaSet", "name": "a-tensorboard-1", "uid": "r", "controller": True}
    meta = {
        "name": "a-tensorboard-1-x",
        "namespace": "team",
        "uid": "t",
        "labels": made(seen())["Deployment"]["spec"]["selector"]["matchLabels"],
        "ownerReferences": [owner],
    }
    pod = {"metadata": meta, "spec": {"nodeName": "n7", "containers": []}, "status": {"phase": "Running"}}
    assert world.observe("Pod", None, pod) == {key}
    assert [each.name for each in world.pods.boards("team", "a")] == ["a-tensorboard-1-x"]
    assert world.pods.of("r") == ()
    assert world.observe("Pod", pod, None) == {key}
    assert world.pods.boards("team", "a") == ()


def test_a_refusal_is_still_said_while_it_is_tried_again() -> None:
    refused = {"state": "Refused", "service": "a-tensorboard", "message": "exceeded quota"}
    observed = seen(RUNS, b.status(tensorboard=refused))
    assert told(Plan(), observed) == Plan()
    assert made(observed).keys() == {"Service", "Deployment"}


def test_no_other_state_can_be_written() -> None:
    with pytest.raises(ValidationError):
        TensorBoard.model_validate({"state": "Fine", "service": "a"})
