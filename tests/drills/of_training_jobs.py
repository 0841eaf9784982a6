"""Of the alerts about TrainingJobs. Reports of trainers are played (`voices`), and so are the exit codes of workers (kwok)."""

from itertools import count
from typing import Any

from dev.cluster.kwok import EXIT_CODE
from tests import builders as b
from tests.apiserver.yard import completes_after
from tests.drills.drill import Drill
from tests.drills.ground import Ground
from tests.drills.voices import Trainer

_CLAIM = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
_FULL = "checkpoint of step {} failed: /storage: the volume is full"
_SPREAD = b.spec(topology={"level": "kubernetes.io/hostname", "mode": "spread"})
_PLATFORM_FAILURES = 6
_BETWEEN_COMPARISONS = 8.2
_STEPS_LOST = 40


def _exits(code: int, restarts: int, after: str = "0s") -> tuple[b.Modifier, ...]:
    return b.max_restarts(restarts), completes_after(after), b.annotated(**{EXIT_CODE: str(code)})


def _with_claim(ground: Ground, job: str, **training: Any) -> Trainer:
    ground.lay_out()
    claim = b.a_claim("results", namespace=ground.namespace)
    claim["spec"] |= _CLAIM
    ground.create(claim)
    ground.job(job, b.storage("results"), b.spec(training={"epochs": 5, **training}))
    return Trainer(ground, job)


def _progress_is_written(ground: Ground, job: str) -> None:
    """Into the status, each half minute: with the chart's rules it is older than that when the alert fires."""
    ground.until(lambda: ground.status(job).get("progress"), 90)


def _no_step_after_the_fifth(ground: Ground) -> None:
    ground.lay_out()
    ground.job("stands")
    trainer = Trainer(ground, "stands")
    trainer.reports(5)
    ground.keeps(lambda: trainer.reports(5))
    _progress_is_written(ground, "stands")


def _no_report_at_all(ground: Ground) -> None:
    ground.lay_out()
    ground.job("silent")
    ground.until_phase("silent", "Running", 90)


def _container_is_not_ready(ground: Ground) -> None:
    """As a kubelet tells it of a container whose probe fails."""
    ground.lay_out()
    ground.job("halved", b.workers(2))
    ground.until_phase("halved", "Running", 90)
    pod = ground.pods("halved")[1]
    reason, message = "ContainersNotReady", "containers with unready status: [trainer]"
    unready = [
        {"type": kind, "status": "False", "reason": reason, "message": message} for kind in ("Ready", "ContainersReady")
    ]
    containers = [each | {"ready": False} for each in pod["status"]["containerStatuses"]]
    body = {"status": {"conditions": unready, "containerStatuses": containers}}
    path = f"{ground.path('Pod')}/{pod['metadata']['name']}/status"
    ground.api.patch(path, body, content_type="application/strategic-merge-patch+json")


def _slow_worker(ground: Ground, *jobs: str) -> None:
    """Comparisons come every eight seconds, as the built-in trainer makes them, and five of them convince."""
    ground.lay_out(4)
    for name in jobs:
        ground.job(name, b.workers(4), b.gpus(4), _SPREAD)
    trainers = [Trainer(ground, name) for name in jobs]
    ranks = [_rank_on(ground, name, ground.node(4)) for name in jobs]
    numbers = count(1)

    def compare() -> None:
        step = next(numbers)
        for trainer, rank in zip(trainers, ranks, strict=True):
            told = {"p50": 0.1, "slowest": 0.5 + step / 1000, "slowestRank": rank}
            trainer.reports(step, worldSize=4, stepSeconds=told)

    ground.keeps(compare, _BETWEEN_COMPARISONS)


def _rank_on(ground: Ground, job: str, node: str) -> int:
    return [pod["spec"]["nodeName"] for pod in ground.pods(job)].index(node)


def _starts_again_and_again(ground: Ground) -> None:
    ground.lay_out()
    ground.job("loops", *_exits(127, 30, "1s"))


def _trainer_gave_up_a_hang(ground: Ground) -> None:
    ground.lay_out()
    ground.job("hung", *_exits(77, 30, "3s"))


def _containers_do_not_start(ground: Ground) -> None:
    ground.lay_out()
    for number in range(_PLATFORM_FAILURES):
        ground.job(f"broken-{number}", *_exits(127, 15, "3s"))


