"""Random histories of a job: a clock, a world, faults, and what must hold at every step of them.

A history is made from its seed alone. It has a part in which anything may happen and one in which nothing does any more; by the end of
that the job is over, or waits for a reason that its owner can read. Neighbours: `world_model` has pods and a trainer,
`small_operator` plans and applies, `happenings` is what may happen.
"""

from random import Random
from typing import Any

from tests import builders as b
from tests.unit.training.happenings import HAPPENINGS, is_resized_while_it_trains
from tests.unit.training.small_operator import SmallOperator
from tests.unit.training.world_model import BEGIN, NEVER, Training, World, when
from trainyard.api.incident import Outcome
from trainyard.api.ledger import Category
from trainyard.api.names import WORKER
from trainyard.api.training_job import TrainingJob
from trainyard.training.budget import exhausted, used_gpu_hours
from trainyard.training.workload import finished, inactive
from trainyard.workloads.plan import Plan

_LONGEST_STEP = 30.0
_AWAY = 0.05
"""How often the operator is away for a while."""
_RESIZED = 0.4
"""How often what happens to an elastic job is that."""
_QUIET_STEPS = 400
_SECONDS_OFF = 1e-3
_HOURS_OFF = 1e-6
_LOST_OFF = 0.1
"""GPU-seconds: of each incident they are rounded."""


class Broken(AssertionError):  # noqa: N818 - says what it is
    """A promise does not hold; the message tells the seed."""


