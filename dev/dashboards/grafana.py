"""Dashboards in Grafana's own JSON, by its Foundation SDK. Whatever all of them have in common is decided here."""

import json
from collections.abc import Callable, Mapping
from typing import TypeVar

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    timeseries,
)
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import common as shapes
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from dev.dashboards.board import INFERENCE_SERVICE, TRAINING_JOB, Board, Row, Variable
from dev.dashboards.panel import INSTANT, PLAIN, WHOLE, Limit, Look, Panel
from dev.dashboards.query import CLUSTER, Scope

TAG = "trainyard"
"""Of all dashboards: each has a menu of those with this tag."""
_SOURCE = models.DataSourceRef("prometheus", "${datasource}")
_SUBJECT = {TRAINING_JOB: ("namespace", "training_job"), INFERENCE_SERVICE: ("namespace", "inference_service")}
"""Labels that say which one a dashboard of one thing is about."""
_Built = Builder[models.Panel]
_P = TypeVar("_P", bargauge.Panel, heatmap.Panel, stat.Panel, statetimeline.Panel, timeseries.Panel)


def to_json(board: Board) -> str:
    """The file that Grafana reads."""
    built = (
        dashboard.Dashboard(f"Trainyard / {board.title}")
        .uid(board.uid)
        .description(board.question)
        .tags([TAG])
        .timezone("browser")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .time(f"now-{board.hours}h", "now")
        .refresh("30s")
        .readonly()
        .link(_menu())
        .variables([_datasource(), *(_variable(each, board) for each in board.variables)])
    )
    for row in board.rows:
        _add(built, row)
    return json.dumps(_numbered(built.build()), cls=JSONEncoder, indent=1, sort_keys=True) + "\n"


def _add(built: dashboard.Dashboard, row: Row) -> None:
    built.with_row(dashboard.Row(row.title))
    for panel in row.panels:
        built.with_panel(_LOOKS[panel.look](panel))


def _numbered(built: models.Dashboard) -> models.Dashboard:
    """Panels with numbers, so that a link to one of them stays right."""
    for number, panel in enumerate(built.panels or [], 1):
        panel.id_val = number
    return built


def _menu() -> Builder[models.DashboardLink]:
    link = dashboard.DashboardLink("Trainyard").type(models.DashboardLinkType.DASHBOARDS).tags([TAG])
    return link.as_dropdown(True).include_vars(True).keep_time(True)


def _datasource() -> Builder[models.VariableModel]:
    return dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")


def _variable(variable: Variable, board: Board) -> Builder[models.VariableModel]:
    """It offers what goes with the variables to the left of it."""
    left = board.variables[: board.variables.index(variable)]
    metric = Scope(tuple(each.label for each in left)).series(variable.source)
    if variable.label == CLUSTER:
        metric = variable.source.name
    built = (
        dashboard.QueryVariable(variable.label)
        .label(variable.title)
        .datasource(_SOURCE)
        .query(f"label_values({metric}, {variable.label})")
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
    )
    if variable.first:
        built.current(models.VariableOption(text=variable.first, value=variable.first))
    if variable.one:
        return built
    everything = models.VariableOption(selected=True, text=["All"], value=["$__all"])
    return built.multi(True).include_all(True).all_value(".*").current(everything)


def _lines(panel: Panel) -> _Built:
    built = _common(timeseries.Panel(), panel).legend(_legend()).tooltip(_tooltip())
    built.fill_opacity(8).show_points(shapes.VisibilityMode.NEVER).span_nulls(False).axis_soft_min(0)
    if panel.limits:
        built.thresholds_style(common.GraphThresholdsStyleConfig().mode(shapes.GraphThresholdsStyleMode.DASHED))
    return _named_colors(built, panel)


def _stack(panel: Panel) -> _Built:
    built = _common(timeseries.Panel(), panel).legend(_legend()).tooltip(_tooltip())
    built.stacking(common.StackingConfig().mode(shapes.StackingMode.NORMAL).group("A"))
    built.fill_opacity(60).line_width(0).show_points(shapes.VisibilityMode.NEVER)
    return _named_colors(built, panel)


def _bars(panel: Panel) -> _Built:
    """Events. A bar counts those of its own time, so that bars can be added up."""
    built = _common(timeseries.Panel(), panel).legend(_legend("sum")).tooltip(_tooltip()).interval("5m")
    built.stacking(common.StackingConfig().mode(shapes.StackingMode.NORMAL).group("A"))
    built.draw_style(shapes.GraphDrawStyle.BARS).fill_opacity(80).line_width(0)
    return _named_colors(built, panel)


