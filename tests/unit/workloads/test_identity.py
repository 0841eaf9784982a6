"""Which pod of its owner a pod is."""

from typing import Any

import pytest

from trainyard.workloads.identity import labels_of

OF_JOB = {"role": "worker", "index": "3", "attempt": "2"}


def pod(name: str, kind: str = "TrainingJob", owner: str = "my-job", **labels: str) -> dict[str, Any]:
    reference = {"kind": kind, "name": owner, "uid": "u", "controller": True}
    named = {f"trainyard.dev/{key}": value for key, value in labels.items()}
    return {"metadata": {"name": name, "labels": named, "ownerReferences": [reference]}}


def said(thing: dict[str, Any]) -> dict[str, str]:
    return {key.removeprefix("trainyard.dev/"): value for key, value in labels_of(thing).items()}


@pytest.mark.parametrize(
    ("thing", "expected"),
    [
        (pod("my-job-worker-3-2"), {"job": "my-job", **OF_JOB}),
        (pod("my-job-worker-3-2", index="3"), {"job": "my-job", **OF_JOB}),
        (pod("my-job-data-server-0-1"), {"job": "my-job", "role": "data-server", "index": "0", "attempt": "1"}),
        (pod("other", **OF_JOB), OF_JOB),
        (pod("my-job-worker-x-2"), {}),
        (pod("beside"), {}),
        (pod("s-7", "InferenceService", "s"), {"service": "s", "role": "replica", "index": "7"}),
        (pod("s-gateway-5d8f", "ReplicaSet", "s-gateway", role="gateway"), {"role": "gateway"}),
    ],
)
def test_labels_that_somebody_took_off_are_read_from_owner_and_name(
    thing: dict[str, Any], expected: dict[str, str]
) -> None:
    assert said(thing) == expected
