"""What happens to jobs when pods, nodes and the API server fail them."""

import json
from datetime import datetime

import pytest

from tests import builders as b
from tests.simulation.fake_nodes import Behaviour, annotated, node
from tests.simulation.operator_sim import CLOCK, Simulation
from trainyard.cluster.resources import NODES, PODS, QUEUES, TRAINING_JOBS, Object
from trainyard.metrics.definitions import FAILURES
from trainyard.scheduling.snapshot import Decision
from trainyard.workloads.keys import Key
from trainyard.workloads.known_nodes import LOST_SECONDS

pytestmark = pytest.mark.looptime


async def test_a_failed_worker_restarts_the_gang_and_the_cause_is_told() -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("a", b.workers(2), b.storage()))
        await sim.until(sim.is_("Running", "a"), 10)
        words = json.dumps({"exitCode": 1, "cause": "loss is not a number", "step": 7})
        sim.kubelet.finish("team", "a-worker-1-1", 1, words)
        await sim.until(lambda: sim.status("a")["attempt"] == 2 and sim.phase("a") == "Running", 20)
        status = sim.status("a")
        assert (status["restarts"], status["disruptions"]) == (1, 0)
        assert "a-worker-1-1 ended with exit code 1 (Error): loss is not a number" in status["lastRestart"]["cause"]
        assert status["lastRestart"]["step"] is None or status["progress"]["step"] == 7
        assert sim.names("a") == ["a-worker-0-2", "a-worker-1-2"]


@pytest.mark.fault(58)
async def test_the_job_says_which_pod_failed_first_as_what_and_what_helps() -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("a", b.workers(2), b.max_restarts(0)))
        await sim.until(sim.is_("Running", "a"), 10)
        sim.kubelet.finish("team", "a-worker-1-1", 1, "torch.OutOfMemoryError: CUDA out of memory")
        await sim.until(sim.is_("Failed", "a"), 20)
        failure = sim.status("a")["lastFailure"]
        assert (failure["class"], failure["role"], failure["index"], failure["exitCode"]) == (
            "OutOfMemory",
            "worker",
            1,
            1,
        )
        assert "batchSize" in failure["remedy"]
        assert sim.counted(FAILURES, "class") == {"OutOfMemory": 1}


@pytest.mark.fault(59, 60)
async def test_a_job_that_fails_the_same_way_at_the_same_step_is_not_restarted_for_ever() -> None:
    async with Simulation() as sim:
        rules = [{"action": "RestartUncounted", "exitCodes": [1, 2]}]
        sim.create(b.training_job("a", b.spec(restart={"maxRestarts": 50, "rules": rules})))
        for attempt, (code, step) in enumerate([(1, 7), (1, 7), (2, 7), (1, 7), (1, 8), (1, 8), (1, 8)], start=1):
            await sim.until(lambda: sim.names("a") != [] and sim.phase("a") == "Running", 60)
            words = json.dumps({"exitCode": code, "cause": "ValueError: label 10 is out of range", "step": step})
            sim.kubelet.finish("team", f"a-worker-0-{attempt}", code, words)
            await sim.rest(5)
        assert sim.phase("a") == "Failed"
        assert sim.status("a")["reason"] == "RepeatedFailure"
        assert "failed 3 times in a row in the same way (UserError) after step 8" in sim.message("a", "Failed")
        assert sim.status("a")["lastFailure"]["times"] == 3


async def test_a_network_that_fails_again_and_again_is_no_reason_to_give_up() -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("a", b.max_restarts(5)))
        for attempt in range(1, 5):
            await sim.until(lambda: sim.names("a") != [] and sim.phase("a") == "Running", 60)
            words = json.dumps({"exitCode": 1, "cause": "NCCL: connection reset by peer", "step": 7})
            sim.kubelet.finish("team", f"a-worker-0-{attempt}", 1, words)
            await sim.rest(5)
        await sim.until(lambda: sim.phase("a") == "Running", 60)
        assert sim.status("a")["restarts"] == 4


