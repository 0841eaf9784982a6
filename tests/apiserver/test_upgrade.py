"""From the release before to this one: its chart and its kinds stand first, with what its operator left there; then helm upgrades.

`previous_release/` holds both, see its README. Pods are simulated, and their trainers with them: tests/e2e/test_chart_lifecycle.py
upgrades a chart under work that is real.
"""

import gzip
import json
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.cluster import Cluster, ClusterSpec, up
from dev.operator_process import OperatorProcess
from tests import builders as b
from tests.apiserver.operator_process import CHART, SYSTEM, account_kubeconfig
from tests.apiserver.previous_release.take import PHASES, SETTINGS, WORK
from tests.apiserver.yard import Object, Yard

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(900)]
RELEASE = WORK.parent
TEAM = "team"
OURS = ("Flavor", "Queue", "TrainingJob", "InferenceService")
MADE_BY_OTHERS = ("ReplicaSet",)
_TIME = re.compile(r'"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?Z"')


class Stored:
    """What the operator of the previous release left, brought into a cluster: in the order in which owners come before what they own."""

    def __init__(self, yard: Yard) -> None:
        self.yard, self._uids = yard, dict[str, str]()
        text = gzip.decompress((RELEASE / "objects.json.gz").read_bytes()).decode()
        self.objects: list[Object] = json.loads(_as_if_just_now(text))

    def bring(self) -> None:
        for each in self.objects:
            if not any(owner["kind"] in MADE_BY_OTHERS for owner in each["metadata"].get("ownerReferences", ())):
                self._bring(each)
        for each in self.objects:
            if each["kind"] in OURS and each.get("status"):
                status = json.dumps({"status": self._renamed(each["status"])})
                self.yard.kubectl(
                    "patch",
                    each["kind"],
                    each["metadata"]["name"],
                    "--subresource=status",
                    "--type=merge",
                    "-p",
                    status,
                )

    def _bring(self, found: Object) -> None:
        meta, old = found["metadata"], found["metadata"]["uid"]
        if found["kind"] not in ("Flavor", "Queue"):  # these two are the chart's
            there = {each: meta[each] for each in ("name", "namespace", "labels", "ownerReferences") if each in meta}
            notes = {name: text for name, text in meta.get("annotations", {}).items() if "kubernetes.io/" not in name}
            made = {key: found[key] for key in ("apiVersion", "kind", "spec") if key in found}
            for each in ("clusterIP", "clusterIPs", "volumeName"):
                if made["spec"].get(each) not in ("None", ["None"]):
                    made["spec"].pop(each, None)
            self.yard.kubectl(
                "create",
                "-f",
                "-",
                stdin=json.dumps(self._renamed(made | {"metadata": there | {"annotations": notes}})),
            )
        now = json.loads(self.yard.kubectl("get", found["kind"], meta["name"], "-o", "json"))
        self._uids[old] = now["metadata"]["uid"]

    def _renamed(self, part: Object) -> Object:
        """With the uids that owners have here."""
        text = json.dumps(part)
        for old, new in self._uids.items():
            text = text.replace(old, new)
        renamed: Object = json.loads(text)
        return renamed


def _as_if_just_now(text: str) -> str:
    """All times moved so that the last is now: a job is not held to have been silent since it was recorded."""
    last = max(datetime.fromisoformat(each[1]).replace(tzinfo=UTC) for each in _TIME.finditer(text))
    age = datetime.now(UTC) - last
    return _TIME.sub(
        lambda each: f'"{(datetime.fromisoformat(each[1]) + age).isoformat(timespec="seconds")}{each[2] or ""}Z"', text
    )


class Upgraded:
    """A cluster after the upgrade, with the operator of this release. uids: of the team's pods before it."""

    def __init__(self, yard: Yard, stored: Stored, uids: dict[str, str]) -> None:
        self.yard, self.stored, self.uids = yard, stored, uids


