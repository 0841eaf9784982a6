"""The life of TrainingJobs, with the whole operator on a cluster in memory."""

from datetime import datetime

import pytest

from tests import builders as b
from tests.simulation.fake_faults import Request
from tests.simulation.operator_sim import CLOCK, Simulation
from trainyard.api.names import GPU
from trainyard.cluster.resources import CLAIMS, EVENTS, FLAVORS, NAMESPACES, PODS, QUEUES, SERVICES, TRAINING_JOBS
from trainyard.workloads.keys import Key

pytestmark = pytest.mark.looptime


async def test_a_job_trains_and_completes() -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("a", b.workers(2), b.gpus(4), b.storage(), b.runs(20)))
        await sim.until(sim.is_("Running", "a"), 10)
        assert sim.names("a") == ["a-worker-0-1", "a-worker-1-1"]
        assert sim.api.get(SERVICES, "team", "a-workers") is not None
        await sim.until(sim.is_("Complete", "a"), 40)
        assert sim.status("a")["workers"]["succeeded"] == 2
        await sim.rest(2)
        assert sim.events("a") == ["Admitted", "Running", "Completed"]


async def test_files_of_other_jobs_that_its_program_touches_are_told_on_the_job_and_of_one_that_is_gone_nothing_is() -> (
    None
):
    async with Simulation() as sim:
        sim.create(b.training_job("a", b.storage(), b.runs(60)))
        await sim.until(sim.is_("Running", "a"), 10)
        sim.process.app.strayed(Key("TrainingJob", "team", "a"), "pod a-worker-0-1: b-0a1b2c3d/log")
        sim.process.app.strayed(Key("TrainingJob", "team", "gone"), "pod gone-worker-0-1: b-0a1b2c3d/log")
        await sim.until(lambda: "Strayed" in sim.events("a"), 10)
        (told,) = [each for each in sim.api.all(EVENTS) if each["reason"] == "Strayed"]
        assert (told["type"], told["message"]) == ("Warning", "pod a-worker-0-1: b-0a1b2c3d/log")


@pytest.mark.fault(78)
async def test_a_gang_starts_with_all_its_pods_or_with_none() -> None:
    async with Simulation(nodes=2, gpus=4) as sim:
        sim.create(b.training_job("first", b.gpus(4), b.runs(60)))
        await sim.until(sim.is_("Running", "first"), 10)
        sim.create(b.training_job("gang", b.workers(2), b.gpus(4)))
        await sim.until(sim.is_("Pending", "gang"), 10)
        await sim.rest(20)
        assert sim.pods("gang") == []
        assert "4 must be given back" in sim.message("gang")
        await sim.until(sim.is_("Running", "gang"), 60)
        assert sorted(sim.nodes("gang")) == ["n0", "n1"]


async def test_all_roles_start_together_and_the_rest_is_stopped_when_the_workers_are_done() -> None:
    async with Simulation(nodes=2, gpus=4) as sim:
        sim.create(b.training_job("first", b.gpus(4), b.runs(30)))
        await sim.until(sim.is_("Running", "first"), 10)
        sim.create(b.training_job("gang", b.workers(2), b.gpus(2), b.runs(60), b.role("ps", 2, gpu=1), b.role("eval")))
        await sim.until(sim.is_("Pending", "gang"), 10)
        await sim.rest(10)
        assert sim.pods("gang") == []
        assert sim.status("gang")["gpus"] == 6
        await sim.until(sim.is_("Running", "gang"), 40)
        assert sim.names("gang") == [
            "gang-eval-0-1",
            "gang-ps-0-1",
            "gang-ps-1-1",
            "gang-worker-0-1",
            "gang-worker-1-1",
        ]
        ready = next(each for each in sim.status("gang")["conditions"] if each["type"] == "Ready")
        assert ready["message"] == "all 5 pods run"
        await sim.until(sim.is_("Complete", "gang"), 80)
        assert sim.status("gang")["workers"]["succeeded"] == 2
        await sim.rest(10)
        left = [pod["metadata"]["name"] for pod in sim.pods("gang") if pod["status"]["phase"] == "Running"]
        assert left == []


async def test_a_role_that_is_done_early_holds_up_nobody_and_one_that_fails_restarts_the_gang() -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("early", b.runs(30), b.role("loader", seconds=5)))
        sim.create(b.training_job("broken", b.runs(60), b.role("eval", seconds=8, code=1), b.max_restarts(1)))
        await sim.until(sim.is_("Complete", "early"), 60)
        assert sim.status("early")["restarts"] == 0
        await sim.until(sim.is_("Failed", "broken"), 90)
        assert sim.status("broken")["restarts"] == 1
        assert "broken-eval-0-2 ended with exit code 1" in sim.message("broken", "Failed")


