"""Following one scrape target: its page, its series, and what became of it."""

from collections.abc import Callable
from dataclasses import dataclass

import requests
from urllib3.exceptions import HTTPError

from analyzer.sample import Absence, Missing
from rollbackd.sources.exposition import ACCEPT, Exposition, format_of, labels_of, parse
from rollbackd.sources.http_reply import (
    Trouble,
    read_limited,
    trouble_of_error,
    trouble_of_status,
)
from rollbackd.sources.series_store import NAME, STALE, SeriesSamples, SeriesStore, StoreFull
from rollbackd.sources.targets import Target

NOT_YET = Missing(Absence.SOURCE_DOWN, "not scraped yet")
_HTTP_OK = 200


@dataclass(frozen=True, slots=True)
class PageLimits:
    """How long and how large a page may be.

    Attributes:
        timeout_s: for connecting, for the first byte, and for the whole page, each.
        max_page_bytes: after decompression.
    """

    timeout_s: float
    max_page_bytes: int


class TargetSeries:
    """The series of one target in the store, kept in step with its page.

    Not thread-safe: one scrape of a target at a time.

    Attributes:
        target: what is scraped. trouble: why the last scrape failed, None after a good one.
    """

    def __init__(self, target: Target, store: SeriesStore) -> None:
        self.target = target
        self.trouble: Missing | None = NOT_YET
        self._store = store
        self._labels = dict(target.labels)
        self._up: SeriesSamples | None = None
        self._known: dict[str, SeriesSamples] = {}
        """Series of the last good page by how they are written there: parsing labels is dear."""
        self._ends: dict[int, SeriesSamples] = {}
        """Those of them that end when they vanish; explicit timestamps speak for themselves."""

    def scrape(
        self, session: requests.Session, limits: PageLimits, clock: Callable[[], float]
    ) -> None:
        """Read the page once and store its samples, or end its series and say why."""
        started_ms = round(clock() * 1000)
        try:
            self._up = self._store.series({NAME: "up", **self._labels})
            self._store_page(self._page(session, limits), started_ms)
        except StoreFull as error:
            self._fail(Missing(Absence.TOO_LARGE, f"{self.target.name}: {error}"), started_ms)
        except Trouble as trouble:
            detail = f"{self.target.name}: {trouble.detail}"
            self._fail(Missing(trouble.reason, detail), started_ms)
        else:
            self.trouble = None
            self._report_up(1.0, started_ms)

    def retire(self, now: float) -> None:
        """End all series: the target is no longer ours."""
        now_ms = round(now * 1000)
        self._end(list(self._ends.values()), now_ms)
        self._ends, self._known = {}, {}
        if self._up is not None:
            self._end([self._up], now_ms)

    def _page(self, session: requests.Session, limits: PageLimits) -> Exposition:
        url = self.target.url
        try:
            with session.get(
                url,
                headers={"Accept": ACCEPT},
                timeout=limits.timeout_s,
                stream=True,
                allow_redirects=False,
            ) as reply:
                if reply.status_code != _HTTP_OK:
                    raise trouble_of_status(reply.status_code, reply.reason or "")
                body = read_limited(reply.raw, limits.max_page_bytes, limits.timeout_s)
                kind = format_of(reply.headers.get("Content-Type", ""))
            return parse(body.decode("utf-8"), kind)
        except UnicodeDecodeError as error:
            raise Trouble(Absence.INVALID, f"the page is not UTF-8: {error}") from error
        except (requests.RequestException, OSError, HTTPError) as error:
            raise trouble_of_error(error, url) from error

    def _store_page(self, page: Exposition, started_ms: int) -> None:
        """Store a whole page, or nothing of it when a series cannot be had."""
        known = self._series_of(page)
        ends: dict[int, SeriesSamples] = {}
        now: list[tuple[SeriesSamples, float]] = []
        dated: list[tuple[int, SeriesSamples, float]] = []
        for text, value, time_ms in zip(page.series, page.values, page.times_ms, strict=True):
            series = known[text]
            if time_ms is None:
                ends[id(series)] = series
                now.append((series, value))
            else:
                dated.append((time_ms, series, value))
        self._store.append(started_ms, now)
        self._store.append_dated(dated)
        vanished = [series for key, series in self._ends.items() if key not in ends]
        self._end(vanished, started_ms)
        self._known, self._ends = known, ends

    def _series_of(self, page: Exposition) -> dict[str, SeriesSamples]:
        """Return the page's series by how they are written; what is new gets its labels parsed."""
        found: dict[str, SeriesSamples] = {}
        try:
            for text in page.series:
                series = self._known.get(text)
                if series is None or series.forgotten:
                    series = self._store.series(self._merged(labels_of(text)))
                found[text] = series
        except (StoreFull, Trouble):
            self._store.discard_empty(found.values())
            raise
        return found

    def _merged(self, exposed: dict[str, str]) -> dict[str, str]:
        """Add the target's labels; they win, and what they displace is kept as ``exported_…``."""
        labels = dict(self._labels)
        for label, value in exposed.items():
            name = label
            while name in self._labels and value:
                name = f"exported_{name}"
            if value:
                labels[name] = value
        return labels

    def _fail(self, trouble: Missing, started_ms: int) -> None:
        self._end(list(self._ends.values()), started_ms)
        self._ends, self._known = {}, {}
        self.trouble = trouble
        self._report_up(0.0, started_ms)

    def _report_up(self, value: float, now_ms: int) -> None:
        """Record ``up`` as Prometheus does, unless the store had no room even for that."""
        if self._up is not None:
            self._store.append(now_ms, [(self._up, value)])

    def _end(self, series: list[SeriesSamples], now_ms: int) -> None:
        self._store.append(now_ms, [(one, STALE) for one in series])