async def test_rules_decide_what_follows_and_whom_nobody_misses() -> None:
    async with Simulation() as sim:
        rules = [
            {"action": "Ignore", "roles": ["eval"], "exitCodes": [1]},
            {"action": "Fail", "exitCodes": [9]},
            {"action": "RestartUncounted", "classes": ["Network"]},
        ]
        with_rules = b.spec(restart={"maxRestarts": 0, "rules": rules[1:]})
        evaluated = b.spec(restart={"maxRestarts": 0, "rules": rules})
        sim.create(b.training_job("a", b.runs(40), b.role("eval", seconds=5, code=1), evaluated))
        sim.create(b.training_job("b", b.runs(4, code=9), with_rules))
        sim.create(b.training_job("c", with_rules))
        await sim.until(sim.is_("Failed", "b"), 20)
        assert "spec.restart.rules say Fail" in sim.message("b", "Failed")
        await sim.until(sim.is_("Running", "c"), 20)
        sim.kubelet.finish("team", "c-worker-0-1", 1, "NCCL: connection reset by peer")
        await sim.until(lambda: sim.status("c")["attempt"] == 2 and sim.phase("c") == "Running", 30)
        assert (sim.status("c")["restarts"], sim.status("c")["disruptions"]) == (1, 1)
        await sim.until(sim.is_("Complete", "a"), 60)
        assert sim.status("a")["restarts"] == 0


@pytest.mark.fault(59, 60)
async def test_more_failures_than_allowed_fail_the_job() -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("a", b.runs(2, code=3), b.max_restarts(2)))
        await sim.until(sim.is_("Failed", "a"), 60)
        assert sim.status("a")["restarts"] == 2
        assert sim.status("a")["reason"] == "RestartLimitExceeded"
        assert len(sim.names("a", alive=False)) == 3
        await sim.rest(30)
        assert sim.names("a") == []


@pytest.mark.parametrize("code", [64, 65])
async def test_a_terminal_exit_code_fails_at_once(code: int) -> None:
    async with Simulation() as sim:
        words = json.dumps({"cause": "unknown model 'cnm'; there are: linear, mlp, cnn"})
        sim.kubelet.behave = lambda pod: (
            Behaviour(run=2, exit_code=code, message=words) if "worker-1" in pod["metadata"]["name"] else annotated(pod)
        )
        sim.create(b.training_job("a", b.workers(2)))
        await sim.until(sim.is_("Failed", "a"), 20)
        await sim.until(lambda: sim.names("a") == [], 20)
        assert sim.status("a")["restarts"] == 0
        assert "there are: linear, mlp, cnn" in sim.message("a", "Failed")


@pytest.mark.fault(81)
async def test_termination_messages_that_are_no_report_of_ours_do_no_harm() -> None:
    async with Simulation() as sim:
        texts = ['{"step": "many", "checkpoint": {"step": 1}}', '{"metrics": [1], "step": -3}', '{"checkpoint": 5}']
        texts += [
            '{"metrics": {"accuracy": null}, "step": 4}',
            '{"result": {"path": 1}}',
            "[]",
            "\x00",
            '{"step": NaN}',
        ]
        texts += ['{"firstStepAt": "yesterday"}', '{"step": 3, "loss": "high", "warning": {}}']
        for number, text in enumerate(texts):
            sim.create(b.training_job(f"j{number}", b.runs(2, message=text), b.storage()))
        await sim.until(sim.is_("Complete", *(f"j{number}" for number in range(len(texts)))), 60)


@pytest.mark.fault(61)
async def test_a_deleted_worker_restarts_the_gang_without_counting_as_a_failure() -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("a", b.workers(2), b.max_restarts(0)))
        await sim.until(sim.is_("Running", "a"), 10)
        await sim.delete(PODS, "a-worker-0-1")
        await sim.until(lambda: sim.status("a")["attempt"] == 2 and sim.phase("a") == "Running", 20)
        assert (sim.status("a")["restarts"], sim.status("a")["disruptions"]) == (1, 1)
        assert "deleted by somebody else" in sim.status("a")["lastRestart"]["cause"]


