"""What people see with kubectl: columns, events, waiting, scaling."""

import pytest

from dev.cluster.errors import CommandError
from tests import builders as b
from tests.apiserver.yard import Yard, completes_after

pytestmark = pytest.mark.apiserver


def columns(text: str) -> list[dict[str, str]]:
    """A table of kubectl's by column; cells may be empty but stand under their headers."""
    header, *rows = text.splitlines()
    starts = [index for index, sign in enumerate(header) if sign != " " and (index == 0 or header[index - 1] == " ")]
    names = header.split()
    ends = [*starts[1:], None]
    return [
        {name: row[start:end].strip() for name, start, end in zip(names, starts, ends, strict=True)} for row in rows
    ]


def test_a_job_shows_phase_reason_queue_and_gpus(yard: Yard) -> None:
    yard.patch("Queue", yard.queue, {"spec": {"flavors": [_two_gpus()]}})
    yard.job("running", b.workers(2))
    yard.until_phase("running", "Running")
    yard.job("waiting")
    yard.waits("waiting", "WaitingForQuota")
    running, waiting = columns(yard.kubectl("get", "tyj"))
    assert running | {"AGE": ""} == {
        "NAME": "running",
        "PHASE": "Running",
        "REASON": "Running",
        "QUEUE": yard.queue,
        "POS": "",
        "GPUS": "2",
        "STEP": "",
        "OF": "",
        "ETA": "",
        "AGE": "",
    }
    assert (waiting["PHASE"], waiting["REASON"], waiting["POS"], waiting["GPUS"]) == (
        "Pending",
        "WaitingForQuota",
        "1",
        "1",
    )
    assert {"ACCURACY", "RESTARTS"} <= columns(yard.kubectl("get", "tyj", "-o", "wide"))[0].keys()


def _two_gpus() -> dict[str, object]:
    return {"name": "h200", "resources": [{"name": "nvidia.com/gpu", "guaranteed": "2"}]}


def test_a_queue_and_a_flavor_have_their_columns(yard: Yard) -> None:
    yard.until(lambda: yard.status(yard.queue, "Queue").get("conditions"))
    queue = columns(yard.kubectl("get", "tyq", yard.queue))[0]
    assert (queue["PENDING"], queue["ADMITTED"], queue["STOP"]) == ("0", "0", "None")
    yard.until(lambda: yard.status("h200", "Flavor").get("conditions"))
    flavor = columns(yard.kubectl("get", "tyf", "h200"))[0]
    assert (flavor["NODES"], flavor["READY"]) == ("4", "4")
    assert yard.status("h200", "Flavor")["capacity"]["nvidia.com/gpu"] == "32"


def test_kubectl_waits_for_completion_and_describe_tells_the_story(yard: Yard) -> None:
    yard.job("short", b.workers(2), completes_after("1s"))
    assert "condition met" in yard.kubectl("wait", "--for=condition=Complete", "tyj/short", "--timeout=60s")
    with pytest.raises(CommandError, match="timed out"):
        yard.kubectl("wait", "--for=condition=Failed", "tyj/short", "--timeout=1s")

    def told() -> bool:
        text = yard.kubectl("describe", "tyj", "short")
        return all(
            words in text
            for words in (
                "attempt 1 gets 2 GPUs of flavor h200",
                "attempt 1: all 2 workers run",
                "all 2 workers ended with exit code 0",
            )
        )

    yard.until(told)


def test_a_service_is_scaled_by_kubectl(yard: Yard) -> None:
    claim = b.a_claim("models", namespace=yard.namespace)
    claim["spec"]["resources"] = {"requests": {"storage": "1Gi"}}
    yard.create(claim)
    mine = (b.namespace(yard.namespace), b.queue(yard.queue))
    yard.create(b.inference_service("digits", *mine, b.spec(drainSeconds=1, gateway={"replicas": 1})))
    yard.kubectl("wait", "--for=condition=Ready", "tyi/digits", "--timeout=60s")
    row = columns(yard.kubectl("get", "tyi"))[0]
    assert row | {"AGE": ""} == {
        "NAME": "digits",
        "PHASE": "Ready",
        "REASON": "",
        "QUEUE": yard.queue,
        "READY": "1",
        "DESIRED": "1",
        "GPUS": "1",
        "AGE": "",
    }
    assert "scaled" in yard.kubectl("scale", "tyi/digits", "--replicas=3")
    yard.until(lambda: yard.status("digits", "InferenceService").get("readyReplicas") == 3)
    scale = yard.api.get(f"{yard.path('InferenceService')}/digits/scale")
    assert (scale["spec"]["replicas"], scale["status"]["replicas"]) == (3, 3)
    named = yard.kubectl("get", "pods", "-l", scale["status"]["selector"], "-o", "name").split()
    assert len(named) == 3
    yard.kubectl("scale", "tyi/digits", "--replicas=0")
    yard.until(lambda: yard.status("digits", "InferenceService").get("phase") == "ScaledToZero", 60)
    yard.until(lambda: not yard.kubectl("get", "pods", "-l", scale["status"]["selector"], "-o", "name").split(), 60)


def test_all_kinds_are_found_by_category_and_short_name(yard: Yard) -> None:
    yard.job("one", b.suspended())
    assert "trainingjob.trainyard.dev/one" in yard.kubectl("get", "trainyard", "-o", "name")
    for short, plural in (("tyj", "trainingjobs"), ("tyi", "inferenceservices"), ("tyq", "queues"), ("tyf", "flavors")):
        listed = yard.kubectl("api-resources", "--api-group=trainyard.dev", "--no-headers")
        assert any(line.split()[:2] == [plural, short] for line in listed.splitlines())
