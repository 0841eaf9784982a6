"""On the same cluster the operator does what `plan` says."""

from random import Random

import pytest

from tests import builders as b
from tests.simulation.operator_sim import CLOCK, Simulation
from trainyard.cli.reading import picture
from trainyard.cluster.client import ClusterClient
from trainyard.questions.picture import planned
from trainyard.questions.plan import plan
from trainyard.questions.why import why
from trainyard.scheduling.whatif import settle

pytestmark = pytest.mark.looptime


@pytest.mark.parametrize("seed", range(8))
async def test_the_operator_does_what_plan_says(seed: int) -> None:
    random = Random(seed)
    async with Simulation(nodes=4, gpus=8, quota=random.choice([20, 32])) as sim:
        client = ClusterClient(sim.api.connect("user"), CLOCK, Random(1))
        for number in range(random.randint(3, 7)):
            shape = (b.workers(random.randint(1, 3)), b.gpus(random.choice([1, 2, 4, 6])))
            sim.create(b.training_job(f"j{number}", *shape, b.priority(random.randint(0, 1))))
        await sim.rest(40)
        for number in range(3):
            manifest = b.training_job(f"new{number}", b.workers(random.randint(1, 3)), b.gpus(random.choice([1, 2, 5])))
            seen = await picture(client, CLOCK)
            _, added = planned(seen.world, manifest, "team", seen.now)
            (expected,) = plan(settle(seen.snapshot, seen.now), added).workloads
            sim.create(manifest)
            await sim.rest(40)
            name = f"new{number}"
            if expected.starts:
                nodes = [each.node for each in expected.nodes for _ in range(each.pods)]
                assert sorted(sim.nodes(name)) == sorted(nodes)
                continue
            assert sim.pods(name) == []
            assert sim.status(name)["reason"] == expected.reason
            assert sim.status(name)["queuePosition"] == expected.position
            seen = await picture(client, CLOCK)
            thing = seen.find("team", name)
            assert thing is not None
            answer = why(seen, thing)
            assert (answer.reason, answer.position) == (expected.reason, expected.position)
            assert answer.message == sim.message(name)


@pytest.mark.parametrize("seed", range(4))
async def test_the_operator_asks_those_to_make_way_whom_plan_names(seed: int) -> None:
    random = Random(seed)
    async with Simulation(nodes=3, gpus=8) as sim:
        client = ClusterClient(sim.api.connect("user"), CLOCK, Random(1))
        for number in range(6):
            sim.create(b.training_job(f"low{number}", b.gpus(4), b.runs(5000)))
            await sim.rest(random.choice([5, 20, 60]))
        manifest = b.training_job("high", b.workers(random.choice([1, 2])), b.gpus(8), b.priority(5))
        seen = await picture(client, CLOCK)
        _, added = planned(seen.world, manifest, "team", seen.now)
        (expected,) = plan(settle(seen.snapshot, seen.now), added).workloads
        assert not expected.starts
        assert expected.victims
        sim.create(manifest)
        await sim.until(sim.is_("Running", "high"), 300)
        preempted = {
            f"TrainingJob team/low{number}" for number in range(6) if "Preempted" in sim.events(f"low{number}")
        }
        assert preempted == {each.who for each in expected.victims}
        nodes = [each.node for each in expected.nodes for _ in range(each.pods)]
        assert sorted(sim.nodes("high")) == sorted(nodes)