async def test_a_small_job_passes_a_large_one_that_cannot_start() -> None:
    async with Simulation(nodes=1, gpus=4) as sim:
        sim.create(b.training_job("running", b.gpus(2)))
        await sim.until(sim.is_("Running", "running"), 10)
        sim.create(b.training_job("large", b.gpus(4)))
        sim.create(b.training_job("small", b.gpus(1)))
        await sim.until(sim.is_("Running", "small"), 10)
        assert sim.phase("large") == "Pending"


async def test_a_waiting_jobs_position_is_true_within_half_a_minute() -> None:
    async with Simulation(nodes=1, gpus=8) as sim:
        sim.create(
            b.training_job("all", b.gpus(8)), b.training_job("first", b.gpus(8)), b.training_job("second", b.gpus(8))
        )
        await sim.until(lambda: sim.status("second")["queuePosition"] == 2, 40)
        await sim.delete(TRAINING_JOBS, "first")
        await sim.until(lambda: sim.status("second")["queuePosition"] == 1, 35)


async def test_each_queue_has_its_own_quota() -> None:
    async with Simulation(nodes=2, gpus=8, quota=4) as sim:
        sim.create(b.a_queue("prod", gpus=8))
        sim.create(b.training_job("a", b.gpus(4)), b.training_job("b", b.gpus(4)))
        sim.create(b.training_job("c", b.gpus(4), b.queue("prod")), b.training_job("d", b.gpus(4), b.queue("prod")))
        await sim.until(sim.is_("Running", "a", "c", "d"), 15)
        assert sim.phase("b") == "Pending"
        assert "team/a 4" in sim.message("b")
        await sim.rest(35)
        use = sim.api.get(QUEUES, None, "research")
        assert use is not None
        assert use["status"]["use"][0]["used"] == "4"
        assert (use["status"]["admitted"], use["status"]["pending"]) == (1, 1)


async def test_the_higher_priority_starts_first() -> None:
    async with Simulation(nodes=1, gpus=1) as sim:
        sim.create(b.training_job("running", b.runs(20)))
        await sim.until(sim.is_("Running", "running"), 10)
        sim.create(b.training_job("early"))
        await sim.rest(2)
        sim.create(b.training_job("urgent", b.priority(5)))
        await sim.until(sim.is_("Running", "urgent"), 60)
        assert sim.phase("early") == "Pending"
        assert sim.status("early")["queuePosition"] == 1


async def test_suspend_gives_the_gpus_back_and_resume_goes_on_with_a_new_attempt() -> None:
    async with Simulation(nodes=1, gpus=2) as sim:
        sim.create(b.training_job("a", b.gpus(2)), b.training_job("b", b.gpus(2), b.priority(-1)))
        await sim.until(sim.is_("Running", "a"), 10)
        sim.change(TRAINING_JOBS, "a", suspend=True)
        await sim.until(sim.is_("Suspended", "a"), 10)
        assert sim.pods("a") == []
        await sim.until(sim.is_("Running", "b"), 10)
        sim.change(TRAINING_JOBS, "a", suspend=False)
        await sim.until(sim.is_("Pending", "a"), 20)
        await sim.delete(TRAINING_JOBS, "b")
        await sim.until(sim.is_("Running", "a"), 20)
        assert sim.names("a") == ["a-worker-0-2"]
        suspended = next(each for each in sim.status("a")["conditions"] if each["type"] == "Suspended")
        assert suspended["status"] == "False"
        assert sim.status("a")["restarts"] == 0


async def test_a_job_born_suspended_waits_and_holds_nothing() -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("a", b.suspended()))
        await sim.until(sim.is_("Suspended", "a"), 10)
        await sim.rest(20)
        assert sim.pods("a") == []
        sim.change(TRAINING_JOBS, "a", suspend=False)
        await sim.until(sim.is_("Running", "a"), 20)
        assert sim.status("a")["attempt"] == 1


async def test_a_finished_job_goes_after_its_time_to_live() -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("a", b.runs(5), b.ttl(100)), b.training_job("kept", b.runs(5)))
        await sim.until(sim.is_("Complete", "a", "kept"), 30)
        await sim.rest(90)
        assert sim.phase("a") == "Complete"
        await sim.rest(20)
        assert sim.api.get(TRAINING_JOBS, "team", "a") is None
        assert sim.phase("kept") == "Complete"
        assert sim.names("a", alive=False) == []


