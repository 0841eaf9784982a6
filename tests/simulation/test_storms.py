"""Whatever users, machines and the API server do, the auditor finds no broken promise, and in the end every job is done."""

from collections.abc import Callable
from random import Random

import pytest

from tests import builders as b
from tests.simulation.fake_faults import writes
from tests.simulation.operator_sim import Simulation
from trainyard.cluster.resources import INFERENCE_SERVICES, PODS, QUEUES, TRAINING_JOBS

pytestmark = pytest.mark.looptime


class Storm:
    """Random events on a simulation."""

    def __init__(self, sim: Simulation, random: Random) -> None:
        self.sim, self.random = sim, random
        self.made = 0

    async def strike(self) -> None:
        """One of them."""
        happenings: list[Callable[[], object]] = [
            self.submit,
            self.submit,
            self.submit,
            self.submit_service,
            self.toggle_suspend,
            self.change_quota,
            self.break_node,
            self.mend_nodes,
            self.sick_server,
            self.sim.api.faults.break_watches,
        ]
        choice = self.random.randrange(len(happenings) + 3)
        if choice < len(happenings):
            happenings[choice]()
        elif choice == len(happenings):
            await self.sim.restart()
        elif jobs := self.sim.api.all(TRAINING_JOBS):
            await self.sim.delete(TRAINING_JOBS, self.random.choice(jobs)["metadata"]["name"])

    def submit(self) -> None:
        self.made += 1
        self.sim.create(
            b.training_job(
                f"j{self.made}",
                b.workers(self.random.randint(1, 4)),
                b.gpus(self.random.randint(1, 2)),
                b.priority(self.random.randint(-1, 1)),
                b.runs(self.random.randint(1, 40), code=self.random.choice([0, 0, 0, 1, 64])),
            )
        )

    def submit_service(self) -> None:
        self.made += 1
        self.sim.create(b.inference_service(f"s{self.made}", b.replicas(self.random.randint(0, 3)), b.drain(5)))

    def toggle_suspend(self) -> None:
        if jobs := self.sim.api.all(TRAINING_JOBS):
            self.sim.change(
                TRAINING_JOBS, self.random.choice(jobs)["metadata"]["name"], suspend=self.random.random() < 0.5
            )

    def change_quota(self) -> None:
        self.quota(self.random.randint(2, 12))

    def quota(self, gpus: int) -> None:
        self.sim.change(QUEUES, "research", None, flavors=b.a_queue("research", gpus=gpus)["spec"]["flavors"])

    def break_node(self) -> None:
        if not self.sim.kubelet.down:
            self.sim.stop_node(f"n{self.random.randrange(6)}")

    def mend_nodes(self) -> None:
        for name in list(self.sim.kubelet.down):
            self.sim.kubelet.start_node(name)

    def sick_server(self) -> None:
        fail = self.random.choice([self.sim.api.faults.lose, self.sim.api.faults.hang])
        fail(writes(), times=2, skip=self.random.randint(0, 5))

    def calm(self) -> None:
        """All is well again."""
        self.mend_nodes()
        self.sim.api.faults.clear()
        self.quota(24)
        for each in self.sim.api.all(INFERENCE_SERVICES):
            self.sim.change(INFERENCE_SERVICES, each["metadata"]["name"], replicas=0)
        for each in self.sim.api.all(TRAINING_JOBS):
            self.sim.change(TRAINING_JOBS, each["metadata"]["name"], suspend=False)


@pytest.mark.fault(2, 70)
@pytest.mark.parametrize("seed", [*range(6), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(6, 12))])
async def test_promises_hold_in_any_weather(seed: int) -> None:
    random = Random(seed)
    async with Simulation(nodes=6, gpus=4, quota=12) as sim:
        storm = Storm(sim, random)
        for _ in range(40):
            await storm.strike()
            await sim.rest(random.choice([0.01, 0.3, 2, 10]))
        storm.calm()
        jobs = [each["metadata"]["name"] for each in sim.api.all(TRAINING_JOBS)]
        await sim.until(lambda: all(sim.phase(name) in ("Complete", "Failed") for name in jobs), 3000, step=5)
        await sim.rest(60)
        known = {each["metadata"]["uid"] for each in sim.api.all(TRAINING_JOBS)}
        assert not [
            pod["metadata"]["name"]
            for pod in sim.api.all(PODS)
            if "trainyard.dev/job" in pod["metadata"]["labels"]
            and (
                pod["metadata"]["ownerReferences"][0]["uid"] not in known
                or pod["status"]["phase"] not in ("Succeeded", "Failed")
            )
        ]
