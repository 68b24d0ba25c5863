"""How panels look: a few kinds, each with its unit, its thresholds and a sentence for people.

Colours are Grafana's named ones, which it adapts to light and dark themes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any, TypeVar

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    timeseries,
)
from grafana_foundation_sdk.builders.dashboard import FieldColor, ThresholdsConfig
from grafana_foundation_sdk.models.common import (
    BarGaugeDisplayMode,
    BigValueColorMode,
    BigValueGraphMode,
    GraphTresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    ScaleDistribution,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import (
    DataSourceRef,
    DynamicConfigValue,
    FieldColorModeId,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
)
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

DATASOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
"""The one that is chosen at the top of the dashboard."""

COLUMNS = 24
"""Grafana's grid."""

Panel = bargauge.Panel | heatmap.Panel | stat.Panel | statetimeline.Panel | timeseries.Panel
_P = TypeVar(
    "_P", bargauge.Panel, heatmap.Panel, stat.Panel, statetimeline.Panel, timeseries.Panel
)


@dataclass(frozen=True, slots=True)
class Curve:
    """A query and what its series are called; ``{{label}}`` stands for a label's value.

    ``exemplars``: its metric has some, and they are drawn as points that lead to a trace.
    """

    promql: str
    legend: str
    exemplars: bool = False


@dataclass(frozen=True, slots=True)
class Scale:
    """What the numbers of a panel mean.

    Attributes:
        unit: Grafana's name of it: "s", "short", "percentunit", "reqps".
        limits: from which value on it has which colour; below the first it is green.
        minimum, maximum: of the axis. decimals: shown; None: as many as fit.
        base: the colour below the first limit.
    """

    unit: str
    limits: tuple[tuple[float, str], ...] = ()
    minimum: float | None = 0.0
    maximum: float | None = None
    decimals: int | None = None
    base: str = "green"

    def thresholds(self) -> ThresholdsConfig:
        """Return the limits as Grafana wants them."""
        steps = [Threshold(value=None, color=self.base)]
        steps += [Threshold(value=value, color=color) for value, color in self.limits]
        return ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)


@dataclass(frozen=True, slots=True)
class Caption:
    """A panel's title, and what a person must know to read it."""

    title: str
    description: str


def number(caption: Caption, promql: str, scale: Scale) -> stat.Panel:
    """Return one large number, coloured by its limits."""
    panel = _described(stat.Panel(), caption, scale)
    panel.with_target(_query(0, Curve(promql, caption.title)).instant())
    panel.color_mode(BigValueColorMode.VALUE).graph_mode(BigValueGraphMode.NONE)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    return panel.color_scheme(FieldColor().mode(FieldColorModeId.THRESHOLDS)).height(4).span(4)


def curves(caption: Caption, wanted: Sequence[Curve], scale: Scale) -> timeseries.Panel:
    """Return lines over time; the limits of the scale are drawn."""
    panel = _described(timeseries.Panel(), caption, scale)
    for place, curve in enumerate(wanted):
        panel.with_target(_query(place, curve).range())
    legend = common.VizLegendOptions().display_mode(LegendDisplayMode.TABLE).show_legend(True)
    legend.placement(LegendPlacement.BOTTOM).calcs(["lastNotNull", "max"])
    tooltip = common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING)
    panel.legend(legend).tooltip(tooltip).show_points(VisibilityMode.NEVER).line_width(2)
    if scale.limits:
        dashed = GraphTresholdsStyleMode.DASHED
        panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(dashed))
    return panel.height(8).span(12)


def logarithmic(panel: timeseries.Panel) -> timeseries.Panel:
    """Draw a panel's values on a log scale: e-values and ratios multiply."""
    scale = common.ScaleDistributionConfig().type(ScaleDistribution.LOG).log(10)
    return panel.scale_distribution(scale)


def areas(caption: Caption, curve: Curve, scale: Scale) -> timeseries.Panel:
    """Return areas on top of each other, for parts of a whole."""
    panel = curves(caption, [curve], scale)
    return panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL)).fill_opacity(40)


def bars(caption: Caption, curve: Curve, scale: Scale) -> bargauge.Panel:
    """Return one bar for each series, for totals over the time that is shown."""
    panel = _described(bargauge.Panel(), caption, scale)
    panel.with_target(_query(0, curve).instant())
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    panel.orientation(VizOrientation.HORIZONTAL).display_mode(BarGaugeDisplayMode.BASIC)
    return panel.height(8).span(12)


def density(caption: Caption, buckets: str, unit: str) -> heatmap.Panel:
    """Return a heatmap of a histogram's buckets."""
    panel = _described(heatmap.Panel(), caption, Scale(unit))
    panel.with_target(_query(0, Curve(buckets, "{{le}}")).range().format(PromQueryFormat.HEATMAP))
    color = heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Blues")
    panel.color(color.exponent(0.5).steps(64)).y_axis(heatmap.YAxisConfig().unit(unit))
    linear = common.ScaleDistributionConfig().type(ScaleDistribution.LINEAR)
    return panel.scale_distribution(linear).height(8).span(12)


def states(
    caption: Caption, curve: Curve, named: Sequence[tuple[str, str]], height: int = 8
) -> statetimeline.Panel:
    """Return a row for each series that shows which state it was in, over time.

    Args:
        caption: of the panel.
        curve: its values are positions in ``named``.
        named: text and colour of each state.
        height: in rows of the grid.
    """
    panel = _described(statetimeline.Panel(), caption, Scale("none"))
    panel.with_target(_query(0, curve).range())
    texts = {
        str(place): ValueMappingResult(text=text, color=color, index=place)
        for place, (text, color) in enumerate(named)
    }
    legend = common.VizLegendOptions().display_mode(LegendDisplayMode.LIST).show_legend(False)
    legend.placement(LegendPlacement.BOTTOM)
    panel.mappings([ValueMap(texts)]).merge_values(True).legend(legend)
    panel.color_scheme(FieldColor().mode(FieldColorModeId.FIXED).fixed_color("text"))
    return panel.row_height(0.8).fill_opacity(80).line_width(0).height(height).span(12)


def coloured(panel: _P, colors: Mapping[str, str]) -> _P:
    """Give series their colours by name, the same in every panel."""
    for name, color in colors.items():
        fixed: dict[str, Any] = {"mode": "fixed", "fixedColor": color}
        panel.override_by_name(name, [DynamicConfigValue(id_val="color", value=fixed)])
    return panel


def _described(panel: _P, caption: Caption, scale: Scale) -> _P:
    panel.title(caption.title).description(caption.description).datasource(DATASOURCE)
    panel.unit(scale.unit).thresholds(scale.thresholds())
    if scale.minimum is not None:
        panel.min(scale.minimum)
    if scale.decimals is not None:
        panel.decimals(scale.decimals)
    if scale.maximum is not None:
        panel.max(scale.maximum)
    return panel


def _query(place: int, curve: Curve) -> prometheus.Dataquery:
    query = prometheus.Dataquery().expr(curve.promql).legend_format(curve.legend)
    if curve.exemplars:
        query.exemplar(True)
    return query.ref_id(ascii_uppercase[place]).datasource(DATASOURCE)