@pytest.mark.fault(42)
async def test_a_job_on_a_lost_node_goes_on_elsewhere() -> None:
    async with Simulation(nodes=6, gpus=1) as sim:
        sim.create(b.training_job("a", b.workers(2)))
        await sim.until(sim.is_("Running", "a"), 10)
        lost = sim.nodes("a")[0]
        sim.stop_node(lost)
        at = CLOCK.monotonic()
        await sim.until(lambda: sim.status("a")["attempt"] == 2 and sim.phase("a") == "Running", 60)
        assert CLOCK.monotonic() - at < 30
        assert lost not in sim.nodes("a")
        assert sim.status("a")["disruptions"] == 1
        assert f"node {lost}" in sim.status("a")["lastRestart"]["cause"]


async def test_a_gang_that_lost_a_node_keeps_the_rest_of_its_place_though_others_wait() -> None:
    async with Simulation(nodes=5, gpus=4, quota=20) as sim:
        sim.change(QUEUES, "research", None, preemption={"withinQueue": "Never"})
        sim.create(b.training_job("a", b.workers(3), b.gpus(4)))
        await sim.until(sim.is_("Running", "a"), 10)
        sim.create(b.training_job("b", b.workers(3), b.gpus(4), b.priority(5)), b.training_job("c", b.gpus(4)))
        await sim.until(sim.is_("Running", "c"), 10)
        before, uids = sim.nodes("a"), [pod["metadata"]["uid"] for pod in sim.pods("a")]
        sim.stop_node(before[1])
        await sim.until(lambda: sim.status("a")["restarts"] == 1 and sim.phase("a") == "Running", 60)
        after = sim.nodes("a")
        # The others were not touched: their programs start again when the new pod is there.
        assert sim.status("a")["attempt"] == 1
        assert [pod["metadata"]["uid"] in uids for pod in sim.pods("a")] == [True, False, True]
        assert [after[0], after[2]] == [before[0], before[2]]
        assert after[1] not in before
        assert sim.pods("b") == []
        assert "NodeLost" in sim.events("a")
        assert sim.status("a")["disruptions"] == 1


async def test_the_pod_of_a_lost_node_is_replaced_though_nobody_waits() -> None:
    async with Simulation(nodes=3, gpus=1, quota=3) as sim:
        sim.create(b.training_job("a", b.workers(2), b.gpus(1)))
        await sim.until(sim.is_("Running", "a"), 10)
        before = sim.nodes("a")
        sim.stop_node(before[1])
        await sim.until(lambda: sim.status("a")["restarts"] == 1 and sim.phase("a") == "Running", 60)
        assert sim.status("a")["attempt"] == 1
        assert sim.nodes("a")[0] == before[0]
        assert sim.nodes("a")[1] not in before


async def test_a_worker_that_somebody_deleted_by_force_is_replaced_alone() -> None:
    async with Simulation(nodes=3, gpus=4) as sim:
        sim.create(b.training_job("a", b.workers(3), b.gpus(4)))
        await sim.until(sim.is_("Running", "a"), 10)
        before = [pod["metadata"]["uid"] for pod in sim.pods("a")]
        sim.api.remove(PODS, "team", "a-worker-2-1")
        await sim.until(lambda: sim.status("a")["restarts"] == 1 and sim.phase("a") == "Running", 30)
        assert [pod["metadata"]["uid"] in before for pod in sim.pods("a")] == [True, True, False]
        assert (sim.status("a")["attempt"], sim.status("a")["disruptions"]) == (1, 1)
        assert "PodReplaced" in sim.events("a")


