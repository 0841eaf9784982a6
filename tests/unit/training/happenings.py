"""What may happen to a job: table of functions, each of which changes the world, the stored job, or what the operator knows."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from random import Random

from tests.unit.training.small_operator import KEY, OTHER, SmallOperator
from tests.unit.training.world_model import NEVER, Pod, when
from trainyard.api.names import WORKER
from trainyard.scheduling.snapshot import Evict, Resize

_CODES = (1, 1, 1, 2, 75, 137, 137, 64, 65)
_MOST_DOWN = 3

Happening = Callable[[SmallOperator, Random], None]


def _pod(operator: SmallOperator, random: Random, *phases: str) -> Pod | None:
    alive = [pod for pod in operator.world.pods.values() if not pod.state.finished]
    chosen = random.choice(alive) if alive else None
    return chosen if chosen is not None and chosen.state.phase in (phases or ("Pending", "Running")) else None


def a_report_arrives(operator: SmallOperator, _random: Random) -> None:
    operator.world.speak()


def a_container_ends(operator: SmallOperator, random: Random) -> None:
    if (pod := _pod(operator, random, "Running")) is not None:
        operator.world.end(pod, random.choice(_CODES))


def the_program_starts_again(operator: SmallOperator, _random: Random) -> None:
    """In its pods, as their agents do."""
    world, trainer = operator.world, operator.world.trainer
    if trainer is not None and trainer.attempt == operator.job.status.attempt and world.running(trainer.attempt):
        world.begin(trainer.attempt, trainer.members)
        world.speak()


def a_pod_dies_with_its_agent(operator: SmallOperator, random: Random) -> None:
    if (pod := _pod(operator, random, "Running")) is not None:
        operator.world.end(pod, None, "NodeShutdown")


def a_kubelet_refuses(operator: SmallOperator, random: Random) -> None:
    if (pod := _pod(operator, random, "Pending")) is not None:
        pod.state = replace(pod.state, node=pod.place)
        operator.world.end(pod, None, random.choice(("OutOfcpu", "Evicted")))


def a_pod_vanishes(operator: SmallOperator, random: Random) -> None:
    if (pod := _pod(operator, random)) is not None:
        del operator.world.pods[pod.state.name]


def a_pod_is_never_bound(operator: SmallOperator, random: Random) -> None:
    if (pod := _pod(operator, random)) is not None and not pod.state.bound:
        pod.binds_at = NEVER


def a_node_falls_silent(operator: SmallOperator, random: Random) -> None:
    world = operator.world
    if len(world.down) < _MOST_DOWN:
        world.down.setdefault(random.choice(operator.nodes() or world.nodes), world.now)


def nodes_are_back(operator: SmallOperator, _random: Random) -> None:
    operator.world.down.clear()


def makes_way(operator: SmallOperator, random: Random) -> None:
    """For another, with or without another place; or since its queue is drained."""
    job = operator.job
    if job.status.admission is None:
        return
    deadline = when(operator.world.now) + timedelta(seconds=30)
    smaller = operator.place() if job.spec.workers.min_replicas and random.random() < 0.5 else None
    evict = Evict(KEY, job.metadata.uid, deadline, 1.0, OTHER, "o", smaller)
    drained = Evict(KEY, job.metadata.uid, deadline, 1.0, drained="research")
    operator.decision = (random.choice((evict, drained)), job.status.attempt)


def grows(operator: SmallOperator, _random: Random) -> None:
    job = operator.job
    if job.status.admission is not None and job.spec.workers.min_replicas:
        operator.decision = (Resize(KEY, job.metadata.uid, operator.place()), job.status.attempt)


def is_resized_while_it_trains(operator: SmallOperator, random: Random) -> None:
    """At its nodes: grows, or shrinks for another."""
    job, workers = operator.job, operator.job.spec.workers
    trainer = operator.world.trainer
    if job.status.phase != "Running" or not workers.min_replicas or trainer is None or trainer.step == trainer.restored:
        return
    operator.world.speak()
    place = operator.place(random.randint(workers.min_replicas, workers.replicas), stays=True)
    deadline = when(operator.world.now) + timedelta(seconds=30)
    smaller = Evict(KEY, job.metadata.uid, deadline, 1.0, OTHER, "o", place)
    grows = len(place.nodes[WORKER]) > job.counts()[WORKER]
    operator.decision = (Resize(KEY, job.metadata.uid, place) if grows else smaller, job.status.attempt)


def suspend_is_changed(operator: SmallOperator, _random: Random) -> None:
    operator.edit(suspend=not operator.job.spec.suspend)


def budget_is_changed(operator: SmallOperator, random: Random) -> None:
    budget = {"maxGPUHours": random.choice((0.001, 0.05, 1, 100))}
    operator.edit(budget=random.choice((budget, budget, None)))


def operator_starts_anew(operator: SmallOperator, _random: Random) -> None:
    operator.restart()


HAPPENINGS: tuple[Happening | None, ...] = (
    *[None] * 6,
    *[a_report_arrives] * 3,
    *[a_container_ends] * 3,
    *[the_program_starts_again] * 2,
    a_pod_dies_with_its_agent,
    a_kubelet_refuses,
    a_pod_vanishes,
    a_pod_is_never_bound,
    *[a_node_falls_silent] * 2,
    *[nodes_are_back] * 2,
    *[makes_way] * 2,
    grows,
    is_resized_while_it_trains,
    suspend_is_changed,
    budget_is_changed,
    operator_starts_anew,
)
"""As often as they stand here."""
