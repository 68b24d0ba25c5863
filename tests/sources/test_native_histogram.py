"""Native histograms become cumulative buckets at bounds that every schema finer than ours has."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.families.histogram import Layout
from analyzer.sample import Absence, Grid, Missing, Query, Series
from analyzer.signal import Selector
from rollbackd.sources.http_reply import Trouble
from rollbackd.sources.matrix import Matrix
from rollbackd.sources.native_histogram import BOUNDS, LABELS, cumulative
from rollbackd.sources.prometheus import PrometheusSource
from tests.servers.prometheus import PrometheusServer
from tests.servers.remote_write import NativeHistogram, WrittenSeries

GRID = Grid(1000.0, 10.0, 2)
QUERY = Query(Selector("latency"), ("pod", "le"))


def told(values: np.ndarray[Any, Any], schema: int) -> dict[str, Any]:
    """Return a histogram of some values as Prometheus prints it: only buckets that hold any."""
    base = 2.0 ** (2.0**-schema)
    index = np.ceil(np.log(values) / np.log(base) - 1e-9).astype(int)
    buckets = [
        [0, f"{base ** (i - 1):.12g}", f"{base**i:.12g}", str(int((index == i).sum()))]
        for i in sorted(set(index.tolist()))
    ]
    return {"count": str(len(values)), "sum": str(values.sum()), "buckets": buckets}


def matrix(*entries: tuple[str, list[list[Any]]]) -> Series | Missing:
    made = Matrix(QUERY.by, GRID)
    result = [{"metric": {"pod": pod}, "histograms": points} for pod, points in entries]
    made.add(json.loads(json.dumps(result)), 0, GRID)
    return made.reply(QUERY)


@given(seed=st.integers(0, 1000), schema=st.integers(1, 8))
def test_counts_at_the_bounds_are_exact(seed: int, schema: int) -> None:
    values = np.exp(np.random.default_rng(seed).normal(-3, 1, 300))
    rows = dict(cumulative([[1000.0, told(values, schema)]]))
    assert list(rows) == list(LABELS)
    for bound, label in zip(BOUNDS, LABELS, strict=False):
        ((_, count),) = rows[label]
        assert count == (values <= bound * (1 + 1e-9)).sum()
    assert rows["+Inf"] == [(1000.0, 300.0)]


def test_a_coarse_schema_has_only_its_own_bounds() -> None:
    values = np.array([0.07, 0.2, 0.3, 3.0])
    rows = dict(cumulative([[1000.0, told(values, 0)]]))
    assert repr(0.5) in rows
    assert repr(float(2**-0.5)) not in rows
    assert rows[repr(0.25)] == [(1000.0, 2.0)]
    assert rows["+Inf"] == [(1000.0, 4.0)]


def test_schemas_that_differ_share_bounds() -> None:
    rng = np.random.default_rng(1)
    one, other = (np.exp(rng.normal(-3, 1, 200)) for _ in range(2))
    series = matrix(
        ("a", [[1000.0, told(one, 3)], [1010.0, told(one, 3)]]),
        ("b", [[1000.0, told(other, 1)], [1010.0, told(other, 0)]]),
    )
    assert isinstance(series, Series)
    assert series.values.shape == (2 * len(LABELS), 2)
    layout = Layout.of(series.keys)
    assert layout.ids == (("a",), ("b",))
    shared = frozenset.intersection(*layout.bounds_of().values())
    assert len(shared) == len(LABELS)
    whole = dict(zip(series.keys, series.values.tolist(), strict=True))
    assert whole["b", "+Inf"] == [200.0, 200.0]


def test_zeros_and_empty_histograms_are_counted() -> None:
    zeros = {"count": "5", "sum": "0", "buckets": [[3, "-0.001", "0.001", "5"]]}
    rows = dict(cumulative([[1000.0, zeros], [1010.0, {"count": "0", "sum": "0"}]]))
    assert rows[repr(1.0)] == [(1000.0, 5.0), (1010.0, 0.0)]


@pytest.mark.parametrize(
    "histogram",
    [None, 7, {}, {"count": "many"}, {"count": "1", "buckets": [[0, "a", "b", "1"]]},
     {"count": "1", "buckets": [[0]]}, {"count": "1", "buckets": 3}],
)  # fmt: skip
def test_nonsense_is_refused(histogram: object) -> None:
    with pytest.raises(Trouble) as refused:
        matrix(("a", [[1000.0, histogram]]))
    assert refused.value.missing.reason is Absence.INVALID


@pytest.mark.servers
def test_a_real_prometheus_tells_the_same(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    rounds, pods = 4, {"a": 3, "b": 1}  # with a schema each
    values = {pod: np.exp(rng.normal(-3, 1, (rounds, 200))) for pod in pods}
    flags = ("--enable-feature=native-histograms",)
    with PrometheusServer(tmp_path, flags=flags) as server:
        start = float(round(server.now())) - 60.0
        for step in range(rounds):
            server.write(
                WrittenSeries(
                    {"__name__": "latency", "pod": pod},
                    histograms=[(start + 10 * step, written(values[pod][: step + 1], schema))],
                )
                for pod, schema in pods.items()
            )
        source = PrometheusSource(server.url)
        (reply,) = source.fetch([QUERY], Grid(start, 10.0, rounds))
        source.close()
    assert isinstance(reply, Series), reply
    rows = dict(zip(reply.keys, reply.values, strict=True))
    for pod in pods:
        for bound, label in zip(BOUNDS, LABELS, strict=False):
            wanted = [(values[pod][: i + 1] <= bound).sum() for i in range(rounds)]
            assert rows[pod, label].tolist() == wanted
        assert rows[pod, "+Inf"].tolist() == [200.0 * (i + 1) for i in range(rounds)]


def written(values: np.ndarray[Any, Any], schema: int) -> NativeHistogram:
    index = np.ceil(np.log2(values.ravel()) * 2.0**schema - 1e-9).astype(int)
    found, counts = np.unique(index, return_counts=True)
    return NativeHistogram(schema, dict(zip(found.tolist(), counts.tolist(), strict=True)))
