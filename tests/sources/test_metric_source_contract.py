"""Every metric source tells the same story in the same numbers."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from analyzer.ports import MetricSource
from analyzer.sample import Absence, Grid, Missing, Query, Series
from analyzer.signal import Matcher, Selector
from rollbackd.sources.prometheus import PrometheusSource
from rollbackd.sources.recorded import RecordedSource
from rollbackd.sources.scrape import ScrapeSource
from rollbackd.sources.targets import ScrapeJob, TargetGroup
from tests.servers.prometheus import PrometheusServer
from tests.sources import scenario
from tests.sources.reference import Observed, expected
from tests.sources.stub_server import Answer, StubServer

REQUESTS = Selector("requests_total")
WHOLE = Grid(scenario.START - 10, 5.0, scenario.ROUNDS + 4)


@dataclass(frozen=True)
class Told:
    """A source that has heard the story, and the story as it could hear it."""

    source: MetricSource
    story: list[Observed]

    def ask(self, query: Query, grid: Grid = WHOLE) -> Series:
        """Return the answer, having checked every number of it against the reference."""
        (reply,) = self.source.fetch([query], grid)
        assert isinstance(reply, Series), reply
        rows = expected(self.story, query, grid)
        assert reply.by == query.by
        assert reply.grid == grid
        assert list(reply.keys) == sorted(rows)
        np.testing.assert_allclose(reply.values, [rows[key] for key in reply.keys], rtol=1e-12)
        return reply


def prometheus(folder: Path) -> Iterator[Told]:
    with PrometheusServer(folder) as server:
        server.write(scenario.written())
        source = PrometheusSource(server.url)
        yield Told(source, scenario.observed(ends_are_seen=True))
        source.close()


def backfilled(folder: Path) -> Iterator[Told]:
    server = PrometheusServer(folder)
    server.backfill(scenario.recording())
    with server:
        source = PrometheusSource(server.url)
        yield Told(source, scenario.observed(ends_are_seen=False))
        source.close()


def scraper(_: Path) -> Iterator[Told]:
    n = 0
    with StubServer(lambda _: Answer(scenario.page(n).encode())) as server:
        job = ScrapeJob("story", (TargetGroup((f"127.0.0.1:{server.port}",)),))
        source = ScrapeSource([job], clock=lambda: scenario.time_of(n))
        for n in range(scenario.ROUNDS):  # noqa: B007  the page and the clock read it
            source.scrape_round()
        yield Told(source, scenario.observed(ends_are_seen=True))
        source.close()


def recorded(folder: Path) -> Iterator[Told]:
    path = folder / "story.om"
    path.write_text(scenario.recording(), encoding="utf-8")
    source = RecordedSource([path])
    yield Told(source, scenario.observed(ends_are_seen=False))
    source.close()


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(prometheus, marks=pytest.mark.servers),
        pytest.param(backfilled, marks=pytest.mark.servers),
        scraper,
        recorded,
    ],
)
def told(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Told]:
    yield from request.param(tmp_path_factory.mktemp("source"))


def test_sums_are_kept_apart_by_the_labels_asked_for(told: Told) -> None:
    reply = told.ask(Query(REQUESTS, ("pod", "code")))
    assert ("steady", "500") in reply.keys


def test_series_that_agree_on_these_labels_are_summed(told: Told) -> None:
    reply = told.ask(Query(REQUESTS, ("pod",)))
    assert reply.keys == (("",), ("ends",), ("late",), ("resets",), ("steady",))


def test_a_sum_by_nothing_has_one_empty_key(told: Told) -> None:
    assert told.ask(Query(REQUESTS, ())).keys == ((),)


def test_a_counter_reset_arrives_raw(told: Told) -> None:
    reply = told.ask(Query(REQUESTS, ("pod",), (("pod", frozenset({"resets"})),)))
    assert np.nanmin(np.diff(reply.values[0])) == 0.0 - (1000 + 3 * 19)


def test_buckets_keep_their_bounds(told: Told) -> None:
    reply = told.ask(Query(Selector("seconds_bucket"), ("pod", "le")))
    assert {le for _, le in reply.keys} == {"0.1", "0.5", "2.5", "+Inf"}


def test_values_that_are_no_numbers_stay_nan(told: Told) -> None:
    reply = told.ask(Query(Selector("temperature"), ("pod",)))
    assert np.isnan(reply.values[0]).sum() == 2 + 3


@pytest.mark.parametrize("value", scenario.AWKWARD)
def test_label_values_are_literal(told: Told, value: str) -> None:
    reply = told.ask(Query(Selector("awkward_total"), ("pod",), (("pod", frozenset({value})),)))
    assert reply.keys == ((value,),)


def test_many_awkward_values_at_once(told: Told) -> None:
    wanted = frozenset(scenario.AWKWARD) | {"not there", "a.b|c"}
    reply = told.ask(Query(Selector("awkward_total"), ("pod",), (("pod", wanted),)))
    assert len(reply.keys) == len(scenario.AWKWARD)


@pytest.mark.parametrize(
    "matcher",
    [
        Matcher("code", "=", "500"),
        Matcher("code", "!=", "200"),
        Matcher("code", "=~", "5.."),
        Matcher("code", "!~", "5.|2.."),
        Matcher("pod", "=", ""),
        Matcher("pod", "=~", "late|ends|"),
        Matcher("pod", "!~", "st.*|.*e"),
        Matcher("unheard_of", "!=", "x"),
    ],
    ids=str,
)
def test_matchers(told: Told, matcher: Matcher) -> None:
    told.ask(Query(Selector("requests_total", (matcher,)), ("pod", "code")))


@pytest.mark.parametrize(
    "grid",
    [
        Grid(scenario.START + 2.5, 5.0, 60),
        Grid(scenario.START + 0.001, 0.25, 400),
        Grid(scenario.START + 99.999, 0.001, 5),
        Grid(scenario.START + 7, 1.0, 1),
        Grid(scenario.START + 180, 60.0, 20),
    ],
    ids=str,
)
def test_each_time_of_the_grid_has_the_newest_sample_before_it(told: Told, grid: Grid) -> None:
    told.ask(Query(REQUESTS, ("pod",)), grid)


def test_a_sample_speaks_for_five_minutes(told: Told) -> None:
    last = scenario.time_of(scenario.ROUNDS - 1)
    reply = told.ask(Query(REQUESTS, ()), Grid(last + 299.999, 0.001, 3))
    assert np.isnan(reply.values[0]).tolist() == [False, False, True]


def test_a_series_that_ends_is_absent_at_once_where_its_end_can_be_seen(told: Told) -> None:
    told.ask(Query(REQUESTS, ("pod",), (("pod", frozenset({"ends"})),)))


@pytest.mark.parametrize(
    "query",
    [
        Query(Selector("no_such_metric"), ("pod",)),
        Query(REQUESTS, ("pod",), (("pod", frozenset({"nobody"})),)),
        Query(REQUESTS, ("pod",), (("pod", frozenset()),)),
        Query(Selector("requests_total", (Matcher("code", "=", "418"),)), ("pod",)),
    ],
    ids=["metric", "value", "no values", "matcher"],
)
def test_what_is_not_there_is_missing(told: Told, query: Query) -> None:
    (reply,) = told.source.fetch([query], WHOLE)
    assert isinstance(reply, Missing)
    assert reply.reason is Absence.NO_SERIES


def test_times_without_samples_are_missing(told: Told) -> None:
    (reply,) = told.source.fetch([Query(REQUESTS, ("pod",))], Grid(scenario.START - 60, 5.0, 3))
    assert isinstance(reply, Missing)
    assert reply.reason is Absence.NO_SERIES


@pytest.mark.parametrize(
    "query",
    [
        Query(Selector("requests_total", (Matcher("pod", "=~", "(?=x)"),)), ("pod",)),
        Query(Selector("requests_total", (Matcher("pod", "=~", "(unclosed"),)), ("pod",)),
        Query(REQUESTS, ("pod",), (("code", frozenset({"200"})),)),
    ],
    ids=["look-ahead", "unclosed", "restricted by what is not kept"],
)
def test_queries_that_make_no_sense_are_invalid(told: Told, query: Query) -> None:
    (reply,) = told.source.fetch([query], WHOLE)
    assert isinstance(reply, Missing)
    assert reply.reason is Absence.INVALID


def test_answers_come_in_the_order_of_the_questions(told: Told) -> None:
    queries = [
        Query(Selector("temperature"), ("pod",)),
        Query(Selector("no_such_metric"), ("pod",)),
        Query(REQUESTS, ("code",)),
    ] * 5
    replies = told.source.fetch(queries, WHOLE)
    kinds = [reply.by if isinstance(reply, Series) else reply.reason for reply in replies]
    assert kinds == [("pod",), Absence.NO_SERIES, ("code",)] * 5


def test_nothing_asked_nothing_answered(told: Told) -> None:
    assert told.source.fetch([], WHOLE) == []