async def test_a_gang_without_another_node_for_a_lost_pod_is_placed_anew() -> None:
    async with Simulation(nodes=3, gpus=4) as sim:
        sim.create(b.training_job("a", b.workers(3), b.gpus(4)))
        await sim.until(sim.is_("Running", "a"), 10)
        sim.stop_node(sim.nodes("a")[2])
        await sim.until(lambda: sim.status("a").get("admission") is None, 90)
        assert sim.status("a")["attempt"] == 2
        await sim.until(lambda: sim.pods("a") == [], 10)


async def test_a_gang_that_lost_a_node_and_finds_no_other_gives_its_place_back_and_waits() -> None:
    async with Simulation(nodes=3, gpus=4) as sim:
        sim.create(b.training_job("a", b.workers(3), b.gpus(4)))
        await sim.until(sim.is_("Running", "a"), 10)
        lost = sim.nodes("a")[0]
        sim.stop_node(lost)
        await sim.until(lambda: sim.status("a").get("admission") is None, 60)
        sim.create(b.training_job("small", b.gpus(4)))
        await sim.until(sim.is_("Running", "small"), 20)
        assert sim.pods("a") == []
        assert sim.status("a")["attempt"] == 2


@pytest.mark.fault(42)
async def test_a_job_that_lost_a_node_goes_on_where_it_is_when_the_node_is_back_in_time() -> None:
    async with Simulation(nodes=2, gpus=4) as sim:
        sim.create(b.training_job("a", b.workers(2), b.gpus(4)))
        await sim.until(sim.is_("Running", "a"), 10)
        before = sim.nodes("a")
        sim.stop_node(before[0])
        await sim.until(lambda: sim.status("a")["attempt"] == 2, 60)
        sim.kubelet.start_node(before[0])
        await sim.until(sim.is_("Running", "a"), 60)
        assert sim.nodes("a") == before
        assert sim.status("a")["attempt"] == 2


async def test_an_operator_that_starts_anew_mends_a_place_too() -> None:
    async with Simulation(nodes=4, gpus=4) as sim:
        sim.create(b.training_job("a", b.workers(3), b.gpus(4)))
        await sim.until(sim.is_("Running", "a"), 10)
        before = sim.nodes("a")
        sim.stop_node(before[2])
        await sim.until(lambda: sim.status("a")["restarts"] == 1, 60)
        await sim.restart()
        await sim.until(sim.is_("Running", "a"), 60)
        assert sim.nodes("a")[:2] == before[:2]
        assert sim.nodes("a")[2] not in before


async def test_a_cycle_looks_as_soon_as_a_node_counts_as_lost_though_no_status_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with Simulation(nodes=2, gpus=1) as sim:
        sim.create(b.training_job("a"))
        await sim.until(lambda: sim.status("a").get("admission"), 10, step=0.01)
        (role,) = sim.status("a")["admission"]["roles"]
        scheduler, looked = sim.process.app.scheduler, list[float]()
        cycle = scheduler.cycle

        async def noted() -> list[Decision]:
            looked.append(CLOCK.monotonic() - silent)
            return await cycle()

        monkeypatch.setattr(scheduler, "cycle", noted)
        sim.stop_node(role["prefix"] + role["runs"][0]["node"])
        silent = CLOCK.monotonic()
        await sim.rest(LOST_SECONDS + 2)
        assert any(LOST_SECONDS <= each < LOST_SECONDS + 1 for each in looked), looked


async def test_a_lost_node_is_noticed_also_when_a_report_had_set_an_earlier_time_to_look() -> None:
    async with Simulation(nodes=6, gpus=1) as sim:
        sim.create(b.training_job("a"))
        await sim.until(sim.is_("Running", "a"), 10)
        sim.process.app.look_in(Key("TrainingJob", b.NAMESPACE, "a"), 5)
        sim.stop_node(sim.nodes("a")[0])
        await sim.until(lambda: sim.status("a")["disruptions"] == 1, 40)


