"""The process: start-up, the scheduler's jobs, and an orderly end."""

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from types import FrameType
from typing import Self

import structlog
from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_MAX_INSTANCES, EVENT_JOB_MISSED
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from actions import gitops_hold
from actions.apply import Applier
from actions.ports import ActionError, Transient
from analyzer.comparison import Comparison
from analyzer.events import Acted, ActFailed, Event
from analyzer.regions.events import RegionWish
from analyzer.rollout import Workload
from analyzer.trains.events import TrainWish
from rollbackd.collect import Collector
from rollbackd.config.secrets import Secret, SecretError
from rollbackd.config.settings import Config, Deciders
from rollbackd.controller import Controller
from rollbackd.decisions import Decisions, Deed
from rollbackd.desk import ActionDesk
from rollbackd.flagger_gate import flagger_routes
from rollbackd.holds import Holds
from rollbackd.http import Doors, HttpServer, application
from rollbackd.kubernetes.access_review import AccessReview
from rollbackd.kubernetes.connection import Connection
from rollbackd.kubernetes.rights import needs
from rollbackd.leadership.role import Role
from rollbackd.notifiers.staff import hire
from rollbackd.planning import Planning, Precautions
from rollbackd.policies.book import PolicyBook
from rollbackd.policies.clerk import StatusClerk
from rollbackd.records import watch_from_json
from rollbackd.regional import Circumstances, Regional
from rollbackd.releases import Released, Releases
from rollbackd.signal_finder import SignalFinder
from rollbackd.slow_clients import impatient
from rollbackd.store.journal import SqlJournal
from rollbackd.stored_views import StoredViews
from rollbackd.telemetry import Telemetry
from rollbackd.traces.desk import TraceDesk
from rollbackd.views import WatchView
from rollbackd.watches import KEEP_FINAL
from rollbackd.web.cluster_login import ClusterLogin
from rollbackd.web.relay import Relay
from rollbackd.web.site import COURSE, PAGE, Site
from rollbackd.web.visitors import ClusterWord, Visitors
from rollbackd.wiring import KnownGood, Parts, Permit, assemble, cluster_access
from rollbackd.withdrawals import Withdrawals

log = structlog.get_logger()

