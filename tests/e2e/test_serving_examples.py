"""Every manifest of examples/serving on a real cluster, as it stands: what the comment at its top says is what happens."""

import json
import re
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
import tritonclient.grpc

from tests.e2e.asking import IMAGE, IMAGE_BODY, Gateway, near, waiting
from tests.e2e.examples import Applied
from tests.e2e.models import CLAIM, Models
from tests.tokens import new_key, token

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("installed"), pytest.mark.timeout(600)]
JOBS = ("digits", "prices", "reviews")
"""That examples take for granted, and whose results differ."""

_PUT = """
import shutil
shutil.copytree("/storage/team/digits/1", "/storage/team/.digits-3")
shutil.move("/storage/team/.digits-3", "/storage/team/digits/3")
"""
_THROUGH_THE_SERVICE = """
import ssl, urllib.request
unverified = ssl.create_default_context()
unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
print(urllib.request.urlopen('{url}', timeout=20, context=unverified).status)
"""


def _measured(pod: dict[str, Any], port: int, name: str) -> int:
    """The sum of a counter's series, as the pod tells it at /metrics."""
    with urllib.request.urlopen(f"http://{pod['status']['podIP']}:{port}/metrics", timeout=10) as answer:
        lines = [line for line in answer.read().decode().splitlines() if re.match(rf"{name}[ {{]", line)]
    return sum(int(float(line.split()[-1])) for line in lines)


def _prompts_by_replica(applied: Applied) -> Counter[str]:
    """Tokens of prompts that each has read."""
    name = "trainyard_server_language_prompt_tokens_total"
    return Counter({pod["metadata"]["name"]: _measured(pod, 8080, name) for pod in applied.pods("replica")})


def a_session_stays_with_its_replica(applied: Applied) -> None:
    applied.ready()
    for session in ("a", "b"):
        before = _prompts_by_replica(applied)
        for _ in range(6):
            applied.completions({"X-Session-Id": session})
        assert len(_prompts_by_replica(applied) - before) == 1


def only_keys_of_the_secret_are_good(applied: Applied) -> None:
    applied.ready()
    gateway = applied.gateway()
    assert gateway.infer().status == 401
    assert gateway.infer({"X-API-Key": "wrong"}).status == 401
    assert gateway.infer({"X-API-Key": "change-me"}).status == 200
    assert gateway.infer({"Authorization": "Bearer change-me-too"}).status == 200


def the_number_follows_the_requests_within_its_limits(applied: Applied) -> None:
    applied.ready(2)
    scaling = applied.platform.until("a decision", lambda: applied.status().get("scaling"))
    assert (scaling["metric"], scaling["target"]) == ("Concurrency", 8)
    assert applied.gateway().infer().status == 200


def the_new_model_answers_those_who_ask_for_it_by_header(applied: Applied) -> None:
    applied.ready()
    gateway = applied.gateway()
    old = gateway.logits()
    applied.platform.patch("tyi", applied.name, {"spec": {"model": {"trainingJob": "prices"}}})
    applied.rollout("weight", 1)
    new = applied.platform.until(
        "the header being obeyed",
        lambda: found if (found := gateway.logits({"X-Model": "new"})) != near(old) else None,
        10,
    )
    for _ in range(5):
        assert gateway.logits({"X-Model": "new"}) == near(new)
        assert gateway.logits({"X-Model": "old"}) == near(old)


def a_request_may_have_as_many_rows_as_a_batch(applied: Applied) -> None:
    applied.ready()
    gateway = applied.gateway()
    assert gateway.infer(body=_images(128)).status == 200
    refused = gateway.infer(body=_images(129))
    assert (refused.status, "128" in refused.body["error"]) == (400, True)


def _images(rows: int) -> bytes:
    return json.dumps({"inputs": [IMAGE | {"shape": [rows, 1, 8, 8], "data": [1.0] * 64 * rows}]}).encode()


def it_is_served(applied: Applied) -> None:
    status = applied.ready()
    assert "rollout" not in status  # the first model starts without one
    assert applied.gateway().infer().status == 200


