"""Draws the pictures of docs/dashboards.md: three simulated hours, through the dashboards' own queries.

The whole operator runs a small cluster in compressed time, and a real Prometheus answers from what it would have scraped of
it. Panels about the pods of services have no data there and are left out.
"""

import math
import re
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path

import matplotlib as mpl
from matplotlib import dates
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dev.dashboards.board import Board
from dev.dashboards.catalogue import ALL
from dev.dashboards.panel import INSTANT, WHOLE, Color, Look, Panel, Unit
from dev.prometheus import Course, Prometheus, prometheus
from tests.bench.dashboards_day import ONE_JOB, Day, simulated

FOLDER = Path(__file__).parents[2] / "docs" / "pictures"
MINUTES = 180
_STEP = 60
_COLUMNS = 3
_CHOSEN = {
    "$__rate_interval": "2m",
    "$__interval": "5m",
    "$__range": f"{MINUTES}m",
    "$resource": "nvidia.com/gpu",
    "$training_job": ONE_JOB,
    "$inference_service": "digits",
}
_PAINT = {
    Color.GOOD: "#4caf50",
    Color.IDLE: "#64b5f6",
    Color.BUSY: "#1f60c4",
    Color.WAIT: "#fade2a",
    Color.DOUBT: "#ff9830",
    Color.BAD: "#e02f44",
    Color.WORSE: "#a01020",
    Color.OFF: "#8f5fbf",
    Color.PLAIN: "#808080",
}
Lines = dict[str, dict[float, float]]


def main() -> None:
    mpl.use("Agg")
    mpl.rcParams.update({"font.size": 7, "axes.spines.top": False, "axes.spines.right": False})
    day = simulated(MINUTES)
    FOLDER.mkdir(exist_ok=True)
    with prometheus({}, history=day.text) as server:
        for board in ALL:
            path = FOLDER / f"{board.uid}.png"
            drawn, left_out = _draw(board, server, day, path)
            print(f"{path.name}: {drawn} panels, {left_out} left out for want of data")


def filled(expr: str) -> str:
    for name, value in _CHOSEN.items():
        expr = expr.replace(name, value)
    return re.sub(r"\$\w+", ".*", expr)


def _draw(board: Board, server: Prometheus, day: Day, path: Path) -> tuple[int, int]:
    panels = list(board.panels)
    found = {panel.title + panel.look: (panel, lines) for panel in panels if (lines := _lines(panel, server, day))}
    rows = math.ceil(len(found) / _COLUMNS)
    figure = Figure(figsize=(13, 0.6 + 2.0 * rows), layout="constrained")
    figure.suptitle(f"Trainyard / {board.title}", fontsize=11, weight="bold")
    for place, (panel, lines) in enumerate(found.values(), 1):
        axes = figure.add_subplot(rows, _COLUMNS, place)
        axes.set_title("\n".join(textwrap.wrap(panel.title, 60)), fontsize=8, loc="left")
        _LOOKS.get(panel.look, _course)(axes, panel, lines)
        if panel.look not in INSTANT:
            axes.set_xlim(*_moments([day.start, day.end]))
    figure.savefig(path, dpi=75)
    return len(found), len(panels) - len(found)


def _lines(panel: Panel, server: Prometheus, day: Day) -> Lines:
    """Values by the series' name and time."""
    found: Lines = {}
    step = 300 if panel.look is Look.BARS else _STEP
    for query in panel.queries:
        if panel.look in INSTANT:
            answer = [
                Course(each.labels, ((day.end, each.value),)) for each in server.query(filled(query.expr), day.end)
            ]
        else:
            answer = server.course(filled(query.expr), day.start, day.end, step)
        for each in answer:
            values = {at: value for at, value in each.values if math.isfinite(value)}
            if values:
                found[_named(query.legend, each.labels)] = values
    return found


def _named(legend: str, labels: Mapping[str, str]) -> str:
    return re.sub(r"{{(\w+)}}", lambda each: labels.get(each[1], ""), legend)


