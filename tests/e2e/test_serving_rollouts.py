"""Changed models on a real cluster, under callers who never stop: no request fails but those that a failing model was given."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.asking import Gateway, near
from tests.e2e.callers import Callers
from tests.e2e.models import Models

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("installed"), pytest.mark.timeout(600)]
SERVICE = "changing"
CANARY = {
    "strategy": "Canary",
    "steps": [20, 50],
    "stepSeconds": 1,
    "minimumRequests": 50,
    "margins": {"errorRate": 0.1, "latencyRatio": 20},  # wide, so that a hundred requests are evidence enough
}
BLUE_GREEN = {**CANARY, "strategy": "BlueGreen", "keepSeconds": 5}
COPIES_FIRST = {**CANARY, "shadow": {"percent": 50}}


class Changing:
    """The service under its callers."""

    def __init__(self, models: Models) -> None:
        self.models, self.platform = models, models.platform
        self.callers = Callers(self.platform, SERVICE, callers=8)

    def start(self) -> None:
        source = self.models.source("digits/v1")
        self.platform.apply(self.platform.service(SERVICE, source, replicas=2, gateway={"replicas": 1}))
        self.platform.phase("tyi", SERVICE, "Ready", 240)
        self.callers.start()

    def status(self) -> dict[str, Any]:
        return self.platform.status("tyi", SERVICE)

    def change(self, path: str, rollout: dict[str, Any]) -> None:
        wanted = {"shadow": None, **rollout}  # a patch keeps what it does not name
        self.platform.patch("tyi", SERVICE, {"spec": {"model": self.models.source(path), "rollout": wanted}})

    def served(self) -> str:
        """Folder of the model that is served now."""
        return str(self.status()["model"]["path"])

    def other(self) -> str:
        """Folder of a good model that is not."""
        return "digits/v2" if self.served() == "digits/v1" else "digits/v1"

    def rollout(self, path: str, phase: str, seconds: float = 240) -> dict[str, Any]:
        """status.rollout of that model, once it is in that phase."""

        def look() -> dict[str, Any] | None:
            found: dict[str, Any] = self.status().get("rollout") or {}
            return found if found.get("phase") == phase and found["canary"]["path"] == path else None

        found: dict[str, Any] = self.platform.until(f"the rollout of {path} being {phase}", look, seconds)
        return found

    def serves_only(self, path: str) -> None:
        """Wait until both replicas have this model, nobody has another, and the service is ready."""
        wanted = [self.models.digests[path]] * 2

        def look() -> bool:
            status = self.status()
            pods = self.platform.pods(f"trainyard.dev/service={SERVICE},trainyard.dev/role=replica")
            return bool([each["digest"] for each in status["admission"]] == wanted and len(pods) == 2)

        self.platform.until(f"both replicas having {path}", look, 240)

    def goes_on(self) -> None:
        """Wait for some more good answers."""
        before = self.callers.answers()["200"]
        self.platform.until("further answers", lambda: self.callers.answers()["200"] > before + 50)


@pytest.fixture(scope="module")
def service(models: Models) -> Iterator[Changing]:
    made = Changing(models)
    made.start()
    yield made
    made.callers.stop()
    made.platform.delete("tyi", SERVICE)


@pytest.fixture
def changing(service: Changing) -> Changing:
    """Two replicas of one model, whatever the test before did; and no rollout."""
    served = service.served()
    service.change(served, {"strategy": "Replace"})
    service.serves_only(served)
    return service


@pytest.mark.fault(86)
def test_a_canary_whose_answers_fail_is_rolled_back_and_costs_only_what_it_was_given(changing: Changing) -> None:
    served, failed_before = changing.served(), len(changing.callers.failures())
    changing.change("digits/failing", CANARY)
    rollout = changing.rollout("digits/failing", "RolledBack")
    changing.serves_only(served)
    over = time.time()
    changing.goes_on()
    counts = rollout["canaryCounts"]
    assert counts["errors"] == counts["requests"] > 0
    assert (rollout["outcome"], rollout["weight"]) == ("RollBack", 0)
    assert f"failed requests: 100.00% of {counts['requests']}" in rollout["message"]
    (event,) = changing.platform.events(SERVICE, "RolledBack")
    assert event == f"digits/failing is given up: {rollout['message']}"
    failed = changing.callers.failures()[failed_before:]
    assert [each for each in failed if each["failed"] != "500" or "NaN" not in each["detail"]] == []
    assert [each for each in failed if each["sent"] > over] == []


def test_a_model_whose_answers_to_copies_fail_is_given_up_before_any_caller_meets_it(changing: Changing) -> None:
    served, failed_before = changing.served(), len(changing.callers.failures())
    changing.change("digits/failing", COPIES_FIRST)
    rollout = changing.rollout("digits/failing", "RolledBack")
    changing.serves_only(served)
    changing.goes_on()
    counts = rollout["canaryCounts"]
    assert (rollout["reason"], rollout["step"]) == ("OtherAnswers", 0)
    assert counts["differed"] == counts["compared"] > 0
    assert counts.get("requests", 0) == 0
    assert changing.callers.failures()[failed_before:] == []


def test_a_good_canary_is_promoted_in_steps_and_no_request_fails(changing: Changing) -> None:
    other, failed_before = changing.other(), len(changing.callers.failures())
    changing.change(other, CANARY)
    rollout = changing.rollout(other, "Promoted")
    changing.serves_only(other)
    changing.goes_on()
    assert rollout["outcome"] == "Promote"
    assert rollout["canaryCounts"]["requests"] >= CANARY["minimumRequests"]
    shares = {each.split(" of ")[0] for each in changing.platform.events(SERVICE, "RolloutStep")}
    assert {"20 %", "50 %"} <= shares
    assert changing.served() == other
    assert changing.callers.failures()[failed_before:] == []


def test_blue_green_gives_all_requests_to_the_new_set_at_once_and_no_request_fails(changing: Changing) -> None:
    other, failed_before = changing.other(), len(changing.callers.failures())
    gateway = Gateway(changing.platform, SERVICE)
    old = gateway.logits()
    changing.change(other, BLUE_GREEN)
    changing.platform.until("the switch", lambda: (changing.status().get("rollout") or {}).get("weight") == 100, 240)
    changing.platform.until("an answer of the new model", lambda: gateway.logits() != near(old), 10)
    answers = [gateway.logits() for _ in range(20)]
    assert [each for each in answers if each == near(old)] == [], "some requests still go to the old model"
    rollout = changing.rollout(other, "Promoted")
    changing.serves_only(other)
    assert rollout["strategy"] == "BlueGreen"
    assert changing.callers.failures()[failed_before:] == []
