"""An operator that is confined to some namespaces: what it does not see, what it may not see, and what comes and goes."""

from collections.abc import Callable

import pytest
from prometheus_client import CollectorRegistry

from tests import builders as b
from tests.simulation.fake_faults import Fault, Request
from tests.simulation.operator_sim import Simulation
from trainyard.api.sight import View
from trainyard.cluster.resources import EVENTS, NAMESPACES, PODS, TRAINING_JOBS, Object, Resource
from trainyard.metrics.definitions import NAMESPACE_VIEW
from trainyard.scheduling.snapshot import UNSEEN

pytestmark = pytest.mark.looptime

OTHER = "other"
WORDS = "no right in this namespace"


def other(name: str, *modifiers: b.Modifier) -> Object:
    return b.training_job(name, b.namespace(OTHER), *modifiers)


def reads_in(namespace: str) -> Callable[[Request], bool]:
    return lambda request: request.verb in ("list", "watch") and request.namespace == namespace


def refuse(sim: Simulation, *resources: Resource) -> Fault:
    """Nothing in the other namespace, or nothing of these resources, may be read from now on; watches that are open end."""
    reads = reads_in(OTHER)
    found = sim.api.faults.fail(
        lambda each: reads(each) and (not resources or each.resource in resources),
        403,
        times=None,
        reason="Forbidden",
        message=WORDS,
    )
    sim.api.faults.break_watches()
    return found


def scraped(sim: Simulation, *, leads: bool = True) -> dict[str, str]:
    """How the operator says that it sees each namespace, in its metrics."""
    registry = CollectorRegistry()
    registry.register(sim.process.app.collector(lambda: leads))
    views = (family for family in registry.collect() if family.name == NAMESPACE_VIEW.name)
    return {each.labels["namespace"]: each.labels["state"] for family in views for each in family.samples}


async def test_no_list_or_watch_of_a_kind_that_lives_in_namespaces_goes_beyond_them() -> None:
    async with Simulation(namespaces=("team", OTHER)) as sim:
        sim.create(b.a_namespace(OTHER), b.training_job("a"), other("b"))
        await sim.until(lambda: sim.phase("a") == sim.phase("b", OTHER) == "Running", 60)
        asked = [each for each in sim.api.requests if each.client != "user" and each.resource.namespaced]
        assert {each.namespace for each in asked} == {"team", OTHER, "trainyard-system"}
        named = [each.query.get("fieldSelector") for each in sim.api.requests if each.resource == NAMESPACES]
        assert set(named) == {"metadata.name=team", f"metadata.name={OTHER}"}


async def test_jobs_elsewhere_are_not_seen() -> None:
    async with Simulation(namespaces=("team",)) as sim:
        sim.create(b.a_namespace(OTHER), other("b"), b.training_job("a"))
        await sim.until(sim.is_("Running", "a"), 60)
        assert "status" not in sim.job("b", OTHER)


async def test_who_holds_a_node_unseen_is_told_of_and_the_job_goes_where_there_is_room() -> None:
    async with Simulation(nodes=2, gpus=8, namespaces=("team",)) as sim:
        sim.foreign_pod("theirs", "n0", 8)
        sim.create(b.training_job("a", b.gpus(8)))
        await sim.until(lambda: "AttemptUndone" in sim.events("a"), 90)
        undone = [each["message"] for each in sim.api.all(EVENTS) if each["reason"] == "AttemptUndone"]
        assert all(UNSEEN in each for each in undone)
        await sim.until(lambda: sim.phase("a") == "Running", 120)
        assert sim.nodes("a") == ["n1"]


async def test_a_job_for_which_there_is_room_nowhere_says_that_somebody_unseen_may_be_in_the_way() -> None:
    async with Simulation(nodes=1, gpus=8, namespaces=("team",)) as sim:
        sim.foreign_pod("theirs", "n0", 8)
        sim.create(b.training_job("a", b.gpus(8)))
        await sim.until(lambda: "AttemptUndone" in sim.events("a"), 90)
        await sim.until(lambda: "avoided for now" in sim.message("a"), 90)
        assert UNSEEN in sim.message("a")
        sim.api.remove(PODS, "elsewhere", "theirs")
        await sim.until(sim.is_("Running", "a"), 900)


