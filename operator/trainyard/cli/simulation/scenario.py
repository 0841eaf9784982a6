"""What to simulate, from options or from a file of --compare, and the simulation of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, get_args

from trainyard.cli.errors import USAGE, CliError
from trainyard.cli.manifests import Manifest, manifests
from trainyard.cli.output import progress
from trainyard.cli.simulation.figures import Result
from trainyard.cli.simulation.files import TraceJob, nodes_of, work_of
from trainyard.cli.simulation.placement import place_pods
from trainyard.cli.simulation.queues import site
from trainyard.cli.simulation.replay import Job, Known, gang, replay
from trainyard.scheduling.policies import Policy
from trainyard.scheduling.snapshot import PodSet
from trainyard.scheduling.traces import MODEL_LABEL, TraceNode, TracePod

POLICIES: tuple[Policy, ...] = get_args(Policy)
KNOWN: tuple[Known, ...] = get_args(Known)
_FEWEST_PERCENT, _MOST_PERCENT, _MOST_SEEDS = 0.01, 10.0, 1000


@dataclass(frozen=True, slots=True)
class Scenario:
    """One simulation."""

    nodes: str
    pods: str
    policy: Policy = "fgd"
    demand: float = 1.3
    seeds: int = 1
    first_seed: int = 1
    queues: Path | None = None
    durations: Known = "true"
    first: int | None = None
    """Only so many jobs or pods, from the front."""
    label: str = ""

    def checked(self) -> "Scenario":
        """Itself; raises CliError for a value that means nothing."""
        if self.policy not in POLICIES:
            raise CliError(f"policy: {self.policy!r} is none; expected one of {', '.join(POLICIES)}", USAGE)
        if self.durations not in KNOWN:
            raise CliError(f"durations: {self.durations!r}; expected one of {', '.join(KNOWN)}", USAGE)
        if not _FEWEST_PERCENT <= self.demand <= _MOST_PERCENT:
            raise CliError(f"demand: {self.demand:g}; expected a part of all GPUs from 0.01 to 10, e.g. 1.3", USAGE)
        if not 1 <= self.seeds <= _MOST_SEEDS:
            raise CliError(f"seeds: {self.seeds}; expected a number from 1 to {_MOST_SEEDS}", USAGE)
        if self.first is not None and self.first < 1:
            raise CliError(f"first: {self.first}; expected a number from 1", USAGE)
        return self


def simulate(scenario: Scenario) -> Result:
    """Run it. Raises CliError for files that cannot be used."""
    scenario.checked()
    nodes, work = nodes_of(scenario.nodes), work_of(scenario.pods)[: scenario.first]
    pods = [each for each in work if isinstance(each, TracePod)]
    if pods:
        return _place(scenario, nodes, pods)
    return _replay(scenario, nodes, [each for each in work if isinstance(each, TraceJob)])


def _place(scenario: Scenario, nodes: Sequence[TraceNode], pods: Sequence[TracePod]) -> Result:
    if not any(pod.gpu_milli for pod in pods):
        raise CliError(
            f"{scenario.pods}: no pod asks for a GPU; columns num_gpu and gpu_milli say how many each asks for"
        )
    seeds = range(scenario.first_seed, scenario.first_seed + scenario.seeds)
    with progress(f"placing, {scenario.policy}", len(seeds) * round(100 * scenario.demand)) as step:
        placed = place_pods(nodes, pods, scenario.policy, scenario.demand, seeds, step)
    timed = _timed(pods)
    if not timed:
        return placed
    # The list says when its pods came and went: that is replayed once, for their waiting.
    replayed = _through_time(scenario, nodes, timed)
    return replace(placed, queues=replayed.queues, left_out=replayed.left_out, unfinished=replayed.unfinished)


def _timed(pods: Sequence[TracePod]) -> list[Job]:
    jobs = []
    for pod in pods:
        if pod.created is not None and pod.deleted is not None:
            ran = max(1.0, pod.deleted - (pod.created if pod.scheduled is None else pod.scheduled))
            jobs.append(_alone(pod, pod.created, ran))
    return jobs


def _alone(pod: TracePod, created: float, seconds: float) -> Job:
    """A pod that accepts any of several models is a job without a selector: node selectors name one value."""
    selector = ((MODEL_LABEL, pod.models[0]),) if len(pod.models) == 1 else ()
    return Job(pod.name, "pods", created, seconds, (PodSet("worker", 1, pod.requests(), selector),))


def _replay(scenario: Scenario, nodes: Sequence[TraceNode], jobs: Sequence[TraceJob]) -> Result:
    largest = max(node.gpus for node in nodes)
    width = len(str(len(jobs)))
    given = [
        Job(f"job-{number:0{width}}", each.queue, each.submitted, each.seconds, gang(each.gpus, largest))
        for number, each in enumerate(jobs)
    ]
    return _through_time(scenario, nodes, given)


def _through_time(scenario: Scenario, nodes: Sequence[TraceNode], jobs: Sequence[Job]) -> Result:
    place = site([node.view() for node in nodes], jobs, scenario.queues)
    with progress(f"replaying, {scenario.policy}", 2 * len(jobs)) as step:
        return replay(place, jobs, scenario.policy, scenario.durations, step)


def from_file(path: Path) -> Scenario:
    """A scenario of --compare: the options of the command as keys; files are looked for beside it. Raises CliError."""
    (manifest, *more) = manifests(path)
    if more:
        raise CliError(f"{path}: there are {1 + len(more)} documents; expected one")
    known = {each.name: each for each in fields(Scenario)}
    values: dict[str, Any] = {"label": path.stem}
    for name, value in manifest.value.items():
        if name not in known:
            raise manifest.error((name,), f"one of {', '.join(sorted(known))}")
        values[name] = _value(manifest, name, value)
    for name in ("nodes", "pods"):
        if name not in values:
            raise manifest.error((name,), "the name of a file")
    beside = _beside(path.parent, values)
    return Scenario(**{**values, **beside}).checked()


def _value(manifest: Manifest, name: str, value: Any) -> Any:
    if name in ("seeds", "first_seed", "first"):
        if type(value) is not int:
            raise manifest.error((name,), "a whole number")
    elif name == "demand":
        if type(value) not in (int, float):
            raise manifest.error((name,), "a number, e.g. 1.3")
    elif not isinstance(value, str):
        raise manifest.error((name,), "a text")
    return value


def _beside(folder: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """Names of files as seen from the scenario's folder."""
    found: dict[str, Any] = {}
    for name in ("nodes", "pods"):
        there = folder / values[name]
        found[name] = str(there) if there.exists() else values[name]
    if "queues" in values:
        found["queues"] = folder / values["queues"]
    return found
