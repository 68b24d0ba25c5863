"""The process: start-up, the scheduler's jobs, and an orderly end."""

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from types import FrameType
from typing import Self

import structlog
from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_MAX_INSTANCES, EVENT_JOB_MISSED
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from actions.apply import Applier
from actions.ports import ActionError
from analyzer.comparison import Comparison
from analyzer.rollout import Workload
from rollbackd.collect import Collector
from rollbackd.config.secrets import SecretError
from rollbackd.config.settings import Config
from rollbackd.controller import Controller
from rollbackd.desk import ActionDesk
from rollbackd.http import Doors, HttpServer, application
from rollbackd.records import watch_from_json
from rollbackd.regions.doors import region_routes
from rollbackd.regions.keeper import RegionKeeper
from rollbackd.store.journal import SqlJournal
from rollbackd.telemetry import Telemetry
from rollbackd.wiring import KnownGood, Parts, assemble

log = structlog.get_logger()

LATE_TICKS = 3
"""Ticks that may be missed before the daemon calls itself not ready."""
LATE_S = 30.0
HOUSEKEEPING_S = 3600.0
KEEP_ENDED_S = 90 * 86400.0
"""How long the journal keeps watches that are over."""
STOPPED = 0
BROKEN = 1


class Daemon:
    """Everything that runs. Built from a configuration; used as a context manager.

    Args:
        config: validated settings.
        build: makes the adapters that the settings ask for.

    Raises:
        ActionError, SecretError, OSError, ValueError: on entering, when a part cannot be started;
            what was started is stopped again.
    """

    def __init__(
        self, config: Config, build: Callable[[Config, KnownGood], Parts] = assemble
    ) -> None:
        self._config = config
        self._build = build
        self._stack = ExitStack()
        self._stopping = threading.Event()
        self._ticked_at: float | None = None

    def __enter__(self) -> Self:
        """Start every part; the first tick comes at once."""
        with ExitStack() as stack:
            self._start(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop every part, finishing or handing over the step in flight."""
        self._stopping.set()
        self._stack.close()

    def _start(self, stack: ExitStack) -> None:
        config = self._config
        telemetry = Telemetry(version=version("rollbackd"))
        stack.callback(telemetry.close)
        journal = SqlJournal.open(config.journal.url)
        stack.callback(journal.close)
        parts = self._build(config, self._known_good)
        stack.callback(parts.close)
        self._controller = self._control(parts, journal, telemetry)
        desk = self._employ(parts, journal, telemetry)
        self._controller.restore()
        doors = Doors(
            views=self._controller.views,
            metrics=telemetry.exposition,
            unready=self._unready,
            decide=self._controller.handle,
            token=None if config.http.token is None else config.http.token.read,
        )
        self._keeper = self._keep_regions(journal, telemetry, stack)
        more = [] if self._keeper is None else region_routes(self._keeper, doors.token)
        server = HttpServer(application(doors, more), config.http.host, config.http.port)
        stack.callback(server.close)
        server.start()
        self.port = server.port
        self._journal, self._telemetry = journal, telemetry
        stack.enter_context(self._scheduled())
        stack.callback(desk.close)  # first of all: no new jobs while the rest goes down
        stack.callback(self._stopping.set)

    def _control(self, parts: Parts, journal: SqlJournal, telemetry: Telemetry) -> Controller:
        config = self._config
        return Controller(
            sources=parts.rollouts,
            policies=config,
            collector=Collector(parts.source, config.tick_s, config.settle_s, telemetry),
            comparison=Comparison(config.tick_s),
            journal=journal,
            telemetry=telemetry,
            now=time.time,
        )

    def _employ(self, parts: Parts, journal: SqlJournal, telemetry: Telemetry) -> ActionDesk:
        applier = Applier(parts.actuators, journal, time.time, self._pause)
        desk = ActionDesk(
            parts.actuators, applier, journal, self._controller.handle, time.time, telemetry
        )
        self._controller.employ(desk)
        return desk

    def _keep_regions(
        self, journal: SqlJournal, telemetry: Telemetry, stack: ExitStack
    ) -> RegionKeeper | None:
        """Build the keeper of the configured regions, where it was left."""
        settings = self._config.regions
        if settings is None:
            return None
        from rollbackd.regions.wiring import Surroundings, region_keeper  # noqa: PLC0415  if used

        views = self._controller.views
        around = Surroundings(journal, telemetry, time.time, self._pause, views)
        keeper = region_keeper(self._config, settings, around, stack)
        keeper.restore()
        return keeper

    def _known_good(self, workload: Workload) -> tuple[str, ...]:
        return self._controller.known_good(workload)

    def _pause(self, seconds: float) -> bool:
        """Wait, and tell whether to go on."""
        return not self._stopping.wait(seconds)

    @contextmanager
    def _scheduled(self) -> Iterator[None]:
        """Run the jobs, each on a thread of its own, so that none delays another."""
        scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": ThreadPoolExecutor(3)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        scheduler.add_listener(
            lambda event: self._telemetry.missed_run(event.job_id),
            EVENT_JOB_ERROR | EVENT_JOB_MISSED | EVENT_JOB_MAX_INSTANCES,
        )
        tick_s = self._config.tick_s
        at_once = datetime.now(UTC)
        scheduler.add_job(self._tick, "interval", seconds=tick_s, id="tick", next_run_time=at_once)
        scheduler.add_job(
            self._tidy, "interval", seconds=HOUSEKEEPING_S, id="housekeeping", jitter=60
        )
        if self._keeper is not None:
            scheduler.add_job(
                self._keeper.tick, "interval", seconds=tick_s, id="regions", next_run_time=at_once
            )
        scheduler.start()
        try:
            yield
        finally:
            scheduler.shutdown(wait=True)

    def _tick(self) -> None:
        began = time.monotonic()
        ok = False
        try:
            self._controller.tick()
            ok = True
        except Exception:
            log.exception("tick failed")
        finally:
            ended = time.time()
            self._telemetry.ticked(time.monotonic() - began, ended, ok=ok)
            if ok:
                self._ticked_at = ended

    def _tidy(self) -> None:
        """Forget watches that were over long ago."""
        now = time.time()
        watches = self._journal.latest("watch").items()
        over = [w for w, entry in watches if watch_from_json(entry.data).phase.final]
        self._journal.prune(over, before=now - KEEP_ENDED_S, now=now)

    def _unready(self) -> str:
        """Return why the daemon is not ready, or ""."""
        if self._ticked_at is None:
            return "the first tick has not ended yet"
        late = time.time() - self._ticked_at
        if late > max(LATE_S, LATE_TICKS * self._config.tick_s):
            return f"the last complete tick was {late:.0f} s ago"
        return ""

    def wait(self) -> None:
        """Block until SIGTERM or SIGINT."""

        def stop(number: int, _: FrameType | None) -> None:
            log.info("stopping", signal=signal.Signals(number).name)
            self._stopping.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        while not self._stopping.wait(1.0):
            pass


def run(config: Config) -> int:
    """Run the daemon until it is told to stop; return the process's exit code."""
    try:
        with Daemon(config) as daemon:
            log.info(
                "started", url=f"http://{config.http.host}:{daemon.port}", config=str(config.file)
            )
            daemon.wait()
    except (ActionError, SecretError, OSError, ValueError) as error:
        print(f"rollbackd cannot run: {error}", file=sys.stderr)  # noqa: T201  for the person who started it
        return BROKEN
    log.info("stopped")
    return STOPPED