def another_contract_is_rolled_out_only_by_those_who_ask_for_it(applied: Applied) -> None:
    applied.ready()
    enforced = {"model": applied.models.source("prices/wide"), "rollout": {"contract": "Enforce"}}
    applied.platform.patch("tyi", applied.name, {"spec": enforced})
    stopped = applied.rollout("phase", "RolledBack")
    assert (stopped["reason"], stopped["weight"]) == ("ContractChanged", 0)
    assert "inputs[input].shape: [-1, 1, 8, 8] -> [-1, 1, 9, 9]" in stopped["message"]
    assert applied.gateway().infer().status == 200
    applied.platform.patch("tyi", applied.name, {"spec": {"rollout": {"contract": "Ignore"}}})
    applied.rollout("weight", 100)
    gateway, wide = applied.gateway(), IMAGE | {"shape": [1, 1, 9, 9], "data": [1.0] * 81}
    body = json.dumps({"inputs": [wide]}).encode()
    applied.platform.until("an answer of the new model", lambda: gateway.infer(body=body).status == 200, 10)


def a_graph_names_what_it_lacks_and_answers_when_it_is_there(applied: Applied) -> None:
    missing = "stage 'pick' names InferenceService 'digits-small', which does not exist"
    applied.platform.until("the missing service being named", lambda: missing in applied.message())
    platform, models = applied.platform, {"digits-small": "digits/v1", "digits-large": "digits/v2"}
    platform.apply(*(platform.service(name, applied.models.source(path)) for name, path in models.items()))
    try:
        platform.phase("tyi", "digits-vote", "Ready", 240)
        vote = Gateway(platform, "digits-vote")
        answer = platform.until("both being asked", lambda: each if (each := vote.infer()).status == 200 else None, 60)
        assert [each["name"] for each in answer.body["outputs"]] == ["label"]
    finally:
        for name in models:
            platform.delete("tyi", name)


def requests_of_one_grpc_connection_go_to_both_replicas(applied: Applied) -> None:
    assert applied.ready()["grpcAddress"].endswith(":8001")
    with closing(tritonclient.grpc.InferenceServerClient(f"{applied.gateway().host}:8001")) as client:
        tensor = tritonclient.grpc.InferInput("input", IMAGE["shape"], "FP32")
        tensor.set_data_from_numpy(np.ones((1, 1, 8, 8), np.float32))
        answers = [client.infer(applied.name, [tensor]).as_numpy("logits") for _ in range(10)]
    assert {each.shape for each in answers} == {(1, 10)}
    told = [_told(pod, f"/v2/models/{applied.name}/stats") for pod in applied.pods("replica")]
    answered = [each["model_stats"][0]["inference_count"] for each in told]
    assert sum(answered) == len(answers)
    assert min(answered) > 0


def _told(pod: dict[str, Any], path: str) -> Any:
    """What a replica itself answers."""
    with urllib.request.urlopen(f"http://{pod['status']['podIP']}:8080{path}", timeout=10) as answer:
        return json.load(answer)


def a_request_waits_for_the_first_replica(applied: Applied) -> None:
    applied.platform.phase("tyi", applied.name, "ScaledToZero")
    gateway = applied.gateway()
    with waiting(lambda: gateway.infer(seconds=120)) as came:
        applied.platform.cluster.kubectl(
            "scale", "-n", applied.platform.namespace, f"tyi/{applied.name}", "--replicas=1"
        )
    assert [each.status for each in came] == [200]


def only_tokens_of_the_issuer_are_good(applied: Applied) -> None:
    applied.ready()
    gateway = applied.gateway(tls=True)
    asked = {
        token(applied.login): 200,
        token(new_key()): 401,
        token(applied.login, exp=int(time.time()) - 5): 401,
        token(applied.login, algorithm="none"): 401,
        token(applied.login, aud="other"): 403,
        token(applied.login, iss="https://else.example.org"): 403,
    }
    got = {text: gateway.infer({"Authorization": f"Bearer {text}"}).status for text in asked}
    assert got == asked
    assert gateway.infer().status == 401