def uids(yard: Yard) -> dict[str, str]:
    """Of workers and replicas. Gateways are a Deployment's, whose program comes with the release and is rolled out."""
    pods = [each["metadata"] for each in yard.items("Pod")]
    return {each["name"]: each["uid"] for each in pods if each["labels"].get("trainyard.dev/role") != "gateway"}


def phases(yard: Yard) -> dict[str, str]:
    return {name: yard.kubectl("get", name, "-o", "jsonpath={.status.phase}") for name in PHASES}


@pytest.fixture(scope="module")
def upgraded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upgraded]:
    with up(ClusterSpec(name=f"upgrade-{os.getpid()}", kwok_nodes=2, provider="local")) as cluster:
        cluster.helm("install", "trainyard", str(RELEASE / "chart.tgz"), "--create-namespace", *SETTINGS)
        yard = Yard(cluster, TEAM)
        yard.create(b.a_namespace(TEAM))
        stored = Stored(yard)
        stored.bring()
        yard.until(lambda: phases(yard) == PHASES, 60)
        yard.kubectl("wait", "--for=condition=Available", "--timeout=60s", "deployment/answers-gateway")
        before = uids(yard)
        cluster.helm("upgrade", "trainyard", str(CHART), "--namespace", SYSTEM, "--reset-then-reuse-values")
        with _operator(cluster, tmp_path_factory.mktemp("upgraded")) as operator:
            operator.wait_ready(120)
            yield Upgraded(yard, stored, before)


def _operator(cluster: Cluster, folder: Path) -> OperatorProcess:
    env = {"TRAINYARD_NAMESPACE": SYSTEM}
    return OperatorProcess(cluster, kubeconfig=account_kubeconfig(cluster, folder), env=env, log=folder / "log")


@pytest.mark.fault(26)
def test_what_ran_and_what_waited_under_the_previous_release_does_so_under_this_one(upgraded: Upgraded) -> None:
    yard = upgraded.yard
    late = b.training_job("late", b.namespace(TEAM), b.queue("default"), b.workers(8))
    yard.create(late)
    yard.until(lambda: yard.status("late").get("queuePosition") == 2, 60, "late")
    yard.until(lambda: phases(yard) == PHASES, 60)
    assert uids(yard) == upgraded.uids
    assert yard.status("waits")["queuePosition"] == 1
    assert yard.kubectl("get", "queue", "default", "-o", "jsonpath={.status.summary}") == "gpu 6/8"
    assert not any(yard.status(name).get("restarts") for name in ("runs", "over"))


@pytest.mark.parametrize(
    "document",
    [each for each in yaml.safe_load_all(WORK.read_text()) if each["kind"] in OURS],
    ids=lambda each: each["metadata"]["name"],
)
def test_a_spec_that_was_stored_before_reads_as_if_it_were_submitted_now(
    upgraded: Upgraded, document: dict[str, Any]
) -> None:
    """What is new has its default, what was there is kept, and the whole passes the rules of today."""
    yard, (kind, name) = upgraded.yard, (document["kind"], document["metadata"]["name"])
    found = yard.get(kind, name)
    assert found is not None
    anew = document | {"metadata": {"name": f"{name}-anew", "namespace": TEAM}}
    assert found["spec"] == yard.create(anew, dry_run=True)["spec"]
    before = next(each for each in upgraded.stored.objects if each["kind"] == kind and each["metadata"]["name"] == name)
    assert _kept(before["spec"], found["spec"])
    yard.kubectl("replace", "--dry-run=server", "--validate=strict", "-f", "-", stdin=json.dumps(found))


def _kept(before: Any, after: Any) -> bool:
    """Whether all that was said is still said."""
    if isinstance(before, dict):
        return isinstance(after, dict) and all(key in after and _kept(each, after[key]) for key, each in before.items())
    return bool(before == after)


def test_what_waited_since_the_previous_release_starts_when_there_is_room(upgraded: Upgraded) -> None:
    """The last test: it deletes what ran."""
    yard = upgraded.yard
    yard.delete("TrainingJob", "runs")
    yard.delete("InferenceService", "answers")
    yard.until_phase("waits", "Running", 90)
    assert len(yard.pods("waits")) == 4
