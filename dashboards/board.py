"""What all dashboards share: how series are chosen, the links between them, their frame."""

from collections.abc import Iterable

from grafana_foundation_sdk.builders.dashboard import (
    AnnotationQuery,
    Dashboard,
    DashboardLink,
    DatasourceVariable,
    QueryVariable,
    Row,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from dashboards.panels import DATASOURCE, Caption, Panel

TAG = "rollbackd"
"""Dashboards with this tag are linked to each other."""

ALWAYS_THERE = "rollbackd_last_tick_timestamp_seconds"
"""A series that every rollbackd exports, one each: the variables are read from it."""


def selected(metric: str, matchers: str = "") -> str:
    """Return a selector of a metric, of the daemons chosen at the top of the dashboard."""
    return f"{metric}{{{_CHOSEN}{',' if matchers else ''}{matchers}}}"


_CHOSEN = 'job=~"$job",instance=~"$instance"'


def either(values: Iterable[str]) -> str:
    """Return a regular expression for any of the values, none of which has special characters."""
    return "|".join(values)


def place_of_state(
    metric: str, label: str, values: Iterable[str], by: Iterable[str], chosen: str = ""
) -> str:
    """Return a query for the place, among all values, of the one that each series is in.

    Args:
        metric: 1 for the state that something is in, 0 for the others.
        label: names the state.
        values: of it, in order.
        by: labels that tell things from each other.
        chosen: further matchers.
    """
    matchers = (f'{chosen}{"," if chosen else ""}{label}="{value}"' for value in values)
    places = (f"{place} * {selected(metric, each)}" for place, each in enumerate(matchers))
    return f"max by ({', '.join(by)}) ({' or '.join(places)})"


def board(
    uid: str,
    caption: Caption,
    rows: Iterable[tuple[str, Iterable[Panel]]],
    more: Iterable[QueryVariable] = (),
) -> Dashboard:
    """Return a dashboard of titled rows; ``more`` variables follow those that all have."""
    made = Dashboard(caption.title).uid(uid).description(caption.description).tags([TAG])
    made.tooltip(DashboardCursorSync.CROSSHAIR).time("now-6h", "now").refresh("30s").readonly()
    made.timezone("browser").variables([_datasource(), label_variable("job", ALWAYS_THERE)])
    made.with_variable(label_variable("instance", f'{ALWAYS_THERE}{{job=~"$job"}}'))
    for variable in more:
        made.with_variable(variable)
    made.link(_others()).annotation(_rollbacks())
    for title, panels in rows:
        made.with_row(Row(title))
        for panel in panels:
            made.with_panel(panel)
    return made


def _datasource() -> DatasourceVariable:
    return DatasourceVariable("datasource").label("Prometheus").type("prometheus")


def label_variable(name: str, series: str) -> QueryVariable:
    """Return a variable with the values of a label; at first all are chosen."""
    everything = VariableOption(selected=True, text="All", value="$__all")
    query = f"label_values({series}, {name})"
    variable = QueryVariable(name).label(name.capitalize()).datasource(DATASOURCE).query(query)
    variable.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).sort(VariableSort.ALPHABETICAL_ASC)
    return variable.multi(True).include_all(True).all_value(".*").current(everything)


def _others() -> DashboardLink:
    link = DashboardLink("rollbackd").type(DashboardLinkType.DASHBOARDS).tags([TAG])
    return link.as_dropdown(False).keep_time(True).include_vars(True).icon("external link")


def _rollbacks() -> AnnotationQuery:
    acted = selected("rollbackd_actions_total", 'outcome="done"')
    query = AnnotationQuery().name("Actions carried out").datasource(DATASOURCE).enable(True)
    return query.icon_color("purple").expr(f"sum(increase({acted}[$__rate_interval])) > 0")