def openai_clients_are_answered(applied: Applied) -> None:
    applied.ready()
    found = applied.completions()
    assert found["model"] == "writer"
    assert found["usage"]["completion_tokens"] == 3


def nobody_asks_and_the_first_who_does_wakes_it(applied: Applied) -> None:
    status = applied.platform.phase("tyi", applied.name, "ScaledToZero")
    assert (status["replicas"], applied.pods("replica")) == (0, [])
    assert applied.gateway().infer(seconds=240).status == 200
    assert applied.status()["scaling"]["desired"] == 1  # for a single request


def a_version_that_is_put_into_the_folder_is_served_soon(applied: Applied) -> None:
    applied.ready()
    gateway = applied.gateway()
    listed = {(each["name"], each["version"]) for each in gateway.ask("/v2/repository/index", b"{}").body}
    assert listed == {("digits", "1"), ("digits", "2"), ("segments", "1")}
    assert gateway.ask("/v2/models/segments/infer", IMAGE_BODY).status == 200
    assert gateway.ask("/v2/models/digits/infer", IMAGE_BODY).body["model_version"] == "2"
    assert gateway.ask("/v2/models/digits/versions/3/infer", IMAGE_BODY).status == 404
    platform = applied.platform
    platform.apply(platform.program("put", "server", _PUT, env={}, claim=CLAIM))
    platform.until(
        "all replicas having the new version",
        lambda: all("3" in _told(pod, "/v2/models/digits")["versions"] for pod in applied.pods("replica")),
    )
    assert gateway.ask("/v2/models/digits/infer", IMAGE_BODY).body["model_version"] == "3"


def office_hours_decide_the_least_number(applied: Applied) -> None:
    berlin = datetime.now(UTC).astimezone(ZoneInfo("Europe/Berlin"))
    moments = (berlin, berlin + timedelta(minutes=2))  # replicas start before the hour
    office = [each.weekday() < 5 and 8 <= each.hour < 18 for each in moments]

    def look() -> dict[str, Any] | None:
        scaling: dict[str, Any] = applied.status().get("scaling") or {}
        return scaling if scaling.get("desired") in {3 if each else 1 for each in office} else None

    scaling = applied.platform.until("the number of this hour", look)
    if all(office):
        assert any("schedules[office].minReplicas is 3" in each for each in scaling["limits"])
    applied.ready(scaling["desired"])


def answers_in_time_are_counted_by_the_gateways(applied: Applied) -> None:
    applied.ready()
    gateway, asked = applied.gateway(), 10
    assert {gateway.infer().status for _ in range(asked)} == {200}

    def counted(name: str) -> int:
        return sum(_measured(pod, 8081, f"trainyard_gateway_slo_{name}_total") for pod in applied.pods("gateway"))

    applied.platform.until("all being counted", lambda: counted("requests") == asked, 10)
    assert 0 < counted("good") <= asked


def the_variant_is_served_until_one_that_is_published_is_named(applied: Applied) -> None:
    assert applied.ready()["model"]["path"].endswith("/variants/half")
    assert applied.gateway().infer().status == 200
    applied.platform.patch("tyi", applied.name, {"spec": {"model": {"variant": "tiny"}}})
    told = applied.platform.until("the refusal", lambda: words if "'tiny'" in (words := applied.message()) else None)
    assert "the old model stays" in told
    assert re.search(r"published are: .*\bhalf\b", told), told
    assert applied.gateway().infer().status == 200


def only_encrypted_requests_are_answered(applied: Applied) -> None:
    url = applied.ready()["url"]
    assert url.startswith("https://")
    assert applied.gateway().infer().status == 403
    assert applied.gateway(tls=True).infer().status == 200
    inside = applied.pods("replica")[0]["metadata"]["name"]
    assert (
        applied.platform.in_worker(inside, _THROUGH_THE_SERVICE.format(url=f"{url}/v2/health/ready")).strip() == "200"
    )


@dataclass(frozen=True)
class Example:
    """file: the manifest. keeps: checks its promise. before: makes what it takes for granted. left: what is not shown here, and why."""

    file: str
    keeps: Callable[[Applied], None]
    before: tuple[Callable[[Applied], None], ...] = ()
    left: str = ""


