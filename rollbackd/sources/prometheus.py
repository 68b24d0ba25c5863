"""Prometheus and what speaks its query API: Thanos, Mimir, VictoriaMetrics."""

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Lock

import structlog
from prometheus_api_client import PrometheusConnect

from analyzer.sample import Absence, Grid, Missing, Query, Reply
from rollbackd.sources.breaker import Backoff, Breaker
from rollbackd.sources.http_access import HttpAccess, refuse_bad_url
from rollbackd.sources.http_reply import Trouble
from rollbackd.sources.matrix import Matrix
from rollbackd.sources.prometheus_session import QueryAdapter, QueryLimits
from rollbackd.sources.promql import pieces, range_params, rendered

_log = structlog.get_logger(__name__)

_EPOCH = datetime.fromtimestamp(0, UTC)
"""Stands for the range's ends, which the client would round to seconds; see ``_ask``."""


class PrometheusSource:
    """A ``MetricSource`` over a Prometheus-compatible server.

    One range query answers one ``Query`` for many watches at once. Queries of one ``fetch`` run
    side by side, at most ``limits.connections`` at a time over all callers.

    Args:
        url: such as ``http://prometheus:9090`` or ``https://mimir/prometheus``.
        access: credentials and TLS. limits: what queries may cost.
        backoff: when a server that is down is left alone.
        params: sent with each query, such as ``(("dedup", "true"),)`` for Thanos.
        clock: seconds since the epoch. monotonic: seconds of a clock that never jumps.

    Raises:
        ValueError: the URL cannot be used.
    """

    def __init__(
        self,
        url: str,
        *,
        access: HttpAccess | None = None,
        limits: QueryLimits | None = None,
        backoff: Backoff | None = None,
        params: tuple[tuple[str, str], ...] = (),
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        refuse_bad_url(url)
        self._url = url.rstrip("/")
        self._limits = limits or QueryLimits()
        self._params = dict(params)
        self._breaker = Breaker(backoff or Backoff(), monotonic)
        self._adapter = QueryAdapter(self._limits, clock)
        session = (access or HttpAccess()).open_session()
        self._client = PrometheusConnect(self._url, session=session, method="POST")
        # after the client, which mounts an adapter of its own at the same place
        session.mount(self._url, self._adapter)
        self._pool = ThreadPoolExecutor(self._limits.connections, "rollbackd-prometheus")
        self._closing = Lock()
        self._closed = False

    @property
    def clock_skew_s(self) -> float | None:
        """The server's clock minus ours at its last answer, in seconds; None = not known."""
        return self._adapter.clock_skew_s

    def fetch(self, queries: Sequence[Query], grid: Grid) -> list[Reply]:
        """Answer every query by range queries; see ``analyzer.ports.MetricSource``."""
        with self._closing:
            if self._closed:
                return [Missing(Absence.SOURCE_DOWN, "the source is closed") for _ in queries]
            running = [self._pool.submit(self._answer, query, grid) for query in queries]
        return [answer.result() for answer in running]

    def value(self, promql: str, at: float) -> float | Missing:
        """Return the one number that an expression is at a time; never raises for trouble."""
        try:
            answer = self._ask(promql, Grid(round(at, 3), 1.0, 1))
        except Trouble as trouble:
            return trouble.missing
        match answer:
            case [{"values": [[_, str(text)], *_]}]:
                number = float(text)
            case []:
                return Missing(Absence.NO_SERIES, promql)
            case _:
                return Missing(Absence.INVALID, f"{promql} is not one number")
        if math.isfinite(number):
            return number
        return Missing(Absence.INVALID, f"{promql} is {text}")

    def close(self) -> None:
        """Let requests under way end, then release connections and threads; idempotent."""
        with self._closing:
            self._closed = True
        self._pool.shutdown(wait=True)
        self._client.close()

    def _answer(self, query: Query, grid: Grid) -> Reply:
        matrix = Matrix(query.by, grid)
        try:
            for text in rendered(query, self._limits.max_query_bytes):
                for first, piece in pieces(grid, self._limits.max_points):
                    matrix.add(self._ask(text, piece), first, piece)
        except Trouble as trouble:
            return trouble.missing
        except UnicodeEncodeError as error:
            return Missing(Absence.INVALID, f"the query is no valid Unicode: {error}")
        return matrix.reply(query)

    def _ask(self, text: str, grid: Grid) -> object:
        """Return the result of one range query; raise Trouble."""
        exact = range_params(grid)
        refusal = self._breaker.refusal()
        if refusal is not None:
            raise Trouble(refusal.reason, refusal.detail)
        try:
            result: object = self._client.custom_query_range(
                text,
                start_time=_EPOCH,
                end_time=_EPOCH,
                step=exact["step"],
                # these override the client's own start and end, which are whole seconds
                params={**self._params, "timeout": f"{self._limits.timeout_s:g}s", **exact},
                timeout=(self._limits.connect_timeout_s, self._limits.timeout_s),
            )
        except Trouble as trouble:
            if self._breaker.failed(trouble):
                _log.warning("prometheus failed", url=self._url, trouble=str(trouble.missing))
            raise
        if self._breaker.succeeded():
            _log.info("prometheus recovered", url=self._url)
        return result