class History:
    """One life of a job."""

    def __init__(self, seed: int) -> None:
        self.seed, self.random = seed, Random(seed)
        self.gpus = self.random.choice((0, 1, 4))
        nodes = [f"n{number}" for number in range(6)]
        self.world = World(self.random, _training(self.random), nodes, processes=max(1, self.gpus))
        self.operator = SmallOperator(_submitted(self.random, self.gpus), self.world, self.random, self._note)
        self.steps, self.gpu_seconds = 0, 0.0
        self.log: list[str] = []

    @property
    def job(self) -> TrainingJob:
        return self.operator.job

    def run(self) -> str:
        """Live it. Returns the phase at the end. Raises Broken."""
        for _ in range(self.random.randint(5, 40)):
            if finished(self.job):
                break
            self._something_happens()
            self._step(chaos=True)
        self._calm_down()
        for _ in range(_QUIET_STEPS):
            if finished(self.job) and not any(not pod.state.finished for pod in self.world.pods.values()):
                return self.job.status.phase
            if self._waits_for_its_owner():
                return self.job.status.phase
            self._step(chaos=False)
        raise self._broken("it is stuck")

    def _step(self, *, chaos: bool) -> None:
        self.steps += 1
        before = self.operator.writes
        plan = self.operator.look(chaos=chaos)
        self._check()
        self._pass_time(plan, self.operator.writes > before, chaos=chaos)
        self._check()
        if not chaos:
            self._check_budget()
            self._check_recovered()

    def _something_happens(self) -> None:
        happening = self.random.choice(HAPPENINGS)
        if self.job.spec.workers.min_replicas and self.random.random() < _RESIZED:
            happening = is_resized_while_it_trains
            self._advance(self.world.now + self.random.uniform(5, 40))  # steps are made meanwhile
        if happening is not None:
            self._note(happening.__name__)
            happening(self.operator, self.random)
        if self.random.random() < _AWAY:
            self._note("the operator is away")
            self._advance(self.world.now + self.random.uniform(30, 900))
            self.operator.restart()

    def _calm_down(self) -> None:
        """Nothing fails any more, and the owner wants the job to go on; perhaps without giving it more budget."""
        self._note("nothing happens any more")
        if self.random.random() < 0.6:  # else they never come back
            self.world.down.clear()
        spec: dict[str, Any] = {"suspend": False}
        if self.random.random() < 0.8:
            spec["budget"] = None
        self.operator.edit(**spec)

    def _pass_time(self, plan: Plan, wrote: bool, *, chaos: bool) -> None:
        world = self.world
        # The watch tells of a write at once.
        if plan.again == 0.0 or (wrote and (not chaos or self.random.random() < 0.5)):
            return
        if chaos:
            seconds = self.random.choice((0.0, 0.05, self.random.uniform(0, 3), self.random.uniform(0, _LONGEST_STEP)))
        else:
            news = self.operator.decided or plan.delete or plan.create
            decided = world.now + 0.05 if news else NEVER
            asked = world.now + plan.again if plan.again is not None else NEVER
            seconds = min(world.next_at() + 0.01, decided, asked) - world.now
            if seconds == NEVER:
                if finished(self.job) or self._waits_for_its_owner():
                    return
                raise self._broken("nothing will happen, and nobody will look again")
            seconds = max(0.05, seconds)
        self._advance(world.now + round(seconds, 6))
        if self.random.random() < 0.5:
            world.speak()

    def _advance(self, until: float) -> None:
        held = len(self.operator.nodes()) if not finished(self.job) else 0
        self.gpu_seconds += held * self.gpus * (until - self.world.now)
        workers = self.job.counts()[WORKER] if self.job.status.admission else 1
        if not self.world.all_run(workers, self.job.status.attempt):
            workers -= self.job.joining()
        self.world.go_on(until, workers, self.job.status.attempt)

    # What must hold.

    def _check(self) -> None:
        ledger = self.job.status.ledger
        if self.world.two_attempts:
            raise self._broken(self.world.two_attempts)
        if self.job.status.admission is None and exhausted(self.job) and inactive(self.job) is None:
            raise self._broken("a job without budget asks for a place")
        if ledger is None:
            return
        now = when(self.world.now)
        seconds = ledger.until(now)
        end = self.job.status.completion_time or now
        off = sum(seconds.values()) - (end - BEGIN).total_seconds()
        if abs(off) > _SECONDS_OFF:
            raise self._broken(f"the ledger is {off:.6f} s off")
        if min(seconds.values()) < 0:
            raise self._broken(f"negative time: {seconds}")
        closed = ledger.seconds.model_dump(by_alias=True)
        blamed = sum(each.seconds for each in ledger.causes)
        if abs(blamed + closed["productive"] - sum(closed.values())) > _SECONDS_OFF:
            raise self._broken(f"causes explain {blamed:.3f} s of {closed}")
        open_hours = self.job.held_gpus() * (now - ledger.since).total_seconds() / 3600
        if abs(ledger.gpu_hours + open_hours - self.gpu_seconds / 3600) > _HOURS_OFF:
            raise self._broken(f"{ledger.gpu_hours + open_hours} GPU-hours, and {self.gpu_seconds / 3600} were held")
        self._check_incidents()
        own = ledger.attempt
        if own is not None and own.productive > closed["productive"] + _SECONDS_OFF:
            raise self._broken("an attempt is more productive than all together")

    def _check_incidents(self) -> None:
        status = self.job.status
        found, ledger = status.incidents, status.ledger
        if [each.number for each in found] != list(range(found[0].number, found[-1].number + 1) if found else []):
            raise self._broken(f"numbers of incidents: {[each.number for each in found]}")
        still = [each for each in found if each.outcome is Outcome.OPEN]
        if still not in ([], found[-1:]) or (still and finished(self.job)):
            raise self._broken(f"incidents are open: {still}")
        if ledger is not None and still and ledger.current is Category.PRODUCTIVE and not still[0].planned:
            raise self._broken(f"it makes steps, and an incident is open: {still}")
        for each in found:
            moments = [each.fault_at, each.detected_at, each.replaced_at, each.recovered_at, each.ended_at]
            known = [moment for moment in moments if moment is not None]
            if known != sorted(known) and each.recovered_at != each.ended_at:
                raise self._broken(f"an incident's moments are out of order: {each}")
        if found and found[0].number == 1 and sum(each.times for each in found) < status.restarts:
            raise self._broken(f"{status.restarts} restarts, of which not all are told: {found}")
        unproductive = sum(each.gpu_hours for each in ledger.causes) * 3600 if ledger else 0.0
        if (lost := sum(each.lost_gpu_seconds for each in found)) > unproductive + _LOST_OFF:
            raise self._broken(f"incidents lost {lost} GPU-seconds, and {unproductive} were lost in all")

    def _check_recovered(self) -> None:
        """Once the status shows steps of the program as it runs now, its time is productive."""
        trainer, status, report = self.world.trainer, self.job.status, self.world.report
        if trainer is None or report is None or status.progress is None or status.phase != "Running":
            return
        shown = status.attempt == trainer.attempt and status.progress.updated_at >= report.received
        told = report.body.get("restarted") or {"round": 1}
        same = (report.attempt, told["round"]) == (trainer.attempt, trainer.round)
        productive = status.ledger is not None and status.ledger.current is Category.PRODUCTIVE
        if shown and same and report.body["step"] > trainer.restored and not productive:
            raise self._broken("it makes steps and is not productive")

    def _check_budget(self) -> None:
        """Nothing fails: a job whose budget is used up is stopped within a second."""
        budget, now = self.job.spec.budget, when(self.world.now)
        if budget is None or self.job.status.phase == "Suspending":
            return
        over = used_gpu_hours(self.job, now) - budget.max_gpu_hours
        if self.job.held_gpus() > 0 and over * 3600 > self.job.held_gpus():
            raise self._broken(f"it goes on with {over} GPU-hours more than its budget")

    def _waits_for_its_owner(self) -> bool:
        """The budget is used up, nothing is held, and the status says so."""
        status = self.job.status
        return (
            exhausted(self.job)
            and (status.phase, status.reason) == ("Suspended", "BudgetExhausted")
            and all(pod.state.finished for pod in self.world.pods.values())
        )

    def _broken(self, why: str) -> Broken:
        said = "\n".join(self.log[-60:])
        return Broken(f"history {self.seed}, at {self.world.now:.3f} s: {why}\n{said}\n{self.job.status.ledger}")

    def _note(self, text: str) -> None:
        self.log.append(f"{self.world.now:10.3f} {text}")


