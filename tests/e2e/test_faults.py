"""Faults on a real cluster: a job goes on from its last durable checkpoint, and what happened is counted once and told.

Those of the second half strike one job after the other, which is how a long run sees them. `make bench NAME=recovery` measures how long each takes.
"""

import json
import signal
import time
from collections.abc import Iterator

import pytest

from tests.e2e.faults import EVERY, Rig, processes_of, short_job, small_volume
from tests.e2e.platform import Platform

pytestmark = pytest.mark.e2e
LEAST_ROOM = 24
"""Mebibytes that hold a few checkpoints of the job here."""


@pytest.mark.fault(58)
def test_a_worker_that_the_kernel_kills_for_its_memory_is_out_of_memory(platform: Platform) -> None:
    rig = Rig(platform, "large").start(memory="1500Mi")
    before = rig.before()
    rig.exhaust_memory()
    said = rig.trains_again(before)
    assert said["restoredStep"] >= before.checkpoint
    status = platform.until("the failure being told", lambda: rig.status() if rig.status().get("lastFailure") else None)
    assert status["lastFailure"]["class"] == "OutOfMemory"
    assert status["restarts"] - status["disruptions"] == 1
    rig.delete()


@pytest.mark.fault(64)
def test_a_full_volume_costs_checkpoints_and_no_training(platform: Platform) -> None:
    small_volume(platform, "small", LEAST_ROOM)
    rig = Rig(platform, "full").start(workers=1, storage="small")
    rig.fill_volume()
    before = rig.before()
    alarm = "the volume is full"
    platform.until("the alarm", lambda: alarm in rig.status()["progress"].get("warning", ""))
    platform.until("steps beside the full volume", lambda: rig.progress()["step"] > before.step)
    rig.empty_volume()
    full = rig.progress()["step"]
    platform.until("a checkpoint again", lambda: rig.checkpoint() > full)
    after = platform.until("its end being told", lambda: s if not (s := rig.status())["progress"]["warning"] else None)
    assert after["progress"]["checkpointFailures"] >= 1
    assert after["restarts"] == 0
    events = json.loads(platform.cluster.kubectl("get", "events", "-n", platform.namespace, "-o", "json"))["items"]
    told = [each for each in events if each["reason"] == "TrainerWarning" and alarm in each["message"]]
    assert [each["count"] for each in told] == [1]
    rig.delete()


@pytest.mark.fault(62)
def test_a_job_that_is_preempted_twice_while_it_saves_loses_no_durable_step(platform: Platform) -> None:
    rig = Rig(platform, "yielding").start(
        workers=1, every=2, model={"name": "mlp", "parameters": {"hidden": [1024, 1024]}}
    )
    for turn in (1, 2):
        other = short_job(platform, f"other-{turn}", workers=2, gpus=4, seconds=1)
        before = rig.make_way_while_saving(other)
        platform.phase("tyj", f"other-{turn}", "Complete")
        said = rig.trains_again(before)
        assert said["restoredStep"] >= before.checkpoint
        platform.until("a checkpoint", lambda: rig.checkpoint() > said["restoredStep"])  # noqa: B023 - asked at once
    assert (rig.status()["preemptions"], rig.status()["restarts"]) == (2, 0)
    rig.delete()


@pytest.mark.fault(42)
def test_on_a_node_that_is_back_too_late_nothing_is_written_and_nobody_is_disturbed(platform: Platform) -> None:
    """The program on the silent node reaches the storage all the time: it trains on, until the new attempt owns the folder."""
    rig = Rig(platform, "silent").start(workers=1)
    before, old = rig.before(), rig.pod(0)
    assert processes_of(old, b"trainer.launch")
    rig.unplug(index=0)
    try:
        said = rig.trains_again(before)
        assert said["restoredStep"] >= before.checkpoint
        assert (rig.status()["attempt"], rig.status()["disruptions"]) == (2, 1)
        platform.until("the old program's end", lambda: not processes_of(old, b"trainer.launch"))
    finally:
        rig.plug()
    rig.node_is_ready()
    time.sleep(5)
    after = rig.before()
    assert (after.restarts, rig.status()["attempt"]) == (1, 2)
    assert after.checkpoint > said["restoredStep"]
    assert all(attempt == 2 or step <= said["restoredStep"] for attempt, step in rig.committed())
    rig.delete()


@pytest.fixture(scope="module")
def gang(shared_platform: Platform) -> Iterator[Rig]:
    """Two workers that one fault after the other strikes."""
    rig = Rig(shared_platform, "gang").start(restart={"maxRestarts": 20})
    yield rig
    rig.delete()


@pytest.mark.fault(2, 55)
def test_a_worker_and_the_operator_that_are_killed_together_cost_one_restart(gang: Rig) -> None:
    before = gang.before()
    gang.kill_operator()
    gang.signal(signal.SIGKILL)
    said = gang.trains_again(before)
    assert said["restoredStep"] >= before.checkpoint
    assert (said["restarted"]["exitCode"], said["restarted"]["index"]) == (137, 1)
    gang.platform.until("the restart being counted", lambda: gang.status()["restarts"] == before.restarts + 1)


@pytest.mark.fault(56)
def test_a_worker_that_is_stopped_is_started_again(gang: Rig) -> None:
    before = gang.before()
    gang.signal(signal.SIGSTOP)
    said = gang.trains_again(before)
    assert said["restoredStep"] >= before.checkpoint
    assert "the process of rank 1 is stopped by a signal" in said["restarted"]["cause"]


@pytest.mark.fault(63)
def test_a_truncated_checkpoint_is_passed_over(gang: Rig) -> None:
    before = gang.before()
    gang.truncate_and_kill()
    said = gang.trains_again(before)
    assert said["restoredStep"] >= before.checkpoint - EVERY


@pytest.mark.fault(61)
@pytest.mark.parametrize("options", [("--grace-period=0", "--force"), ()], ids=["by force", "in order"])
def test_a_pod_that_somebody_deletes_is_replaced_alone_and_counted_once(gang: Rig, options: tuple[str, ...]) -> None:
    before, kept, gone = gang.before(), gang.pod(0)["metadata"]["uid"], gang.pod(1)["metadata"]["uid"]
    gang.delete_pod(*options)
    said = gang.trains_again(before)
    assert said["restoredStep"] >= before.checkpoint
    after = gang.before()
    assert (after.restarts, after.disruptions) == (before.restarts + 1, before.disruptions + 1)
    assert gang.pod(0)["metadata"]["uid"] == kept
    assert gang.pod(1)["metadata"]["uid"] != gone


@pytest.mark.fault(41)
def test_a_node_that_is_back_before_it_is_missed_changes_nothing(gang: Rig) -> None:
    before = gang.before()
    gang.unplug(12)
    gang.platform.until("a step", lambda: gang.progress().get("step", 0) > before.step)
    after = gang.before()
    assert after.restarts == before.restarts
