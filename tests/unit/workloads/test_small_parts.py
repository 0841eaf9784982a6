"""Conditions, rations, refusals, decisions: the small parts that controllers share."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from trainyard.api.admission import AvoidedNode
from trainyard.api.forecast import StartEstimate
from trainyard.api.meta import Condition
from trainyard.api.reasons import ConditionType, Waiting
from trainyard.scheduling.snapshot import Admit, Assignment, Verdict, Wait, Words, WorkloadKey
from trainyard.workloads import conditions
from trainyard.workloads.decisions import Decisions
from trainyard.workloads.plan import changed, sooner, still_good
from trainyard.workloads.ration import Ration
from trainyard.workloads.refusals import REFUSED_SECONDS, Refusals, fingerprint
from trainyard.workloads.times import REFRESH_SECONDS, forgiven, retell_seconds

NOW = datetime(2026, 11, 23, tzinfo=UTC)
KEY = WorkloadKey("TrainingJob", "team", "a")


class HandClock:
    """Moved by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds


@given(st.lists(st.tuples(st.sampled_from(ConditionType), st.booleans(), st.sampled_from(["a", "b"])), max_size=12))
def test_a_transition_time_moves_only_with_the_statement(steps: list[tuple[ConditionType, bool, str]]) -> None:
    known: tuple[Condition, ...] = ()
    for number, (kind, value, reason) in enumerate(steps):
        before = conditions.find(known, kind)
        now = NOW + timedelta(seconds=number)
        known = conditions.state(known, kind, value, reason, "", now=now, generation=number)
        after = conditions.find(known, kind)
        assert after is not None
        assert conditions.holds(known, kind) is value
        same = before is not None and before.status == after.status
        assert after.last_transition_time == (before.last_transition_time if same and before else now)
        assert after.observed_generation == number
    assert len({each.type for each in known}) == len(known)


@given(st.lists(st.floats(0, 3), min_size=1, max_size=60))
def test_no_second_sees_more_writes_than_the_bucket_and_the_rate(gaps: list[float]) -> None:
    clock = HandClock()
    ration = Ration(clock, per_second=5)
    due: list[float] = []
    for number, gap in enumerate(gaps):
        clock.seconds += gap
        due.append(clock.seconds + ration.turn(number))
    for start in due:
        assert sum(start <= each < start + 1 for each in due) <= 11


def test_each_object_writes_calmly_once_in_its_time_and_waits_for_its_turn_once() -> None:
    clock = HandClock()
    ration = Ration(clock, per_key=30, per_second=1)
    assert ration.wait("a") == 0
    ration.wrote("a")
    clock.seconds = 10
    assert ration.wait("a") == 20
    assert ration.wait("b") == 0
    assert ration.wait("c") == 1
    clock.seconds = 10.5
    assert ration.wait("c") == 0.5
    clock.seconds = 11
    assert ration.wait("c") == 0
    ration.forget("a")
    clock.seconds = 13
    assert ration.wait("a") == 0


def test_a_refusal_is_remembered_for_a_while() -> None:
    clock = HandClock()
    refusals = Refusals(clock)
    assert refusals.known("x") is None
    refusals.refuse("x", "no")
    assert (refusals.known("x"), refusals.left("x")) == ("no", REFUSED_SECONDS)
    clock.seconds = REFUSED_SECONDS
    assert (refusals.known("x"), refusals.left("x")) == (None, 0)
    for number in range(5000):
        refusals.refuse(str(number), "no")
    assert refusals.known("4999") == "no"


def test_a_fingerprint_knows_what_a_user_wrote_from_what_we_did() -> None:
    def pod(name: str, rank: str, image: str) -> dict[str, object]:
        container = {"name": "trainer", "image": image, "env": [{"name": "PET_NODE_RANK", "value": rank}]}
        return {"metadata": {"name": name, "namespace": "team"}, "spec": {"containers": [container], "hostname": name}}

    assert fingerprint(pod("a", "0", "x")) == fingerprint(pod("b", "1", "x"))
    assert fingerprint(pod("a", "0", "x")) != fingerprint(pod("a", "0", "y"))


