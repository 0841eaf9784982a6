"""Benchmark `models`: what each built-in model reaches on held-out data with each optimizer, beside what a textbook would reach.

Each row trains with the real program, three seeds, each with a split of its own, on one worker; the mean of the seeds counts.
Prints a line per row (`models/cnn/adamw/digits`) and writes the table into docs/models.md. `make bench NAME=models`;
`python -m tests.bench.models cnn/adamw/digits` runs some of the rows and leaves the others of the table as they were.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LinearRegression
from sklearn.neural_network import MLPClassifier
from torch.nn import functional
from trainer.datasets.preparation import PreparedData, prepare
from trainer.datasets.raw import load_raw
from trainer.models import load_exported

from tests.bench import ngrams

SEEDS = (0, 1, 2)
TABLE = Path("docs/models.md")
FRACTION = 0.2
OLS_TOLERANCE = 0.01
_COLUMNS = 11
SAMPLES = 5000
"""Images that a generator makes to teach a classifier."""
NGRAMS = {"bigram": 2, "trigram": 3}
UNITS = {
    "accuracy": "accuracy",
    "r2": "R2 above least squares",
    "bigram": "nats a byte below a bigram's loss",
    "trigram": "nats a byte below a trigram's loss",
    "forecast": "part of the squared error of the better of persistence and linear autoregression that is gone",
    "words": "accuracy above naive Bayes on n-grams of up to 3 tokens",
    "samples": "accuracy of a classifier taught by its samples",
}


@dataclass(frozen=True)
class Row:
    """A model, an optimizer and a data set, with what it is to reach."""

    model: str
    optimizer: str
    dataset: str
    metric: str
    bar: float
    training: Mapping[str, Any]
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"models/{self.model}/{self.optimizer}/{self.dataset}"


_GD = {"learningRate": 0.5, "epochs": 600, "schedule": "constant", "labelSmoothing": 0.0}
_SGD = {"learningRate": 0.05, "epochs": 20}
_SEQUENCE = {"learningRate": 0.003, "epochs": 40}
_TEXT = {"learningRate": 0.003, "epochs": 8, "batchSize": 32, "clipNorm": 1.0, "labelSmoothing": 0.0}
_ORDER = {"learningRate": 0.002, "epochs": 30, "clipNorm": 1.0, "labelSmoothing": 0.0}
_SERIES = {"learningRate": 0.003, "epochs": 20, "clipNorm": 1.0}
_GAN = {"learningRate": 0.001, "epochs": 200, "schedule": "cosine", "betas": [0.5, 0.9]}
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
    Row("resnet", "sgd", "digits", "accuracy", 0.985, {**_SGD, "epochs": 30}),
    Row("lstm", "adamw", "docs", "trigram", 0.0, _TEXT, {"hidden": 192, "dropout": 0.0}),
    Row("gru", "adamw", "docs", "trigram", 0.0, _TEXT, {"hidden": 192, "dropout": 0.0}),
    Row("transformer", "adamw", "docs", "bigram", 0.0, {**_TEXT, "epochs": 4}, {"dim": 96, "layers": 3}),
    Row("llama", "adamw", "docs", "trigram", 0.0, {**_TEXT, "epochs": 3}),
    Row("transformer", "adamw", "order", "words", 0.3, _ORDER, {"dropout": 0.0}),
    Row("lstm", "adamw", "series", "forecast", 0.5, _SERIES, {"dropout": 0.0}),
    Row("gru", "adamw", "series", "forecast", 0.5, _SERIES, {"dropout": 0.0}),
    Row("gan", "adam", "digits", "samples", 0.80, _GAN),
)


def trained(row: Row, seed: int, folder: Path) -> dict[str, float]:
    """Metrics on held-out data of one run of the program; the folder then holds its model."""
    training = {
        "batchSize": 64,
        "testFraction": FRACTION,
        "checkpointEverySteps": 1_000_000,
        **row.training,
        "optimizer": row.optimizer,
        "seed": seed,
    }
    model = {"name": row.model, "parameters": dict(row.parameters)}
    spec = {"model": model, "dataset": {"name": row.dataset}, "training": training}
    variables = {"TRAINYARD_SPEC": json.dumps(spec), "TRAINYARD_RUN_DIR": str(folder), "TRAINYARD_DIR": str(folder)}
    done = subprocess.run(
        [sys.executable, "-m", "trainer.train"],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=3600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    card: dict[str, Any] = json.loads((folder / "model" / "attempt-1" / "card.json").read_text())
    metrics: dict[str, float] = card["metrics"]
    return metrics


def score(row: Row, seed: int, metrics: Mapping[str, float], folder: Path) -> float:
    """The row's metric; for all of them, more is better."""
    if row.metric == "accuracy":
        return metrics["accuracy"]
    data = prepare(load_raw(row.dataset, {}), held_out_fraction=FRACTION, seed=seed)
    if row.metric in NGRAMS:
        return ngrams.loss(data.train, data.held_out, NGRAMS[row.metric]) - metrics["loss"]
    if row.metric == "samples":
        return taught_by_samples(folder, data)
    if row.metric == "words":
        return metrics["accuracy"] - ngrams.accuracy(data.train, data.held_out, 3)
    if row.metric == "forecast":
        return 1 - metrics["mse"] / min(persistence(data), autoregression(data))
    exact = LinearRegression().fit(data.train.inputs, data.train.targets)
    spread = float(data.held_out.targets.var())
    return (1 - metrics["mse"] / spread) - float(exact.score(data.held_out.inputs, data.held_out.targets))


