"""Benchmark `models`: what each built-in model reaches on held-out data with each optimizer, beside what a textbook would reach.

Each row trains with the real program, three seeds, each with a split of its own, on one worker; the mean of the seeds counts.
Prints a line per row (`models/cnn/adamw/digits`) and writes the table into docs/models.md. `make bench NAME=models`.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean
from typing import Any

from sklearn.linear_model import LinearRegression
from trainer.datasets.preparation import prepare
from trainer.datasets.raw import load_raw

SEEDS = (0, 1, 2)
TABLE = Path("docs/models.md")
FRACTION = 0.2
OLS_TOLERANCE = 0.01


@dataclass(frozen=True)
class Row:
    """A model, an optimizer and a data set, with what it is to reach."""

    model: str
    optimizer: str
    dataset: str
    metric: str
    bar: float
    training: Mapping[str, Any]

    @property
    def name(self) -> str:
        return f"models/{self.model}/{self.optimizer}/{self.dataset}"


_GD = {"learningRate": 0.5, "epochs": 600, "schedule": "constant", "labelSmoothing": 0.0}
_SGD = {"learningRate": 0.05, "epochs": 20}
_SEQUENCE = {"learningRate": 0.003, "epochs": 40}
ROWS = (
    Row("linear", "gd", "digits", "accuracy", 0.95, _GD),
    Row("linear", "sgd", "digits", "accuracy", 0.95, _SGD),
    Row("linear", "adam", "digits", "accuracy", 0.95, {"learningRate": 0.01, "epochs": 20}),
    Row("linear", "adamw", "digits", "accuracy", 0.95, {"learningRate": 0.01, "epochs": 20}),
    Row("mlp", "gd", "digits", "accuracy", 0.97, _GD),
    Row("mlp", "sgd", "digits", "accuracy", 0.97, {**_SGD, "epochs": 40}),
    Row("mlp", "adam", "digits", "accuracy", 0.97, {"learningRate": 0.003, "epochs": 40}),
    Row("mlp", "adamw", "digits", "accuracy", 0.97, {"learningRate": 0.003, "epochs": 40}),
    Row("cnn", "sgd", "digits", "accuracy", 0.985, _SGD),
    Row("cnn", "adam", "digits", "accuracy", 0.985, {"learningRate": 0.002, "epochs": 20}),
    Row("cnn", "adamw", "digits", "accuracy", 0.985, {"learningRate": 0.002, "epochs": 20}),
    Row("lstm", "adamw", "digits", "accuracy", 0.97, _SEQUENCE),
    Row("gru", "adamw", "digits", "accuracy", 0.97, _SEQUENCE),
    Row("transformer", "adamw", "digits", "accuracy", 0.97, {**_SEQUENCE, "clipNorm": 1.0}),
    Row("linear", "adamw", "iris", "accuracy", 0.93, {"learningRate": 0.05, "epochs": 60, "batchSize": 16}),
    Row(
        "linear", "gd", "diabetes", "r2", -OLS_TOLERANCE, {"learningRate": 0.1, "epochs": 2000, "schedule": "constant"}
    ),
    Row("linear", "adam", "diabetes", "r2", -OLS_TOLERANCE, {"learningRate": 0.02, "epochs": 300}),
)


def trained(row: Row, seed: int, folder: Path) -> dict[str, float]:
    """Metrics on held-out data of one run of the program."""
    training = {
        "batchSize": 64,
        "testFraction": FRACTION,
        "checkpointEverySteps": 1_000_000,
        **row.training,
        "optimizer": row.optimizer,
        "seed": seed,
    }
    spec = {"model": {"name": row.model}, "dataset": {"name": row.dataset}, "training": training}
    variables = {"TRAINYARD_SPEC": json.dumps(spec), "TRAINYARD_RUN_DIR": str(folder), "TRAINYARD_DIR": str(folder)}
    done = subprocess.run(
        [sys.executable, "-m", "trainer.train"],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    card: dict[str, Any] = json.loads((folder / "model" / "attempt-1" / "card.json").read_text())
    metrics: dict[str, float] = card["metrics"]
    return metrics


def score(row: Row, seed: int, metrics: Mapping[str, float]) -> float:
    """Accuracy; or how much better than ordinary least squares on the same split, in R2."""
    if row.metric == "accuracy":
        return metrics["accuracy"]
    data = prepare(load_raw(row.dataset, {}), held_out_fraction=FRACTION, seed=seed)
    exact = LinearRegression().fit(data.train.inputs, data.train.targets)
    spread = float(data.held_out.targets.var())
    return (1 - metrics["mse"] / spread) - float(exact.score(data.held_out.inputs, data.held_out.targets))


def main() -> None:
    lines = []
    for row in ROWS:
        began = time.perf_counter()
        scores = []
        for seed in SEEDS:
            with tempfile.TemporaryDirectory() as folder:
                scores.append(score(row, seed, trained(row, seed, Path(folder))))
        reached, seconds = mean(scores), (time.perf_counter() - began) / len(SEEDS)
        unit = row.metric if row.metric == "accuracy" else "R2 above least squares"
        shape = {"unit": unit, "bar": row.bar, "worst": round(min(scores), 4), "seeds": len(SEEDS)}
        print(json.dumps({"name": row.name, "value": round(reached, 4), **shape, "cores": os.cpu_count()}), flush=True)
        met = "yes" if reached >= row.bar else "**no**"
        settings = ", ".join(f"{name} {value}" for name, value in row.training.items())
        lines.append(
            f"| {row.model} | {row.optimizer} | {row.dataset} | {unit} | {reached:.4f} | {min(scores):.4f} | {row.bar} | {met} | {settings} | {seconds:.0f} |"
        )
    TABLE.write_text(_document(lines), encoding="utf-8")


def _document(lines: list[str]) -> str:
    said = (
        f"Written by `make bench NAME=models` on {datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, one worker, mean of seeds"
        f" {', '.join(map(str, SEEDS))} (each splits the data anew, a fifth is held out). Seconds are those of one run, imports included."
    )
    head = (
        "# What the built-in models reach",
        "",
        said,
        "",
        "| model | optimizer | data | metric | reached | worst seed | bar | met | settings | seconds |",
        "|---|---|---|---|---|---|---|---|---|---|",
    )
    return "\n".join((*head, *lines)) + "\n"


if __name__ == "__main__":
    main()