TABLE = (
    Example("affinity.yaml", a_session_stays_with_its_replica),
    Example("api-keys.yaml", only_keys_of_the_secret_are_good, left="limit and changed Secret: test_serving_access"),
    Example(
        "autoscale.yaml",
        the_number_follows_the_requests_within_its_limits,
        left="up and down take a window of a minute: test_serving_autoscaling has a shorter one",
    ),
    Example(
        "batching.yaml", a_request_may_have_as_many_rows_as_a_batch, left="times and other limits: tests of the server"
    ),
    Example("blue-green.yaml", it_is_served, left="a change keeps the old set for ten minutes: test_serving_rollouts"),
    Example("canary-by-header.yaml", the_new_model_answers_those_who_ask_for_it_by_header),
    Example(
        "canary.yaml",
        it_is_served,
        (Applied.take_the_digest_of_our_model,),
        left="a change takes three steps of two minutes: test_serving_rollouts has shorter ones",
    ),
    Example(
        "contract.yaml",
        another_contract_is_rolled_out_only_by_those_who_ask_for_it,
        (Applied.take_the_digest_of_our_model,),
    ),
    Example(
        "graph.yaml",
        a_graph_names_what_it_lacks_and_answers_when_it_is_there,
        left="the stage `prepare` is a server of the reader's own: tests of the router",
    ),
    Example("grpc.yaml", requests_of_one_grpc_connection_go_to_both_replicas),
    Example("hold.yaml", a_request_waits_for_the_first_replica),
    Example("jwt.yaml", only_tokens_of_the_issuer_are_good, (Applied.certify, Applied.publish_login_key)),
    Example("language-model.yaml", openai_clients_are_answered),
    Example("repository.yaml", a_version_that_is_put_into_the_folder_is_served_soon),
    Example(
        "scale-to-zero.yaml",
        nobody_asks_and_the_first_who_does_wakes_it,
        left="back to zero after five minutes: test_serving_autoscaling has seconds",
    ),
    Example("schedule.yaml", office_hours_decide_the_least_number, left="other hours than now: unit tests"),
    Example(
        "shadow.yaml",
        it_is_served,
        (Applied.take_the_digest_of_our_model,),
        left="a change that answers copies first: tests of gateway and simulation",
    ),
    Example(
        "slo.yaml",
        answers_in_time_are_counted_by_the_gateways,
    ),
    Example(
        "tls.yaml",
        only_encrypted_requests_are_answered,
        (Applied.certify,),
        left="a renewed certificate: test_serving_access",
    ),
    Example("traces.yaml", it_is_served, left="what a collector gets: tests of gateway and server"),
    Example(
        "variant.yaml",
        the_variant_is_served_until_one_that_is_published_is_named,
        (Applied.train_its_job,),
        left="a canary has steps of a minute: test_serving_rollouts has shorter ones",
    ),
)


@pytest.fixture(scope="module")
def trained(models: Models) -> Models:
    """The jobs that examples name."""
    platform = models.platform
    platform.apply(
        *(platform.job(name, epochs=1, training={"epochs": 1, "seed": seed}) for seed, name in enumerate(JOBS))
    )
    for name in JOBS:
        platform.phase("tyj", name, "Complete", 300)
    return models


@pytest.fixture
def applied(
    request: pytest.FixtureRequest, trained: Models, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Iterator[Applied]:
    example: Example = request.param
    made = Applied(trained, example.file, tmp_path / "pki")
    for prepare in example.before:
        prepare(made)
    made.apply()
    if example.left:
        with capsys.disabled():
            print(f"\n{example.file}: not shown here: {example.left}")  # noqa: T201
    yield made
    made.delete()


@pytest.mark.parametrize(
    ("applied", "example"), [pytest.param(each, each, id=each.file) for each in TABLE], indirect=["applied"]
)
def test_an_example_does_what_its_comment_says(applied: Applied, example: Example) -> None:
    example.keeps(applied)
