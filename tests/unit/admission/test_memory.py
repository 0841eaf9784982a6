"""What was learned outlives the process; whatever is wrong with it costs a warning, and nothing else."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests import builders as b
from tests.hand_clock import HandClock
from trainyard.admission.incident_log import IncidentLog
from trainyard.admission.memory import Memory
from trainyard.api.incident import JobIncident
from trainyard.api.names import LEARNED
from trainyard.api.training_job import TrainingJob
from trainyard.cluster.errors import AlreadyExists, Conflict, Forbidden, NotFound, Unreachable
from trainyard.cluster.resources import Resource
from trainyard.nodes.lemons import Lemons
from trainyard.workloads.outlook import ENOUGH, Outlooks

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


class OneConfigMap:
    """An API server that holds at most this one object."""

    def __init__(self, text: str | None = None) -> None:
        self.obj: dict[str, Any] | None = {"data": {"learned.json": text}} if text is not None else None
        self.writes: list[str] = []
        self.fails: Exception | None = None
        self.conflicts = self.conflicts_once = False

    async def get(self, _resource: Resource, _namespace: str | None, name: str) -> dict[str, Any] | None:
        assert name == LEARNED
        self._fail()
        return self.obj

    async def create(self, _resource: Resource, obj: dict[str, Any]) -> dict[str, Any]:
        self._fail()
        if self.obj is not None:
            raise AlreadyExists("there")
        self.writes.append("create")
        self.obj = obj
        return obj

    async def patch(
        self, _resource: Resource, _namespace: str | None, _name: str, patch: dict[str, Any]
    ) -> dict[str, Any]:
        self._fail()
        if self.conflicts or self.conflicts_once:
            self.conflicts_once = False
            raise Conflict("somebody else wrote")
        if self.obj is None:
            raise NotFound("there is no such ConfigMap")
        self.writes.append("patch")
        self.obj = patch
        return patch

    def _fail(self) -> None:
        if self.fails is not None:
            raise self.fails


def a_job(number: int, seconds: float = 600.0) -> TrainingJob:
    ended = NOW + timedelta(minutes=number)
    status = {
        "startTime": (ended - timedelta(seconds=seconds)).isoformat(),
        "completionTime": ended.isoformat(),
        "conditions": [
            {"type": "Complete", "status": "True", "reason": "Completed", "lastTransitionTime": ended.isoformat()}
        ],
    }
    made = b.training_job(f"train-{number}")
    return TrainingJob.model_validate(
        {**made, "metadata": {**made["metadata"], "uid": f"uid-{number}"}, "status": status}
    )


def waiting() -> TrainingJob:
    made = b.training_job("train-999")
    return TrainingJob.model_validate({**made, "metadata": {**made["metadata"], "uid": "uid-new"}})


async def remembering(client: OneConfigMap) -> tuple[Memory, Outlooks]:
    outlooks = Outlooks(HandClock())
    memory = Memory(client, outlooks, "trainyard-system")
    await memory.recall()
    return memory, outlooks


async def test_another_process_knows_how_long_jobs_run() -> None:
    client = OneConfigMap()
    memory, outlooks = await remembering(client)
    for number in range(ENOUGH):
        outlooks.ended(a_job(number))
    await memory.save()
    expected = outlooks.seconds(waiting())
    assert expected is not None
    _, other = await remembering(client)
    assert other.seconds(waiting()) == pytest.approx(expected, rel=0.01)


async def test_jobs_that_were_counted_before_are_not_counted_again_and_later_ones_are() -> None:
    client = OneConfigMap()
    memory, outlooks = await remembering(client)
    jobs = [a_job(number) for number in range(ENOUGH)]
    outlooks.ended_before(jobs)
    await memory.save()
    _, other = await remembering(client)
    other.ended_before([*jobs, a_job(ENOUGH)])
    assert other.unwritten.learned == 1


async def test_nothing_is_written_when_nothing_was_learned() -> None:
    client = OneConfigMap()
    memory, outlooks = await remembering(client)
    await memory.save()
    assert client.writes == []
    outlooks.ended(a_job(1))
    await memory.save()
    await memory.save()
    assert client.writes == ["create"]
    outlooks.ended(a_job(2))
    await memory.save()
    assert client.writes == ["create", "patch"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no json",
        "[]",
        "{}",
        '{"ended": 3, "newest": null, "durations": 7, "waits": {}}',
        json.dumps(
            {
                "ended": 1,
                "newest": None,
                "durations": {"format": 1, "contexts": [["all"]], "counts": "AA=="},
                "waits": {},
            }
        ),
        '{"ended": "many", "newest": "yesterday", "durations": {}, "waits": {}}',
    ],
)
async def test_damaged_memories_are_left_and_learning_begins_anew(text: str, caplog: pytest.LogCaptureFixture) -> None:
    client = OneConfigMap(text)
    memory, outlooks = await remembering(client)
    assert bool(caplog.records) is bool(text)
    assert outlooks.seconds(waiting()) is None
    outlooks.ended(a_job(1))
    await memory.save()
    assert client.writes == ["patch"]


@pytest.mark.parametrize("error", [Forbidden("not yours"), Unreachable("no answer")])
async def test_an_api_server_that_refuses_costs_a_warning(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    client = OneConfigMap()
    client.fails = error
    memory, outlooks = await remembering(client)
    outlooks.ended(a_job(1))
    await memory.save()
    assert len(caplog.records) == 2
    client.fails = None
    await memory.save()
    assert client.writes == ["create"], "tried again"


@pytest.mark.parametrize("before", [None, json.dumps(Outlooks(HandClock(NOW)).to_dict())], ids=["created", "changed"])
async def test_what_somebody_else_wrote_meanwhile_is_taken_over_and_not_written_over(before: str | None) -> None:
    """A restore writes while an operator runs, which saves what it knows when it ends."""
    client, restored = OneConfigMap(before), Outlooks(HandClock(NOW))
    memory, outlooks = await remembering(client)
    for number in range(ENOUGH):
        restored.ended(a_job(number))
    outlooks.ended(a_job(0))
    client.obj, client.conflicts = {"data": {"learned.json": json.dumps(restored.to_dict())}}, True
    await memory.save()
    client.conflicts = False
    assert outlooks.to_dict() == restored.to_dict()
    await memory.save()
    assert client.writes == []


async def test_incidents_that_nobody_wrote_yet_outlive_what_somebody_else_wrote() -> None:
    """Five minutes of them may have come since the last time."""
    client, log, theirs = OneConfigMap(json.dumps(IncidentLog().to_dict())), IncidentLog(), IncidentLog()
    memory = Memory(client, log, "trainyard-system", LEARNED, "learned.json")
    await memory.recall()
    log.over([struck("ours")])
    theirs.over([struck("theirs")])
    client.obj, client.conflicts = {"data": {"learned.json": json.dumps(theirs.to_dict())}}, True
    await memory.save()
    client.conflicts = False
    await memory.save()
    assert client.obj is not None
    written = IncidentLog()
    written.recall(json.loads(client.obj["data"]["learned.json"]))
    assert {each.job for each in written.all()} == {"ours", "theirs"}
    await memory.save()
    assert client.writes == ["patch"]


async def test_what_cannot_be_read_after_somebody_else_wrote_costs_nothing_that_was_learned() -> None:
    client = OneConfigMap(json.dumps(IncidentLog().to_dict()))
    log = IncidentLog()
    memory = Memory(client, log, "trainyard-system", LEARNED, "learned.json")
    await memory.recall()
    log.over([struck("ours")])
    client.obj, client.conflicts = {"data": {"learned.json": "no json"}}, True
    await memory.save()
    client.conflicts = False
    await memory.save()
    assert client.writes == ["patch"]


async def test_a_configmap_that_somebody_deleted_is_made_anew_with_all_that_is_known() -> None:
    client = OneConfigMap()
    memory, outlooks = await remembering(client)
    for number in range(ENOUGH):
        outlooks.ended(a_job(number))
    await memory.save()
    client.obj = None
    outlooks.ended(a_job(ENOUGH))
    await memory.save()
    assert client.writes == ["create", "create"]
    _, other = await remembering(client)
    assert other.to_dict() == outlooks.to_dict()


async def test_what_was_learned_meanwhile_is_added_to_what_somebody_else_wrote() -> None:
    """A save at the end of a process is the last: what it does not write is lost."""
    client, theirs = OneConfigMap(json.dumps(Outlooks(HandClock(NOW)).to_dict())), Outlooks(HandClock(NOW))
    memory, outlooks = await remembering(client)
    for number in range(ENOUGH):
        theirs.ended(a_job(number))
    outlooks.ended(a_job(0))  # which they have read, too
    outlooks.ended(a_job(ENOUGH))
    client.obj = {"data": {"learned.json": json.dumps(theirs.to_dict())}}
    client.conflicts_once = True
    await memory.save()
    theirs.ended(a_job(ENOUGH))
    assert client.obj is not None
    assert json.loads(client.obj["data"]["learned.json"]) == theirs.to_dict() == outlooks.to_dict()
    await memory.save()
    assert client.writes == ["patch"]


async def test_outcomes_of_nodes_that_nobody_wrote_yet_outlive_what_somebody_else_wrote() -> None:
    client, lemons, theirs = OneConfigMap("{}"), Lemons(), Lemons()
    memory = Memory(client, lemons, "trainyard-system", LEARNED, "learned.json")
    await memory.recall()
    lemons.outcome(["n1"], "n1", NOW)
    theirs.outcome(["n1", "n2"], "", NOW)
    client.obj = {"data": {"learned.json": json.dumps(theirs.to_dict())}}
    client.conflicts_once = True
    await memory.save()
    assert client.obj is not None
    assert {name: each[:2] for name, each in json.loads(client.obj["data"]["learned.json"]).items()} == {
        "n1": [2, 1],
        "n2": [1, 0],
    }


def struck(job: str) -> JobIncident:
    told = {"cause": "Node", "fault_at": NOW, "detected_at": NOW, "ended_at": NOW, "outcome": "Recovered"}
    return JobIncident(namespace="team", job=job, uid=f"uid-{job}", number=1, attempt=1, **told)


async def test_how_often_gangs_are_interrupted_is_kept_and_added_to_what_somebody_else_wrote() -> None:
    client, theirs = OneConfigMap(), Outlooks(HandClock(NOW))
    memory, outlooks = await remembering(client)
    outlooks.ran("h200", 1e6, 50)
    await memory.save()
    outlooks.ran("h200", 0.0, 50)
    theirs.ran("h200", 1e6, 50)
    outlooks.recall(theirs.to_dict())
    theirs.ran("h200", 0.0, 50)
    assert outlooks.interruptions("h200") == pytest.approx(theirs.interruptions("h200"), rel=0.1)
    _, another = await remembering(client)
    assert another.interruptions("h200") == pytest.approx(50 / 1e6, rel=0.1)
