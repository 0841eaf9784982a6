"""Upgrade from the previous release, `helm test`, uninstall and install again while a job trains and a service answers: they never notice.

Of the previous release there are its chart and its kinds (tests/apiserver/previous_release), not its images: those are of now.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dev import images
from dev.cluster import Cluster
from tests.e2e.asking import Gateway, near
from tests.e2e.callers import Callers
from tests.e2e.models import Models
from tests.e2e.release import Release

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
SYSTEM = "trainyard-system"
ACCOUNT, BEYOND = f"{SYSTEM}:trainyard", "beyond-the-previous-release"
JOB, SERVICE = "trains-on", "answers-on"
PREVIOUS = Path(__file__).parents[1] / "apiserver" / "previous_release" / "chart.tgz"
RELEASE = ("--namespace", SYSTEM, "--wait", "--timeout=180s")


class Work:
    """What runs under the chart, and its callers."""

    def __init__(self, models: Models) -> None:
        self.platform = models.platform
        source = models.source("digits/v1")
        self.platform.apply(
            self.platform.job(JOB, workers=2, epochs=100_000, storage=None),
            self.platform.service(SERVICE, source, replicas=2),
        )
        self.platform.phase("tyj", JOB, "Running", 240)
        self.platform.phase("tyi", SERVICE, "Ready", 240)
        self.callers = Callers(self.platform, SERVICE, callers=4)
        self.callers.start()
        self.answer = Gateway(self.platform, SERVICE).logits()

    def pods(self) -> dict[str, tuple[str, int]]:
        """Uid and restarts of every pod of the job, the service and its gateways."""
        found = [
            *self.platform.pods(f"trainyard.dev/job={JOB}"),
            *self.platform.pods(f"trainyard.dev/service={SERVICE}"),
        ]
        return {each["metadata"]["name"]: (each["metadata"]["uid"], _restarts(each)) for each in found}

    def goes_on(self) -> None:
        """Wait for more steps of the job, told by its pods, and for more answers."""
        lines, answers = self._steps(), self.callers.answers()["200"]
        self.platform.until("further steps", lambda: self._steps() != lines)
        self.platform.until("further answers", lambda: self.callers.answers()["200"] > answers + 50)
        assert Gateway(self.platform, SERVICE).logits() == near(self.answer)
        assert self.callers.failures() == []

    def _steps(self) -> str:
        name = next(each for each in sorted(self.pods()) if each.startswith(JOB))
        return self.platform.cluster.kubectl("logs", name, "-n", self.platform.namespace, "--tail=1")


def _restarts(pod: dict[str, Any]) -> int:
    return sum(each["restartCount"] for each in pod["status"].get("containerStatuses", []))


@pytest.fixture(scope="module")
def previous(installed: Cluster, pytestconfig: pytest.Config) -> Iterator[Cluster]:
    """With the chart of the release before; with that of now where the operator is confined, which there was not then."""
    if pytestconfig.getoption("namespaced"):
        yield installed
        return
    installed.helm("uninstall", "trainyard", *RELEASE)
    tags = [f"--set=images.{name}.tag=dev" for name in images.IMAGES]
    installed.helm("install", "trainyard", str(PREVIOUS), "--namespace", SYSTEM, *tags)
    # The operator is of now, and needs what the chart before did not grant.
    installed.kubectl("create", "clusterrole", BEYOND, "--verb=list,watch", "--resource=poddisruptionbudgets.policy")
    installed.kubectl("create", "clusterrolebinding", BEYOND, f"--clusterrole={BEYOND}", f"--serviceaccount={ACCOUNT}")
    installed.kubectl("rollout", "status", "deployment/trainyard", "-n", SYSTEM, "--timeout=180s", timeout=200)
    yield installed
    installed.kubectl("delete", "clusterrole,clusterrolebinding", BEYOND)


@pytest.fixture(scope="module")
def work(previous: Cluster, models: Models) -> Iterator[Work]:
    assert previous is models.platform.cluster
    made = Work(models)
    yield made
    made.callers.stop()
    made.platform.delete("tyj", JOB)
    made.platform.delete("tyi", SERVICE)


@pytest.mark.fault(26)
def test_an_upgrade_from_the_previous_release_restarts_no_pod_of_jobs_and_services(work: Work) -> None:
    before = work.pods()
    assert len(before) == 2 + 2 + 2, before
    changed = "--set=operator.podAnnotations.example\\.com/changed=yes,operator.logLevel=DEBUG"
    work.platform.cluster.helm("upgrade", "trainyard", "helm/trainyard", *RELEASE, "--reset-then-reuse-values", changed)
    work.goes_on()
    work.platform.phase("tyj", JOB, "Running")
    work.platform.phase("tyi", SERVICE, "Ready")
    assert work.pods() == before


def test_helm_test_finds_nothing_wrong_with_a_sound_installation(work: Work) -> None:
    said = work.platform.cluster.helm("test", "trainyard", *RELEASE[:2], "--logs", "--timeout=120s")
    assert "Phase:          Succeeded" in said


def test_an_uninstall_and_an_install_restart_no_pod_of_jobs_and_services(work: Work, release: Release) -> None:
    before = work.pods()
    work.platform.cluster.helm("uninstall", "trainyard", *RELEASE)
    work.goes_on()
    assert work.pods() == before
    release.install()
    work.goes_on()
    work.platform.phase("tyj", JOB, "Running")
    work.platform.phase("tyi", SERVICE, "Ready")
    assert work.pods() == before
