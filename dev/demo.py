"""`make demo`: the whole journey on a real cluster of this machine, with what happens printed as it happens.

Cluster, helm install, a gang that trains, the exported model served behind HAProxy, every held-out image asked for, a real
Prometheus that sees it all, and everything taken down again. Ends with lines `name=value`; exit code 0 only if all went well.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from dev import images
from dev.cluster import Cluster, ClusterSpec, up
from dev.prometheus import Target, prometheus

ROOT = Path(__file__).parents[1]
JOURNEY = ROOT / "examples" / "journey"
NAMESPACE = "vision"
_LEAST_ACCURACY = 0.97
_LEAST_FAMILIES = 12


class DemoError(RuntimeError):
    """The journey did not go as it should; the message says where."""


class Demo:
    """One journey on one cluster."""

    def __init__(self, cluster: Cluster, began: float) -> None:
        self.cluster, self._began = cluster, began
        self.summary: dict[str, Any] = {}

    def say(self, text: str) -> None:
        print(f"[{time.monotonic() - self._began:6.1f} s] {text}", flush=True)

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        self.say(text)
        began = time.monotonic()
        yield
        self.say(f"  done in {time.monotonic() - began:.1f} s")

    def get(self, kind: str, name: str, namespace: str = NAMESPACE) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.cluster.kubectl("get", kind, name, "-n", namespace, "-o", "json"))
        return found

    def until(self, what: str, look: Callable[[], str | None], seconds: float) -> None:
        """Wait until `look` returns None; what it returns else is printed whenever it changes."""
        deadline, last = time.monotonic() + seconds, ""
        while (now := look()) is not None:
            if now != last:
                self.say(f"  {now}")
                last = now
            if time.monotonic() > deadline:
                raise DemoError(f"{what} took over {seconds:.0f} s; last seen: {now}")
            time.sleep(0.5)

    def run(self) -> None:
        with self.step("helm install trainyard"):
            install(self.cluster)
        with self.step("kubectl apply: namespace, Flavor, Queue, TrainingJob, InferenceService"):
            for name in ("platform", "training", "serving"):
                self.cluster.kubectl("apply", "-f", str(JOURNEY / f"{name}.yaml"))
        with self.step("training: two workers, one GPU each"):
            self.until("training", self._training, 300)
        self._of_training()
        with self.step("serving: two replicas behind two gateways"):
            self.until("serving", self._serving, 180)
        self._of_serving()
        with self.step("every held-out image through the gateway, compared with the model run offline"):
            self._ask_all()
        with self.step("a real Prometheus scrapes the operator"):
            self._scrape()
        self.say("\n" + self.cluster.kubectl("get", "tyj,tyi,tyq,tyf", "-A"))

    def _training(self) -> str | None:
        status = self.get("tyj", "digits").get("status", {})
        if status.get("phase") == "Complete":
            return None
        if status.get("phase") == "Failed":
            raise DemoError(f"training failed: {status['conditions']}")
        progress = status.get("progress") or {}
        at = f", step {progress.get('step')} of {progress.get('totalSteps')}" if progress else ""
        why = next((each["message"] for each in status.get("conditions", ()) if each["type"] == "Ready"), "")
        return f"{status.get('phase') or 'Submitted'}{at}: {why}"

    def _serving(self) -> str | None:
        status = self.get("tyi", "digits").get("status", {})
        if status.get("phase") == "Ready":
            return None
        why = next((each["message"] for each in status.get("conditions", ()) if each["type"] == "Ready"), "")
        return f"{status.get('phase') or 'Submitted'}: {why}"

    def _of_training(self) -> None:
        job = self.get("tyj", "digits")
        status, submitted = job["status"], moment(job["metadata"]["creationTimestamp"])
        pods = json.loads(
            self.cluster.kubectl("get", "pods", "-n", NAMESPACE, "-l", "trainyard.dev/job=digits", "-o", "json")
        )["items"]
        self.summary |= {
            "accuracy": round(status["progress"]["metrics"]["accuracy"], 4),
            "gang_pods": len(pods),
            "gang_nodes": len({pod["spec"]["nodeName"] for pod in pods}),
            "admission_seconds": round((moment(status["admission"]["time"]) - submitted).total_seconds(), 1),
            "first_step_seconds": round((moment(status["firstStepTime"]) - submitted).total_seconds(), 1),
            "training_seconds": round((moment(status["completionTime"]) - submitted).total_seconds(), 1),
        }

    def _of_serving(self) -> None:
        job, service = self.get("tyj", "digits"), self.get("tyi", "digits")
        ready, trained = moment(service["status"]["readyTime"]), moment(job["status"]["completionTime"])
        self.summary["serving_ready_seconds"] = round((ready - trained).total_seconds(), 1)
        if service["status"]["model"]["digest"] != job["status"]["result"]["digest"]:
            raise DemoError("the service does not serve the model that the job exported")

    def _ask_all(self) -> None:
        result = ask_all(self.cluster, NAMESPACE, "digits", self.get("tyj", "digits")["status"]["result"])
        self.say(f"  {result}")
        self.summary |= {"served_images": result["served_images"], "served_as_offline": result["served_as_offline"]}

    def _scrape(self) -> None:
        operator = operator_pod(self.cluster)
        with prometheus({"trainyard": Target(f"{operator['status']['podIP']}:8080")}) as server:
            server.wait_for("trainyard_operator_leader == 1")
            server.wait_for("trainyard_training_job_info")
            families = server.families("trainyard_")
        self.summary["prometheus_families"] = len(families)
        self.say(f"  {', '.join(sorted(families))}")

    def judge(self) -> list[str]:
        """What falls short."""
        bars: dict[str, Callable[[Any], bool]] = {
            "accuracy": lambda value: value >= _LEAST_ACCURACY,
            "gang_pods": lambda value: value == 2,  # noqa: PLR2004
            "served_as_offline": lambda value: value == 1.0,
            "prometheus_families": lambda value: value >= _LEAST_FAMILIES,
            "left_behind": lambda value: value == 0,
        }
        return [
            f"{name}={self.summary.get(name)}"
            for name, good in bars.items()
            if name not in self.summary or not good(self.summary[name])
        ]


def install(cluster: Cluster, *settings: str) -> None:
    """The chart with images of this machine. settings: further ones, as in "operator.replicas=2"."""
    tags = [f"--set=images.{name}.tag=dev" for name in images.IMAGES]
    cluster.helm(
        "upgrade",
        "--install",
        "trainyard",
        str(ROOT / "helm" / "trainyard"),
        "--namespace",
        "trainyard-system",
        "--create-namespace",
        "--wait",
        "--timeout=180s",
        *tags,
        *(f"--set={each}" for each in settings),
    )


def operator_pod(cluster: Cluster) -> dict[str, Any]:
    """The operator's pod."""
    pods = json.loads(
        cluster.kubectl("get", "pods", "-n", "trainyard-system", "-l", "app.kubernetes.io/name=trainyard", "-o", "json")
    )["items"]
    pod: dict[str, Any] = next(each for each in pods if each["status"]["phase"] == "Running")
    return pod