def _training(random: Random) -> Training:
    total = random.choice((5, 40, 200))
    return Training(
        total,
        random.uniform(0.05, 2.0),
        max(1, total // random.randint(1, 8)),
        speaks=random.random() < 0.8,
        divides=random.random() < 0.5,
    )


def _submitted(random: Random, gpus: int) -> TrainingJob:
    most = random.randint(1, 3)
    made = [
        b.meta(uid="01234567-89", generation=1, creationTimestamp="2026-11-23T00:00:00Z"),
        b.workers(most),
        b.gpus(gpus),
        b.spec(startDeadlineSeconds=random.choice((30, 600)), suspend=random.random() < 0.1),
        b.max_restarts(random.choice((0, 2, 20))),
    ]
    if random.random() < 0.4:
        made += [b.elastic(1, most), *([b.storage()] if random.random() < 0.7 else [])]
    elif random.random() < 0.3:
        made.append(b.spares(random.randint(1, 2)))
    if random.random() < 0.2:
        made.append(b.spec(restart={"maxRestarts": 2, "windowSeconds": random.choice((60, 3600))}))
    if random.random() < 0.1:
        made.append(b.spec(cleanPodPolicy="All"))
    if random.random() < 0.3:
        made.append(b.spec(budget={"maxGPUHours": random.choice((0.01, 0.1, 1.0))}))
    if random.random() < 0.2:
        made.append(b.spec(model=None, dataset=None, entrypoint={"command": ["python", "train.py"]}))
    if random.random() < 0.2:
        made.append(b.spec(maxRunSeconds=random.choice((60, 600))))
    return TrainingJob.model_validate(b.training_job("a", *made))
