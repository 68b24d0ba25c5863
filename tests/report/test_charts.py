"""Properties of the geometry: nothing leaves its plot, nothing is invented, labels do not collide."""

import itertools
import math
import re

from hypothesis import given
from hypothesis import strategies as st

from rollbackd.report.charts import (
    CHARACTER,
    WIDTH,
    Chart,
    Moment,
    evidence_chart,
    ratio_chart,
    span_of,
    values_chart,
)
from rollbackd.report.scale import Linear, Logarithmic, round_step, time_step
from rollbackd.views import SignalPoint
from tests.report.watches import BEGAN, errors

times = st.floats(BEGAN, BEGAN + 1e5)
anything = st.none() | st.floats()
points = st.lists(
    st.builds(
        SignalPoint,
        at=times | st.just(math.nan),
        canary=anything,
        baseline=anything,
        ratio=anything,
        low=anything,
        high=anything,
        e_value=st.floats(),
    ),
    max_size=30,
).map(tuple)
moments = st.lists(
    st.builds(
        Moment, at=times, kind=st.just("action"), text=st.text("ab c", min_size=1, max_size=30)
    ),
    max_size=8,
)


def positions(chart: Chart) -> list[tuple[float, float]]:
    """Return every point that the chart draws of its series."""
    paths = " ".join([chart.band, *(line.path for line in chart.lines)])
    drawn = [(float(x), float(y)) for x, y in re.findall(r"([\d.]+),([\d.]+)", paths)]
    assert len(drawn) == paths.count(",")
    return drawn + [dot for line in chart.lines for dot in line.dots]


@given(points, moments)
def test_nothing_leaves_the_plot(series: tuple[SignalPoint, ...], marked: list[Moment]) -> None:
    signal = errors(series)
    span = span_of([p.at for p in series], BEGAN, marked)
    for draw in (values_chart, ratio_chart, evidence_chart):
        chart = draw(signal, span)
        for x, y in positions(chart):
            assert chart.left - 0.1 <= x <= chart.right + 0.1
            assert chart.top - 0.1 <= y <= chart.bottom + 0.1
        for rule in chart.rules:
            assert chart.top - 0.1 <= rule.y <= chart.bottom + 0.1


@given(points)
def test_no_more_is_drawn_than_was_measured(series: tuple[SignalPoint, ...]) -> None:
    signal = errors(series)
    chart = values_chart(signal, span_of([p.at for p in series], BEGAN, []))
    known = sum(
        v is not None and not math.isnan(v) and math.isfinite(p.at)
        for p in series
        for v in (p.canary, p.baseline)
    )
    assert len(positions(chart)) == known


@given(moments)
def test_labels_do_not_overlap(marked: list[Moment]) -> None:
    chart = evidence_chart(errors(()), span_of([], BEGAN, marked))
    boxes = []
    for m in chart.markers:
        width = CHARACTER * len(m.text)
        left = m.label_x if m.anchor == "start" else m.label_x - width
        assert left + width <= WIDTH
        assert m.label_y <= chart.top
        boxes.append((m.label_y, left, left + width))
    for (y1, l1, r1), (y2, l2, r2) in itertools.combinations(boxes, 2):
        assert y1 != y2 or r1 <= l2 or r2 <= l1


@given(st.floats(1e-6, 1e6), st.floats(1.01, 1e9), st.integers(2, 10))
def test_log_ticks_lie_on_the_axis_and_are_not_many(low: float, wide: float, count: int) -> None:
    axis = Logarithmic(low, low * wide, 100.0, 0.0)
    ticks = list(axis.ticks(count))
    assert len(ticks) <= 12
    assert all(low * 0.999 <= t <= low * wide * 1.001 for t in ticks)


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.integers(2, 10))
def test_linear_ticks_lie_on_the_axis_and_are_not_many(
    low: float, wide: float, count: int
) -> None:
    axis = Linear(low, low + wide, 0.0, 100.0)
    ticks = list(axis.ticks(count))
    assert len(ticks) <= count + 2
    assert all(low - wide * 1e-6 <= t <= low + wide * (1 + 1e-6) for t in ticks)


def test_steps_are_round() -> None:
    assert [round_step(s) for s in (0.03, 1.0, 1.1, 2.1, 7.0)] == [0.05, 1.0, 2.0, 5.0, 10.0]
    assert [time_step(s, 6) for s in (6, 60, 90, 3600, 86400 * 10)] == [1, 10, 15, 600, 172800]


def test_log_axes_keep_factors_equally_long() -> None:
    axis = Logarithmic(0.1, 1000.0, 0.0, 400.0)
    assert [round(axis.position(v)) for v in (0.1, 1, 10, 1e9, 0.0)] == [0, 100, 200, 400, 0]
