"""Benchmark `parallel`: each way of sharing a job's work trains what a single process trains.

Every row runs the trainer's own program on CPU with gloo, 20 steps in fp32, and compares the loss of each step with that of
a single process; printed is the largest relative difference (`parallel/fsdp2`). `make bench NAME=parallel`.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

STEPS = 20
BAR = 1e-4
MODEL = {"name": "llama", "parameters": {"dim": 64, "layers": 4, "heads": 4, "keyValueHeads": 2, "hidden": 128}}
TRAINING = {
    "epochs": 1,
    "batchSize": 24,
    "optimizer": "adamw",
    "learningRate": 0.003,
    "clipNorm": 1.0,
    "testFraction": 0.2,
    "warmupSteps": 5,
}
# A few samples of the data set, so that an epoch has just the steps that are compared.
_PROGRAM = """
import sys, json, numpy as np
import trainer.loop as loop, trainer.train as train
losses, told = [], loop._report_step
def noted(job, at):
    if at.loss is not None: losses.append(at.loss)
    told(job, at)
loop._report_step = noted
whole = train.load_raw
train.load_raw = lambda name, parameters: whole(name, parameters).take(np.arange({rows}))
try:
    train.main()
finally:
    import os
    if os.environ.get("RANK", "0") == "0":
        open(sys.argv[1], "w").write(json.dumps(losses))
"""


@dataclass(frozen=True)
class Row:
    """One way of sharing."""

    name: str
    workers: int
    parallelism: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    bar: float | None = BAR


ROWS = (
    Row("ddp", 2),
    Row("ddp-3", 3),
    Row("fsdp2", 2, {"data": "sharded"}),
    Row("fsdp2-accumulate", 2, {"data": "sharded"}, {"accumulateSteps": 3, "recompute": True}),
    Row("tp", 2, {"tensor": 2}),
    Row("pp", 2, {"pipeline": 2}),
    Row("pp-4", 4, {"pipeline": 4}),
    Row("dp-tp", 4, {"tensor": 2}),
    Row("dp-pp", 4, {"pipeline": 2}),
    Row("tp-pp", 4, {"tensor": 2, "pipeline": 2}),
    Row("ps", 3, {"servers": 1}),
    Row("ps-2", 4, {"servers": 2}),
    # Asynchronous: other steps than a single process makes, so only what it reaches is told.
    Row("ps-async", 3, {"servers": 1, "staleness": 4}, bar=None),
)
ROWS_OF_DATA = 700
"""Of which a fifth or somewhat more is held out; the rest makes 20 steps of 24 at least."""


def losses(row: Row, folder: Path) -> list[float]:
    """Loss of each step that the row's workers make."""
    training = {**TRAINING, **row.training, "parallelism": dict(row.parallelism)}
    spec = {"model": MODEL, "dataset": {"name": "docs", "parameters": {"context": 32}}, "training": training}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = {
        "TRAINYARD_SPEC": json.dumps(spec),
        "TRAINYARD_DIR": str(folder / "job"),
        "OMP_NUM_THREADS": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(row.workers),
    }
    with ThreadPoolExecutor(row.workers) as threads:
        runs = list(threads.map(lambda rank: _worker(rank, row.workers, common, folder), range(row.workers)))
    for done in runs:
        assert done.returncode == 0, f"{row.name}: " + "\n".join(each.stderr[-6000:] for each in runs)
    found: list[float] = json.loads((folder / "losses").read_text())
    return found


def _worker(rank: int, workers: int, common: Mapping[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    own = {"TRAINYARD_RUN_DIR": str(folder / f"run-{rank}")}
    if workers > 1:
        own |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
    return subprocess.run(
        [sys.executable, "-c", _PROGRAM.format(rows=ROWS_OF_DATA), str(folder / "losses")],
        env=os.environ | common | own,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def difference(one: list[float], other: list[float]) -> float:
    """Largest relative difference of the losses, step by step."""
    steps = min(STEPS, len(one))
    return max(abs(left - right) / abs(left) for left, right in zip(one[:steps], other[:steps], strict=True))


def main() -> None:
    chosen = set(sys.argv[1:])
    with tempfile.TemporaryDirectory() as folder:
        single = losses(Row("single", 1), _made(folder, "single"))
        assert len(single) >= STEPS, f"{len(single)} steps; change ROWS_OF_DATA"
        missed = []
        for row in ROWS:
            if chosen and row.name not in chosen:
                continue
            found = losses(row, _made(folder, row.name))
            value = difference(single, found) if row.bar is not None else found[-1] / single[-1]
            unit = (
                "largest relative difference of the loss"
                if row.bar is not None
                else "last loss over the single process's"
            )
            shape = {"unit": unit, "bar": row.bar, "workers": row.workers, "steps": STEPS, "cores": os.cpu_count()}
            print(json.dumps({"name": f"parallel/{row.name}", "value": value, **shape}), flush=True)
            if row.bar is not None and value > row.bar:
                missed.append(row.name)
    assert not missed, f"above {BAR}: {', '.join(missed)}"


def _made(folder: str, name: str) -> Path:
    place = Path(folder) / name
    place.mkdir()
    return place


if __name__ == "__main__":
    main()
