"""Benchmark `lossless`: callers that never stop, and everything that comes and goes under them, on a real cluster.

Planned events (scaling, drain, eviction, new gateways, a new model, a killed operator) may fail no request but by 429; a replica or
a gateway that is killed no more than were in flight. Prints a line per fault, and `lossless/failed_requests` at the end.
`make bench NAME=lossless`; names of faults as arguments choose some of them.
"""

import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from dev.cluster import ClusterSpec, up
from dev.demo import install
from tests.e2e.callers import Callers
from tests.e2e.faults import Rig, processes_of
from tests.e2e.platform import Platform, new_platform, quota

LEAST_SECONDS = 600.0
CALM_SECONDS = 15.0
"""After each fault, in which late consequences show."""
SERVICE = "digits"


class Served:
    """The service under load, and ways to change or hurt it."""

    def __init__(self, platform: Platform) -> None:
        self.platform, self.callers = platform, Callers(platform, SERVICE)

    def start(self) -> None:
        """Three models, two replicas of the first behind two gateways, and the callers."""
        each = self.platform
        large = {"name": "mlp", "parameters": {"hidden": [8192, 4096]}}
        jobs = {"digits": each.job("digits", epochs=3), "later": each.job("later", epochs=4)}
        jobs["slow"] = each.job("slow", epochs=1, model=large)
        each.apply(*jobs.values())
        for name in jobs:
            each.phase("tyj", name, "Complete", 300)
        each.apply(each.service(SERVICE, {"trainingJob": "digits"}, replicas=2))
        each.phase("tyi", SERVICE, "Ready", 180)
        self.callers.start()

    def pods(self, role: str) -> list[dict[str, Any]]:
        """Running pods of the service: replicas or gateways."""
        found = self.platform.pods(f"trainyard.dev/service={SERVICE},trainyard.dev/role={role}")
        return [
            pod for pod in found if pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]
        ]

    def status(self) -> dict[str, Any]:
        return self.platform.status("tyi", SERVICE)

    def settled(self, replicas: int) -> None:
        """Wait until so many replicas answer and nothing else is there."""

        def look() -> bool:
            status = self.status()
            whole = status["readyReplicas"] == replicas == len(status["admission"]) == len(self.pods("replica"))
            return bool(whole and status["phase"] == "Ready" and status["gateways"] == 2)

        self.platform.until(f"{replicas} replicas and two gateways", look, 240)

    def scale(self, replicas: int) -> None:
        self.platform.cluster.kubectl(
            "scale", "-n", self.platform.namespace, f"tyi/{SERVICE}", f"--replicas={replicas}"
        )

    def rescale(self, replicas: int) -> None:
        self.scale(replicas)
        self.settled(replicas)

    def patch(self, spec: dict[str, Any]) -> None:
        self.platform.patch("tyi", SERVICE, {"spec": spec})

    def evict(self, role: str) -> None:
        """Through the eviction API, as `kubectl drain` does, which honours budgets."""
        chosen = self.pods(role)[0]
        pod = chosen["metadata"]
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod["name"], "namespace": pod["namespace"]},
        }
        path = f"/api/v1/namespaces/{pod['namespace']}/pods/{pod['name']}/eviction"
        self.platform.cluster.kubectl("create", "--raw", path, "-f", "-", input=json.dumps(body))
        self.gone(chosen)
        self.settled(2)

    def gone(self, *pods: dict[str, Any]) -> None:
        """Wait until those pods are no more; another of the same name may be there."""
        old = {pod["metadata"]["uid"] for pod in pods}

        def look() -> bool:
            found = self.platform.pods(f"trainyard.dev/service={SERVICE}")
            return not old & {pod["metadata"]["uid"] for pod in found}

        self.platform.until("the end of the old pods", look, 150)

    def kill(self, role: str, program: bytes) -> None:
        """SIGKILL to a program of one pod, as the kernel sends it."""
        found = processes_of(self.pods(role)[0], program)
        assert found, f"no process {program!r} of a {role} is seen from here: the cluster has to run on this machine"
        for pid in found:
            os.kill(pid, signal.SIGKILL)
        time.sleep(3)
        self.settled(2)


def _operator_killed(served: Served) -> None:
    """While it scales up and while it scales down."""
    for replicas in (3, 2):
        served.scale(replicas)
        Rig(served.platform, "").kill_operator()
        served.settled(replicas)
    Rig(served.platform, "").renew_operator()


def _other_model(served: Served) -> None:
    served.patch({"model": {"trainingJob": "later"}})
    wanted = served.platform.status("tyj", "later")["result"]["digest"]
    served.platform.until(
        "every replica having the new model",
        lambda: {each["digest"] for each in served.status()["admission"]} == {wanted},
        240,
    )
    served.settled(2)


