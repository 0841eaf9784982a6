"""What breaks in a month, and how often: the mix that Meta published for Llama 3, drawn from a seed. Pure.

Source of counts, fleet and days: Llama Team, The Llama 3 Herd of Models, 2024, table 5 (419 unexpected interruptions on 16,384 H100 in
54 days; its percentage of the first row does not fit its count). What each strikes is our reading: a program, whose nodes are well; a
GPU, whose node has to go to repair; a host, which is gone at once.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from random import Random

DAY = 86_400.0
FLEET_GPUS, FLEET_DAYS = 16_384, 54


class Strikes(Enum):
    """What a fault takes away."""

    PROGRAM = "program"
    GPU = "gpu"
    HOST = "host"


@dataclass(frozen=True, slots=True)
class Cause:
    """A row of the table."""

    name: str
    count: int
    strikes: Strikes


CAUSES = (
    Cause("faulty GPU", 148, Strikes.GPU),
    Cause("GPU HBM3 memory", 72, Strikes.GPU),
    Cause("software bug", 54, Strikes.PROGRAM),
    Cause("network switch or cable", 35, Strikes.PROGRAM),
    Cause("unplanned host maintenance", 32, Strikes.HOST),
    Cause("GPU SRAM memory", 19, Strikes.GPU),
    Cause("GPU system processor", 17, Strikes.GPU),
    Cause("NIC", 7, Strikes.HOST),
    Cause("NCCL watchdog timeout", 7, Strikes.PROGRAM),
    Cause("silent data corruption", 6, Strikes.GPU),
    Cause("GPU thermal interface and sensor", 6, Strikes.GPU),
    Cause("SSD", 3, Strikes.HOST),
    Cause("power supply", 3, Strikes.HOST),
    Cause("server chassis", 2, Strikes.HOST),
    Cause("IO expansion board", 2, Strikes.HOST),
    Cause("dependency", 2, Strikes.PROGRAM),
    Cause("CPU", 2, Strikes.HOST),
    Cause("system memory", 2, Strikes.HOST),
)
INTERRUPTIONS = sum(each.count for each in CAUSES)
RATE = INTERRUPTIONS / (FLEET_GPUS * FLEET_DAYS * DAY)
"""Faults of a GPU a second."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One. at: seconds from the beginning. where: which part of the node is struck, from 0 to 1."""

    at: float
    node: int
    where: float
    cause: Cause


@dataclass(frozen=True, slots=True)
class Fleet:
    """Of how many nodes with how many GPUs each. lemons: so many nodes draw that share of all faults of hardware."""

    nodes: int = 256
    gpus: int = 8
    lemons: int = 4
    lemon_share: float = 0.13


def faults(random: Random, fleet: Fleet, seconds: float, times: float = 1.0) -> Iterator[Fault]:
    """A Poisson process, in order of time. times: how many times as often as published."""
    rate = times * RATE * fleet.nodes * fleet.gpus
    sour = sorted(random.sample(range(fleet.nodes), fleet.lemons))
    sound = sorted(set(range(fleet.nodes)) - set(sour))
    weights = [each.count for each in CAUSES]
    at = random.expovariate(rate)
    while at < seconds:
        (cause,) = random.choices(CAUSES, weights)
        where, drawn = random.random(), random.random()
        if cause.strikes is Strikes.PROGRAM or not sour:
            node = random.randrange(fleet.nodes)
        else:
            node = random.choice(sour if drawn < fleet.lemon_share else sound)
        yield Fault(at, node, where, cause)
        at += random.expovariate(rate)
