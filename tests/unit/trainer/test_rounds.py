"""Rounds: nobody starts while another still runs, and everybody starts again or nobody."""

import random
from collections.abc import Sequence

import pytest
from trainer.rounds import Failure, Leave, Order, Rounds, Start, Stop, StopInOrder, parse_failure, restartable


def gang(pods: int = 3, left: int = 2) -> Rounds:
    rounds = Rounds(pods, left, patience=60)
    for index in range(pods):
        assert not rounds.joined(index, running=True, anew=False, now=0)
    return rounds


def failure(index: int, *, consequence: bool = False, at: float = 1) -> Failure:
    return Failure(index, 137, f"pod {index} failed", consequence, at)


def test_a_failure_stops_the_others_and_all_start_again_when_nobody_runs() -> None:
    rounds = gang()
    assert rounds.failed(1, failure(1), 1) == (Stop(0), Stop(2))
    assert rounds.idle(0) == ()
    (order,) = rounds.idle(2)
    assert isinstance(order, Start)
    assert (order.round, order.failure.index, rounds.left) == (2, 1, 1)


def test_the_cause_is_what_failed_by_itself_and_first() -> None:
    rounds = gang()
    rounds.failed(0, failure(0, consequence=True, at=1), 1)
    rounds.failed(2, failure(2, at=3), 3)
    orders = rounds.failed(1, failure(1, at=2), 3)
    assert [order.failure.index for order in orders if isinstance(order, Start)] == [1]


def test_a_pod_that_fell_silent_after_a_failure_is_not_its_cause() -> None:
    rounds = Rounds(2, 2, patience=60, epoch=1_000_000)
    for index in range(2):
        rounds.joined(index, running=True, anew=False, now=0)
    rounds.failed(0, failure(0, at=1_000_001), 1)
    rounds.gone(1, 3)
    (order,) = rounds.joined(1, running=False, anew=True, now=4)
    assert isinstance(order, Start)
    assert (order.failure.index, order.failure.at) == (0, 1_000_001)


def test_without_a_restart_left_all_leave() -> None:
    rounds = gang(pods=1, left=0)
    (order,) = rounds.failed(0, failure(0), 1)
    assert order == Leave("no restart is left; pod 0 failed")


def test_a_pod_in_anothers_stead_ends_the_round_and_joins_the_next() -> None:
    rounds = gang()
    assert set(rounds.joined(1, running=True, anew=True, now=5)) == {Stop(0), Stop(1), Stop(2)}
    rounds.idle(0)
    rounds.idle(1)
    (order,) = rounds.idle(2)
    assert isinstance(order, Start)
    assert "started anew" in order.failure.cause


def test_when_one_pod_was_asked_to_end_the_others_stop_in_order_and_wait_for_the_one_in_its_stead() -> None:
    rounds = gang(left=0)
    orderly = Failure(0, 75, "stopped after step 9", consequence=True, counts=False)
    rounds.failed(0, orderly, 1)
    assert {order.index for order in rounds.leaves(1, 2) if isinstance(order, Stop)} == {2}
    assert (rounds.gone(1, 2), rounds.idle(2)) == ((), ())
    rounds.joined(1, running=True, anew=True, now=5)
    (order,) = rounds.idle(1)
    assert isinstance(order, Start)
    assert (order.failure.index, order.failure.exit_code, order.failure.counts, rounds.left) == (1, 75, False, 0)


def test_when_all_pods_were_asked_to_end_none_starts_again() -> None:
    rounds = gang()
    orders = [order for index in range(3) for order in rounds.leaves(index, 1)]
    assert not any(isinstance(order, Start) for order in orders)
    assert not rounds.tick(2)


STOPPED = Failure(0, 75, "stopped after step 9", consequence=True, counts=False)


def test_a_gang_grows_when_all_that_join_are_here_and_not_before() -> None:
    rounds = gang(pods=2, left=0)
    assert rounds.resized(4) == ()
    assert rounds.joined(2, running=False, anew=False, now=1) == ()
    assert rounds.joined(3, running=False, anew=False, now=2) == (StopInOrder(),)
    assert rounds.failed(0, STOPPED, 3) == (Stop(1),)
    (order,) = rounds.failed(1, STOPPED, 3)
    assert isinstance(order, Start)
    assert (order.pods, rounds.pods, rounds.left) == (4, 4, 0)


def test_who_joins_and_goes_again_disturbs_nobody() -> None:
    rounds = gang(pods=2)
    rounds.resized(4)
    rounds.joined(2, running=False, anew=False, now=1)
    assert rounds.gone(2, 2) == ()
    assert rounds.joined(3, running=False, anew=False, now=3) == ()
    assert rounds.resized(2) == ()
    assert rounds.leaves(3, 4) == ()
    assert not rounds.failures