def test_a_decision_belongs_to_one_attempt_of_one_object() -> None:
    decisions = Decisions()
    admit = Admit(KEY, "u", Assignment("f", {"worker": ("n",)}))
    assert decisions.put(admit, 1) == 0
    assert decisions.put(admit, 1) is None
    assert decisions.of(KEY, "u", 1) == admit
    assert decisions.of(KEY, "u", 2) is None
    assert decisions.of(KEY, "other", 1) is None
    assert decisions.put(Wait(KEY, "u", Words(Verdict(Waiting.ON_HOLD, "held")), 1), 1) == 0
    assert decisions.put(Wait(KEY, "u", Words(Verdict(Waiting.ON_HOLD, "held")), 1), 1) is None
    assert decisions.put(Wait(KEY, "u", Words(Verdict(Waiting.ON_HOLD, "held still")), 1), 1) == REFRESH_SECONDS
    decisions.keep_only([])
    assert decisions.of(KEY, "u", 1) is None


def test_whoever_comes_much_nearer_to_the_front_hears_of_it_soon() -> None:
    decisions, words = Decisions(), Words(Verdict(Waiting.ON_HOLD, "held"))
    told = [decisions.put(Wait(KEY, "u", words, position), 1) for position in (500, 499, 320, 319, 60, 20, 19, 1)]
    soon = REFRESH_SECONDS
    assert told == [0, retell_seconds(499), retell_seconds(320), soon, soon, soon, soon, soon]


def test_words_that_change_in_place_are_news_and_the_same_words_made_anew_are_none() -> None:
    decisions, words = Decisions(), Words(Verdict(Waiting.ON_HOLD, "held"))
    wait = Wait(KEY, "u", words, 200)
    assert decisions.put(wait, 1) == 0
    words.verdict = Verdict(Waiting.ON_HOLD, "held")
    assert decisions.put(wait, 1) is None
    words.verdict = Verdict(Waiting.ON_HOLD, "held since noon")
    assert decisions.put(wait, 1) == retell_seconds(200)
    words.verdict = Verdict(Waiting.WAITING_FOR_QUOTA, "full")
    assert decisions.put(wait, 1) == 0


def test_the_farther_behind_the_seldomer_numbers_are_told() -> None:
    assert [retell_seconds(position) for position in (1, 20, 40, 2000)] == [30, 30, 60, 3000]


def test_a_patch_names_what_differs() -> None:
    assert changed({"a": 1, "b": 2}, {"a": 1, "b": 3, "c": None}) == {"b": 3}
    assert sooner(None, 3.0, 2.0) == 2.0
    assert sooner(None) is None


def test_nodes_are_forgiven_by_time_alone_which_somebody_has_to_wait_for() -> None:
    now = datetime(2026, 11, 23, tzinfo=UTC)
    avoid = [AvoidedNode(name=f"n{left}", until=now + timedelta(seconds=left)) for left in (-5, 0, 40, 300)]
    left = forgiven(avoid, now)
    assert left is not None
    assert 40 < left < 41
    assert forgiven(avoid[:2], now) is None


def test_an_estimate_is_told_when_there_was_none_when_there_is_none_any_more_and_when_its_time_is_over() -> None:
    def found(waited: int) -> StartEstimate:
        return StartEstimate(**{name: NOW + timedelta(seconds=waited + left) for name, left in _LEFT.items()})

    assert still_good(None, None)
    assert not still_good(None, found(0))
    assert not still_good(found(0), None)
    assert [still_good(found(0), found(waited)) for waited in (0, 500, 590, 601)] == [True, True, False, False]


_LEFT = {"earliest": 10, "likely": 600, "latest": 3600}
