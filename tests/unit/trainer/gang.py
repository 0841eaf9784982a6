"""Workers of one attempt as forked processes, started as torchrun would start them."""

import dataclasses
import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
import torch._dynamo
import torch.distributed.checkpoint  # these two are imported here so that not every worker has to
from trainer.train import main as train

from dev.ports import HeldPort

# Workers are forked from this process, and OpenMP's threads do not survive a fork: so none may be started here.
torch.set_num_threads(1)


def specification(model: str = "mlp", dataset: str = "iris", **training: Any) -> dict[str, Any]:
    """A small quick job; the model named may bring parameters after a colon as JSON."""
    name, _, parameters = model.partition(":")
    chosen = {"name": name, "parameters": json.loads(parameters or "{}")}
    return {"model": chosen, "dataset": {"name": dataset}, "training": {"epochs": 2, "batchSize": 16, **training}}


@dataclasses.dataclass
class Gang:
    """Workers of one attempt, running."""

    processes: list[BaseProcess]
    run_directory: Path
    master: HeldPort

    def exit_codes(self, timeout: float = 60) -> list[int | None]:
        for process in self.processes:
            process.join(timeout)
        return [process.exitcode for process in self.processes]

    def progress(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.run_directory / "progress.json").read_bytes())
        return found

    def wait_for(self, condition: Callable[[dict[str, Any]], bool], timeout: float = 60) -> dict[str, Any]:
        """Wait until what rank 0 reports fulfils the condition."""
        limit = time.monotonic() + timeout
        while time.monotonic() < limit:
            if (self.run_directory / "progress.json").exists() and condition(self.progress()):
                return self.progress()
            time.sleep(0.02)
        raise AssertionError(f"not in {timeout} s: {self.progress()}")

    def terminate(self, *ranks: int) -> None:
        for rank in ranks:
            pid = self.processes[rank].pid
            assert pid is not None
            os.kill(pid, signal.SIGTERM)

    def end(self) -> None:
        for process in self.processes:
            if process.is_alive():
                process.kill()
            process.join()

    def outcome(self, rank: int = 0) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.run_directory / f"outcome-{rank}.json").read_bytes())
        return found


StartGang = Callable[..., Gang]


def start_workers(
    run_directory: Path,
    spec: Mapping[str, Any],
    *,
    workers: int = 1,
    attempt: int = 1,
    directory: Path | None = None,
    **more: str,
) -> Gang:
    """Start the workers of an attempt; `more` are environment variables."""
    run_directory.mkdir()
    master = HeldPort()
    variables = {
        "TRAINYARD_SPEC": json.dumps(spec),
        "TRAINYARD_JOB": "digits",
        "TRAINYARD_JOB_UID": "uid-1",
        "TRAINYARD_ATTEMPT": str(attempt),
        "TRAINYARD_RUN_DIR": str(run_directory),
        "TRAINYARD_PROGRESS_SECONDS": "0.05",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(master),
        "WORLD_SIZE": str(workers),
        **({"TRAINYARD_DIR": str(directory)} if directory else {}),
        **more,
    }
    context = multiprocessing.get_context("fork")
    processes: list[BaseProcess] = [
        context.Process(target=_worker, args=(variables, rank, run_directory / f"log-{rank}"))
        for rank in range(workers)
    ]
    for process in processes:
        process.start()
    return Gang(processes, run_directory, master)


def _worker(variables: Mapping[str, str], rank: int, log: Path) -> None:
    os.environ.update(variables, RANK=str(rank), LOCAL_RANK=str(rank))
    sys.stdout = sys.stderr = log.open("w", buffering=1)
    # Said again in the child: what the parent said has to be made anew after a fork, and several of torch's own threads
    # that find it so at the same time abort ("Invalid thread pool!").
    torch.set_num_threads(1)
    train()
