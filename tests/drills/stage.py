"""Where drills are played: a cluster, an operator, a Prometheus that evaluates the chart's rules in a hurry, and a shell for runbooks."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

from dev.alerting.catalogue import ALERTS
from dev.cluster import Cluster
from dev.operator_process import OperatorProcess
from dev.prometheus import Prometheus, PrometheusError
from tests.drills.catalogue import Tier, why_not
from tests.drills.drill import Drill, commands
from tests.drills.ground import Ground

FIRES_WITHIN = 150.0
"""Seconds, on cores that others use too."""
_BY_NAME = {alert.name: alert for alert in ALERTS}


@dataclass(frozen=True)
class Ran:
    """A command of a runbook, and what it printed."""

    text: str
    code: int
    output: str


@dataclass(frozen=True)
class Played:
    """What came of a drill."""

    labels: Mapping[str, str]
    """Of the alert that fired."""
    ran: tuple[Ran, ...]
    """Commands in the order of the runbook."""
    unseen: frozenset[str]
    """What had to be looked up for a command, and no command before had shown."""
    seconds: float

    @property
    def output(self) -> str:
        return "\n".join(f"$ {each.text}\n{each.output}" for each in self.ran)

    def shows(self, text: str) -> bool:
        """Whether somewhere in the output, however wide its columns are."""
        return text in " ".join(self.output.split())


class Shell:
    """Runs commands as a person at the test's cluster would type them."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        """folder: for `kubectl` and `trainyard`."""
        self._env = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig), "PATH": f"{folder}:{os.environ['PATH']}"}
        programs = {"kubectl": str(cluster.programs.path("kubectl")), "trainyard": f"{sys.executable} -m trainyard.cli"}
        for name, command in programs.items():
            file = folder / name
            file.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
            file.chmod(0o755)

    def run(self, text: str) -> Ran:
        """The code is that of the first command: whether the others of a pipe, mostly grep, find anything is no matter of success."""
        argv = ["bash", "-c", f"{text}\nexit ${{PIPESTATUS[0]}}"]
        done = subprocess.run(argv, env=self._env, capture_output=True, text=True, timeout=120, check=False)
        return Ran(text, done.returncode, done.stdout + done.stderr)


@dataclass(frozen=True)
class Stage:
    """What all drills share."""

    cluster: Cluster
    operator: OperatorProcess
    second: OperatorProcess
    """Of another release; it does not run."""
    prometheus: Prometheus
    shell: Shell
    audit_file: Path
    tier: Tier

    @contextmanager
    def playing(self, drills: tuple[Drill, ...], at_a_time: int) -> Iterator[dict[str, Future[Played]]]:
        """Play them beside each other; by alert."""
        with ThreadPoolExecutor(at_a_time) as pool, ThreadPoolExecutor(2 * at_a_time) as keeping:
            try:
                yield {each.alert: pool.submit(self.play, each, keeping) for each in drills}
            finally:
                pool.shutdown(cancel_futures=True)

    def play(self, drill: Drill, keeping: ThreadPoolExecutor) -> Played:
        """Inject, wait for the alert, run the runbook."""
        began = time.monotonic()
        with ExitStack() as undo:
            ground = Ground(
                self.cluster,
                drill.name,
                operator=self.operator,
                second=self.second,
                audit_file=self.audit_file,
                prometheus=self.prometheus,
                undo=undo,
                pool=keeping,
            )
            undo.callback(ground.over.set)
            drill.inject(ground)
            try:
                labels = self._fired(drill)
            except PrometheusError as error:
                error.add_note(f"{len(ground.troubles)} troubles of what is kept up: {ground.troubles[-1:]}")
                raise
            ran, unseen = self._run(drill, labels)
        return Played(labels, ran, unseen, time.monotonic() - began)

    def _run(self, drill: Drill, labels: Mapping[str, str]) -> tuple[tuple[Ran, ...], frozenset[str]]:
        """The commands of the runbook, and what nobody had seen before it had to be typed."""
        ran, unseen = list[Ran](), set[str]()
        for each in commands(_BY_NAME[drill.alert], labels, drill.found):
            if why_not(self.tier, each.printed) is None:
                unseen |= {value for value in each.looked_up if not any(value in before.output for before in ran)}
                ran.append(self.shell.run(each.text))
        return tuple(ran), frozenset(unseen)

    def _fired(self, drill: Drill) -> Mapping[str, str]:
        """Labels of the alert, also where it has ended since."""
        wanted = {"alertname": drill.alert, "alertstate": "firing", **drill.labels}
        selector = ",".join(f'{name}="{value}"' for name, value in wanted.items())
        found = self.prometheus.wait_for(f"last_over_time(ALERTS{{{selector}}}[10m])", timeout=FIRES_WITHIN)
        return found[0].labels


@contextmanager
def kept_running(operator: OperatorProcess) -> Iterator[None]:
    """Starts it again when it ends, as kubelet would: on a machine that is too busy for the Lease it does."""
    over = Event()

    def watch() -> None:
        while not over.wait(1):
            if not operator.running:
                operator.start()

    watcher = Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def know_monitors(cluster: Cluster) -> None:
    """The kinds of the Prometheus operator, of which there are no objects: so nobody is scraped who should be."""
    for kind in ("ServiceMonitor", "PodMonitor"):
        plural = f"{kind.lower()}s"
        any_object = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
        version = {"name": "v1", "served": True, "storage": True, "schema": any_object}
        spec = {
            "group": "monitoring.coreos.com",
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural},
            "versions": [version],
        }
        body = {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{plural}.monitoring.coreos.com"},
            "spec": spec,
        }
        cluster.api.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", body)