def test_a_round_that_fails_while_others_are_awaited_begins_again_without_them() -> None:
    rounds = gang(pods=2)
    rounds.resized(3)
    rounds.failed(1, failure(1), 1)
    (order,) = rounds.idle(0)
    assert isinstance(order, Start)
    assert order.pods == 2
    assert rounds.joined(2, running=False, anew=False, now=5) == (StopInOrder(),)


def test_a_gang_shrinks_when_those_that_are_too_many_leave() -> None:
    rounds = gang(pods=3, left=0)
    assert rounds.resized(1) == ()
    rounds.leaves(2, 1)
    rounds.leaves(1, 1)
    (order,) = rounds.failed(0, STOPPED, 2)
    assert isinstance(order, Start)
    assert (order.pods, set(rounds.members)) == (1, {0})
    assert (rounds.gone(2, 3), rounds.gone(1, 3)) == ((), ())


def test_a_gang_that_stopped_before_it_heard_its_new_size_goes_on_when_it_does() -> None:
    rounds = gang(pods=2, left=0)
    rounds.leaves(1, 1)
    assert rounds.failed(0, STOPPED, 2) == ()
    (order,) = rounds.resized(1)
    assert isinstance(order, Start)
    assert order.pods == 1


def test_after_a_hang_nobody_is_given_time_for_last_words() -> None:
    rounds = gang()
    assert set(rounds.failed(1, Failure(1, 77, "hang"), 1)) == {Stop(0, at_once=True), Stop(2, at_once=True)}
    assert set(gang().failed(1, failure(1), 1)) == {Stop(0), Stop(2)}


def test_what_is_told_of_a_failure_is_all_that_the_others_need() -> None:
    told = Failure(1, 75, "why", at=3.5, counts=False)
    assert parse_failure(told.as_json()) == told


def test_a_pod_that_does_not_come_back_is_waited_for_no_longer_than_the_patience() -> None:
    rounds = gang()
    rounds.gone(2, 10)
    rounds.idle(0)
    rounds.idle(1)
    assert rounds.tick(69) == ()
    (order,) = rounds.tick(70)
    assert isinstance(order, Leave)
    assert "[2]" in order.why


def test_a_gang_of_which_a_pod_has_ended_for_good_does_not_start_again() -> None:
    rounds = gang()
    rounds.done(0)
    assert any(isinstance(order, Leave) for order in rounds.failed(1, failure(1), 1))


@pytest.mark.parametrize(("code", "again"), [(0, False), (1, True), (64, False), (65, False), (75, False), (137, True)])
def test_what_a_restart_cannot_help_is_not_restarted(code: int, again: bool) -> None:
    assert restartable(code) is again


@pytest.mark.fault(55, 68)
@pytest.mark.parametrize("seed", range(200))
def test_in_any_order_of_events_no_two_rounds_run_side_by_side(seed: int) -> None:
    """Pods fail, vanish and come back at random; each obeys its orders late."""
    chance = random.Random(seed)
    pods = chance.randint(1, 4)
    rounds = Rounds(pods, left=3, patience=60)
    running: dict[int, int] = {}
    told: list[tuple[int, Order]] = []

    def send(orders: Sequence[Order]) -> None:
        for order in orders:
            to = [order.index] if isinstance(order, Stop) else list(range(pods))
            told.extend((index, order) for index in to)

    for index in range(pods):
        running[index] = 1
        send(rounds.joined(index, running=True, anew=False, now=0))
    left, now = False, 0.0
    for _ in range(200):
        now += 1
        index = chance.randrange(pods)
        event = chance.random()
        if event < 0.1 and index in running and not left:
            del running[index]
            send(rounds.failed(index, failure(index, at=now), now))
        elif event < 0.15 and not left:
            running.pop(index, None)
            told = [each for each in told if each[0] != index]
            send(rounds.leaves(index, now) if chance.random() < 0.5 else rounds.gone(index, now))
            running[index] = 0  # the new pod's program waits for the others of a first round, which do not come
            send(rounds.joined(index, running=True, anew=True, now=now))
        elif told:
            index, order = told.pop(chance.randrange(len(told)) if chance.random() < 0.1 else 0)
            if isinstance(order, Stop) and running.pop(index, None) is not None:
                send(rounds.idle(index))
            elif isinstance(order, Start):
                assert index not in running
                running[index] = order.round
            elif isinstance(order, Leave):
                left = True
        started = {round_ for round_ in running.values() if round_}
        assert len(started) <= 1, (running, seed)
    assert rounds.left >= 0