def _canary(served: Served, job: str, end: str) -> None:
    """A rollout that the evidence ends."""
    rollout = {"strategy": "Canary", "steps": [25, 50], "stepSeconds": 5, "minimumRequests": 200}
    served.patch({"model": {"trainingJob": job}, "rollout": rollout})
    wanted = served.platform.status("tyj", job)["result"]["digest"]

    def look() -> bool:
        found = served.status().get("rollout") or {}
        return bool(found.get("phase") == end and found["canary"]["digest"] == wanted)

    served.platform.until(f"the rollout of {job} being {end}", look, 240)
    served.settled(2)
    print(f"{job}: {served.status()['rollout']['message']}", file=sys.stderr, flush=True)


def _new_gateways(served: Served) -> None:
    old = served.pods("gateway")
    name = old[0]["metadata"]["name"].rsplit("-", 2)[0]
    restart = ("rollout", "restart", "-n", served.platform.namespace, f"deployment/{name}")
    served.platform.cluster.kubectl(*restart)
    served.gone(*old)
    served.settled(2)


@dataclass(frozen=True)
class Fault:
    """What is done. planned: no request may fail; else no more than were in flight."""

    name: str
    strike: Callable[[Served], None]
    planned: bool = True


FAULTS = (
    Fault("scaled-up", lambda served: served.rescale(3)),
    Fault("scaled-down", lambda served: served.rescale(1)),
    Fault("scaled-up-again", lambda served: served.rescale(2)),
    Fault("replica-evicted", lambda served: served.evict("replica")),
    Fault("gateway-evicted", lambda served: served.evict("gateway")),
    Fault("gateways-renewed", _new_gateways),
    Fault("new-model", _other_model),
    Fault("operator-killed", _operator_killed),
    Fault("canary-rolled-back", lambda served: _canary(served, "slow", "RolledBack")),
    Fault("canary-promoted", lambda served: _canary(served, "digits", "Promoted")),
    Fault("replica-killed", lambda served: served.kill("replica", b"server"), planned=False),
    Fault("haproxy-killed", lambda served: served.kill("gateway", b"haproxy"), planned=False),
    Fault("sidecar-killed", lambda served: served.kill("gateway", b"gateway\x00")),
)


def main() -> None:
    chosen = set(sys.argv[1:])
    with up(ClusterSpec(name=f"lossless-{os.getpid()}", nodes=2, gpus_per_node=2)) as cluster:
        install(cluster)
        Platform(cluster, "default").apply(*quota(4))
        served = Served(new_platform(cluster))
        served.start()
        began = time.monotonic()
        windows = dict(_windows(served, chosen))
        while not chosen and time.monotonic() - began < LEAST_SECONDS:
            time.sleep(1)
        time.sleep(2)
        lines = list(_lines(served.callers.said(), windows))
    missed = [line["name"] for line in lines if line["failed"] > line["allowed"]]
    assert not missed, f"requests failed: {', '.join(missed)}"


def _windows(served: Served, chosen: set[str]) -> Iterator[tuple[str, tuple[float, float]]]:
    """From the strike to the calm after it, seconds since the epoch, by fault."""
    for fault in FAULTS:
        if chosen and fault.name not in chosen:
            continue
        began = time.time()
        fault.strike(served)
        time.sleep(CALM_SECONDS)
        yield fault.name, (began, time.time())
        print(f"{fault.name}: done after {time.time() - began:.0f} s", file=sys.stderr, flush=True)


def _lines(said: list[dict[str, Any]], windows: dict[str, tuple[float, float]]) -> Iterator[dict[str, Any]]:
    """Printed and yielded: one per fault, and all of them together."""
    for fault in FAULTS:
        if fault.name in windows:
            yield _line(f"lossless/{fault.name}", said, *windows[fault.name], planned=fault.planned)
    excused = [windows[each.name] for each in FAULTS if not each.planned and each.name in windows]
    rest = [line for line in said if not any(began <= line["at"] <= ended for began, ended in excused)]
    yield _line("lossless/failed_requests", rest, 0.0, float("inf"), planned=True)


def _line(name: str, said: list[dict[str, Any]], began: float, ended: float, *, planned: bool) -> dict[str, Any]:
    within = [line for line in said if began <= line["at"] <= ended]
    failures, seconds = [line for line in within if "failed" in line], [line for line in within if "answers" in line]
    answers: Counter[str] = Counter()
    for line in seconds:
        answers.update(line["answers"])
    found = {
        "name": name,
        "value": len(failures),
        "unit": "requests failed",
        "failed": len(failures),
        "allowed": 0 if planned else max((line["most"] for line in seconds), default=0),
        "answers": dict(answers),
        "seconds": round(
            max((line["at"] for line in within), default=0) - min((line["at"] for line in within), default=0)
        ),
        "slowest": max((line["slowest"] for line in seconds), default=0.0),
        "causes": dict(Counter(f"{line['failed']}: {line['detail'][:80]}" for line in failures)),
        "cores": os.cpu_count(),
    }
    print(json.dumps(found), flush=True)
    return found


if __name__ == "__main__":
    main()