def _volume_is_full(ground: Ground) -> None:
    trainer = _with_claim(ground, "full", checkpointEverySteps=10)
    trainer.reports(1)
    numbers = count(1)

    def fails() -> None:
        failures = next(numbers)
        trainer.reports(10 * failures, checkpointFailures=failures, warning=_FULL.format(10 * failures))

    ground.keeps(fails)


def _steps_without_checkpoints(ground: Ground) -> None:
    trainer = _with_claim(ground, "unsaved", checkpointEverySteps=10)
    ground.keeps(lambda: trainer.reports(55))
    _progress_is_written(ground, "unsaved")


def _last_checkpoint_is_old(ground: Ground) -> None:
    trainer = _with_claim(ground, "overdue", checkpointEverySteps=1000)
    steps = count(11)
    saved = {"step": 10, "path": "checkpoints/10"}
    ground.keeps(lambda: trainer.reports(next(steps), checkpoint=saved))


def _work_is_lost(ground: Ground) -> None:
    """Half a minute of training without a checkpoint; then somebody deletes the pod."""
    trainer = _with_claim(ground, "loses", checkpointEverySteps=1000)
    for step in range(1, _STEPS_LOST):
        trainer.reports(step)
        ground.over.wait(1)
    ground.delete("Pod", ground.pods("loses")[0]["metadata"]["name"])
    ground.until(lambda: ground.status("loses").get("restarts") == 1, 90)
    again = Trainer(ground, "loses")
    steps = count(1)
    ground.keeps(lambda: again.reports(next(steps), restoredStep=0))


def _job(alert: str, name: str) -> dict[str, str]:
    return {"namespace": alert, "training_job": name}


def _of(namespace: str, job: str) -> dict[str, str]:
    return {"NAMESPACE": namespace, "JOB": job}


DRILLS = (
    Drill("TrainyardJobStuck", _no_step_after_the_fifth, _job("jobstuck", "stands"), ("step 5/10000",)),
    Drill("TrainyardJobNoFirstStep", _no_report_at_all, _job("jobnofirststep", "silent"), ("lost to: PodsStarting",)),
    Drill(
        "TrainyardJobWorkersNotReady",
        _container_is_not_ready,
        _job("jobworkersnotready", "halved"),
        ("halved-worker-1-1 0/1",),
    ),
    Drill(
        "TrainyardJobStraggler",
        lambda ground: _slow_worker(ground, "dragged"),
        _job("jobstraggler", "dragged") | {"node": "jobstraggler-0004"},
        ("jobstraggler-0004",),
    ),
    Drill(
        "TrainyardNodeSlow",
        lambda ground: _slow_worker(ground, "one", "two"),
        {"node": "nodeslow-0004"},
        ("nodeslow-0004",),
        {"JOB": "one", "NAMESPACE": "nodeslow"},
    ),
    Drill(
        "TrainyardJobRestartsOften",
        _starts_again_and_again,
        _job("jobrestartsoften", "loops"),
        ("Infrastructure", "exit code 127"),
    ),
    Drill(
        "TrainyardJobsHang",
        _trainer_gave_up_a_hang,
        {"queue": "jobshang"},
        ("exit code 77",),
        _of("jobshang", "hung"),
    ),
    Drill(
        "TrainyardFailuresOfThePlatform",
        _containers_do_not_start,
        {"queue": "failuresoftheplatform", "class": "Infrastructure"},
        ("failuresoftheplatform-0001",),
    ),
    Drill("TrainyardCheckpointsFail", _volume_is_full, _job("checkpointsfail", "full"), ("the volume is full",)),
    Drill("TrainyardCheckpointOverdue", _steps_without_checkpoints, _job("checkpointoverdue", "unsaved"), ("step 55",)),
    Drill(
        "TrainyardNoNewCheckpoint",
        _last_checkpoint_is_old,
        _job("nonewcheckpoint", "overdue"),
        ("step 10, checkpoints/10",),
    ),
    Drill(
        "TrainyardLostWorkHigh",
        _work_is_lost,
        {"queue": "lostworkhigh"},
        ("lost",),
        _of("lostworkhigh", "loses"),
    ),
    Drill(
        "TrainyardGoodputLow",
        _no_report_at_all,
        {"queue": "goodputlow"},
        ("starting",),
        _of("goodputlow", "silent"),
    ),
)
