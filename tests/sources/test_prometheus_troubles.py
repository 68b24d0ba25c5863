"""What goes wrong between us and a Prometheus becomes a reason, never a number and never a crash."""

import json
import math
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import numpy as np
import pytest

from analyzer.sample import Absence, Grid, Missing, Query, Reply, Series
from analyzer.signal import Selector
from rollbackd.sources.breaker import Backoff
from rollbackd.sources.prometheus import PrometheusSource
from rollbackd.sources.prometheus_session import QueryLimits
from tests.sources.conftest import Serve
from tests.sources.stub_server import Answer, Connection, Request, StubServer

GRID = Grid(1_700_000_000.0, 5.0, 3)
QUERY = Query(Selector("requests_total"), ("pod",))

PATIENT = Backoff(tolerated=1000, first_pause_s=0.001, longest_pause_s=0.001)
"""Never in the way of a test that is not about it."""


def matrix(*rows: tuple[dict[str, str], list[list[Any]]], **more: object) -> Answer:
    result = [{"metric": metric, "values": values} for metric, values in rows]
    return payload({"resultType": "matrix", "result": result}, **more)


def payload(data: object, **more: object) -> Answer:
    return Answer(json.dumps({"status": "success", "data": data, **more}).encode())


SOUND = matrix(({"pod": "a"}, [[1_700_000_000, "1"], [1_700_000_005, "2"], [1_700_000_010, "3"]]))


def ask(url: str, limits: QueryLimits | None = None, grid: Grid = GRID) -> Reply:
    source = PrometheusSource(url, limits=limits or QueryLimits(retries=0), backoff=PATIENT)
    try:
        (reply,) = source.fetch([QUERY], grid)
    finally:
        source.close()
    return reply


def missing(reply: Reply, reason: Absence) -> str:
    assert isinstance(reply, Missing), reply
    assert reply.reason is reason, reply
    return reply.detail


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (302, Absence.INVALID),
        (400, Absence.INVALID),
        (401, Absence.UNAUTHORISED),
        (403, Absence.UNAUTHORISED),
        (404, Absence.INVALID),
        (422, Absence.INVALID),
        (429, Absence.THROTTLED),
        (500, Absence.SOURCE_DOWN),
        (502, Absence.SOURCE_DOWN),
        (503, Absence.SOURCE_DOWN),
    ],
)
def test_each_status_has_its_reason(serve: Serve, status: int, reason: Absence) -> None:
    server = serve(lambda _: Answer(b"", status, {"Location": "http://127.0.0.1:1/login"}))
    missing(ask(server.url), reason)
    assert len(server.requests) == 1


def test_the_servers_own_words_are_passed_on(serve: Serve) -> None:
    words = {"status": "error", "errorType": "bad_data", "error": "1:5: parse error: unexpected"}
    server = serve(lambda _: Answer(json.dumps(words).encode(), 400))
    assert "HTTP 400: 1:5: parse error: unexpected" in missing(ask(server.url), Absence.INVALID)


def test_long_words_are_cut(serve: Serve) -> None:
    server = serve(lambda _: Answer(b"<html>\n" + b"x" * 100_000, 500))
    assert len(missing(ask(server.url), Absence.SOURCE_DOWN)) < 400


def test_an_error_with_status_200_is_an_error(serve: Serve) -> None:
    server = serve(lambda _: Answer(b'{"status": "error", "error": "no such tenant"}'))
    assert "no such tenant" in missing(ask(server.url), Absence.INVALID)


def test_a_long_retry_after_holds_nobody_up(serve: Serve) -> None:
    server = serve(lambda _: Answer(b"", 429, {"Retry-After": "3600"}))
    began = time.monotonic()
    missing(ask(server.url, QueryLimits(retries=3)), Absence.THROTTLED)
    assert time.monotonic() - began < 5


def test_a_gateway_that_fails_once_is_asked_again(serve: Serve) -> None:
    answers = iter([Answer(b"", 503, {"Retry-After": "3600"}), SOUND])
    server = serve(lambda _: next(answers))
    assert isinstance(ask(server.url, QueryLimits(retries=1)), Series)
    assert server.requests[0].body == server.requests[1].body


def test_nobody_listens() -> None:
    with StubServer(lambda _: SOUND) as server:
        url = server.url
    assert "Connection refused" in missing(ask(url), Absence.SOURCE_DOWN)


def test_a_connection_that_is_dropped_before_the_answer(serve: Serve) -> None:
    server = serve(lambda _: Answer(status=0, breakage=Connection.drop))
    missing(ask(server.url), Absence.SOURCE_DOWN)


