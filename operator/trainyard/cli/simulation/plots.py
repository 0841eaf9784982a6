"""Pictures of what a simulation found, PNG or SVG. matplotlib is an extra and is loaded only here."""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainyard.cli.errors import CliError
from trainyard.cli.simulation.figures import Result

_SUFFIXES = (".png", ".svg")
_COLOURS = ("#1f77b4", "#d95f02")


def check(path: Path) -> None:
    """Raises CliError before anything is computed that could not be drawn."""
    if path.suffix not in _SUFFIXES:
        raise CliError(f"--plot {path}: the name ends in {path.suffix or 'nothing'!r}; expected .png or .svg")
    if not path.absolute().parent.is_dir():
        raise CliError(f"--plot {path}: there is no folder {path.absolute().parent}")
    _pyplot()


def _pyplot() -> Any:
    try:
        importlib.import_module("matplotlib").use("Agg")
    except ModuleNotFoundError:
        raise CliError("--plot needs matplotlib: install trainyard[cli], or leave the option out") from None
    return importlib.import_module("matplotlib.pyplot")


def draw(path: Path, results: Sequence[tuple[str, Result]]) -> None:
    """Allocation and fragmentation; of a replay also waiting, completion and each queue's slowdown. One or two results."""
    pyplot = _pyplot()
    replayed = any(result.mode == "replay" for _, result in results)
    figure, axes = pyplot.subplots(2 if replayed else 1, 3 if replayed else 2, figsize=(13, 7) if replayed else (11, 4))
    flat = list(axes.flat)
    for (label, result), colour in zip(results, _COLOURS, strict=False):
        _curve(flat[0], label, result, "allocation", colour)
        _curve(flat[1], label, result, "fragmentation", colour)
        if replayed:
            _cumulative(flat[2], label, result.waited, colour)
            _cumulative(flat[3], label, result.completed, colour)
    if replayed:
        _titles(flat[2], "Waiting", "seconds from submission to start", "jobs, %")
        _titles(flat[3], "Completion", "seconds from submission to end", "jobs, %")
        _slowdowns(flat[4], results)
    along = "time of the trace, %" if replayed else "demand, % of GPUs"
    _titles(flat[0], "Allocation", along, "GPUs given away, %")
    _titles(flat[1], "Fragmentation", along, "free GPUs of no use to typical jobs, %")
    if replayed:
        flat[5].axis("off")
        flat[5].legend(*flat[0].get_legend_handles_labels(), loc="center", frameon=False)
    else:
        flat[0].legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _titles(axis: Any, title: str, across: str, up: str) -> None:
    axis.set_title(title, loc="left")
    axis.set_xlabel(across)
    axis.set_ylabel(up)
    axis.grid(visible=True, alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)


def _curve(axis: Any, label: str, result: Result, quantity: str, colour: str) -> None:
    values = np.array([getattr(curve, quantity) for curve in result.curves])
    demand, mean, off = result.curves[0].demand, values.mean(axis=0), values.std(axis=0)
    axis.plot(demand, mean, color=colour, label=label)
    if len(values) > 1:
        axis.fill_between(demand, mean - off, mean + off, color=colour, alpha=0.2)


def _cumulative(axis: Any, label: str, seconds: NDArray[np.float64], colour: str) -> None:
    if len(seconds):
        shown = np.sort(np.maximum(seconds, 1.0))
        axis.plot(shown, np.linspace(0, 100, len(shown)), color=colour, label=label)
        axis.set_xscale("log")


def _slowdowns(axis: Any, results: Sequence[tuple[str, Result]]) -> None:
    names = sorted({queue.name for _, result in results for queue in result.queues})
    width = 0.8 / len(results)
    for number, ((_, result), colour) in enumerate(zip(results, _COLOURS, strict=False)):
        slow = {queue.name: queue.slowdown for queue in result.queues}
        places = np.arange(len(names)) + (number - (len(results) - 1) / 2) * width
        axis.bar(places, [slow.get(name, 0.0) for name in names], width, color=colour)
    axis.set_xticks(np.arange(len(names)), names, rotation=45, ha="right")
    _titles(axis, "Fairness", "", "mean slowdown of each queue")