@pytest.mark.fault(32)
async def test_the_quota_of_a_deleted_job_is_free_only_when_its_pods_are_gone() -> None:
    async with Simulation(nodes=2, gpus=2, quota=2) as sim:
        sim.create(b.training_job("a", b.gpus(2)))
        await sim.until(sim.is_("Running", "a"), 10)
        sim.kubelet.stop_node("n0")  # its pod will not end
        sim.kubelet.stop_node("n1") if sim.nodes("a") == ["n1"] else None
        sim.create(b.training_job("b", b.gpus(2)))
        await sim.delete(TRAINING_JOBS, "a")
        await sim.rest(40)
        assert sim.phase("b") == "Pending"
        assert "(ending) 2" in sim.message("b")
        sim.kubelet.start_node("n0")
        await sim.until(sim.is_("Running", "b"), 20)


@pytest.mark.fault(33)
async def test_a_job_created_anew_under_its_old_name_starts_afresh() -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("a", b.workers(2), b.gpus(1)))
        await sim.until(sim.is_("Running", "a"), 10)
        old = sim.job("a")["metadata"]["uid"]
        await sim.delete(TRAINING_JOBS, "a")
        sim.create(b.training_job("a", b.workers(2), b.gpus(1)))
        await sim.until(sim.is_("Running", "a"), 30)
        assert sim.job("a")["metadata"]["uid"] != old
        assert sim.status("a")["attempt"] == 1
        owners = {owner["uid"] for pod in sim.pods("a") for owner in pod["metadata"]["ownerReferences"]}
        assert owners == {sim.job("a")["metadata"]["uid"]}


async def test_two_jobs_of_one_name_in_two_namespaces_are_two_jobs() -> None:
    async with Simulation() as sim:
        sim.api.put(NAMESPACES, b.a_namespace("other", team="research"))
        sim.create(b.training_job("a", b.runs(10)), b.training_job("a", b.namespace("other"), b.workers(2), b.gpus(1)))
        await sim.until(lambda: sim.phase("a") == "Complete" and sim.phase("a", "other") == "Running", 40)
        await sim.rest(5)
        assert len(sim.pods("a", "other")) == 2


async def test_a_retained_claim_outlives_its_job_and_is_used_again() -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("a", b.own_claim(), b.runs(3)), b.training_job("b", b.own_claim(reclaim="Delete")))
        await sim.until(lambda: sim.phase("a") == "Complete" and sim.phase("b") == "Running", 20)
        await sim.delete(TRAINING_JOBS, "a")
        await sim.delete(TRAINING_JOBS, "b")
        await sim.rest(5)
        assert sim.api.get(CLAIMS, "team", "a") is not None
        assert sim.api.get(CLAIMS, "team", "b") is None
        sim.create(b.training_job("a", b.own_claim(), b.runs(3)))
        await sim.until(sim.is_("Complete", "a"), 20)


async def test_somebody_elses_pods_are_counted_and_named() -> None:
    async with Simulation(nodes=1, gpus=4) as sim:
        sim.foreign_pod("notebook", "n0", 2)
        sim.create(b.training_job("a", b.gpus(4)))
        await sim.until(sim.is_("Pending", "a"), 10)
        assert "elsewhere/notebook (nvidia.com/gpu=2 on n0)" in sim.message("a")
        assert sim.status("a")["reason"] == "TopologyPlacementFailed"
        sim.api.remove(PODS, "elsewhere", "notebook")
        await sim.until(sim.is_("Running", "a"), 10)


@pytest.mark.fault(76)
async def test_a_job_too_large_for_its_queue_is_told_so_at_once() -> None:
    async with Simulation(nodes=1, gpus=4) as sim:
        sim.create(b.training_job("a", b.workers(2), b.gpus(4)))
        await sim.until(sim.is_("Pending", "a"), 10)
        assert sim.status("a")["reason"] == "ExceedsMaxQuota"
        assert "asks 8, the queue can hold at most 4" in sim.message("a")


async def test_a_queue_on_hold_admits_nothing_and_what_runs_goes_on() -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("running"))
        await sim.until(sim.is_("Running", "running"), 10)
        sim.change(QUEUES, "research", None, stopPolicy="Hold")
        await sim.rest(1)
        sim.create(b.training_job("held"))
        await sim.rest(20)
        assert (sim.phase("held"), sim.status("held")["reason"]) == ("Pending", "OnHold")
        assert sim.phase("running") == "Running"
        sim.change(QUEUES, "research", None, stopPolicy="None")
        await sim.until(sim.is_("Running", "held"), 10)


