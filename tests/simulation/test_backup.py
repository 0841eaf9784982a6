"""A yard is lost and comes back from a backup: the order of the queue, checkpoints, what ended, and nothing before its time."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest
from trainer.checkpoint_store import CheckpointStore
from trainer.durable import write_json
from trainer.fencing import claim_attempt

from tests import builders as b
from tests.simulation.fake_api import FakeConnection
from tests.simulation.operator_sim import CLOCK, Simulation
from trainyard.api.ledger import Ledger
from trainyard.api.names import RESTORING
from trainyard.api.queue import Budget
from trainyard.api.training_job import TrainingJob
from trainyard.cli.backup.document import Backup, packed, unpacked
from trainyard.cli.backup.planning import RestorePlan, plan
from trainyard.cli.backup.restoring import Restore, look, rehearse
from trainyard.cli.backup.taking import take
from trainyard.cli.errors import CliError
from trainyard.cluster.client import ClusterClient
from trainyard.cluster.errors import Unreachable
from trainyard.cluster.resources import (
    CLAIMS,
    CONFIG_MAPS,
    FLAVORS,
    INFERENCE_SERVICES,
    LEASES,
    QUEUES,
    TRAINING_JOBS,
    Object,
)
from trainyard.cluster.sender import ClientSettings
from trainyard.cluster.transport import JSON, Response
from trainyard.scheduling.accounts import period_start
from trainyard.workloads.keys import Key

pytestmark = pytest.mark.looptime
SYSTEM = "trainyard-system"
PLACED, WAITING = ("first", "second"), ("urgent", "zebra", "apple")
LEARNED = '{"newest":"2026-11-23T00:00:00+00:00"}'


class CutOff(FakeConnection):
    """A way to the server that breaks after so many writes."""

    left = 0

    async def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        *,
        body: object | None = None,
        content_type: str = JSON,
        within: float,
    ) -> Response:
        if method != "GET" and "dryRun" not in query and "reviews" not in path:
            if self.left == 0:
                raise Unreachable("the laptop was closed")
            self.left -= 1
        return await super().request(method, path, query, body=body, content_type=content_type, within=within)


def client_of(connection: FakeConnection) -> ClusterClient:
    return ClusterClient(connection, CLOCK, Random(0), ClientSettings(attempts=1))


@contextmanager
def quiet(_label: str, _total: int) -> Iterator[Any]:
    yield lambda: None


async def busy(sim: Simulation, claims: Path) -> None:
    """Two jobs run, three wait in another order than that of their names, one rests, one has ended, a service serves."""
    sim.create(b.training_job("ended", b.runs(1), b.storage()))
    await sim.until(sim.is_("Complete", "ended"), 60)
    sim.create(b.inference_service("serves"), b.training_job("rests", b.suspended()))
    sim.create(b.training_job("first", b.gpus(4), b.storage()), b.training_job("second", b.gpus(3), b.own_claim()))
    await sim.until(sim.is_("Running", *PLACED), 60)
    for name, *more in (("zebra", b.gpus(6)), ("apple", b.gpus(5)), ("urgent", b.gpus(8), b.priority(7))):
        await sim.rest(3)
        sim.create(b.training_job(name, *more))
    await sim.rest(20)
    report(sim, "first", 130, checkpoint={"step": 120, "path": "c"}, firstStepAt=CLOCK.now().isoformat())
    await sim.rest(35)
    commit(sim, "first", claims, 120)
    assert sim.status("first")["checkpoint"]["step"] == 120
    sim.api.put(QUEUES, with_accounts(sim))
    sim.api.put(
        CONFIG_MAPS, {"metadata": {"name": "trainyard-learned", "namespace": SYSTEM}, "data": {"learned.json": LEARNED}}
    )


def with_accounts(sim: Simulation) -> Object:
    queue = sim.api.get(QUEUES, None, "research")
    assert queue is not None
    queue["spec"]["budget"] = {"gpuHours": "500"}
    start = period_start(Budget(gpu_hours="500"), CLOCK.now()).isoformat()
    used = {"periodStart": start, "gpuHours": 41.5, "updatedAt": CLOCK.now().isoformat()}
    return queue | {"status": {**queue.get("status", {}), "budget": used}}


def report(sim: Simulation, name: str, step: int, **body: Any) -> None:
    """What the endpoint does with a report of the trainer."""
    app, job = sim.process.app, sim.job(name)
    told = {"jobUid": job["metadata"]["uid"], "attempt": sim.status(name)["attempt"], "phase": "training", "step": step}
    app.look_in(Key("TrainingJob", "team", name), 0 if app.reports.put(told | body, CLOCK.now()) else 30)


def environment(sim: Simulation, name: str) -> tuple[str, int]:
    """Folder on the claim and attempt, as the trainer is told."""
    (pod,) = sim.pods(name)
    given = {each["name"]: each.get("value", "") for each in pod["spec"]["containers"][0]["env"]}
    return given["TRAINYARD_DIR"].rpartition("/")[2], int(given["TRAINYARD_ATTEMPT"])


def commit(sim: Simulation, name: str, claims: Path, step: int) -> None:
    """What the trainer does with a checkpoint."""
    folder, attempt = environment(sim, name)
    claim_attempt(claims / folder, attempt)
    store = CheckpointStore(claims / folder, attempt)
    write_json(store.begin(step) / "state.json", {"step": step})
    store.commit(step)


async def backup_of(sim: Simulation) -> Backup:
    """By way of a file."""
    taken = await take(client_of(sim.api.connect("user")), CLOCK.now(), SYSTEM)
    return unpacked(packed(taken), "test")


def empty() -> Simulation:
    """Another cluster of the same nodes, on which the claims are again."""
    sim = Simulation(nodes=1)
    sim.api.remove(QUEUES, None, "research")
    sim.api.remove(FLAVORS, None, "h200")
    sim.api.put(CLAIMS, b.a_claim("second"))
    return sim


async def planned(sim: Simulation, backup: Backup, *, overwrite: bool = False) -> RestorePlan:
    there = await look(client_of(sim.api.connect("user")), backup, SYSTEM)
    return plan(backup, there, overwrite=overwrite)


async def restore(
    sim: Simulation, backup: Backup, connection: FakeConnection | None = None, *, overwrite: bool = False
) -> RestorePlan:
    client = client_of(connection or sim.api.connect("user"))
    decided = await planned(sim, backup, overwrite=overwrite)
    await rehearse(client, decided, quiet)
    await Restore(client, CLOCK, decided, quiet, pytest.fail).run(SYSTEM)
    return decided


def order(sim: Simulation) -> list[str]:
    """Names of those that wait, first the first."""
    waiting = [each for each in WAITING if sim.status(each)["queuePosition"] is not None]
    return sorted(waiting, key=lambda each: int(sim.status(each)["queuePosition"]))


async def lost(claims: Path) -> tuple[Backup, dict[str, Object]]:
    """A backup of a busy yard that is no more, and its jobs at that moment."""
    async with Simulation(nodes=1) as sim:
        await busy(sim, claims)
        assert order(sim) == list(WAITING)
        return await backup_of(sim), {each["metadata"]["name"]: each for each in sim.api.all(TRAINING_JOBS)}


async def test_a_yard_comes_back_to_the_same_order_and_goes_on_from_its_checkpoints(
    tmp_path: Path,
) -> None:
    backup, before = await lost(tmp_path)
    async with empty() as sim:
        await restore(sim, backup)
        await sim.until(sim.is_("Running", *PLACED), 60)
        await sim.until(lambda: len(order(sim)) == len(WAITING), 60)
        assert order(sim) == list(WAITING)
        assert sim.phase("ended") == "Complete"
        assert sim.phase("rests") == "Suspended"
        await sim.until(lambda: sim.served("serves")["phase"] in ("Ready", "Starting"), 60)
        folder, attempt = environment(sim, "first")
        claim_attempt(tmp_path / folder, attempt)
        resumed = CheckpointStore(tmp_path / folder, attempt).newest_verified(pytest.fail)
        assert resumed is not None
        assert resumed.step == before["first"]["status"]["checkpoint"]["step"] == 120
        assert not [
            each
            for resource in (TRAINING_JOBS, INFERENCE_SERVICES, QUEUES)
            for each in sim.api.all(resource)
            if RESTORING in each["metadata"].get("annotations", {})
        ]


async def test_age_ledger_and_accounts_are_those_of_before(tmp_path: Path) -> None:
    backup, before = await lost(tmp_path)
    async with empty() as sim:
        await sim.rest(1000)  # it takes a while to come back
        await restore(sim, backup)
        await sim.until(sim.is_("Running", *PLACED), 60)
        job = TrainingJob.model_validate(sim.job("first"))
        created = datetime.fromisoformat(before["first"]["metadata"]["creationTimestamp"])
        assert job.since() == created
        ledger = Ledger.model_validate(sim.status("first")["ledger"])
        assert sum(ledger.until(CLOCK.now()).values()) == pytest.approx(
            (CLOCK.now() - created).total_seconds(), abs=1e-3
        )
        assert ledger.seconds.queued > 990
        assert ledger.seconds.productive < 60
        assert ledger.ended == "Restored"
        queue = sim.api.get(QUEUES, None, "research")
        assert queue is not None
        assert 41.5 <= queue["status"]["budget"]["gpuHours"] < 42
        learned = sim.api.get(CONFIG_MAPS, SYSTEM, "trainyard-learned")
        assert learned is not None
        assert learned["data"]["learned.json"] == LEARNED


async def test_repeating_a_restore_writes_nothing(tmp_path: Path) -> None:
    backup, _ = await lost(tmp_path)
    async with empty() as sim:
        first = await restore(sim, backup)
        assert len(first.steps) == len(backup.saved)
        await sim.until(sim.is_("Running", *PLACED), 60)
        again = await restore(sim, backup)
        assert again.steps == ()
        assert again.kept == ()
        assert again.memory == ()
        assert [each for each in sim.api.writes if each.client == "user" and each.resource != LEASES][
            -1
        ].at < CLOCK.monotonic() - 1


async def test_what_is_there_and_differs_stays_unless_it_is_to_be_overwritten() -> None:
    async with Simulation(nodes=1) as sim:
        backup = await backup_of(sim)
        sim.change(QUEUES, "research", None, weight=7, maxPriority=3)
        (kept,) = (await restore(sim, backup)).kept
        assert str(kept.saved) == "Queue research"
        queue = sim.api.get(QUEUES, None, "research")
        assert queue is not None
        assert queue["spec"]["weight"] == 7
        await restore(sim, backup, overwrite=True)
        queue = sim.api.get(QUEUES, None, "research")
        assert queue is not None
        assert not {"weight", "maxPriority"} & queue["spec"].keys()


@pytest.mark.parametrize("writes", [1, 5, 13, 20, 24])
async def test_a_restore_that_is_broken_off_starts_nothing_out_of_turn_and_goes_on(tmp_path: Path, writes: int) -> None:
    backup, _ = await lost(tmp_path)
    async with empty() as sim:
        connection = CutOff(sim.api, "user")
        connection.left = writes
        with pytest.raises(CliError, match=r"broken off: .* the same command goes on from there"):
            await restore(sim, backup, connection)
        await sim.rest(30)
        assert not [
            name
            for name in ("ended", "rests", *WAITING)
            if sim.api.get(TRAINING_JOBS, "team", name) and sim.pods(name, alive=False)
        ]
        await restore(sim, backup)
        await sim.until(sim.is_("Running", *PLACED), 60)
        await sim.until(lambda: order(sim) == list(WAITING), 60)
        assert sim.phase("ended") == "Complete"


async def test_the_mark_holds_up_nobody_who_has_a_place() -> None:
    """Else a job that makes way could keep its GPUs by marking itself."""
    async with Simulation(nodes=1) as sim:
        sim.create(b.training_job("sly", b.gpus(8), b.meta(annotations={"note": "x"})))
        await sim.until(sim.is_("Running", "sly"), 60)
        sim.api.edit(TRAINING_JOBS, "team", "sly", lambda job: job["metadata"]["annotations"].update({RESTORING: "x"}))
        sim.create(b.training_job("boss", b.gpus(8), b.priority(5)))
        await sim.until(sim.is_("Running", "boss"), 120)
        assert sim.pods("sly") == []
