"""Benchmark `compression`: variants of small trained models, their size, latency and metric, and which are published and why not.

Trains an MLP, a CNN and a small decoder with the real program, compresses each with the real program, and prints a table. Two
refusals are meant to be seen: int8 weights that are widened for each product, which is slower than what it replaces, and a
pruning that went too far. `make bench NAME=compression`; `python -m tests.bench.compression mlp` does one of them.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

THREADS = min(2, os.cpu_count() or 1)


@dataclass(frozen=True)
class Case:
    """A model to train, and what is made of it. maximum_loss: in the metric's unit."""

    name: str
    recipe: Mapping[str, Any]
    maximum_loss: float
    variants: Sequence[Mapping[str, Any]]


def _pruned(name: str, fraction: float, epochs: int) -> dict[str, Any]:
    return {"name": name, "method": "Pruned", "parameters": {"fraction": fraction, "epochs": epochs}}


def _student(name: str, model: str, parameters: Mapping[str, Any], epochs: int) -> dict[str, Any]:
    student = {"name": model, "parameters": parameters}
    return {"name": name, "method": "Distilled", "parameters": {"epochs": epochs, "student": student}}


_PLAIN = [
    {"name": "int8", "method": "Int8Dynamic"},
    {"name": "int8-weights", "method": "Int8Weights"},
    {"name": "bf16", "method": "BFloat16"},
    {"name": "fp8", "method": "Float8"},
]
CASES = (
    Case(
        "mlp",
        {
            "model": {"name": "mlp", "parameters": {"hidden": [1024, 1024]}},
            "dataset": {"name": "digits"},
            "training": {"epochs": 6},
        },
        0.01,
        (
            *_PLAIN,
            _pruned("half", 0.5, 2),
            _pruned("too-far", 0.99, 0),
            _student("small", "mlp", {"hidden": [256, 128]}, 20),
        ),
    ),
    Case(
        "cnn",
        {
            "model": {"name": "cnn", "parameters": {"width": 32}},
            "dataset": {"name": "digits"},
            "training": {"epochs": 4},
        },
        0.01,
        (*_PLAIN, _pruned("half", 0.5, 2), _pruned("too-far", 0.95, 0)),
    ),
    Case(
        "llama",
        {
            "model": {"name": "llama", "parameters": {"dim": 128, "layers": 2, "hidden": 1024}},
            "dataset": {"name": "docs", "parameters": {"context": 64}},
            "training": {"epochs": 1, "batchSize": 32, "learningRate": 0.003},
        },
        0.05,
        (*_PLAIN, _pruned("half", 0.5, 0)),
    ),
)


def main(names: Sequence[str]) -> None:
    published = refused = 0
    for case in CASES:
        if names and case.name not in names:
            continue
        began = time.monotonic()
        report = _report(case)
        _print(case, report, time.monotonic() - began)
        count = sum(each["verdict"] == "Published" for each in report["variants"])
        published, refused = published + count, refused + len(report["variants"]) - count
    print(f"compression/published {published}")
    print(f"compression/refused {refused}")


def _report(case: Case) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        _run(Path(scratch), "trained", case.recipe)
        asked = {
            "parent": {"path": f"{scratch}/trained/model/attempt-1"},
            "maximumLoss": case.maximum_loss,
            "variants": list(case.variants),
        }
        _run(Path(scratch), "smaller", {"compression": asked})
        found: dict[str, Any] = json.loads(
            (Path(scratch) / "smaller/model/attempt-1/variants/variants.json").read_bytes()
        )
        return found


def _run(scratch: Path, name: str, spec: Mapping[str, Any]) -> None:
    """The program of a worker, as a job would run it."""
    variables = {
        "TRAINYARD_SPEC": json.dumps(spec),
        "TRAINYARD_JOB": name,
        "TRAINYARD_DIR": str(scratch / name),
        "TRAINYARD_TERMINATION_LOG": str(scratch / f"{name}.log"),
        "OMP_NUM_THREADS": str(THREADS),
    }
    done = subprocess.run(
        [sys.executable, "-m", "trainer.train"],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    kept = scratch / name / "model" / "attempt-1"
    if done.returncode and not (kept / "variants").exists():  # where nothing is published the report is there too
        raise RuntimeError(f"{name} ended with {done.returncode}: {done.stderr[-2000:]}")


def _print(case: Case, report: Mapping[str, Any], seconds: float) -> None:
    metric, parent = report["metric"], report["parent"]
    print(f"\n{case.name}, {metric} may lose {case.maximum_loss:g}, {report['device']}, {seconds:.0f} s in all")
    print(f"{'variant':<14}{'KiB':>8}{'ms b=1':>9}{'ms b=32':>9}{metric:>10}{'SQNR dB':>9}  verdict")
    if "metric" in parent:
        print(_row("parent", parent, ""))
    for each in report["variants"]:
        print(_row(each["name"], each, f"{each['verdict'].lower()}: {each['reason']}"))


def _row(name: str, figures: Mapping[str, Any], verdict: str) -> str:
    if "metric" not in figures:
        return f"{name:<14}{'-':>8}{'-':>9}{'-':>9}{'-':>10}{'-':>9}  {verdict}"
    latency, sqnr = figures["latencySeconds"], figures.get("sqnrDecibels")
    told = f"{sqnr:.1f}" if sqnr is not None else ""
    return (
        f"{name:<14}{figures['sizeBytes'] / 1024:>8.0f}{latency['1'] * 1e3:>9.3f}{latency['32'] * 1e3:>9.3f}"
        f"{figures['metric']:>10.4f}{told:>9}  {verdict}"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