async def test_a_queue_closed_to_the_namespace_says_so() -> None:
    async with Simulation() as sim:
        sim.create(b.a_queue("prod", b.open_to(team="prod")))
        sim.create(b.training_job("a", b.queue("prod")))
        await sim.until(sim.is_("Pending", "a"), 10)
        assert "Queue 'prod' does not admit namespace 'team'" in sim.message("a")
        sim.api.edit(NAMESPACES, None, "team", lambda obj: obj["metadata"].update(labels={"team": "prod"}))
        await sim.until(sim.is_("Running", "a"), 10)


async def test_an_unknown_queue_is_named_with_those_that_exist() -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("a", b.queue("reserch")))
        await sim.until(sim.is_("Pending", "a"), 10)
        assert "there is no Queue 'reserch'; there are: research" in sim.message("a")
        sim.create(b.a_queue("reserch"))
        await sim.until(sim.is_("Running", "a"), 10)


async def test_several_workers_need_a_shared_claim() -> None:
    async with Simulation() as sim:
        sim.create(b.a_claim("single", "ReadWriteOnce"))
        sim.create(b.training_job("gang", b.workers(2), b.storage("single")))
        sim.create(b.training_job("one", b.storage("single")), b.training_job("lost", b.storage("nowhere")))
        await sim.until(sim.is_("Running", "one"), 10)
        await sim.until(sim.is_("Pending", "gang", "lost"), 10)
        assert "2 workers need a claim with ReadWriteMany; this one has ReadWriteOnce" in sim.message("gang")
        assert "there is no PersistentVolumeClaim 'nowhere'" in sim.message("lost")
        sim.create(b.a_claim("nowhere"))
        await sim.until(sim.is_("Running", "lost"), 20)


async def test_a_waiting_job_is_told_when_it_starts_and_what_would_start_it_now() -> None:
    async with Simulation(nodes=1, gpus=8) as sim:
        sim.create(b.training_job("running", b.gpus(6), b.runs(300)))
        await sim.until(sim.is_("Running", "running"), 10)
        sim.create(b.training_job("waiting", b.gpus(4)))
        await sim.until(lambda: sim.status("waiting").get("remedies"), 40)
        changes = [each["change"] for each in sim.status("waiting")["remedies"]]
        assert "spec.workers.resources.limits[nvidia.com/gpu]=2" in changes
        band = sim.status("waiting")["eta"]
        assert band["earliest"] <= band["likely"] <= band["latest"]
        await sim.until(sim.is_("Running", "waiting"), 400)
        assert "eta" not in sim.status("waiting") or sim.status("waiting")["eta"] is None
        assert not sim.status("waiting")["remedies"]


async def test_who_waits_longer_than_was_foretold_is_told_another_time() -> None:
    async with Simulation(nodes=1, gpus=8) as sim:
        sim.create(b.training_job("running", b.gpus(8)))
        await sim.until(sim.is_("Running", "running"), 10)
        sim.create(b.training_job("waiting", b.gpus(8)))
        await sim.until(lambda: sim.status("waiting").get("eta"), 60)
        for _ in range(3):
            likely = datetime.fromisoformat(sim.status("waiting")["eta"]["likely"])
            await sim.rest((likely - CLOCK.now()).total_seconds() + 45)
            assert datetime.fromisoformat(sim.status("waiting")["eta"]["likely"]) > CLOCK.now()


async def test_a_template_is_refused_although_a_cycle_ran_while_the_api_server_was_asked() -> None:
    async with Simulation(nodes=1, gpus=8) as sim:

        def asked(request: Request) -> bool:
            if request.resource != PODS or "dryRun" not in request.query:
                return False
            sim.process.app.picture()
            return True

        sim.api.faults.fail(asked, 422, times=None, reason="Invalid", message="no such field")
        sim.create(b.training_job("gang", b.workers(2), b.gpus(1)))
        await sim.until(lambda: sim.is_("Pending", "gang")() and "no such field" in sim.message("gang"), 5)


async def test_how_long_jobs_run_is_learned_from_those_that_ended() -> None:
    async with Simulation(nodes=1, gpus=8) as sim:
        sim.create(*(b.training_job(f"early-{number}", b.gpus(1), b.runs(60)) for number in range(24)))
        await sim.until(sim.is_("Complete", *(f"early-{number}" for number in range(24))), 600)
        sim.create(b.training_job("late", b.gpus(1), b.runs(60)))
        await sim.until(sim.is_("Running", "late"), 10)
        outlooks, job = sim.process.app.outlooks, sim.process.app.world.training_jobs()[-1]
        assert job.metadata.name == "late"
        assert 30 < (outlooks.seconds(job) or 0) < 240