def test_an_answer_that_breaks_off(serve: Serve) -> None:
    cut = Answer(SOUND.body[:40], headers={"Content-Length": "500"}, breakage=Connection.drop)
    server = serve(lambda _: cut)
    assert "broke off" in missing(ask(server.url), Absence.SOURCE_DOWN)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(status=0, breakage=Connection.hang),
        Answer(breakage=Connection.hang),
        Answer(breakage=Connection.trickle),
    ],
    ids=["no answer", "no body", "a body that trickles"],
)
def test_slow_answers_time_out_and_are_not_tried_again(serve: Serve, answer: Answer) -> None:
    server = serve(lambda _: answer)
    began = time.monotonic()
    missing(ask(server.url, QueryLimits(timeout_s=0.3, retries=3)), Absence.TIMEOUT)
    assert time.monotonic() - began < 5
    assert len(server.requests) == 1


def test_an_answer_of_50_mb_is_not_read_to_its_end(serve: Serve) -> None:
    server = serve(lambda _: Answer(breakage=Connection.flood))
    detail = missing(ask(server.url, QueryLimits(max_answer_bytes=1 << 20)), Absence.TOO_LARGE)
    assert "1,048,576 bytes" in detail
    assert server.bytes_sent < 25_000_000


@pytest.mark.parametrize(
    "body",
    [
        SOUND.body[:-10],
        b"",
        b"<html>log in here</html>",
        b"[]",
        b"null",
        b'"success"',
        b"{}",
        b'{"status": "success"}',
        b'{"status": "success", "data": null}',
        b"\xff\xfe\x00",
    ],
    ids=lambda body: body[-12:].decode(errors="replace"),
)
def test_bodies_that_are_no_answer(serve: Serve, body: bytes) -> None:
    server = serve(lambda _: Answer(body))
    missing(ask(server.url), Absence.INVALID)


@pytest.mark.parametrize(
    "entry",
    [
        {"metric": {}},
        {"values": []},
        {"metric": {}, "values": None},
        {"metric": {}, "values": [[1_700_000_000]]},
        {"metric": {}, "values": [["x", "1"]]},
        {"metric": {}, "values": [[1_700_000_000, "one"]]},
        {"metric": {}, "values": [[1_700_000_000, None]]},
        {"metric": {}, "values": [[math.nan, "1"]]},
        {"metric": [], "values": []},
        {"metric": {"pod": 5}, "values": [[1_700_000_000, "1"]]},
        "series",
        None,
    ],
    ids=str,
)
def test_series_that_are_malformed(serve: Serve, entry: object) -> None:
    server = serve(lambda _: payload({"resultType": "matrix", "result": [entry]}))
    missing(ask(server.url), Absence.INVALID)


def test_native_histograms_are_named(serve: Serve) -> None:
    entry = {"metric": {}, "histograms": [[1_700_000_000, {"count": "1", "sum": "2"}]]}
    server = serve(lambda _: payload({"resultType": "matrix", "result": [entry]}))
    assert "native histograms" in missing(ask(server.url), Absence.INVALID)


def test_another_type_of_result(serve: Serve) -> None:
    server = serve(lambda _: payload({"resultType": "vector", "result": []}))
    assert "'vector'" in missing(ask(server.url), Absence.INVALID)


def test_a_partial_answer_is_none(serve: Serve) -> None:
    warnings = ["store 10.0.0.7 is not available"]
    server = serve(lambda _: matrix(({"pod": "a"}, [[1_700_000_000, "1"]]), warnings=warnings))
    assert "10.0.0.7" in missing(ask(server.url), Absence.PARTIAL)


def test_an_empty_list_of_warnings_is_no_warning(serve: Serve) -> None:
    server = serve(lambda _: matrix(({"pod": "a"}, [[1_700_000_000, "1"]]), warnings=[]))
    assert isinstance(ask(server.url), Series)


def test_an_empty_answer_is_no_series(serve: Serve) -> None:
    server = serve(lambda _: matrix())
    missing(ask(server.url), Absence.NO_SERIES)


def test_values_that_are_no_numbers_are_nan(serve: Serve) -> None:
    points = [[1_700_000_000, "NaN"], [1_700_000_005, "+Inf"], [1_700_000_010, "-Inf"]]
    server = serve(lambda _: matrix(({"pod": "a"}, points)))
    reply = ask(server.url)
    assert isinstance(reply, Series)
    assert np.isnan(reply.values).all()


def test_two_series_with_one_key_are_refused(serve: Serve) -> None:
    twice = [({"pod": "a"}, [[1_700_000_000, "1"]])] * 2
    server = serve(lambda _: matrix(*twice))
    assert "{'pod': 'a'}" in missing(ask(server.url), Absence.INVALID)


@pytest.mark.parametrize("time_s", [1_699_999_995, 1_700_000_015, 1_700_000_002.5])
def test_answers_for_other_times_are_refused(serve: Serve, time_s: float) -> None:
    server = serve(lambda _: matrix(({"pod": "a"}, [[time_s, "1"]])))
    assert "other times" in missing(ask(server.url), Absence.INVALID)