@pytest.mark.fault(42)
async def test_a_job_on_a_deleted_node_goes_on_elsewhere() -> None:
    async with Simulation(nodes=3, gpus=1) as sim:
        sim.create(b.training_job("a"))
        await sim.until(sim.is_("Running", "a"), 10)
        lost = sim.nodes("a")[0]
        sim.kubelet.down.add(lost)
        sim.api.remove(NODES, None, lost)
        await sim.until(lambda: sim.status("a")["attempt"] == 2 and sim.phase("a") == "Running", 60)
        assert lost not in sim.nodes("a")


@pytest.mark.fault(41)
async def test_a_node_that_blinks_disturbs_nobody() -> None:
    async with Simulation(nodes=6, gpus=1) as sim:
        sim.create(b.training_job("a"))
        await sim.until(sim.is_("Running", "a"), 10)
        sim.stop_node(sim.nodes("a")[0])
        await sim.rest(3)
        sim.kubelet.start_node(sim.nodes("a")[0])
        await sim.rest(60)
        assert (sim.status("a")["attempt"], sim.phase("a")) == (1, "Running")


@pytest.mark.fault(45)
async def test_when_many_nodes_fall_silent_together_nothing_is_touched() -> None:
    async with Simulation(nodes=6, gpus=1) as sim:
        for number in range(4):
            sim.create(b.training_job(f"j{number}"))
        await sim.until(sim.is_("Running", *(f"j{number}" for number in range(4))), 10)
        for number in range(2):
            sim.stop_node(sim.nodes(f"j{number}")[0])
        await sim.rest(300)
        assert [sim.status(f"j{number}")["attempt"] for number in range(4)] == [1, 1, 1, 1]
        assert sim.writes(PODS) == [each for each in sim.writes(PODS) if each.verb == "create"]


@pytest.mark.fault(43)
async def test_a_pod_that_is_not_bound_is_placed_elsewhere_and_the_place_in_the_queue_is_kept() -> None:
    async with Simulation(nodes=2, gpus=2) as sim:
        sim.create(b.training_job("a", b.gpus(2)))
        sim.api.edit(NODES, None, "n0", lambda obj: obj["metadata"].update(annotations={"x": "y"}))
        sim.binder.paused = True
        await sim.until(lambda: sim.names("a"), 10)
        chosen = sim.status("a")["admission"]["roles"][0]["prefix"]
        at = datetime.fromisoformat(sim.pods("a")[0]["metadata"]["creationTimestamp"])
        sim.api.edit(NODES, None, chosen, lambda obj: obj["spec"].update(unschedulable=True))
        sim.binder.paused = False
        sim.binder.bind_all()
        await sim.until(lambda: sim.status("a")["attempt"] == 2, 40)
        assert 29 <= (CLOCK.now() - at).total_seconds() <= 33
        sim.create(b.training_job("later", b.gpus(2)))
        await sim.until(sim.is_("Running", "a"), 10)
        assert chosen not in sim.nodes("a")
        assert sim.status("a")["avoid"][0]["name"] == chosen
        assert sim.status("a")["restarts"] == 0
        assert "AttemptUndone" in sim.events("a")