async def test_what_was_learned_counts_for_those_that_were_there_before() -> None:
    async with Simulation(nodes=1, gpus=8) as sim:
        sim.create(b.training_job("long", b.gpus(1), b.runs(5000)))
        await sim.until(sim.is_("Running", "long"), 10)

        def known() -> set[str]:
            return {each.key.name for each in sim.process.app.picture().snapshot.workloads if each.duration}

        assert known() == set()
        sim.create(*(b.training_job(f"early-{number}", b.gpus(1), b.runs(60)) for number in range(24)))
        await sim.until(lambda: sim.process.app.outlooks.foretells, 600)
        assert "long" in known()


async def test_an_operator_that_starts_anew_knows_how_long_jobs_ran_that_are_gone() -> None:
    async with Simulation(nodes=1, gpus=8) as sim:
        sim.create(*(b.training_job(f"early-{number}", b.gpus(1), b.runs(60), b.ttl(1)) for number in range(24)))
        await sim.until(
            lambda: not sim.process.app.world.training_jobs() and sim.process.app.outlooks.unwritten.learned > 24, 600
        )
        await sim.process.stop()
        await sim.start()
        sim.create(b.training_job("late", b.gpus(1), b.runs(60)))
        await sim.until(sim.is_("Running", "late"), 10)
        (job,) = sim.process.app.world.training_jobs()
        assert 30 < (sim.process.app.outlooks.seconds(job) or 0) < 240


async def test_a_queue_that_has_used_up_its_budget_holds_new_jobs_until_the_next_period() -> None:
    async with Simulation(nodes=1, gpus=8) as sim:
        sim.change(QUEUES, "research", None, budget={"gpuHours": "1", "periodSeconds": 3600})
        sim.create(b.training_job("first", b.gpus(8), b.runs(900)))
        await sim.until(sim.is_("Complete", "first"), 1000)
        assert (sim.api.get(QUEUES, None, "research") or {})["status"]["budget"]["gpuHours"] >= 1
        sim.create(b.training_job("second", b.gpus(1), b.runs(60)))
        await sim.until(sim.is_("Pending", "second"), 40)
        assert sim.status("second")["reason"] == "OnHold"
        assert "budget of 1 GPU-hours" in sim.message("second")
        await sim.until(sim.is_("Running", "second"), 3700, step=5)


async def test_a_queue_without_jobs_is_not_written_to_although_it_keeps_an_account() -> None:
    async with Simulation(nodes=1, gpus=8) as sim:
        sim.change(QUEUES, "research", None, budget={"gpuHours": "1"}, usageHalfLifeSeconds=600)
        await sim.rest(60)
        before = len(sim.writes(QUEUES))
        await sim.rest(600)
        assert len(sim.writes(QUEUES)) == before


async def test_a_queue_that_borrowed_is_not_written_to_while_it_forgets() -> None:
    async with Simulation(nodes=1, gpus=8) as sim:
        sim.create(b.a_queue("org", gpus=8), b.a_queue("other", gpus=0))
        borrows = [{"name": "h200", "resources": [{"name": GPU, "guaranteed": "0"}]}]
        sim.change(QUEUES, "research", None, parent="org", flavors=borrows, usageHalfLifeSeconds=86_400)
        sim.create(b.training_job("borrows", b.gpus(8), b.runs(3600)))
        await sim.until(sim.is_("Complete", "borrows"), 4000)
        await sim.rest(60)
        assert (sim.api.get(QUEUES, None, "research") or {})["status"]["recentShare"]["share"] > 0.02
        before = len(sim.writes(QUEUES))
        await sim.rest(3600)
        assert len(sim.writes(QUEUES)) == before


async def test_what_must_not_be_preempted_is_kept_off_spot_nodes_and_told_so() -> None:
    async with Simulation(nodes=1, gpus=8) as sim:
        sim.change(FLAVORS, "h200", None, spot=True)
        await sim.rest(1)
        sim.create(b.training_job("firm", b.spec(preemptible=False)), b.training_job("bears-it"))
        await sim.until(sim.is_("Running", "bears-it"), 10)
        await sim.until(sim.is_("Pending", "firm"), 40)
        assert sim.status("firm")["reason"] == "NoMatchingFlavor"
        assert "Flavor h200 of Queue 'research' is spot" in sim.message("firm")
