"""Pods that arrive one after the other and never leave, until so many GPUs were asked for: how full the fleet gets.

The procedure of Weng et al., USENIX ATC 2023: the list in random order, then pods drawn from it again until the demand is met; a
pod that does not fit is left out. Typical pods are those of the whole list. Placement, fleet and fragmentation are the scheduler's.
"""

from collections.abc import Callable, Iterator, Sequence
from random import Random

import numpy as np
from numpy.typing import NDArray

from trainyard.api.names import GPU
from trainyard.cli.simulation.figures import Curve, Result
from trainyard.scheduling.fleet import DEVICE, Fleet
from trainyard.scheduling.fragmentation import Arrivals, TaskClass, TaskClasses, fragmented, learn_classes, task_class
from trainyard.scheduling.policies import Placement, Policy
from trainyard.scheduling.traces import MODEL_LABEL, TraceNode, TracePod

Masks = dict[tuple[str, ...], NDArray[np.bool_]]


def place_pods(
    nodes: Sequence[TraceNode],
    pods: Sequence[TracePod],
    policy: Policy,
    demand: float,
    seeds: Sequence[int],
    step: Callable[[], None] = lambda: None,
) -> Result:
    """Fill the fleet once for each seed. demand: GPUs asked for, as a part of those there are. step: called for each per cent."""
    gpus = sum(node.gpus for node in nodes)
    typical = learn_classes(map(_task, pods))
    curves = tuple(
        fill(nodes, pods, Placement(policy, typical), typical, demand, Random(seed), step=step)  # noqa: S311  no secret
        for seed in seeds
    )
    return Result(
        mode="placement",
        policy=policy,
        nodes=len(nodes),
        gpus=gpus,
        jobs=len(pods),
        left_out=0,
        curves=curves,
        allocation=tuple(float(each.allocation[-1]) for each in curves),
        fragmentation=tuple(float(each.fragmentation[-1]) for each in curves),
    )


def _task(pod: TracePod) -> TaskClass:
    return task_class(pod.requests(), ((MODEL_LABEL, pod.models),) if pod.models else ())


def fill(
    nodes: Sequence[TraceNode],
    pods: Sequence[TracePod],
    placement: Placement,
    typical: TaskClasses,
    demand: float,
    random: Random,
    *,
    arrivals: Arrivals | None = None,
    step: Callable[[], None] = lambda: None,
) -> Curve:
    """Fill the fleet once. typical: what fragmentation is measured by. arrivals: lets the placement know no more than has arrived."""
    fleet = Fleet([node.view() for node in nodes])
    total = int(fleet.gpu_capacity.sum())
    masks: Masks = {(): np.ones(len(fleet.nodes), dtype=np.bool_)}
    asked = given = 0
    points: list[tuple[float, float, float]] = []
    ends = round(100 * demand)
    for pod in _arrivals(pods, random):
        asked += pod.gpu_milli
        while len(points) < ends and asked * 100 >= total * (len(points) + 1):
            lost = fragmented(fleet, typical) * DEVICE
            points.append((len(points) + 1, 100 * given / total, 100 * lost / total))
            step()
        if len(points) >= ends:
            break
        if arrivals is not None:
            arrivals.saw(_task(pod))
            placement.learn(arrivals.typical())
        rows = placement.place(fleet, pod.requests(), 1, _mask(fleet, pod, masks))
        if rows is not None:
            fleet.take(rows[0], pod.requests())
            given += pod.requests().get(GPU, 0)
    by_column = np.array(points, dtype=np.float64)
    return Curve(by_column[:, 0], by_column[:, 1], by_column[:, 2])


def _arrivals(pods: Sequence[TracePod], random: Random) -> Iterator[TracePod]:
    """Each once in random order, then drawn again and again."""
    first = list(pods)
    random.shuffle(first)
    yield from first
    while True:
        yield random.choice(pods)


def _mask(fleet: Fleet, pod: TracePod, masks: Masks) -> NDArray[np.bool_]:
    found = masks.get(pod.models)
    if found is None:
        found = masks[pod.models] = np.array([node.labels.get(MODEL_LABEL) in pod.models for node in fleet.nodes])
    return found
