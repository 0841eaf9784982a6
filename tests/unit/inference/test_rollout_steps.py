"""How a rollout goes on."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from trainyard.api.inference_service import ServedModel
from trainyard.api.reasons import Reason
from trainyard.api.rollout import Rollout, RolloutStatus
from trainyard.inference.rollout.contract import Contract, Tensor
from trainyard.inference.rollout.counting import Counted, Totals
from trainyard.inference.rollout.stages import canaries
from trainyard.inference.rollout.steps import Look, Step, advance

NOW = datetime(2026, 11, 23, tzinfo=UTC)
OLD, NEW = "sha256:" + "a" * 64, "sha256:" + "b" * 64
SAME = Contract(inputs=(Tensor(name="x", datatype="FP32", shape=(-1, 4)),), outputs=())
OTHER = Contract(inputs=(Tensor(name="x", datatype="FP32", shape=(-1, 5)),), outputs=())
FAST = {10: 940, 20: 50, 30: 10}


def model(digest: str) -> ServedModel:
    return ServedModel(claim_name="models", path=digest[7:10], digest=digest)


class Service:
    """A service of `target` replicas whose requests are told by hand."""

    def __init__(self, strategy: str = "Canary", target: int = 4, **spec: Any) -> None:
        fields = {"steps": (10, 50), "minimumRequests": 100, "stepSeconds": 30, "deadlineSeconds": 600, **spec}
        self.spec = Rollout.model_validate({"strategy": strategy, **fields})
        self.target, self.now, self.counter = target, NOW, "one"
        self.status: RolloutStatus | None = None
        self.totals = {OLD: Totals(1000, 1, dict(FAST))}
        self.ready = {OLD: target}
        self.contracts = {OLD: SAME, NEW: SAME}
        self.wanted, self.stable = NEW, OLD

    def requests(self, digest: str, count: int, errors: int = 0, *, slow: bool = False) -> None:
        old = self.totals.get(digest, Totals())
        answered = count - errors
        shape = {36: answered} if slow else {10: answered - answered // 25, 20: answered // 25}
        times = {each: old.times.get(each, 0) + shape.get(each, 0) for each in {*old.times, *shape}}
        self.totals[digest] = replace(old, requests=old.requests + count, errors=old.errors + errors, times=times)

    def answers(self, compared: int, differed: int = 0) -> None:
        """Of the new model to copies."""
        old = self.totals.get(NEW, Totals())
        self.totals[NEW] = replace(old, compared=old.compared + compared, differed=old.differed + differed)

    def look(self, seconds: float = 1.0, refused: str = "") -> Step:
        self.now += timedelta(seconds=seconds)
        look = Look(
            self.spec,
            model(self.stable),
            model(self.wanted),
            self.target,
            self.ready,
            refused,
            Counted(self.counter, dict(self.totals)),
            self.contracts,
        )
        step = advance(self.status, look, self.now)
        self.status = step.status
        return step

    def begun(self) -> "Service":
        """Up to the first share."""
        self.look()
        self.ready[NEW] = 4
        self.look()
        assert self.status is not None
        assert self.status.weight > 0
        return self

    def begun_with_copies(self) -> "Service":
        """Up to the copies."""
        self.look()
        self.ready[NEW] = 4
        self.look()
        assert self.status is not None
        assert (self.status.weight, self.status.shadow > 0) == (0, True)
        return self


def reasons(step: Step) -> list[str]:
    return [each.reason for each in step.notes]


def test_a_canary_gets_its_share_once_its_replicas_are_ready() -> None:
    service = Service()
    assert reasons(service.look()) == [Reason.ROLLOUT_STARTED]
    assert canaries(service.status, service.spec, 4) == 1
    service.look(60)
    assert service.status is not None
    assert (service.status.weight, service.status.message) == (0, "0 of 1 replicas of the new model are ready")
    service.ready[NEW] = 1
    assert reasons(service.look()) == [Reason.ROLLOUT_STEP]
    assert service.status.weight == 10


def test_a_good_canary_takes_step_after_step_and_is_promoted() -> None:
    service = Service().begun()
    for share in (10, 50):
        assert service.status is not None
        assert service.status.weight == share
        service.requests(OLD, 9000, 9)
        service.requests(NEW, 2000, 2)
        service.look()
        assert service.status.outcome == "Promote"
        last = service.look(30)
        if not last.promoted:
            service.look()
    assert last.promoted
    assert reasons(last) == [Reason.ROLLOUT_PROMOTED]
    assert service.status is not None
    assert (service.status.phase, service.status.weight) == ("Promoted", 0)
    assert canaries(service.status, service.spec, 4) == 0


def test_the_next_step_waits_for_its_replicas_with_the_share_it_has() -> None:
    service = Service().begun()
    service.ready[NEW] = 1
    service.requests(OLD, 9000, 9)
    service.requests(NEW, 2000, 2)
    service.look(60)
    service.look()
    assert service.status is not None
    assert (service.status.step, service.status.weight, canaries(service.status, service.spec, 4)) == (1, 10, 2)
    service.requests(NEW, 500, 400)
    service.look()
    assert service.status.phase == "RolledBack"  # it is watched while it waits


@pytest.mark.parametrize(
    ("errors", "slow", "reason", "said"),
    [(100, False, "MoreErrors", "failed requests"), (0, True, "Slower", "slow requests")],
)
def test_a_bad_canary_is_rolled_back_with_the_numbers_and_not_tried_again(
    errors: int, slow: bool, reason: str, said: str
) -> None:
    service = Service().begun()
    service.requests(OLD, 5000, 5)
    service.requests(NEW, 500, errors, slow=slow)
    step = service.look()
    assert reasons(step) == [Reason.ROLLED_BACK]
    assert service.status is not None
    assert (service.status.phase, service.status.reason, service.status.weight) == ("RolledBack", reason, 0)
    assert said in service.status.message
    assert canaries(service.status, service.spec, 4) == 0
    assert reasons(service.look(10_000)) == []
    service.wanted = "sha256:" + "c" * 64
    assert reasons(service.look()) == [Reason.ROLLOUT_STARTED]


def test_little_traffic_pauses_or_goes_on_as_the_user_says() -> None:
    paused, bold = Service().begun(), Service(onNotEnoughTraffic="Promote").begun()
    for service in (paused, bold):
        service.requests(OLD, 50)
        service.requests(NEW, 5)
    assert reasons(paused.look(601)) == [Reason.ROLLOUT_PAUSED]
    assert reasons(paused.look(601)) == []
    assert paused.status is not None
    assert (paused.status.phase, paused.status.outcome, paused.status.weight) == ("Paused", "NotEnoughTraffic", 10)
    paused.requests(OLD, 9000, 9)
    paused.requests(NEW, 2000, 2)
    paused.look()
    assert (paused.status.phase, paused.status.step) == ("Progressing", 1)
    bold.look(601)
    assert bold.status is not None
    assert bold.status.step == 1


def test_the_last_step_may_wait_for_a_person() -> None:
    service = Service(steps=(10,), autoPromote=False).begun()
    service.requests(OLD, 9000, 9)
    service.requests(NEW, 2000, 2)
    assert reasons(service.look(60)) == [Reason.ROLLOUT_PAUSED]
    service.spec = service.spec.model_copy(update={"auto_promote": True})
    assert service.look().promoted


def test_a_new_operator_goes_on_with_what_was_counted() -> None:
    service = Service().begun()
    service.requests(OLD, 5000, 5)
    service.requests(NEW, 400, 1)
    service.look(20)
    assert service.status is not None
    assert service.status.canary_counts.requests == 400
    service.counter, service.totals = "two", {}
    service.requests(NEW, 100)
    service.look(20)
    assert service.status.canary_counts.requests == 500
    assert service.status.stable_counts.requests == 5000


def test_counts_alone_are_not_written_at_every_look() -> None:
    service = Service().begun()
    service.requests(NEW, 10)
    service.look()
    before = service.status
    service.requests(NEW, 10)
    service.look(2)
    assert service.status is before
    service.look(10)
    assert service.status != before
    settled = service.status
    service.look(100)
    assert service.status is settled  # no traffic, no write


def test_blue_and_green_switch_at_once_and_the_old_set_is_kept() -> None:
    service = Service("BlueGreen", keepSeconds=100)
    service.look()
    assert canaries(service.status, service.spec, 4) == 4
    service.requests(OLD, 3000, 3)
    service.ready[NEW] = 3
    service.look(60)
    assert service.status is not None
    assert service.status.weight == 0
    service.ready[NEW] = 4
    service.look()
    assert service.status.weight == 100
    service.requests(NEW, 3000, 3)
    assert not service.look(50).promoted
    assert service.look(50).promoted


def test_a_bad_green_set_goes_back_at_once() -> None:
    service = Service("BlueGreen")
    service.look()
    service.requests(OLD, 3000, 3)
    service.ready[NEW] = 4
    service.look()
    service.requests(NEW, 20, 18)
    service.look()
    assert service.status is not None
    assert (service.status.phase, service.status.weight) == ("RolledBack", 0)


def test_a_model_that_no_replica_serves_is_given_up() -> None:
    service = Service()
    service.look()
    assert reasons(service.look(refused="bad file")) == [Reason.ROLLED_BACK]
    late = Service(readySeconds=100)
    late.look()
    assert reasons(late.look(99)) == []
    assert reasons(late.look(2)) == [Reason.ROLLED_BACK]


@pytest.mark.parametrize("strategy", ["Canary", "BlueGreen"])
def test_a_model_that_takes_something_else_is_given_up_before_its_first_request(strategy: str) -> None:
    service = Service(strategy)
    service.contracts[NEW] = OTHER
    service.look()
    service.ready[NEW] = 1  # BlueGreen needs four: the first tells enough
    assert reasons(service.look()) == [Reason.ROLLED_BACK]
    assert service.status is not None
    assert (service.status.phase, service.status.reason, service.status.weight) == ("RolledBack", "ContractChanged", 0)
    assert "inputs[x].shape: [-1, 4] -> [-1, 5]" in service.status.message
    assert reasons(service.look(10_000)) == []


def test_a_user_may_roll_out_what_takes_something_else() -> None:
    service = Service(contract="Ignore")
    service.contracts[NEW] = OTHER
    assert service.begun().status is not None

    stopped = Service()
    stopped.contracts[NEW] = OTHER
    stopped.look()
    stopped.ready[NEW] = 1
    stopped.look()
    stopped.spec = stopped.spec.model_copy(update={"contract": "Ignore"})
    assert reasons(stopped.look()) == [Reason.ROLLOUT_STARTED]
    assert reasons(stopped.look()) == [Reason.ROLLOUT_STEP]


def test_no_request_comes_before_both_models_have_said_what_they_take() -> None:
    service = Service(readySeconds=100)
    del service.contracts[OLD]
    service.look()
    service.ready[NEW] = 4
    service.look(150)
    assert service.status is not None
    assert (service.status.weight, service.status.message) == (0, "gateways read the inputs and outputs of aaa")
    service.look(20)
    assert (service.status.phase, service.status.reason) == ("RolledBack", "NotReady")


def test_copies_come_first_and_need_replicas_for_them_alone() -> None:
    service = Service(target=10, shadow={"percent": 20})
    service.look()
    assert canaries(service.status, service.spec, 10) == 2
    service.ready[NEW] = 2
    service.look()
    assert service.status is not None
    assert (service.status.weight, service.status.shadow) == (0, 20)
    assert service.status.message == "20 % of the old model's inferences are copied to bbb"
    service.answers(600, 1)
    service.look(30)
    assert canaries(service.status, service.spec, 10) == 3  # 10 % of the requests, and copies of a fifth of the others
    service.ready[NEW] = 3
    service.look()
    assert (service.status.weight, service.status.shadow) == (10, 20)
    service.answers(600, 1)
    service.requests(OLD, 9000, 9)
    service.look(30)
    assert (service.status.step, service.status.outcome) == (1, "NotEnoughTraffic"), "answers alone are not enough"


def test_other_answers_roll_back_before_any_caller_gets_one() -> None:
    service = Service(shadow={"percent": 20}).begun_with_copies()
    service.answers(100, 15)
    step = service.look()
    assert reasons(step) == [Reason.ROLLED_BACK]
    assert service.status is not None
    assert (service.status.phase, service.status.reason, service.status.shadow) == ("RolledBack", "OtherAnswers", 0)
    assert "different answers: 15.00% of 100, allowed 2.00%" in service.status.message
    assert service.totals[NEW].requests == 0


def test_other_answers_roll_back_a_canary_that_fails_nowhere() -> None:
    service = Service(shadow={"percent": 20}, margins={"disagreement": 0.1}).begun_with_copies()
    service.answers(600, 10)
    service.look(30)
    service.look()
    assert service.status is not None
    assert service.status.weight == 10
    service.requests(OLD, 9000, 9)
    service.requests(NEW, 2000, 2)
    service.answers(300, 60)
    service.look(60)
    assert (service.status.phase, service.status.reason) == ("RolledBack", "OtherAnswers")


def test_few_compared_answers_are_told_and_waited_for() -> None:
    service = Service(shadow={"percent": 20}).begun_with_copies()
    service.answers(40)
    service.look(601)
    assert service.status is not None
    assert (service.status.phase, service.status.outcome) == ("Paused", "NotEnoughTraffic")
    assert "40 compared answers of at least 100" in service.status.message


def test_blue_and_green_are_compared_with_copies_before_the_switch() -> None:
    service = Service("BlueGreen", keepSeconds=100, shadow={"percent": 50}).begun_with_copies()
    assert service.status is not None
    assert (service.status.shadow, canaries(service.status, service.spec, 4)) == (50, 2)
    service.answers(600, 1)
    service.requests(OLD, 3000, 3)
    service.look(100)
    assert service.status.weight == 0, "the switch waits for the comparison, not for keepSeconds"
    service.look()
    assert (service.status.weight, service.status.shadow) == (100, 0)
    service.requests(NEW, 300)
    assert not service.look(50).promoted
    assert service.look(50).promoted


def test_a_model_that_is_taken_back_ends_the_rollout() -> None:
    service = Service().begun()
    service.wanted = OLD
    service.look()
    assert service.status is None


def test_with_no_replica_there_is_nothing_to_compare() -> None:
    assert Service(target=0).look().promoted


def test_replacing_knows_no_rollout() -> None:
    assert Service("Replace").look() == Step(None)


def test_without_answers_to_take_a_limit_from_counting_begins_when_there_is_one() -> None:
    service = Service()
    service.totals = {}
    service.begun()
    service.requests(NEW, 300, slow=True)
    service.requests(OLD, 60)
    service.look()
    assert service.status is not None
    assert service.status.limit is not None
    service.requests(OLD, 50_000)
    service.requests(NEW, 20_000, 2)
    service.look(40)
    assert service.status.phase == "Progressing"
    assert service.status.step == 1
