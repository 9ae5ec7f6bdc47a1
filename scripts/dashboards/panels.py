"""
Panels in our style: large numbers, lines over time, and tables of labels.

A query is written without the matchers that every query needs: `rate(x{}[$__rate_interval])`. Each `{` gets them here, so a
selector needs its braces even where it asks for nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from string import ascii_uppercase
from typing import NamedTuple, TypeVar

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common as kinds
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import prometheus as queries

DOCUMENTS = "https://github.com/k2-platform/k2/blob/main/"
RUNBOOK = f"{DOCUMENTS}docs/runbooks/binance-streaming.md"
MATCHERS = 'job=~"$job", instance=~"$instance"'
# An alert about a whole job carries no instance. The Watchdog always fires and has no severity.
FIRING = 'ALERTS{alertstate="firing", service="binance-client", severity!="none", instance=~"$instance|"}'
SOURCE = kinds.DataSourceRef(type_val="prometheus", uid="${datasource}")
DASHES = {"fill": "dash", "dash": [8, 8]}
GREEN, YELLOW, RED, BLUE = "green", "yellow", "red", "blue"

P = TypeVar("P", stat.Panel, table.Panel, timeseries.Panel)
Limits = Mapping[float, str]  # from this value on, this colour


class Query(NamedTuple):
    """A query and the name of its series. `{{label}}` in the name is the series' label."""

    expression: str
    legend: str = "{{instance}}"


class About(NamedTuple):
    """What a panel says about itself to somebody who sees it for the first time, at night."""

    means: str
    normal: str
    look: str

    def __str__(self) -> str:
        return f"{self.means}\n\n**Normal:** {self.normal}\n\n**Look next:** {self.look}"


@dataclass(frozen=True)
class Numbers(Builder[models.Panel]):
    """
    Large numbers, the latest of each series.

    Args:
        alerts: The alerts whose runbook headings the panel leads to.
        limits: Colours by value; below the first the number is `base`.
        states: Texts and colours that stand for values.
        filled: Colour the whole panel, not just the number.
        nothing: What the panel says where there is no series.
    """

    title: str
    about: About
    unit: str
    shown: Sequence[Query]
    _: KW_ONLY
    alerts: Sequence[str] = ()
    limits: Limits = field(default_factory=dict)
    base: str = GREEN
    states: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    width: int = 4
    height: int = 4
    decimals: int | None = None
    filled: bool = False
    nothing: str = ""

    def build(self) -> models.Panel:
        panel = _begun(stat.Panel(), self)
        for place, query in enumerate(self.shown):
            panel.with_target(_target(query, place).instant())
        panel.thresholds(_thresholds(self.limits, self.base))
        panel.color_scheme(dashboard.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
        panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        panel.graph_mode(kinds.BigValueGraphMode.NONE)
        panel.color_mode(kinds.BigValueColorMode.BACKGROUND if self.filled else kinds.BigValueColorMode.VALUE)
        if self.states:
            panel.mappings([_mapping(self.states)])
        if self.nothing:
            panel.no_value(self.nothing)
        if self.decimals is not None:
            panel.decimals(self.decimals)
        return panel.build()


@dataclass(frozen=True)
class Lines(Builder[models.Panel]):
    """
    Lines over time.

    Args:
        limits: Drawn as dashed lines.
        colours: Fixed colours by the series' names.
        floor: The axis begins here; None leaves it to the values.
        steps: Values hold until the next one: for states and counts.
        dashed: Names of series to draw dashed: forecasts and caps.
        beside: The names of the series stand beside the lines: there are many.
    """

    title: str
    about: About
    unit: str
    shown: Sequence[Query]
    _: KW_ONLY
    alerts: Sequence[str] = ()
    limits: Limits = field(default_factory=dict)
    colours: Mapping[str, str] = field(default_factory=dict)
    width: int = 8
    height: int = 8
    floor: float | None = 0
    ceiling: float | None = None
    stacked: bool = False
    steps: bool = False
    dashed: Sequence[str] = ()
    beside: bool = False

    def build(self) -> models.Panel:
        panel = _begun(timeseries.Panel(), self)
        for place, query in enumerate(self.shown):
            panel.with_target(_target(query, place))
        panel.color_scheme(dashboard.FieldColor().mode(models.FieldColorModeId.PALETTE_CLASSIC))
        panel.fill_opacity(25 if self.stacked else 8).line_width(1).show_points(kinds.VisibilityMode.NEVER)
        panel.tooltip(common.VizTooltipOptions().mode(kinds.TooltipDisplayMode.MULTI).sort(kinds.SortOrder.DESCENDING))
        panel.legend(_legend(kinds.LegendPlacement.RIGHT if self.beside else kinds.LegendPlacement.BOTTOM))
        if self.unit in {"none", "short"}:
            panel.axis_soft_max(1)  # an axis from 0 to 100 for nothing but zeros looks like a fault
        if self.floor is not None:
            panel.min(self.floor)
        if self.ceiling is not None:
            panel.max(self.ceiling)
        if self.stacked:
            panel.stacking(common.StackingConfig().mode(kinds.StackingMode.NORMAL).group("A"))
        if self.steps:
            panel.line_interpolation(kinds.LineInterpolation.STEP_AFTER)
        if self.limits:
            panel.thresholds(_thresholds(self.limits, "transparent"))
            panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(kinds.GraphThresholdsStyleMode.DASHED))
        for name, colour in self.colours.items():
            panel.override_by_name(name, [_property("color", {"mode": "fixed", "fixedColor": colour})])
        for name in self.dashed:
            panel.override_by_name(name, [_property("custom.lineStyle", DASHES), _property("custom.fillOpacity", 0)])
        return panel.build()