@pytest.mark.fault(18)
@pytest.mark.parametrize("count", [1, 2])
async def test_a_pod_refused_for_good_gives_the_place_back_with_the_servers_words(count: int) -> None:
    async with Simulation(nodes=1, gpus=2) as sim:
        refusing = sim.refuse_pods('pods "x" is forbidden: exceeded quota: compute')
        sim.create(b.training_job("a", b.workers(count), b.gpus(2 // count)))
        await sim.until(lambda: sim.status("a").get("reason") == "Misconfigured", 30)
        assert "exceeded quota: compute" in sim.message("a")
        assert sim.status("a")["admission"] is None
        assert sim.names("a") == []
        await sim.rest(20)
        attempts = sim.status("a")["attempt"]
        await sim.rest(20)
        assert sim.status("a")["attempt"] == attempts
        refusing.clear()
        await sim.until(sim.is_("Running", "a"), 120)


@pytest.mark.fault(18)
async def test_a_job_whose_pods_are_refused_keeps_nobody_else_waiting() -> None:
    async with Simulation(nodes=1, gpus=2) as sim:
        refusing = sim.refuse_pods("violates PodSecurity")
        sim.create(b.training_job("a", b.gpus(2)))
        await sim.until(lambda: sim.status("a").get("reason") == "Misconfigured", 30)
        refusing.clear()
        sim.create(b.training_job("b", b.gpus(2), b.annotated(other="template")))
        await sim.until(sim.is_("Running", "b"), 10)


async def test_a_pod_of_somebody_else_with_the_same_name_is_left_alone() -> None:
    async with Simulation() as sim:
        theirs: Object = {
            "metadata": {"name": "a-worker-0-1", "namespace": "team"},
            "spec": {"containers": []},
            "status": {},
        }
        uid = sim.api.put(PODS, theirs)["metadata"]["uid"]
        sim.create(b.training_job("a"))
        await sim.until(lambda: "belongs to somebody else" in str(sim.status("a").get("conditions")), 30)
        await sim.until(sim.is_("Running", "a"), 120)
        there = sim.api.get(PODS, "team", "a-worker-0-1")
        assert there is not None
        assert there["metadata"]["uid"] == uid


async def test_a_node_that_turns_a_pod_away_is_avoided() -> None:
    async with Simulation(nodes=2, gpus=1) as sim:
        sim.kubelet.behave = lambda _pod: Behaviour(start=1000)
        sim.create(b.training_job("a"))
        await sim.until(lambda: sim.nodes("a") not in ([], [""]), 10)
        first = sim.nodes("a")[0]
        refused = {"phase": "Failed", "reason": "UnexpectedAdmissionError", "message": "no device"}
        sim.kubelet.behave = annotated
        sim.api.edit(PODS, "team", "a-worker-0-1", lambda obj: obj["status"].update(refused))
        await sim.until(sim.is_("Running", "a"), 20)
        assert sim.nodes("a") != [first]
        assert sim.status("a")["restarts"] == 0


@pytest.mark.fault(66)
async def test_a_gang_that_does_not_start_in_time_gives_its_place_back() -> None:
    async with Simulation(nodes=1, gpus=2) as sim:
        sim.kubelet.behave = lambda pod: Behaviour(start=10_000 if "worker-1-1" in pod["metadata"]["name"] else 1)
        sim.create(b.training_job("a", b.workers(2), b.spec(startDeadlineSeconds=60)))
        await sim.until(lambda: sim.status("a").get("attempt") == 2, 90)
        assert "startDeadlineSeconds=60" in str(sim.status("a")["conditions"])
        sim.create(b.training_job("b", b.gpus(2)))
        await sim.until(sim.is_("Running", "b"), 30)


async def test_a_node_that_came_back_is_used_again() -> None:
    async with Simulation(nodes=1, gpus=1) as sim:
        sim.create(b.training_job("a"))
        await sim.until(sim.is_("Running", "a"), 10)
        sim.stop_node("n0")
        await sim.rest(40)
        sim.api.put(NODES, node("n9", 1))
        await sim.until(sim.is_("Running", "a"), 60)
        assert sim.nodes("a") == ["n9"]


async def test_a_job_deleted_while_it_waits_leaves_nothing() -> None:
    async with Simulation(nodes=1, gpus=1) as sim:
        sim.create(b.training_job("a"), b.training_job("b"))
        await sim.until(lambda: {sim.phase("a"), sim.phase("b")} == {"Running", "Pending"}, 10)
        waiting = "a" if sim.phase("a") == "Pending" else "b"
        await sim.delete(TRAINING_JOBS, waiting)
        await sim.rest(20)
        assert sim.names(waiting, alive=False) == []
