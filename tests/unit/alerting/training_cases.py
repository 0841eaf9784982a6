"""Of the alerts about TrainingJobs."""

from tests.unit.alerting.case import JOB, Case, of_job, series

_RUNS = {of_job("phase", phase="Running"): "1x1000"}
_INFO = of_job("info", dataset="imagenet")


def _ledger(**categories: str) -> dict[str, str]:
    """Seconds by category, one value each ten minutes."""
    return {
        series("training_job_ledger_seconds", queue="q", category=category): values
        for category, values in categories.items()
    }


def _failures(kind: str) -> str:
    return series("training_job_failures_total", queue="q", class_=kind)


def _of_pod(metric: str, pod: str, **labels: str) -> str:
    return of_job(metric, instance=pod, **labels)


CASES = (
    Case(
        "TrainyardJobStuck",
        at="60m",
        fires={of_job("step"): "0+5x10 50x80"},
        quiet=(
            {of_job("step"): "0+5x80"},
            {of_job("step"): "0x4 1x8 2x8 3x8 4x8 5x8 6x8 7x8 8x8"},  # slow steps
            # Another operator took over: its series of the same steps is new, and does not change by itself.
            {_of_pod("step", "old"): "0+5x58 stale", _of_pod("step", "new"): "_x59 295+5x9"},
            {},  # a program of the user's own that does not report
        ),
        labels=JOB,
        also=_RUNS,
    ),
    Case(
        "TrainyardJobNoFirstStep",
        at="60m",
        fires={_INFO: "1x80"},
        quiet=(
            {_INFO: "1x80", of_job("first_step_seconds"): "_x10 90x70"},
            {of_job("info", dataset=""): "1x80"},
        ),
        labels=JOB,
        also=_RUNS,
    ),
    Case(
        "TrainyardJobWorkersNotReady",
        at="30m",
        fires={of_job("workers", state="active"): "4x40", of_job("workers", state="ready"): "3x40"},
        quiet=(
            {  # an elastic job that goes on with fewer
                of_job("workers", state="desired"): "4x40",
                of_job("workers", state="active"): "3x40",
                of_job("workers", state="ready"): "3x40",
            },
        ),
        labels=JOB,
        also=_RUNS,
    ),
    Case(
        "TrainyardJobStraggler",
        at="60m",
        fires={of_job("straggler_factor", node="n"): "1.6x80"},
        quiet=({of_job("straggler_factor", node="n"): "1.6x20 stale"},),
        labels=JOB | {"node": "n"},
    ),
    Case(
        "TrainyardJobRestartsOften",
        at="60m",
        fires={of_job("restarts_total", cause="failure"): "0x10 1x10 2x10 3x10 4x30"},
        quiet=(
            {of_job("restarts_total", cause="failure"): "0x10 1x20 2x40"},
            {of_job("restarts_total", cause="failure"): "9x80"},  # all of them long ago
            # Another operator says the same.
            {
                _of_pod("restarts_total", "old", cause="failure"): "9x30 stale",
                _of_pod("restarts_total", "new", cause="failure"): "_x32 9x40",
            },
        ),
        labels=JOB | {"cause": "failure"},
    ),
    Case(
        "TrainyardJobsHang",
        at="30m",
        fires={_failures("Hang"): "0x20 1x20"},
        quiet=({_failures("UserError"): "0x20 1x20"}, {_failures("Hang"): "3x40"}),
        labels={"queue": "q"},
    ),
    Case(
        "TrainyardFailuresOfThePlatform",
        at="60m",
        fires={_failures("Node"): "0+1x10 10x60"},
        quiet=({_failures("Node"): "0x20 1x20 2x20"}, {_failures("UserError"): "0+1x60"}),
        labels={"queue": "q", "class": "Node"},
    ),
    Case(
        "TrainyardCheckpointsFail",
        at="30m",
        fires={of_job("checkpoint_failures_total"): "0x20 1x20"},
        quiet=(
            {of_job("checkpoint_failures_total"): "0x40"},
            {of_job("checkpoint_failures_total"): "2x20 0x20"},  # the program was started again, and writes
        ),
        labels=JOB,
    ),
    Case(
        "TrainyardCheckpointOverdue",
        at="60m",
        fires={
            of_job("step"): "0+5x70",
            of_job("checkpoint_interval_steps"): "100x70",
            of_job("checkpoint_step"): "20x70",
        },
        quiet=(
            {
                of_job("step"): "0+5x70",
                of_job("checkpoint_interval_steps"): "100x70",
                of_job("checkpoint_step"): "100x70",
            },
            {of_job("step"): "0+5x70", of_job("checkpoint_step"): "0x70"},  # its own program
        ),
        labels=JOB,
        also=_RUNS,
    ),
    Case(
        "TrainyardCheckpointOverdue",
        at="60m",
        fires={of_job("step"): "0+5x70", of_job("checkpoint_interval_steps"): "100x70"},  # it has none at all
        quiet=({of_job("step"): "0+3x70", of_job("checkpoint_interval_steps"): "100x70"},),
        labels=JOB,
        also=_RUNS,
    ),
    Case(
        "TrainyardNoNewCheckpoint",
        at="300m",
        step="5m",
        fires={of_job("step"): "0+5x70", of_job("checkpoint_step"): "0+5x12 60x60"},
        quiet=(
            {of_job("step"): "0+5x70", of_job("checkpoint_step"): "0+5x70"},
            {of_job("step"): "_x40 0+5x30", of_job("checkpoint_step"): "_x40 50x30"},  # new, and has its first
            {of_job("step"): "0+5x70"},  # writes none at all: it has no claim
        ),
        labels=JOB,
        also=_RUNS,
    ),
    Case(
        "TrainyardLostWorkHigh",
        at="8h",
        step="10m",
        fires=_ledger(productive="0+400x50", lostWork="0+200x50", queued="0+600x50"),
        quiet=(
            _ledger(productive="0+590x50", lostWork="0+10x50", queued="0+600x50"),
            _ledger(productive="0+4x50", lostWork="0+2x50"),  # hardly any time at all
            # A job that had lost much was deleted an hour ago.
            _ledger(productive="50000+600x42 10000+600x20", lostWork="30000x42 100x20"),
        ),
        labels={"queue": "q"},
    ),
    Case(
        "TrainyardGoodputLow",
        at="8h",
        step="10m",
        fires=_ledger(productive="0+200x50", dataWait="0+400x50", suspended="0x50"),
        quiet=(
            _ledger(productive="0+500x50", dataWait="0+100x50", suspended="0+900x50"),
            _ledger(productive="0+2x50", dataWait="0+4x50"),
        ),
        labels={"queue": "q"},
    ),
)