def _number(panel: Panel) -> _Built:
    built = _common(stat.Panel(), panel).graph_mode(shapes.BigValueGraphMode.NONE)
    built.color_mode(shapes.BigValueColorMode.VALUE).text_mode(shapes.BigValueTextMode.AUTO)
    return built.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))


def _ranking(panel: Panel) -> _Built:
    built = _common(bargauge.Panel(), panel).orientation(shapes.VizOrientation.HORIZONTAL)
    built.display_mode(shapes.BarGaugeDisplayMode.BASIC).show_unfilled(False).min(0)
    return built.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))


def _ribbon(panel: Panel) -> _Built:
    built = _common(statetimeline.Panel(), panel).show_value(shapes.VisibilityMode.NEVER)
    return _named_colors(built.merge_values(True).row_height(0.9), panel)


def _heat(panel: Panel) -> _Built:
    color = heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Oranges").steps(64)
    axis = heatmap.YAxisConfig().unit(panel.unit.value)
    return _common(heatmap.Panel(), panel).color(color).y_axis(axis).hide_legend()


_LOOKS: Mapping[Look, Callable[[Panel], _Built]] = {
    Look.LINES: _lines,
    Look.STACK: _stack,
    Look.BARS: _bars,
    Look.NUMBER: _number,
    Look.RANKING: _ranking,
    Look.RIBBON: _ribbon,
    Look.HEAT: _heat,
}


def _common(built: _P, panel: Panel) -> _P:
    """What every panel has, whatever it looks like."""
    built.title(panel.title).description(panel.description).unit(panel.unit.value).datasource(_SOURCE)
    built.span(panel.width).height(panel.height).no_value(panel.empty or "no data")
    built.thresholds(_thresholds(panel.limits or PLAIN))
    if panel.look in INSTANT:
        built.color_scheme(dashboard.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
    if panel.unit in WHOLE and panel.look in (Look.NUMBER, Look.BARS):
        built.decimals(0)  # an increase is extrapolated: 3 events within a window may be 3.1
    if panel.opens:
        built.data_links([_opened(panel.opens)])
    return built.targets(_targets(panel))


def _targets(panel: Panel) -> list[Builder[Dataquery]]:
    built: list[Builder[Dataquery]] = []
    for place, query in enumerate(panel.queries):
        target = prometheus.Dataquery().expr(query.expr).legend_format(query.legend or panel.title)
        target.ref_id(chr(ord("A") + place)).datasource(_SOURCE)
        target.format(PromQueryFormat.HEATMAP if panel.look is Look.HEAT else PromQueryFormat.TIME_SERIES)
        built.append(target.instant() if panel.look in INSTANT else target.range())
    return built


def _opened(uid: str) -> Builder[models.DashboardLink]:
    """A click on a series opens the dashboard of the thing that the series is about."""
    chosen = "".join(f"&var-{label}=${{__field.labels.{label}}}" for label in _SUBJECT[uid])
    url = f"/d/{uid}?${{datasource:queryparam}}&${{cluster:queryparam}}{chosen}&${{__url_time_range}}"
    return dashboard.DashboardLink("Open its dashboard").url(url)


def _thresholds(limits: tuple[Limit, ...]) -> Builder[models.ThresholdsConfig]:
    steps = [models.Threshold(value=each.value, color=each.color.value) for each in limits]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)


def _named_colors(
    built: timeseries.Panel | statetimeline.Panel, panel: Panel
) -> timeseries.Panel | statetimeline.Panel:
    for name, color in panel.colors.items():
        fixed = models.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": color.value})
        built.override_by_name(name, [fixed])
    return built


def _legend(reading: str = "lastNotNull") -> Builder[shapes.VizLegendOptions]:
    legend = common.VizLegendOptions().show_legend(True).placement(shapes.LegendPlacement.BOTTOM)
    return legend.display_mode(shapes.LegendDisplayMode.TABLE).calcs([reading, "max"])


def _tooltip() -> Builder[shapes.VizTooltipOptions]:
    return common.VizTooltipOptions().mode(shapes.TooltipDisplayMode.MULTI).sort(shapes.SortOrder.DESCENDING)