async def test_a_namespace_that_may_not_be_read_disturbs_no_other_and_counts_once_it_may() -> None:
    async with Simulation(namespaces=("team", OTHER)) as sim:
        fault = refuse(sim)
        sim.create(b.a_namespace(OTHER), other("b"), b.training_job("a"))
        await sim.until(sim.is_("Running", "a"), 60)
        told = sim.process.app.sight.told()
        assert told is not None
        assert WORDS in told
        assert "status" not in sim.job("b", OTHER)
        sim.api.faults.script.remove(fault)
        await sim.until(lambda: sim.phase("b", OTHER) == "Running", 60)
        assert sim.process.app.sight.told() is None


async def test_jobs_of_a_namespace_in_sight_that_may_not_be_read_yet_are_read_as_soon_as_they_may() -> None:
    async with Simulation(namespaces=("team", OTHER)) as sim:
        everything, jobs = refuse(sim), refuse(sim, TRAINING_JOBS)
        sim.create(b.a_namespace(OTHER), other("b"))
        await sim.until(sim.process.app.read.is_set, 60)
        await sim.process.silence_kopf()
        sim.api.faults.script.remove(everything)
        await sim.until(lambda: sim.process.app.sight.whole(OTHER), 60)
        await sim.rest(20)
        assert "status" not in sim.job("b", OTHER)
        sim.api.faults.script.remove(jobs)
        await sim.until(lambda: sim.phase("b", OTHER) == "Running", 30)


async def test_of_a_namespace_whose_pods_alone_may_not_be_read_nothing_is_touched() -> None:
    async with Simulation(namespaces=("team", OTHER)) as sim:
        sim.create(b.a_namespace(OTHER), other("b"))
        await sim.until(lambda: sim.phase("b", OTHER) == "Running", 60)
        uids = [pod["metadata"]["uid"] for pod in sim.pods("b", OTHER)]
        refuse(sim, PODS)
        await sim.restart()
        sim.create(b.training_job("a"))
        await sim.until(sim.is_("Running", "a"), 60)
        await sim.rest(60)
        assert [pod["metadata"]["uid"] for pod in sim.pods("b", OTHER)] == uids
        assert not [each for each in sim.writes(PODS) if each.verb == "create" and each.status == 409]


async def test_what_was_in_a_namespace_that_is_gone_holds_nothing() -> None:
    async with Simulation(nodes=1, gpus=8, namespaces=("team", OTHER)) as sim:
        sim.create(b.a_namespace(OTHER), other("b", b.gpus(8)))
        await sim.until(lambda: sim.phase("b", OTHER) == "Running", 60)
        refuse(sim)
        await sim.until(sim.process.app.sight.told, 300)
        for resource in (TRAINING_JOBS, PODS):
            for each in sim.api.all(resource, OTHER):
                sim.api.remove(resource, OTHER, each["metadata"]["name"])
        sim.create(b.training_job("a", b.gpus(8)))
        await sim.rest(20)
        assert sim.phase("a") != "Running", "nobody could tell that they are gone"
        sim.api.remove(NAMESPACES, None, OTHER)
        await sim.until(sim.is_("Running", "a"), 60)


async def test_a_namespace_that_vanishes_or_whose_rights_are_withdrawn_is_in_the_metrics_until_it_is_back() -> None:
    async with Simulation(namespaces=("team", OTHER)) as sim:
        await sim.until(lambda: scraped(sim) == {"team": View.SEEN, OTHER: View.MISSING}, 60)
        sim.create(b.a_namespace(OTHER))
        await sim.until(lambda: scraped(sim) == {"team": View.SEEN, OTHER: View.SEEN}, 60)
        fault = refuse(sim, PODS)
        await sim.until(lambda: scraped(sim) == {"team": View.SEEN, OTHER: View.REFUSED}, 60)
        sim.api.faults.script.remove(fault)
        await sim.until(lambda: scraped(sim) == {"team": View.SEEN, OTHER: View.SEEN}, 60)
        sim.api.remove(NAMESPACES, None, OTHER)
        await sim.until(lambda: scraped(sim) == {"team": View.SEEN, OTHER: View.MISSING}, 60)
        assert scraped(sim, leads=False) == {}, "a standby sees nothing, and that is as it should be"


async def test_an_operator_for_all_namespaces_names_none_in_its_metrics() -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("a"))
        await sim.until(sim.is_("Running", "a"), 60)
        assert scraped(sim) == {}