@dataclass(frozen=True)
class Labels(Builder[models.Panel]):
    """
    A table of a query's labels.

    Args:
        columns: Labels in their order, each with the heading of its column.
        widths: Columns by their headings that are to be no wider than so many pixels.
        nothing: What the panel says where there is no series.
    """

    title: str
    about: About
    query: str
    _: KW_ONLY
    columns: Mapping[str, str]
    widths: Mapping[str, int] = field(default_factory=dict)
    alerts: Sequence[str] = ()
    width: int = 8
    height: int = 5
    nothing: str = "none"
    unit: str = "none"

    def build(self) -> models.Panel:
        panel = _begun(table.Panel(), self).no_value(self.nothing)
        panel.with_target(_target(Query(self.query), 0).format(queries.PromQueryFormat.TABLE).instant())
        kept = {"include": {"names": list(self.columns)}}
        panel.with_transformation(models.DataTransformerConfig(id_val="filterFieldsByName", options=kept))
        order = {"indexByName": {label: place for place, label in enumerate(self.columns)}, "renameByName": dict(self.columns)}
        panel.with_transformation(models.DataTransformerConfig(id_val="organize", options=order))
        for heading, pixels in self.widths.items():
            panel.override_by_name(heading, [_property("custom.width", pixels)])
        return panel.build()


AnyPanel = Numbers | Lines | Labels


class Row(NamedTuple):
    """A heading and the panels below it."""

    title: str
    panels: Sequence[AnyPanel]


def _begun(panel: P, ours: AnyPanel) -> P:
    """What every panel has, whatever it draws."""
    panel.title(ours.title).description(str(ours.about)).unit(ours.unit).datasource(SOURCE).span(ours.width).height(ours.height)
    if ours.alerts:
        panel.links([*map(_runbook_link, ours.alerts)])
    return panel


def _legend(placement: kinds.LegendPlacement) -> common.VizLegendOptions:
    legend = common.VizLegendOptions().display_mode(kinds.LegendDisplayMode.LIST).placement(placement)
    return legend.show_legend(True).calcs([])


def _target(query: Query, place: int) -> prometheus.Dataquery:
    expression = query.expression if FIRING in query.expression else _with_matchers(query.expression)
    return (
        prometheus.Dataquery()
        .datasource(SOURCE)
        .ref_id(ascii_uppercase[place])
        .expr(expression)
        .legend_format(query.legend)
        .editor_mode(queries.QueryEditorMode.CODE)
        .range()
    )


def _with_matchers(expression: str) -> str:
    return expression.replace("{", f"{{{MATCHERS}, ").replace(", }", "}")


def _runbook_link(alert: str) -> Builder[models.DashboardLink]:
    link = dashboard.DashboardLink(f"Runbook: {alert}").type(models.DashboardLinkType.LINK)
    return link.url(f"{RUNBOOK}#{alert.lower()}").target_blank(True)


def _thresholds(limits: Limits, base: str) -> dashboard.ThresholdsConfig:
    steps = [models.Threshold(value=None, color=base)]
    steps += [models.Threshold(value=value, color=colour) for value, colour in limits.items()]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)


def _mapping(states: Mapping[str, tuple[str, str]]) -> models.ValueMap:
    options = {
        value: models.ValueMappingResult(text=text, color=colour, index=place)
        for place, (value, (text, colour)) in enumerate(states.items())
    }
    return models.ValueMap(options=options)


def _property(name: str, value: object) -> models.DynamicConfigValue:
    return models.DynamicConfigValue(id_val=name, value=value)
