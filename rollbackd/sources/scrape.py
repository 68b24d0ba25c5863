"""The built-in scraper: ``/metrics`` pages of targets, without a Prometheus."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event, Lock, Thread

import requests
import structlog

from analyzer.sample import Absence, Grid, Missing, Query, Reply
from rollbackd.sources.http_access import PromptAdapter
from rollbackd.sources.label_regex import predicate
from rollbackd.sources.scrape_target import NOT_YET, PageLimits, TargetSeries
from rollbackd.sources.series_store import LOOK_BACK_S, SeriesStore
from rollbackd.sources.targets import ScrapeJob, Target, TargetFile

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ScrapeSettings:
    """How the scraper works.

    Attributes:
        interval_s: from scrape to scrape of a target; the daemon's tick should equal it.
        timeout_s: a page slower than this is a failed scrape; should be below the interval.
        concurrency: pages read at the same time.
        max_page_bytes: a larger page is refused unread.
        max_series: series held over all targets; a page that would exceed it is refused.
        retention_s: how long samples are kept; at least the history the policies ask for.
        look_back_s: how long a sample speaks for its series; 300 is Prometheus' own.
    """

    interval_s: float = 5.0
    timeout_s: float = 4.0
    concurrency: int = 8
    max_page_bytes: int = 16 << 20
    max_series: int = 200_000
    retention_s: float = 3 * 3600.0
    look_back_s: float = LOOK_BACK_S

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if min(self.interval_s, self.timeout_s, self.retention_s, self.look_back_s) <= 0:
            raise ValueError(f"times must be positive: {self}")
        if min(self.concurrency, self.max_page_bytes, self.max_series) < 1:
            raise ValueError(f"limits must be at least 1: {self}")
        if self.retention_s < self.look_back_s:
            raise ValueError(
                f"retention_s ({self.retention_s:g}) must not be below "
                f"look_back_s ({self.look_back_s:g})"
            )


class ScrapeSource:
    """A ``MetricSource`` that scrapes targets itself and remembers a bounded past.

    Nothing runs before ``start``; tests and one-shot tools may call ``scrape_round`` instead.

    Args:
        jobs: what is scraped, and how. settings: limits and times.
        clock: seconds since the epoch; stamps the samples.
        monotonic: seconds of a clock that never jumps; drives the schedule.
    """

    def __init__(
        self,
        jobs: Sequence[ScrapeJob],
        settings: ScrapeSettings | None = None,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings or ScrapeSettings()
        self._clock = clock
        self._monotonic = monotonic
        self._store = SeriesStore(
            self._settings.retention_s, self._settings.max_series, self._settings.look_back_s
        )
        self._limits = PageLimits(self._settings.timeout_s, self._settings.max_page_bytes)
        self._jobs = [_JobTargets(job, self._settings.concurrency) for job in jobs]
        self._followed: dict[Target, _Followed] = {}
        self._pool = ThreadPoolExecutor(self._settings.concurrency, "rollbackd-scrape")
        self._round = Lock()
        self._closed = Event()
        self._thread: Thread | None = None

    def start(self) -> None:
        """Begin to scrape at every interval, in a thread of its own; idempotent."""
        if self._thread is None and not self._closed.is_set():
            self._thread = Thread(target=self._run, name="rollbackd-scrape-clock", daemon=True)
            self._thread.start()

    def scrape_round(self) -> None:
        """Scrape every target once, now; return when all are done."""
        for running in self._begin_round():
            running.result()

    def fetch(self, queries: Sequence[Query], grid: Grid) -> list[Reply]:
        """Answer from memory; see ``analyzer.ports.MetricSource``.

        Where there is nothing at these times because every target that could have it fails, the
        answer is the reason of that failure instead of "no series".
        """
        followed = list(self._followed.values())
        return [self._answer(query, grid, followed) for query in queries]

    def troubles(self) -> dict[str, Missing | None]:
        """Return for each target, by ``instance``, why its last scrape failed; None = it did not."""
        return {f.series.target.name: f.series.trouble for f in list(self._followed.values())}

    def close(self) -> None:
        """Stop scraping and release threads and connections; idempotent."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()
        self._pool.shutdown(wait=True, cancel_futures=True)
        for job in self._jobs:
            job.session.close()

    def _answer(self, query: Query, grid: Grid, followed: "list[_Followed]") -> Reply:
        reply = self._store.evaluate(query, grid)
        if not isinstance(reply, Missing) or reply.reason is not Absence.NO_SERIES:
            return reply
        asked = [f.series for f in followed if _may_have(f.series.target, query)]
        troubles = [series.trouble for series in asked if series.trouble is not None]
        if asked and len(troubles) == len(asked):
            (reason, _), *_ = Counter(trouble.reason for trouble in troubles).most_common()
            first = next(trouble for trouble in troubles if trouble.reason is reason)
            return Missing(reason, f"all {len(asked)} targets asked for fail; {first.detail}")
        refused = [job.refused for job in self._jobs if job.refused]
        if not asked and refused:
            return Missing(Absence.INVALID, refused[0])
        if not asked:
            return Missing(Absence.NO_SERIES, "no scrape target has the labels asked for")
        return reply

    def _run(self) -> None:
        """Scrape at every interval; rounds that come too late are left out, not made up for."""
        due = self._monotonic()
        while not self._closed.wait(max(0.0, due - self._monotonic())):
            self._begin_round()
            due += self._settings.interval_s
            late = self._monotonic() - due
            if late > 0:
                due += self._settings.interval_s * (late // self._settings.interval_s + 1)

    def _begin_round(self) -> "list[Future[None]]":
        """Start scraping every target that is not still being scraped."""
        with self._round:
            self._follow_targets()
            begun = []
            for followed in self._followed.values():
                if followed.running is None or followed.running.done():
                    followed.running = self._pool.submit(self._scrape, followed)
                    followed.running.add_done_callback(_report_crash)
                    begun.append(followed.running)
            return begun

    def _scrape(self, followed: "_Followed") -> None:
        series = followed.series
        before = series.trouble
        series.scrape(followed.session, self._limits, self._clock)
        if series.trouble is not None and (before is None or before is NOT_YET):
            _log.warning(
                "scrape failed",
                target=series.target.name,
                reason=series.trouble.reason.value,
                detail=series.trouble.detail,
            )
        elif series.trouble is None and before is not None:
            _log.info("scrape succeeded", target=series.target.name)

    def _follow_targets(self) -> None:
        """Take up new targets and end the series of those that are gone."""
        wanted = {target: job.session for job in self._jobs for target in job.targets()}
        for target in self._followed.keys() - wanted.keys():
            followed = self._followed[target]
            if followed.running is not None and not followed.running.done():
                continue  # it is being scraped; the next round sees to it
            followed.series.retire(self._clock())
            # replaced, not changed: fetch walks the old one in another thread
            self._followed = {t: f for t, f in self._followed.items() if t != target}
            _log.info("scrape target removed", target=target.name)
        new = {
            target: _Followed(TargetSeries(target, self._store), session)
            for target, session in wanted.items()
            if target not in self._followed
        }
        self._followed = {**self._followed, **new}


@dataclass(slots=True)
class _Followed:
    """A target, the session that reads it, and its scrape under way."""

    series: TargetSeries
    session: requests.Session
    running: "Future[None] | None" = None


class _JobTargets:
    """The targets of one job as its files say now.

    Attributes:
        session: presents the job's credentials.
        refused: why the present version of a targets file is not used, "" when all are.
    """

    def __init__(self, job: ScrapeJob, concurrency: int) -> None:
        self._job = job
        self._files = [TargetFile(path, job) for path in job.files]
        self._targets = list(job.resolve(job.groups))
        self.refused = ""
        self.session = job.access.open_session()
        for scheme in ("http://", "https://"):
            self.session.mount(scheme, PromptAdapter(concurrency * 4, concurrency, max_retries=0))

    def targets(self) -> list[Target]:
        """Return the targets now; a file that cannot be used leaves those it gave before."""
        for file in self._files:
            file.refresh()
        refused = "; ".join(file.refused for file in self._files if file.refused)
        if refused and refused != self.refused:
            _log.warning("targets file refused", job=self._job.name, detail=refused)
        self.refused = refused
        found = [target for file in self._files for target in file.targets]
        return list(dict.fromkeys([*self._targets, *found]))


def _report_crash(done: "Future[None]") -> None:
    """Log a bug in a scrape, which would vanish with its future."""
    if not done.cancelled() and (error := done.exception()) is not None:
        _log.error("scrape crashed, please report this", exc_info=error)


def _may_have(target: Target, query: Query) -> bool:
    """Return False when the target's own labels rule out that it has what is asked for."""
    labels = dict(target.labels)
    wanted = all(labels[name] in values for name, values in query.restrict if name in labels)
    return wanted and all(
        predicate(matcher)(labels[matcher.label])
        for matcher in query.selector.matchers
        if matcher.label in labels
    )