def ask_all(cluster: Cluster, namespace: str, service: str, result: dict[str, str]) -> dict[str, Any]:
    """Run `journey_client.py` in a pod of the trainer image and return what it found."""
    script = (Path(__file__).parent / "journey_client.py").read_text()
    env = {
        "MODEL": f"/storage/{result['path']}",
        "URL": f"http://{service}.{namespace}.svc/v2/models/{service}/infer",
        "HOME": "/tmp",
    }
    restricted = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    container = {
        "name": "client",
        "image": images.reference("trainer"),
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "/client/journey_client.py"],
        "env": [{"name": name, "value": value} for name, value in env.items()],
        "securityContext": restricted,
        "volumeMounts": [
            {"name": "client", "mountPath": "/client"},
            {"name": "storage", "mountPath": "/storage", "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    }
    spec = {
        "restartPolicy": "Never",
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [
            {"name": "client", "configMap": {"name": "journey-client"}},
            {"name": "storage", "persistentVolumeClaim": {"claimName": result["claimName"]}},
            {"name": "tmp", "emptyDir": {}},
        ],
    }
    documents = [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "journey-client", "namespace": namespace},
            "data": {"journey_client.py": script},
        },
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "journey-client", "namespace": namespace},
            "spec": {"backoffLimit": 0, "template": {"spec": spec}},
        },
    ]
    cluster.kubectl("delete", "job", "journey-client", "-n", namespace, "--ignore-not-found", "--wait")
    cluster.kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": documents}))
    try:
        cluster.kubectl("wait", "-n", namespace, "--for=condition=Complete", "job/journey-client", "--timeout=110s")
    except Exception as error:
        log = cluster.kubectl("logs", "-n", namespace, "job/journey-client", "--tail=20")
        raise DemoError(f"the client did not finish: {log}") from error
    found: dict[str, Any] = json.loads(
        cluster.kubectl("logs", "-n", namespace, "job/journey-client").strip().splitlines()[-1]
    )
    return found


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the cluster up and say how to use it")
    arguments = parser.parse_args()
    began = time.monotonic()
    print(
        "cluster and images (the first time, programs and images are built: about fifteen minutes on two cores)",
        flush=True,
    )
    cluster = up(
        ClusterSpec(name=f"demo-{os.getpid()}", nodes=2, gpus_per_node=2),
        progress=lambda line: print(f"[{time.monotonic() - began:6.1f} s] {line}", flush=True),
    )
    demo = Demo(cluster, began)
    problem = ""
    try:
        demo.run()
    except (DemoError, RuntimeError, subprocess.SubprocessError) as error:
        problem = str(error)
        demo.say(f"FAILED: {error}")
    if arguments.keep:
        print(f"export KUBECONFIG={cluster.kubeconfig}\nmake cluster-down NAME={cluster.name}")
        demo.summary["left_behind"] = 0
    else:
        demo.say("teardown")
        left = cluster.down()
        demo.summary["left_behind"] = len(left)
        for line in left:
            demo.say(f"  left behind: {line}")
    demo.summary["wall_seconds"] = round(time.monotonic() - began, 1)
    print("\n" + "\n".join(f"{name}={value}" for name, value in demo.summary.items()), flush=True)
    short = demo.judge()
    if short and not problem:
        print(f"short of the bar: {', '.join(short)}")
    return 1 if problem or short else 0


if __name__ == "__main__":
    sys.exit(main())