def _number(axes: Axes, panel: Panel, lines: Lines) -> None:
    value = next(iter(next(iter(lines.values())).values()))
    paint = (
        _PAINT[next(limit.color for limit in reversed(panel.limits) if limit.value is None or value >= limit.value)]
        if panel.limits
        else "#404040"
    )
    axes.text(0.5, 0.5, _written(value, panel.unit), ha="center", va="center", fontsize=22, color=paint)
    axes.axis("off")


def _ranking(axes: Axes, panel: Panel, lines: Lines) -> None:
    values = dict(sorted(((name, next(iter(each.values()))) for name, each in lines.items()), key=lambda one: one[1]))
    bars = axes.barh(list(values), list(values.values()), color="#64b5f6")
    axes.bar_label(bars, [f" {_written(each, panel.unit)}" for each in values.values()])
    axes.margins(x=0.2)


def _ribbon(axes: Axes, panel: Panel, lines: Lines) -> None:
    for row, (name, values) in enumerate(lines.items()):
        axes.barh(row, _STEP / 86_400, left=_moments(values), color=_paint(panel, name))
    axes.set_yticks(range(len(lines)), list(lines))
    _clock(axes)


def _stack(axes: Axes, panel: Panel, lines: Lines) -> None:
    lines = {name: values for name, values in lines.items() if any(values.values())}
    times = sorted({at for values in lines.values() for at in values})
    if lines:
        heights = [[values.get(at, 0.0) for at in times] for values in lines.values()]
        paints = [_paint(panel, name) or f"C{place}" for place, name in enumerate(lines)]
        axes.stackplot(_moments(times), heights, labels=list(lines), colors=paints, alpha=0.8)
    _finish(axes, panel)


def _bars(axes: Axes, panel: Panel, lines: Lines) -> None:
    below: dict[float, float] = {}
    for name, values in lines.items():
        if any(values.values()):
            bottom = [below.get(at, 0.0) for at in values]
            axes.bar(
                _moments(values), list(values.values()), 240 / 86_400, bottom, label=name, color=_paint(panel, name)
            )
            below |= {at: below.get(at, 0.0) + value for at, value in values.items()}
    _finish(axes, panel)


def _course(axes: Axes, panel: Panel, lines: Lines) -> None:
    for name, values in lines.items():
        axes.plot(_moments(values), list(values.values()), label=name, color=_paint(panel, name), linewidth=1.2)
    _finish(axes, panel)


_LOOKS = {
    Look.NUMBER: _number,
    Look.RANKING: _ranking,
    Look.RIBBON: _ribbon,
    Look.STACK: _stack,
    Look.BARS: _bars,
}


def _finish(axes: Axes, panel: Panel) -> None:
    axes.set_ylim(0, 1.3 * axes.get_ylim()[1])  # room for the legend
    axes.yaxis.set_major_formatter(lambda value, _place: _written(value, panel.unit))
    _clock(axes)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(fontsize=6, loc="upper left", frameon=False, ncols=2)


def _clock(axes: Axes) -> None:
    axes.xaxis.set_major_formatter(dates.DateFormatter("%H:%M"))  # type: ignore[no-untyped-call]


def _moments(times: Mapping[float, float] | list[float]) -> list[float]:
    return [at / 86_400 for at in times]  # as matplotlib counts, in days


def _paint(panel: Panel, name: str) -> str | None:
    return _PAINT[panel.colors[name]] if name in panel.colors else None


def _written(value: float, unit: Unit) -> str:
    """As Grafana would, about."""
    if unit is Unit.SHARE:
        return f"{value:.0%}"
    if unit is Unit.SECONDS:
        return next(_time(value))
    if unit in WHOLE:
        value = round(value, 1)
    return f"{value:.3g}{unit.removeprefix('suffix:') if unit.startswith('suffix:') else ''}"


def _time(seconds: float) -> Iterator[str]:
    for size, name in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            yield f"{seconds / size:.3g} {name}"
    yield f"{seconds:.3g} s"


if __name__ == "__main__":
    main()
