"""A real Prometheus dies and comes back: first nothing can be said, then all is as before."""

from pathlib import Path

import numpy as np
import pytest

from analyzer.sample import Absence, Grid, Missing, Query, Reply, Series
from analyzer.signal import Selector
from rollbackd.sources.breaker import Backoff
from rollbackd.sources.prometheus import PrometheusSource
from tests.servers.prometheus import PrometheusServer
from tests.servers.remote_write import WrittenSeries
from tests.sources.conftest import Serve
from tests.sources.stub_server import Answer, until

pytestmark = pytest.mark.servers

START = 1_700_000_000.0
GRID = Grid(START, 5.0, 10)
QUERY = Query(Selector("requests_total"), ("pod",))
QUICK = Backoff(first_pause_s=0.05, longest_pause_s=0.1)


def one(source: PrometheusSource) -> Reply:
    (reply,) = source.fetch([QUERY], GRID)
    return reply


def test_killed_and_restarted(tmp_path: Path) -> None:
    with PrometheusServer(tmp_path) as server:
        samples = [(START + 5 * n, float(n)) for n in range(10)]
        server.write([WrittenSeries({"__name__": "requests_total", "pod": "a"}, samples)])
        source = PrometheusSource(server.url, backoff=QUICK)
        before = one(source)
        assert isinstance(before, Series)
        for _ in range(2):
            server.kill()
            dead = one(source)
            assert isinstance(dead, Missing)
            assert dead.reason is Absence.SOURCE_DOWN
            server.start()
            until(lambda: isinstance(one(source), Series))
            after = one(source)
            assert isinstance(after, Series)
            assert (after.values == before.values).all()
        source.close()


def test_killed_while_many_ask(tmp_path: Path) -> None:
    with PrometheusServer(tmp_path) as server:
        source = PrometheusSource(server.url, backoff=QUICK)
        reasons = set()
        for n in range(20):
            if n == 10:
                server.kill()
            for reply in source.fetch([QUERY] * 10, GRID):
                assert isinstance(reply, Missing)
                reasons.add(reply.reason)
        source.close()
    assert reasons == {Absence.NO_SERIES, Absence.SOURCE_DOWN}


def test_what_a_real_server_scraped_arrives(serve: Serve, tmp_path: Path) -> None:
    page = b'# TYPE jobs_total counter\njobs_total{queue="a"} 41\njobs_total{queue="b"} 1\n'
    target = serve(lambda _: Answer(page, headers={"Content-Type": "text/plain; version=0.0.4"}))
    with PrometheusServer(
        tmp_path, targets=[f"127.0.0.1:{target.port}"], interval_s=0.1
    ) as server:
        server.await_value("jobs_total", 42.0)
        server.await_value("up", 1.0)
        source = PrometheusSource(server.url)
        now = server.now()
        (reply,) = source.fetch([Query(Selector("jobs_total"), ("queue",))], Grid(now, 1.0, 1))
        source.close()
    assert isinstance(reply, Series)
    np.testing.assert_array_equal(reply.values, [[41.0], [1.0]])
