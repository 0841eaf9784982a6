"""The cheapest set of workloads that have to make way so that one that waits can start.

Elastic workloads are made smaller before anybody is sent back to its queue; if that is wanted, others are moved. Candidates are
taken in the order of `victims` until the claim fits, by quota and by nodes; then whoever turns out to be superfluous is spared,
the last first, until nobody is: the set is minimal with respect to removal. Neighbours: `victims` says who may be asked,
`trial` whether it fits then, `potential` why this ends, `nominations` keeps the place until it is free.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from trainyard.scheduling.elastic import PlaceOn
from trainyard.scheduling.engine import Engine
from trainyard.scheduling.potential import allowed, standings
from trainyard.scheduling.reservation import Places
from trainyard.scheduling.snapshot import Victim, Workload
from trainyard.scheduling.trial import Trial
from trainyard.scheduling.victims import Candidate, candidates, claim, holders, newcomer

MOST_MOVED = 64
"""So many are moved at most for one claim: each is placed anew in every trial."""
MOST_VICTIMS = 512
"""A nomination names no more."""
Chosen = tuple[list[Candidate], list[Candidate]]
"""Who goes on, smaller or elsewhere, and who is sent back to its queue."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A place, and who makes way."""

    flavor: str
    places: Places
    victims: tuple[Victim, ...]
    cost: float
    """GPU-seconds that all of them lose."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a search found."""

    taken: Taken | None
    next_at: float | None = None
    """When another may be asked, by time alone, seconds since 1970."""
    refused: bool = False
    """A set was found, but the potential would not have fallen."""


def search(engine: Engine, workload: Workload, flavor: str, place: PlaceOn, now: float) -> Answer:
    """Who has to make way for the workload, at its least size, on that flavor. The engine is left as it was."""
    others = holders(engine, engine.root(workload.queue))
    ranks = standings(engine.tree, others)
    own = claim(engine, workload, flavor, others)
    asked = candidates(engine, own, ranks, now, movable=engine.options.consolidate)
    if not asked.found:
        return Answer(None, asked.next_at)
    ends = engine.ends(workload, now)
    kept = [each for each in engine.reservations if each.key != workload.key and each.binds(ends)]
    trial = Trial(engine, own, kept, place)
    chosen = _chosen(trial, asked.found)
    if chosen is None or not 0 < len(chosen[0]) + len(chosen[1]) <= MOST_VICTIMS:
        return Answer(None, asked.next_at)
    going_on, leaving = chosen
    fit = trial.fit(going_on, leaving)
    if fit is None:
        return Answer(None, asked.next_at)
    gone = {each.key for each in leaving}
    after = standings(
        engine.tree, [*(each for each in others if each.key not in gone), newcomer(engine, workload, flavor)]
    )
    if not allowed(ranks, after, workload.key, sorted(gone)):
        return Answer(None, asked.next_at, refused=True)
    victims = tuple(
        Victim(each.key, each.running.workload.uid, each.cost, fit.goes_on.get(each.key))
        for each in (*going_on, *leaving)
    )
    return Answer(Taken(flavor, fit.places, victims, sum(each.cost for each in victims)), asked.next_at)


def _chosen(trial: Trial, found: Sequence[Candidate]) -> Chosen | None:
    """The mildest way that helps: some go on smaller, some are moved, some are sent back. None if nothing helps."""
    shrinking = sorted((each for each in found if each.shrinks), key=lambda each: (each.cost, each.key))
    moving = sorted((each for each in found if each.moves), key=lambda each: (each.cost, each.key))[:MOST_MOVED]
    leaving = [each for each in found if each.evict]
    ways: list[Chosen] = [(shrinking, [])] if shrinking else []
    ways += [([*shrinking, *moving], [])] if moving else []
    ways += [(shrinking, leaving)] if leaving else []
    for going_on, sent_back in ways:
        legal = trial.legal(going_on, sent_back)
        if trial.fit(*legal) is not None:
            return _fewest(trial, *legal)
    return None


def _fewest(trial: Trial, going_on: list[Candidate], leaving: list[Candidate]) -> Chosen:
    """All together would do: the shortest beginning that does, and of it only who is needed."""
    low, high = 0, len(leaving)
    while low < high:
        middle = (low + high) // 2
        if trial.fit(going_on, leaving[:middle]) is not None:
            high = middle
        else:
            low = middle + 1
    leaving = _on_its_nodes(trial, going_on, leaving[:high])
    before = -1
    while before != len(leaving) + len(going_on):
        before = len(leaving) + len(going_on)
        for each in reversed(leaving):
            rest = [other for other in leaving if other is not each]
            if trial.fit(going_on, rest) is not None:
                leaving = rest
        for each in reversed(going_on):
            rest = [other for other in going_on if other is not each]
            if trial.fit(rest, leaving) is not None:
                going_on = rest
    gone = {each.key for each in leaving}
    return [each for each in going_on if each.key not in gone], leaving


def _on_its_nodes(trial: Trial, going_on: list[Candidate], leaving: list[Candidate]) -> list[Candidate]:
    """A quick first step: only those that stand where the claim would go, if that will do."""
    fit = trial.fit(going_on, leaving)
    rows = {row for places in fit.places.values() for row in places} if fit else set()
    there = [each for each in leaving if any(row in rows for row, _ in each.running.grants)]
    return there if trial.fit(going_on, there) is not None else leaving