LATE_TICKS = 3
"""Ticks that may be missed before the daemon calls itself not ready."""
LATE_S = 30.0
HOUSEKEEPING_S = 3600.0
HOLDS_S = 2.0
"""How often it is looked whether a rollout is to be held: a rolling update does not wait."""
POLICIES_S = 5.0
"""How often it is looked whether the status of a policy of the cluster is to be written."""
KEEP_ENDED_S = 90 * 86400.0
"""How long the journal keeps watches that are over."""
REVIEW_S = 300.0
"""Between two reviews of our rights in the cluster."""
BEGIN_AGAIN_S = 1.0
"""Between two tries to take up the watches, when this replica was elected and cannot."""
STOPPED = 0
BROKEN = 1
DEPOSED = 3
"""Exit code of a leader that lost its lease: start it again, and it follows."""


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
        self, config: Config, build: Callable[[Config, KnownGood, Permit], Parts] = assemble
    ) -> None:
        self._config = config
        self._build = build
        self._stack = ExitStack()
        self._stopping = threading.Event()
        self._ticked_at: float | None = None
        self._review: AccessReview | None = None
        self._cluster_word: ClusterWord | None = None
        self.is_deposed = False

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
        journal = SqlJournal.open(config.journal.address())
        stack.callback(journal.close)
        role = self._role = Role(config, journal, telemetry)
        # Every replica has its caches filled, so that the next leader begins at once.
        parts = self._build(config, self._known_good, role.permit)
        stack.callback(parts.close)
        telemetry.count_spans(parts.span_fates)
        telemetry.follow_caches(parts.caches)
        self._policies = PolicyBook(config, parts.policies[0] if parts.policies else None)
        self._controller = self._control(parts, journal, telemetry)
        desk = self._employ(parts, journal, telemetry)
        self._journal, self._telemetry = journal, telemetry
        self._clerk = self._made_clerk(parts)
        self._stored = StoredViews(journal, KEEP_FINAL)
        telemetry.follow(self._views)
        around = Circumstances(
            config, role, journal, telemetry, self._withdrawals, self._views, self._pause
        )
        regional = self._regional = Regional(around, stack)
        if not role.is_elected:
            role.begin()
            self._restore()
        stack.callback(role.close)  # after the desk: another may lead once our steps are at rest
        decisions = Decisions(
            views=self._decidable,
            handle=self._let_happen,
            release=self._release,
            permit=self._role.permit,
            deciders=self._deciders,
            journal=journal,
            telemetry=telemetry,
            now=time.time,
        )
        staff = self._staff = hire(config, decisions, journal, telemetry, parts.notifiers)
        stack.callback(staff.close)
        reviewer = self._connect_reviewer(stack)
        if reviewer is not None and config.http.login is not None:
            self._cluster_word = ClusterLogin(reviewer, config.http.login).person
        doors = Doors(
            views=self._views,
            metrics=telemetry.exposition,
            open_metrics=telemetry.open_metrics,
            unready=self._unready,
            decide=decisions.decide,
            release=decisions.release,
            objection=decisions.objection,
            token=_reader(config.http.token),
            cluster=self._cluster_word,
            refused=telemetry.refused_request,
        )
        site = self._site(decisions, journal)
        asked = [] if parts.flagger is None else flagger_routes(parts.flagger, self._views)
        routes = [*staff.routes, *site.routes(), *regional.routes(doors), *asked]
        app = application(doors, routes, regional.bodies())
        relay = Relay(app, lambda: role.leads, role.leader, doors.token, config.http.proxies)
        patience = impatient(telemetry.refused_request)
        server = HttpServer(relay, config.http.host, config.http.port, patience)
        stack.callback(server.close)
        server.start()
        self.port = server.port
        scheduler = stack.enter_context(self._scheduled())
        self._review_rights(scheduler, reviewer)
        if role.is_elected:
            role.stand(partial(self._lead, scheduler), self._depose)
        else:
            self._tick_regularly(scheduler)
        stack.callback(desk.close)  # first of all: no new jobs while the rest goes down
        stack.callback(regional.close)
        stack.callback(self._stopping.set)

    def _connect_reviewer(self, stack: ExitStack) -> Connection | None:
        """Return a connection without a permit: a follower asks for reviews, too."""
        cluster = self._config.rollouts.kubernetes
        if cluster is None:
            return None
        connection = Connection(cluster_access(cluster))
        stack.callback(connection.close)
        return connection

    def _review_rights(self, scheduler: BackgroundScheduler, reviewer: Connection | None) -> None:
        """Ask for the rights that are needed, now and again: somebody may grant what is missing."""
        if reviewer is None:
            return
        telling = self._telemetry.lacking_rights
        review = self._review = AccessReview(reviewer, needs(self._config), telling)
        at_once = datetime.now(UTC)
        scheduler.add_job(
            review.look, "interval", seconds=REVIEW_S, id="access-review", next_run_time=at_once
        )

    def _site(self, decisions: Decisions, journal: SqlJournal) -> Site:
        http = self._config.http
        return Site(
            views=self._views,
            regions=self._regional.regions,
            trains=self._regional.trains,
            rules=self._policies.rules,
            offered=decisions.offered,
            decide=decisions.decide,
            visitors=Visitors(_reader(http.token), http.proxies, self._cluster_word),
            journal=lambda watch, kind, before: journal.newest(
                PAGE, watch=watch, kind=kind, before=before
            ),
            course=lambda watch: journal.course(watch, COURSE),
            links=self._config.links,
            refused=self._telemetry.refused_request,
        )

    def _lead(self, scheduler: BackgroundScheduler) -> None:
        """Take up the watches on a thread of its own: the lease is to be renewed meanwhile."""
        scheduler.add_job(self._take_over, args=[scheduler], id="take-over")

    def _take_over(self, scheduler: BackgroundScheduler) -> None:
        """Take the pen and every watch that is not over, then tick."""
        while self._role.leads and not self._stopping.is_set():
            try:
                self._role.begin()
                self._restore()
            except Transient as error:
                self._telemetry.journal_failed()
                log.warning("watches not taken up, trying again", error=str(error))
                self._pause(BEGIN_AGAIN_S)
            except Exception:
                log.exception("watches not taken up, leaving it to another replica")
                self._depose()
            else:
                self._tick_regularly(scheduler)
                return

    def _depose(self) -> None:
        """Stop: another replica acts now. Ends the process, so that nothing of us is left over."""
        self.is_deposed = True
        self._stopping.set()

    def _views(self) -> tuple[WatchView, ...]:
        """Return what is to be seen: until the first tick, what the leader before left."""
        return self._stored() if self._ticked_at is None else self._controller.watches.views()

    def _decidable(self) -> tuple[WatchView, ...]:
        """Return everything that people decide about."""
        return (*self._views(), *self._regional.regions(), *self._regional.trains())

    def _let_happen(self, id_: str, deed: Deed) -> None:
        """Let a decision happen to what it is about."""
        if not self._regional.handle(id_, deed) and not isinstance(deed, RegionWish | TrainWish):
            self._controller.watches.handle(id_, deed)

    def _deciders(self, policy: str) -> Deciders:
        return self._regional.deciders(policy) or self._policies.deciders(policy)

    def _control(self, parts: Parts, journal: SqlJournal, telemetry: Telemetry) -> Controller:
        config = self._config
        controller = Controller(
            sources=parts.rollouts,
            policies=self._policies,
            collector=Collector(parts.source, config.tick_s, config.settle_s, telemetry),
            comparison=Comparison(config.tick_s),
            journal=journal,
            telemetry=telemetry,
            now=time.time,
            finder=SignalFinder(parts.source, config.settle_s),
        )
        if parts.traces is not None:
            controller.consult(TraceDesk(parts.traces))
        if parts.exemplars is not None:
            controller.exhibit(parts.exemplars)
        return controller

    def _employ(self, parts: Parts, journal: SqlJournal, telemetry: Telemetry) -> ActionDesk:
        performers = {name: telemetry.spans.traced(a) for name, a in parts.actuators.items()}
        applier = Applier(performers, journal, time.time, self._pause, permit=self._role.permit)
        precautions = Precautions(
            self._policies.guards, parts.schemas, frozenset({gitops_hold.NAME})
        )
        self._holds = self._holding(parts, journal)
        gates = () if self._holds is None else (self._holds,)
        remark = partial(self._controller.watches.remark, urgent=False)
        self._releases = Releases(applier, journal, gates, time.time, remark)
        planning = Planning(parts.actuators, journal, precautions, time.time, telemetry)
        self._withdrawals = Withdrawals(
            planning, applier, journal, self._policies.named, time.time, self._role.permit
        )
        desk = ActionDesk(planning, applier, journal, self._take_answer, telemetry)
        self._controller.watches.employ(desk)
        self._controller.watches.show_held(self._releases.held)
        telemetry.count_jobs(desk.in_hand)
        return desk

    def _take_answer(self, watch_id: str, event: Event) -> None:
        """Let an action's outcome happen to its watch, with what is held since."""
        if isinstance(event, Acted | ActFailed):
            self._releases.look(watch_id)
        self._controller.watches.handle(watch_id, event)

    def _release(self, watch_id: str, by: str) -> Released:
        try:
            return self._releases.release(watch_id, by)
        finally:
            self._controller.watches.redraw(watch_id)

    def _holding(self, parts: Parts, journal: SqlJournal) -> Holds | None:
        if parts.holdings is None:
            return None
        settings = self._policies.holds
        return Holds(*parts.holdings, self._controller.watches, settings, journal, time.time)

    def _made_clerk(self, parts: Parts) -> StatusClerk | None:
        if parts.policies is None:
            return None
        resources, api = parts.policies
        return StatusClerk(
            resources, self._controller.watches.views, api, self._telemetry, time.time
        )

    def _restore(self) -> None:
        """Take up where an earlier process left. Raises Transient."""
        self._releases.restore()
        self._controller.restore()
        self._regional.restore()

    def _known_good(self, workload: Workload) -> tuple[str, ...]:
        return self._controller.watches.known_good(workload)

    def _pause(self, seconds: float) -> bool:
        """Wait, and tell whether to go on."""
        return not self._stopping.wait(seconds)

    @contextmanager
    def _scheduled(self) -> Iterator[BackgroundScheduler]:
        """Run what jobs there will be. A thread for each, so that none delays a tick."""
        scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": ThreadPoolExecutor(8)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        scheduler.add_listener(
            lambda event: self._telemetry.missed_run(event.job_id),
            EVENT_JOB_ERROR | EVENT_JOB_MISSED | EVENT_JOB_MAX_INSTANCES,
        )
        scheduler.start()
        try:
            yield scheduler
        finally:
            scheduler.shutdown(wait=True)

    def _tick_regularly(self, scheduler: BackgroundScheduler) -> None:
        """Look at rollouts, tell people and listen to them, from now on: only who leads does."""
        # Notifiers keep notes in the journal, which only the leader may write.
        self._staff.start()
        tick_s = self._config.tick_s
        at_once = datetime.now(UTC)
        scheduler.add_job(self._tick, "interval", seconds=tick_s, id="tick", next_run_time=at_once)
        scheduler.add_job(
            self._tidy, "interval", seconds=HOUSEKEEPING_S, id="housekeeping", jitter=60
        )
        if self._holds is not None:
            seconds = min(HOLDS_S, tick_s)
            scheduler.add_job(self._holds.tend, "interval", seconds=seconds, id="holds")
        if self._clerk is not None:
            scheduler.add_job(self._tell_policies, "interval", seconds=POLICIES_S, id="policies")
        for name, job in self._regional.jobs().items():
            scheduler.add_job(job, "interval", seconds=tick_s, id=name, next_run_time=at_once)

    def _tell_policies(self) -> None:
        """Write the status of the cluster's policies; before the first tick nothing is known."""
        if self._clerk is not None and self._role.leads and self._ticked_at is not None:
            self._clerk.tend()

    def _tick(self) -> None:
        if not self._role.leads:
            return
        began = time.monotonic()
        ok = False
        try:
            self._controller.tick()
            ok = True
        except Exception:
            log.exception("tick failed")
        finally:
            if self._journal.is_fenced:
                log.error("another replica took the pen, this process acts no more")
                self._depose()
            ended = time.time()
            self._telemetry.ticked(time.monotonic() - began, ended, ok=ok)
            if ok:
                self._ticked_at = ended

    def _tidy(self) -> None:
        """Forget watches that were over long ago."""
        if not self._role.leads:
            return
        now = time.time()
        watches = self._journal.latest("watch").items()
        over = [w for w, entry in watches if watch_from_json(entry.data).phase.final]
        self._journal.prune(over, before=now - KEEP_ENDED_S, now=now)

    def _unready(self) -> str:
        """Return why the daemon is not ready, or "". A follower is, when it could take over."""
        if self._review is not None and (lacking := self._review.unready()):
            return lacking
        if not self._role.leads:
            return self._role.unready()
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


def _reader(secret: Secret | None) -> Callable[[], str] | None:
    return None if secret is None else secret.read


def run(config: Config) -> int:
    """Run the daemon until it is told to stop; return the process's exit code."""
    try:
        with Daemon(config) as daemon:
            log.info(
                "started", url=f"http://{config.http.host}:{daemon.port}", config=str(config.file)
            )
            daemon.wait()
            deposed = daemon.is_deposed
    except (ActionError, SecretError, OSError, ValueError) as error:
        print(f"rollbackd cannot run: {error}", file=sys.stderr)  # noqa: T201  for the person who started it
        return BROKEN
    log.info("stopped", deposed=deposed)
    return DEPOSED if deposed else STOPPED