@pytest.mark.parametrize("skew_s", [-3600, 0, 120])
def test_the_servers_clock_is_compared_with_ours(serve: Serve, skew_s: int) -> None:
    now = 1_700_000_000.0
    date = formatdate(now + skew_s, usegmt=True)
    server = serve(lambda _: Answer(SOUND.body, headers={"Date": date}))
    source = PrometheusSource(server.url, clock=lambda: now)
    assert source.clock_skew_s is None
    (reply,) = source.fetch([QUERY], GRID)
    source.close()
    assert isinstance(reply, Series)
    assert source.clock_skew_s == skew_s


def test_a_date_that_is_none_leaves_the_clocks_alone(serve: Serve) -> None:
    server = serve(lambda _: Answer(SOUND.body, headers={"Date": "yesterday"}))
    assert isinstance(ask(server.url), Series)


@pytest.mark.parametrize("step", [1 / 3, 0.0001])
def test_steps_a_server_would_round_are_refused(serve: Serve, step: float) -> None:
    server = serve(lambda _: SOUND)
    missing(ask(server.url, grid=Grid(1_700_000_000.0, step, 3)), Absence.INVALID)
    assert server.requests == []


def test_values_that_are_no_unicode_are_refused(serve: Serve) -> None:
    server = serve(lambda _: SOUND)
    source = PrometheusSource(server.url)
    query = Query(QUERY.selector, ("pod",), (("pod", frozenset({"\ud800"})),))
    (reply,) = source.fetch([query], GRID)
    source.close()
    missing(reply, Absence.INVALID)


def test_after_closing_everything_is_missing(serve: Serve) -> None:
    server = serve(lambda _: SOUND)
    source = PrometheusSource(server.url)
    source.close()
    source.close()
    (reply,) = source.fetch([QUERY], GRID)
    missing(reply, Absence.SOURCE_DOWN)


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def asked_per_tick(
    serve: Serve, answer: Callable[[Request], Answer], ticks_s: list[float]
) -> tuple[list[int], list[list[Reply]]]:
    """Ask eight queries at each of some times; return how many reached the server, and replies."""
    clock = Clock()
    server = serve(answer)
    limits = QueryLimits(retries=0, connections=1, timeout_s=0.2)
    source = PrometheusSource(server.url, limits=limits, monotonic=clock)
    counts, replies = [], []
    for tick in ticks_s:
        clock.now = tick
        before = len(server.requests)
        replies.append(source.fetch([QUERY] * 8, GRID))
        counts.append(len(server.requests) - before)
    source.close()
    return counts, replies


def test_a_server_that_fails_is_not_hammered(serve: Serve) -> None:
    counts, replies = asked_per_tick(
        serve, lambda _: Answer(b"", 500), [0, 0.5, 1, 2.5, 3, 6.5, 7]
    )
    # down after three failures; then probes after 1, 2, 4 s
    assert counts == [3, 0, 1, 0, 1, 0, 1]
    last = missing(replies[1][0], Absence.SOURCE_DOWN)
    assert "next attempt in 0.5 s" in last
    assert "HTTP 500" in last


def test_a_server_that_asks_for_quiet_gets_it_within_reason(serve: Serve) -> None:
    counts, replies = asked_per_tick(
        serve, lambda _: Answer(b"", 429, {"Retry-After": "3600"}), [0, 5, 14.9, 15, 29, 30]
    )
    assert counts == [1, 0, 0, 1, 0, 1]
    missing(replies[1][0], Absence.THROTTLED)


def test_one_slow_query_does_not_blind_the_others(serve: Serve) -> None:
    calls = 0

    def every_other(_: Request) -> Answer:
        nonlocal calls
        calls += 1
        return Answer(status=0, breakage=Connection.hang) if calls % 2 else SOUND

    counts, replies = asked_per_tick(serve, every_other, [0])
    assert counts == [8]
    assert sum(isinstance(reply, Series) for reply in replies[0]) == 4


def test_recovery_is_noticed_with_the_first_probe(serve: Serve) -> None:
    broken = True
    clock = Clock()
    server = serve(lambda _: Answer(b"", 500) if broken else SOUND)
    limits = QueryLimits(retries=0, connections=1)
    source = PrometheusSource(server.url, limits=limits, monotonic=clock)
    source.fetch([QUERY] * 8, GRID)
    broken = False
    clock.now = 1.0
    replies = source.fetch([QUERY] * 8, GRID)
    source.close()
    assert all(isinstance(reply, Series) for reply in replies)


def test_refused_queries_do_not_count_against_the_server(serve: Serve) -> None:
    counts, _ = asked_per_tick(serve, lambda _: Answer(b"", 422), [0, 1])
    assert counts == [8, 8]
