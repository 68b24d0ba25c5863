"""A web site over made-up rollouts and a real decision desk, served on a real socket."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from ipaddress import ip_network

from actions.ports import Entry, Transient
from analyzer.events import Approved, Demanded, Rejected, Snoozed
from rollbackd.config.settings import Deciders, PolicyRule, TrustedProxy
from rollbackd.decisions import Decisions, Deed
from rollbackd.http import Doors, HttpServer, application
from rollbackd.notifiers.links import Links
from rollbackd.releases import Released
from rollbackd.store.reader import FOR_PEOPLE
from rollbackd.views import WatchView
from rollbackd.web.site import COURSE, PAGE, Site
from rollbackd.web.visitors import ClusterWord, Visitors
from tests.cli import sample_views
from tests.fakes.memory_journal import MemoryJournal
from tests.process.lifetime import POLICY, TELEMETRY

TOKEN = "s3cret"
LINKS = Links(dashboard="https://grafana.example/d/shop?var-app={name}&from={from_ms}")
WAITING = replace(
    sample_views.degraded(),
    mode="approve",
    phase="awaiting approval",
    plan_key="plan-1",
    note="waiting for approval: roll shop/checkout back to 5d9f1",
    annotations={
        "rollbackd.io/author": "bob",
        "rollbackd.io/change-url": "https://git.example/pr/7",
    },
)
WATCHED = replace(sample_views.blind(), workload="shop/<b>search</b>", phase="observing")
PROXY = TrustedProxy("x-forwarded-user", "x-forwarded-groups", (ip_network("127.0.0.0/8"),))


@dataclass
class House:
    """What the site is about; decisions change it as the controller would."""

    seen: tuple[WatchView, ...] = (WAITING, WATCHED, sample_views.healthy())
    regions: tuple[WatchView, ...] = ()
    trains: tuple[WatchView, ...] = ()
    deciders: Deciders = field(default_factory=Deciders)
    events: list[tuple[str, Deed]] = field(default_factory=list)
    released: list[str] = field(default_factory=list)
    journal: MemoryJournal = field(default_factory=MemoryJournal)
    trouble: Transient | None = None
    unreadable: Transient | None = None
    refused: list[str] = field(default_factory=list)

    def handle(self, watch_id: str, event: Deed) -> None:
        if self.trouble is not None:
            raise self.trouble
        self.events.append((watch_id, event))
        phase = {Approved: "acting", Rejected: "needs a human", Snoozed: "held"}.get(type(event))
        if isinstance(event, Demanded):
            phase = "degraded"
        self.seen = tuple(
            replace(
                view,
                phase=phase or view.phase,
                turn=view.turn + 1,
                updated_at=view.updated_at + 1,
                final=phase == "needs a human",
            )
            if view.id == watch_id
            else view
            for view in self.seen
        )
        self.regions = _after(self.regions, watch_id)
        self.trains = _after(self.trains, watch_id)

    def release(self, watch_id: str, by: str) -> Released:
        held = next(view.held for view in self.seen if view.id == watch_id)
        self.released += [f"{by}: {what}" for what in held]
        self.seen = tuple(replace(v, held=()) if v.id == watch_id else v for v in self.seen)
        return Released(tuple(f"{what} is back" for what in held))

    def search(self, watch: str, kind: str, before: int | None) -> list[Entry]:
        fitting = [
            entry
            for entry in self.journal.entries()
            if watch in entry.watch_id
            and kind in {"", entry.kind}
            and (before is None or entry.seq < before)
        ]
        return fitting[::-1][:PAGE]

    def course(self, watch_id: str) -> list[Entry]:
        if self.unreadable is not None:
            raise self.unreadable
        found = self.journal.entries(watch_id=watch_id, kinds=frozenset(FOR_PEOPLE))
        return list(found)[::-1][:COURSE]


def _after(views: tuple[WatchView, ...], decided: str) -> tuple[WatchView, ...]:
    """Return regions or trains after a decision about one of them."""
    return tuple(replace(v, turn=v.turn + 1) if v.id == decided else v for v in views)


@contextmanager
def open_house(
    house: House,
    *,
    token: str | None = TOKEN,
    proxies: tuple[TrustedProxy, ...] = (),
    cluster: ClusterWord | None = None,
) -> Iterator[str]:
    """Serve the house; yield its address."""
    decisions = Decisions(
        views=lambda: (*house.seen, *house.regions, *house.trains),
        handle=house.handle,
        release=house.release,
        deciders=lambda _: house.deciders,
        journal=house.journal,
        telemetry=TELEMETRY,
        now=lambda: sample_views.START,
    )
    read = (lambda: token) if token is not None else None
    doors = Doors(
        views=lambda: house.seen,
        metrics=lambda: b"",
        unready=lambda: "",
        decide=decisions.decide,
        release=decisions.release,
        token=read,
        cluster=cluster,
        refused=house.refused.append,
    )
    site = Site(
        views=lambda: house.seen,
        regions=lambda: house.regions,
        trains=lambda: house.trains,
        rules=lambda: (PolicyRule(POLICY),),
        offered=decisions.offered,
        decide=decisions.decide,
        visitors=Visitors(read, proxies, cluster),
        journal=house.search,
        course=house.course,
        links=LINKS,
        refused=house.refused.append,
    )
    server = HttpServer(application(doors, site.routes()), "127.0.0.1", 0)
    server.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.close()
