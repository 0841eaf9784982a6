"""The built-in training program: what torchrun starts once for each worker (`python -m trainer.train`)."""

import json
import logging
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path

import torch

from trainer.assembly import assemble
from trainer.checkpoint_state import load_position, load_tensors
from trainer.compression.program import add_variants, variants_home
from trainer.compression.program import run as compress
from trainer.compression.specification import Compression, parse_compression
from trainer.control import StopSignal
from trainer.datasets.preparation import PreparedData, prepare
from trainer.datasets.raw import load_raw
from trainer.environment import RANK, Environment, is_set, read_environment
from trainer.errors import ExitCode, StopRequested, TrainerError
from trainer.export import Exported, describe, export
from trainer.group import is_loss_of_peer, joined_group
from trainer.loop import Job, train_until_done
from trainer.outcome import Outcome, record_outcome
from trainer.precision import check_precision
from trainer.progress import reporter_for
from trainer.specification import Specification, parse_specification
from trainer.spending import Spending, Use, count_on, process_age
from trainer.stacks import register
from trainer.tensorboard import curves_for

log = logging.getLogger("trainer")


def main() -> None:
    """Run one worker; leaves through SystemExit with the exit code of the contract unless all went well."""
    stop = StopSignal()  # before anything else: a forked worker inherits torchrun's handler
    spending = Spending(already=process_age())
    environment = read_environment()
    register(environment)
    logging.basicConfig(
        level=logging.INFO, format=f"%(asctime)s worker {environment.rank} %(levelname)s %(message)s", force=True
    )
    try:
        run(environment, stop, spending)
    except TrainerError as error:
        log.log(logging.INFO if isinstance(error, StopRequested) else logging.ERROR, "%s", error)
        _leave(environment, Outcome(error.exit_code, str(error)))
    except Exception as error:  # whatever it is, the operator is told
        consequence = isinstance(error, RuntimeError) and is_loss_of_peer(error)
        log.exception("another worker was lost" if consequence else "training failed")
        if consequence and stop.received:
            _leave(environment, Outcome(ExitCode.STOPPED, "asked to stop; the other workers left first", consequence))
        cause = "".join(traceback.format_exception_only(error)).strip()
        if consequence:
            cause = f"lost another worker: {str(error).partition('. This is typically')[0]}"
        _leave(environment, Outcome(ExitCode.FAILURE, cause, consequence))


def run(environment: Environment, stop: StopSignal, spending: Spending) -> None:
    """Train, evaluate, export; or compress what was trained, before or now. Raises TrainerError for an end with a meaning."""
    compression = parse_compression(environment.specification, workers=environment.workers())
    if compression is not None:
        variants_home(environment)
        if compression.parent is not None:
            compress(compression, compression.parent, environment, stop)
            return
    spending.turn_to(Use.WAITING)
    with joined_group(distributed=is_set(RANK), local_rank=environment.local_rank) as group:
        spending.turn_to(Use.LOADING)
        specification = parse_specification(environment.specification, workers=group.world_size)
        check_precision(specification.training.precision, group.device)
        reporter = curves = None
        if group.is_first:
            reporter = reporter_for(environment, world_size=group.world_size)
            reporter.measure(count_on(spending, environment))
            curves = curves_for(environment, reporter)
        try:
            raw = load_raw(specification.dataset.name, specification.dataset.parameters)
            data = prepare(
                raw, held_out_fraction=specification.training.test_fraction, seed=specification.training.seed
            )
            if group.is_first:
                log.info(
                    "%d samples to train on, %d held out; left out: %s",
                    len(data.train),
                    len(data.held_out),
                    data.cleaning,
                )
            job = assemble(environment, specification, data, group, reporter, curves, stop, spending)
            try:
                exported = _finish(job, specification, data, train_until_done(job, _restore(job)))
                if compression is not None and exported is not None:
                    _compress(job, compression, exported)
                _report(job, phase="done")
            finally:
                if job.saver is not None:
                    job.saver.close()
        finally:
            if curves is not None:
                curves.close()
            if reporter is not None:
                reporter.close()


def _restore(job: Job) -> int:
    """Continue from the newest good checkpoint of any attempt; returns the step to start with."""
    saver, reporter, curves = job.saver, job.reporter, job.curves
    if saver is None:
        return 0
    store = saver.store

    def choose() -> str:
        store.tidy()
        found = store.newest_verified(on_corrupt=warn)
        return json.dumps({"folder": str(found.folder)} if found else {})

    def warn(message: str) -> None:
        log.warning("%s", message)
        if reporter is not None:
            reporter.update(warning=message)

    folder = json.loads(job.group.on_first(choose)).get("folder")
    step = load_position(Path(folder), job.sharding) if folder else 0
    if curves is not None:
        curves.begin(after=step)
    if folder is None:
        return 0
    load_tensors(Path(folder), job.strategy)
    saver.committed = step
    if reporter is not None:
        log.info("continuing after step %d from %s with %d workers", step, folder, job.group.world_size)
        path = job.environment.claim_path(Path(folder))
        reporter.update(restored_step=step, step=step, checkpoint={"step": step, "path": path})
    return step


def _finish(job: Job, specification: Specification, data: PreparedData, metrics: dict[str, float]) -> Exported | None:
    """Export what was trained and say so; without storage there is nothing to export to."""
    exported = None
    if job.saver is not None:
        job.spending.turn_to(Use.SAVING)
        _report(job, phase="exporting")
        weights = job.strategy.full_weights() or {}
        told = json.loads(job.group.on_first(lambda: _export(job, specification, data, metrics, weights)))
        exported = Exported(Path(told["folder"]), told["digest"])
        _report(job, result=_result(job, exported))
    if job.group.is_first:
        log.info("trained: %s", metrics)
    return exported


def _compress(job: Job, asked: Compression, exported: Exported) -> None:
    """Make variants of what was exported, which is a result without them too."""
    assert job.reporter is not None
    job.spending.turn_to(Use.PRODUCTIVE)
    variants = add_variants(asked, exported, job.environment, job.reporter, job.stop)
    _report(job, result={**_result(job, exported), "variants": variants})


def _result(job: Job, exported: Exported) -> dict[str, str]:
    return {"path": job.environment.claim_path(exported.folder), "digest": exported.digest}


def _report(job: Job, **changes: object) -> None:
    if job.reporter is not None:
        job.reporter.update(**changes)


def _export(
    job: Job,
    specification: Specification,
    data: PreparedData,
    metrics: dict[str, float],
    weights: Mapping[str, torch.Tensor],
) -> str:
    card = describe(specification, data, job=job.environment.job, step=job.total_steps, metrics=metrics)
    exported = export(weights, card, job.environment)
    log.info("exported %s to %s", exported.digest, exported.folder)
    return json.dumps({"folder": str(exported.folder), "digest": exported.digest})


def _leave(environment: Environment, outcome: Outcome) -> None:
    record_outcome(environment.run_directory, environment.local_rank, outcome)
    sys.exit(outcome.exit_code)


if __name__ == "__main__":
    main()