def persistence(data: PreparedData) -> float:
    """Mean squared error on held-out data of the last value for what is to come."""
    return float(np.square(data.held_out.inputs[:, -1] - data.held_out.targets).mean())


def autoregression(data: PreparedData) -> float:
    """The same of the linear function of the window that least squares finds."""
    found = LinearRegression().fit(data.train.inputs, data.train.targets)
    return float(np.square(found.predict(data.held_out.inputs) - data.held_out.targets).mean())


def taught_by_samples(folder: Path, data: PreparedData) -> float:
    """Accuracy on real held-out images of a classifier that saw only what the generator makes."""
    module, card = load_exported(folder / "model" / "attempt-1")
    latent = card["inputs"][0]["shape"][1] - data.outputs
    labels = torch.arange(SAMPLES) % data.outputs
    torch.manual_seed(0)
    noise = torch.randn(SAMPLES, latent)
    with torch.no_grad():
        images = module(torch.cat((noise, functional.one_hot(labels, data.outputs).float()), 1))
    classifier = MLPClassifier((64,), max_iter=60, random_state=0).fit(images.flatten(1) / 16, labels)
    held_out = data.held_out.inputs.reshape(len(data.held_out), -1) / 16
    return float(classifier.score(held_out, data.held_out.targets))


def main() -> None:
    chosen = set(sys.argv[1:])
    rows = [row for row in ROWS if not chosen or row.name.removeprefix("models/") in chosen]
    for row in rows:
        began = time.perf_counter()
        scores = []
        for seed in SEEDS:
            with tempfile.TemporaryDirectory() as folder:
                scores.append(score(row, seed, trained(row, seed, Path(folder)), Path(folder)))
        reached, seconds = mean(scores), (time.perf_counter() - began) / len(SEEDS)
        unit = UNITS[row.metric]
        shape = {"unit": unit, "bar": row.bar, "worst": round(min(scores), 4), "seeds": len(SEEDS)}
        print(json.dumps({"name": row.name, "value": round(reached, 4), **shape, "cores": os.cpu_count()}), flush=True)
        met = "yes" if reached >= row.bar else "**no**"
        settings = ", ".join(f"{name} {value}" for name, value in {**row.training, **row.parameters}.items())
        when = f"{datetime.now(UTC):%Y-%m-%d}"
        lines = _table()  # anew each time: others may be measured at the same time
        lines[row.name] = (
            f"| {row.model} | {row.optimizer} | {row.dataset} | {unit} | {reached:.4f} | {min(scores):.4f} | {row.bar} | {met} | {settings} | {seconds:.0f} | {when} |"
        )
        TABLE.write_text(_document([lines[each.name] for each in ROWS if each.name in lines]), encoding="utf-8")


def _table() -> dict[str, str]:
    """Rows as they were last measured, by name."""
    found = {}
    for line in TABLE.read_text(encoding="utf-8").splitlines() if TABLE.exists() else ():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and len(cells) == _COLUMNS:
            found["/".join(("models", *cells[:3]))] = line
    return found


def _document(lines: list[str]) -> str:
    said = (
        f"Written by `make bench NAME=models`, {os.cpu_count()} cores, one worker, mean of seeds {', '.join(map(str, SEEDS))} (each splits"
        f" the data anew, a fifth is held out). Seconds are those of one run, imports included. Each row was measured on its date."
    )
    head = (
        "# What the built-in models reach",
        "",
        said,
        "",
        "| model | optimizer | data | metric | reached | worst seed | bar | met | settings | seconds | date |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    )
    return "\n".join((*head, *lines)) + "\n"


if __name__ == "__main__":
    main()
