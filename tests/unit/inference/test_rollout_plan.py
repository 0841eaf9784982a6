"""A rollout from the changed model to the last old replica, as the plan carries it out."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from tests import builders as b
from trainyard.api.inference_service import InferenceService
from trainyard.inference.membership import Membership, membership
from trainyard.inference.observed import Observed
from trainyard.inference.plan import plan_inference_service
from trainyard.inference.rollout.contract import Contract
from trainyard.inference.rollout.counting import Counted, Totals
from trainyard.inference.workload import role, wanted, workload_key, workloads
from trainyard.scheduling.snapshot import Admit, Assignment
from trainyard.workloads.plan import Plan
from trainyard.workloads.pod_state import PodState

NOW = datetime(2026, 11, 23, tzinfo=UTC)
NEW = "sha256:" + "b" * 64
TIMES = {10: 1000}


class World:
    """A service whose pods start when they are created, go when they may, and whose counts are set by hand."""

    def __init__(self, strategy: str = "Canary", replicas: int = 2, **rollout: Any) -> None:
        old = {"claimName": "models", "path": "digits", "digest": b.DIGEST}
        admission = [self.replica(serial) for serial in range(1, replicas + 1)]
        self.document = b.inference_service(
            "s",
            b.meta(uid="u"),
            b.replicas(replicas),
            b.spec(rollout={"strategy": strategy, "stepSeconds": 1, **rollout}, drainSeconds=1),
            b.status(admission=admission, nextSerial=replicas + 1, model=old, readyTime=NOW.isoformat()),
        )
        self.now = NOW
        self.pods = {serial: self.pod(serial) for serial in range(1, replicas + 1)}
        self.totals = {b.DIGEST: Totals(1000, 1, TIMES)}
        self.room = 99
        self.created: list[Any] = []
        self.notes: list[str] = []

    def replica(self, serial: int) -> dict[str, Any]:
        return {"serial": serial, "node": "n", "flavor": "f", "digest": b.DIGEST, "admittedAt": NOW.isoformat()}

    def pod(self, serial: int) -> PodState:
        return PodState(
            f"s-{serial}", f"u{serial}", "replica", serial, 0, "n", "Running", True, NOW, address=f"10.0.0.{serial}"
        )

    @property
    def service(self) -> InferenceService:
        return InferenceService.model_validate(self.document)

    def observed(self) -> Observed:
        seen = Observed(self.service, tuple(self.pods.values()))
        free = max(0, self.room - len(self.service.status.admission))
        decisions = {
            serial: Admit(workload_key(self.service, serial), "u", Assignment("f", {role(serial): ("n",)}))
            for serial in list(wanted(seen))[:free]
        }
        contracts = {digest: Contract(inputs=(), outputs=()) for digest in (b.DIGEST, NEW)}
        counted = Counted("one", dict(self.totals))
        return replace(seen, counted=counted, decisions=decisions, contracts=contracts)

    def turn(self, times: int = 1, seconds: float = 1.0) -> Plan:
        for _ in range(times):
            self.now += timedelta(seconds=seconds)
            plan = plan_inference_service(self.observed(), self.now)
            self.document["status"] = {**self.document["status"], **(plan.status or {})}
            for each in plan.create:
                if each["kind"] == "Pod":
                    serial = int(each["metadata"]["name"].removeprefix("s-"))
                    self.created.append(each)
                    self.pods[serial] = self.pod(serial)
            for gone in plan.delete:
                self.pods.pop(int(gone.name.removeprefix("s-")))
            self.notes += [each.reason for each in plan.notes]
        return plan

    def change(self, digest: str = NEW) -> None:
        self.document["spec"]["model"] = {"claimName": "other", "path": "better", "digest": digest}

    def requests(self, digest: str, count: int, errors: int = 0) -> None:
        old = self.totals.get(digest, Totals())
        times = {each: old.times.get(each, 0) + TIMES[each] * (count - errors) // 1000 for each in TIMES}
        self.totals[digest] = Totals(old.requests + count, old.errors + errors, times)

    def digests(self) -> list[str]:
        return sorted(each.digest for each in self.service.status.admission if not each.release)

    def members(self) -> Membership:
        return membership(self.service, self.pods.values())


def test_a_canary_starts_beside_the_stable_replicas_and_loads_its_own_model() -> None:
    world = World()
    world.change()
    world.turn(4)
    assert world.digests() == [b.DIGEST, b.DIGEST, NEW]
    (pod,) = world.created
    variables = {each["name"]: each.get("value") for each in pod["spec"]["containers"][0]["env"]}
    assert variables["TRAINYARD_MODEL_DIGEST"] == NEW
    assert variables["TRAINYARD_MODEL_PATH"].endswith("/better")
    assert {"claimName": "other", "readOnly": True} in [
        each.get("persistentVolumeClaim") for each in pod["spec"]["volumes"]
    ]
    assert [each["canary"] for each in world.members().members] == [False, False, True]
    assert world.members().body()["split"] == {"weight": 500, "header": None, "shadow": 0}
    assert (world.service.status.ready_replicas, world.service.status.phase) == (2, "Degraded")  # no gateway is there


def test_the_header_leads_nobody_to_a_canary_that_is_not_checked_yet() -> None:
    world = World(header={"name": "X-Try", "value": "new"})
    world.change()
    for _ in range(4):
        world.turn()
        rollout = world.service.status.rollout
        assert rollout is None or bool(rollout.weight) == (world.members().split is not None)
    assert world.members().body()["split"]["header"] == {"name": "X-Try", "value": "new"}


def test_copies_and_how_near_answers_must_be_go_to_the_gateways_without_the_header() -> None:
    shadow = {"percent": 20, "relativeTolerance": 0.5, "absoluteTolerance": 0.25}
    world = World(shadow=shadow, header={"name": "X-Try", "value": "new"})
    world.change()
    world.turn(4)
    told = {"weight": 0, "header": None, "shadow": 2000, "tolerance": {"relative": 0.5, "absolute": 0.25}}
    assert world.members().body()["split"] == told


def test_a_lost_stable_replica_comes_back_with_the_old_model() -> None:
    world = World()
    world.change()
    world.turn(4)
    del world.pods[1]
    world.turn()
    assert {each["name"]: each.get("value") for each in world.created[-1]["spec"]["containers"][0]["env"]}[
        "TRAINYARD_MODEL_DIGEST"
    ] == b.DIGEST
    claims = [each.get("persistentVolumeClaim") for each in world.created[-1]["spec"]["volumes"]]
    assert {"claimName": "models", "readOnly": True} in claims


def test_a_good_canary_takes_over_and_the_old_replicas_go() -> None:
    world = World(steps=(10, 50))
    world.change()
    for _ in range(30):
        world.turn()
        world.requests(b.DIGEST, 2000, 2)
        if NEW in world.digests():
            world.requests(NEW, 2000, 2)
        assert len(world.digests()) >= 2
    assert world.digests() == [NEW, NEW]
    status = world.service.status
    assert status.model is not None
    assert (status.model.digest, status.model.claim_name) == (NEW, "other")
    assert status.rollout is not None
    assert status.rollout.phase == "Promoted"
    assert world.members().split is None
    assert [each["canary"] for each in world.members().members] == [False, False]
    assert [each for each in world.notes if each.startswith("Rollout")] == [
        "RolloutStarted",
        "RolloutStep",
        "RolloutStep",
        "RolloutPromoted",
    ]


def test_a_bad_canary_is_drained_and_stays_apart_meanwhile() -> None:
    world = World()
    world.change()
    world.turn(4)
    world.requests(b.DIGEST, 2000, 2)
    world.requests(NEW, 200, 60)
    world.turn()
    assert world.members().split is None
    assert [each["canary"] for each in world.members().members] == [False, False, True]
    world.turn(6)
    assert world.digests() == [b.DIGEST, b.DIGEST]
    status = world.service.status
    assert status.rollout is not None
    assert (status.rollout.phase, status.model and status.model.digest) == ("RolledBack", b.DIGEST)
    assert world.notes.count("RolledBack") == 1
    assert list(workloads(world.observed(), world.now))[-1].admission is not None  # nothing more is asked for


def test_without_room_the_stable_replicas_stay() -> None:
    world = World()
    world.room = 2
    world.change()
    world.turn(10)
    assert world.digests() == [b.DIGEST, b.DIGEST]
    assert list(wanted(world.observed())) == [3]


def test_blue_green_never_has_fewer_than_a_full_set() -> None:
    world = World("BlueGreen", keepSeconds=5)
    world.change()
    world.requests(b.DIGEST, 2000, 2)
    sets = []
    for _ in range(25):
        world.turn()
        found = world.digests()
        sets.append((found.count(b.DIGEST), found.count(NEW)))
        if world.members().split:
            world.requests(NEW, 100)
    assert (2, 2) in sets
    assert all(2 in pair for pair in sets)
    assert sets[-1] == (0, 2)


def test_replace_goes_on_as_it_always_did() -> None:
    world = World("Replace")
    world.change()
    world.turn(8)
    assert world.digests() == [NEW, NEW]
    assert world.service.status.rollout is None
