"""What the daemon answers over HTTP, asked over a real socket."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from threading import Event as Signal
from urllib.parse import quote

import pytest
import requests

from actions.ports import ActionError, Conflict, Transient
from analyzer.events import Approved, Rejected
from rollbackd.config.secrets import SecretError
from rollbackd.config.settings import Deciders
from rollbackd.decisions import Decision, Decisions, Deed, Outcome, Person
from rollbackd.http import MAX_BODY, Doors, HttpServer, application
from rollbackd.releases import Released
from rollbackd.views import WatchView
from rollbackd.views_json import view_from_json, views_from_json
from tests.cli import sample_views
from tests.fakes.memory_journal import MemoryJournal
from tests.process.lifetime import TELEMETRY

TOKEN = "s3cret"
ODD_ID = "prod/shop/Deployment/check.out@v1.2/a+b ü"
WAITING = replace(sample_views.degraded(), phase="awaiting approval", plan_key="plan-1")


@dataclass
class House:
    """What is behind the doors."""

    seen: tuple[WatchView, ...] = (
        WAITING,
        sample_views.healthy(),
        replace(sample_views.blind(), id=ODD_ID),
    )
    why_not: str = ""
    deciders: Deciders = field(default_factory=Deciders)
    decisions: list[tuple[str, Deed]] = field(default_factory=list)
    trouble: Exception | None = None
    refused: list[str] = field(default_factory=list)
    token: str | Exception = TOKEN
    held: Signal = field(default_factory=Signal)

    def __post_init__(self) -> None:
        self.held.set()
        self.desk = Decisions(
            views=lambda: self.seen,
            handle=self.handle,
            release=self.let_go,
            deciders=lambda _: self.deciders,
            journal=MemoryJournal(),
            telemetry=TELEMETRY,
            now=lambda: sample_views.START,
        )

    def decide(self, decision: Decision) -> Outcome:
        return self.desk.decide(decision)

    def handle(self, watch_id: str, event: Deed) -> None:
        """As the controller does: only the plan in force can be approved."""
        assert self.held.wait(10)
        if self.trouble is not None:
            raise self.trouble
        self.decisions.append((watch_id, event))
        if isinstance(event, Approved | Rejected) and event.plan_key == WAITING.plan_key:
            phase = "acting" if isinstance(event, Approved) else "needs a human"
            self.seen = (replace(WAITING, phase=phase, turn=1), *self.seen[1:])

    def let_go(self, watch_id: str, by: str) -> Released:
        if isinstance(self.trouble, ActionError):
            raise self.trouble
        failed = ("Flux Kustomization a/b was changed",) if by == "unlucky" else ()
        return Released((f"put back what {watch_id} held",), failed)

    def read_token(self) -> str:
        if isinstance(self.token, Exception):
            raise self.token
        return self.token


@dataclass
class Reception:
    """Sends visitors to the house of the moment, so that one server serves all tests."""

    house: House = field(default_factory=House)

    def decide(self, decision: Decision) -> Outcome:
        return self.house.decide(decision)

    def release(self, watch_id: str, by: Person) -> Outcome:
        return self.house.desk.release(watch_id, by)

    def read_token(self) -> str:
        return self.house.read_token()

    def refuse(self, reason: str) -> None:
        self.house.refused.append(reason)

    def doors(self) -> Doors:
        return Doors(
            views=lambda: self.house.seen,
            metrics=lambda: b"up 1.0\n",
            open_metrics=lambda: b"up 1.0\n# EOF\n",
            unready=lambda: self.house.why_not,
            decide=self.decide,
            release=self.release,
            token=self.read_token,
            refused=self.refuse,
        )


@dataclass
class Site:
    house: House
    url: str

    def get(self, path: str) -> requests.Response:
        return requests.get(f"{self.url}{path}", timeout=10)

    def decide(self, token: str | None = TOKEN, **fields: object) -> requests.Response:
        usual = {"watch": WAITING.id, "decision": "approve", "plan": "plan-1", "turn": 0}
        body = usual | {"by": "ann"} | fields
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        url = f"{self.url}/api/v1/decisions"
        return requests.post(url, json=body, headers=headers, timeout=10)

    def decide_raw(self, body: bytes) -> requests.Response:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        url = f"{self.url}/api/v1/decisions"
        return requests.post(url, data=body, headers=headers, timeout=10)


@pytest.fixture(scope="module")
def reception() -> Iterator[tuple[Reception, str]]:
    reception = Reception()
    server = HttpServer(application(reception.doors()), "127.0.0.1", 0)
    server.start()
    yield reception, f"http://127.0.0.1:{server.port}"
    server.close()


@pytest.fixture
def site(reception: tuple[Reception, str]) -> Site:
    there, url = reception
    there.house = House()
    return Site(there.house, url)


def a_server(
    reception: Reception | None = None, host: str = "127.0.0.1", port: int = 0
) -> HttpServer:
    return HttpServer(application((reception or Reception()).doors()), host, port)


def test_metrics_and_health(site: Site) -> None:
    metrics = site.get("/metrics")
    assert (metrics.status_code, metrics.text) == (200, "up 1.0\n")
    assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")
    accepted = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3"
    opened = requests.get(f"{site.url}/metrics", headers={"accept": accepted}, timeout=10)
    assert opened.text.endswith("# EOF\n")
    assert opened.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert site.get("/healthz").status_code == 200


def test_readiness_tells_its_reason(site: Site) -> None:
    assert (site.get("/readyz").status_code, site.get("/readyz").text) == (200, "ready\n")
    site.house.why_not = "the first tick has not ended yet"
    answer = site.get("/readyz")
    assert (answer.status_code, answer.text) == (503, "the first tick has not ended yet\n")


def test_watches_are_told_whole(site: Site) -> None:
    answer = site.get("/api/v1/watches")
    assert tuple(views_from_json(answer.json())) == site.house.seen
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("safe", ["/", "/@", ""])
def test_a_watch_is_found_by_its_id_however_it_is_quoted(site: Site, safe: str) -> None:
    for view in site.house.seen:
        answer = site.get(f"/api/v1/watches/{quote(view.id, safe=safe)}")
        assert answer.status_code == 200, view.id
        assert view_from_json(answer.json()) == view


@pytest.mark.parametrize("watch", ["nobody", "prod", "prod/shop", f"{ODD_ID}x"])
def test_an_unknown_watch_is_not_found(site: Site, watch: str) -> None:
    answer = site.get(f"/api/v1/watches/{quote(watch)}")
    assert answer.status_code == 404
    assert "no such watch" in answer.json()["error"]


@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN.upper(), f"{TOKEN} ", "ünïcode"])
def test_without_the_right_token_nobody_decides(site: Site, token: str | None) -> None:
    answer = site.decide(token if token is None else token.encode().decode("latin-1"))
    if token == f"{TOKEN} ":  # white space at the end of a header is no part of it
        assert answer.status_code == 200
    else:
        assert answer.status_code == 403
        assert site.house.decisions == []
        assert site.house.refused == ["not authorised"]


def test_without_a_token_in_the_configuration_nobody_decides() -> None:
    reception = Reception()
    doors = replace(reception.doors(), token=None)
    server = HttpServer(application(doors), "127.0.0.1", 0)
    server.start()
    site = Site(reception.house, f"http://127.0.0.1:{server.port}")
    assert site.decide("").status_code == 403
    assert site.decide("None").status_code == 403
    server.close()
    assert reception.house.decisions == []


def test_a_token_that_cannot_be_read_now_lets_nobody_in(site: Site) -> None:
    site.house.token = SecretError("the file /run/token cannot be read")
    answer = site.decide()
    assert answer.status_code == 503
    assert "/run/token" not in answer.text
    assert site.house.decisions == []


def test_a_token_may_be_changed_while_the_daemon_runs(site: Site) -> None:
    site.house.token = "new"
    assert site.decide(TOKEN).status_code == 403
    assert site.decide("new").status_code == 200


def test_an_approval_is_for_exactly_this_plan(site: Site) -> None:
    wrong = site.decide(plan="plan-2")
    assert (wrong.status_code, wrong.json()["phase"]) == (409, "awaiting approval")
    assert "no longer current, nothing was done" in wrong.json()["error"]
    right = site.decide()
    assert (right.status_code, right.json()["phase"]) == (200, "acting")
    again = site.decide()
    assert (again.status_code, again.json()["phase"]) == (409, "acting")
    assert site.house.decisions == [(WAITING.id, Approved("plan-1", "ann"))]


def test_a_rejection_is_one(site: Site) -> None:
    assert site.decide(decision="reject").json()["phase"] == "needs a human"
    assert site.house.decisions == [(WAITING.id, Rejected("plan-1", "ann"))]


def test_the_author_may_be_kept_from_deciding(site: Site) -> None:
    site.house.deciders = Deciders(four_eyes=True)
    site.house.seen = (replace(WAITING, annotations={"rollbackd.io/author": "Ann"}),)
    assert site.decide().status_code == 403
    assert site.decide(by="bob").status_code == 200


def test_nobody_decides_about_an_unknown_watch(site: Site) -> None:
    assert site.decide(watch="nobody").status_code == 404
    assert site.house.decisions == []


@pytest.mark.parametrize("length", [MAX_BODY + 1, 50 * MAX_BODY])
def test_a_body_that_is_too_long_is_not_read(site: Site, length: int) -> None:
    assert site.decide_raw(b"x" * length).status_code == 413
    assert site.house.decisions == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"watch": "w", "plan": "p", "turn": 0, "decision": "approve"}',
        b'{"watch": "w", "plan": "p", "turn": 0, "decision": "yes", "by": "ann"}',
        b'{"watch": "w", "plan": "p", "turn": 0, "decision": "approve", "by": ""}',
        b'{"watch": "w", "plan": "p", "decision": "approve", "by": "ann"}',
        b'{"watch": "w", "turn": 0, "decision": "snooze", "by": "ann", "for_s": 1e9}',
        b'{"watch": "w", "turn": 0, "decision": "approve", "by": "ann", "force": true}',
    ],
)
def test_a_body_that_is_no_decision_is_refused(site: Site, body: bytes) -> None:
    answer = site.decide_raw(body)
    assert answer.status_code == 422
    assert "not a decision" in answer.json()["error"]
    assert site.house.decisions == []


def test_a_decision_that_could_not_be_recorded_is_to_be_made_again(site: Site) -> None:
    site.house.trouble = Transient("disk full")
    answer = site.decide()
    assert answer.status_code == 503
    assert "disk full" in answer.json()["error"]


def test_others_are_answered_while_a_decision_is_being_written(site: Site) -> None:
    site.house.held.clear()
    with ThreadPoolExecutor(1) as person:
        deciding = person.submit(site.decide)
        assert site.get("/healthz").status_code == 200
        site.house.held.set()
        assert deciding.result(10).status_code == 200


def test_only_the_right_method_decides(site: Site) -> None:
    assert site.get("/api/v1/decisions").status_code == 405
    assert requests.post(f"{site.url}/api/v1/watches", timeout=10).status_code == 405


def test_an_address_in_use_is_refused_at_once() -> None:
    """Also before the one who has it answers: two may bind an address, only one may listen."""
    first = a_server()
    with pytest.raises(OSError, match="in use"):
        a_server(port=first.port)
    first.close()


def test_the_address_is_free_again_after_closing() -> None:
    first = a_server()
    first.start()
    assert requests.get(f"http://127.0.0.1:{first.port}/healthz", timeout=10).ok
    first.close()
    a_server(port=first.port).close()


def test_ipv6_addresses_are_served() -> None:
    try:
        server = a_server(host="::1")
    except OSError:
        pytest.skip("this machine has no IPv6")
    server.start()
    assert requests.get(f"http://[::1]:{server.port}/healthz", timeout=10).ok
    server.close()


def let_go(site: Site, token: str | None = TOKEN, **fields: object) -> requests.Response:
    body = {"watch": WAITING.id, "by": "ann", **fields}
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return requests.post(f"{site.url}/api/v1/releases", json=body, headers=headers, timeout=10)


def test_what_is_held_is_let_go_on_a_word(site: Site) -> None:
    answer = let_go(site)
    assert answer.status_code == 200
    assert answer.json() == {"done": [f"put back what {WAITING.id} held"], "failed": []}


def test_what_could_not_be_let_go_is_told(site: Site) -> None:
    answer = let_go(site, by="unlucky")
    assert answer.status_code == 409
    assert answer.json()["failed"] == ["Flux Kustomization a/b was changed"]


@pytest.mark.parametrize("token", [None, "", "wrong"])
def test_nobody_else_lets_go(site: Site, token: str | None) -> None:
    assert let_go(site, token).status_code == 403


@pytest.mark.parametrize(("fields", "status"), [({"watch": "no"}, 404), ({"plan": "p"}, 422)])
def test_a_release_must_be_of_a_watch(site: Site, fields: dict[str, str], status: int) -> None:
    assert let_go(site, **fields).status_code == status


@pytest.mark.parametrize(
    ("trouble", "status", "said"),
    [(Transient("timeout"), 503, "ask again: timeout"), (Conflict("changed"), 409, "changed")],
)
def test_trouble_in_letting_go_is_told(
    site: Site, trouble: Exception, status: int, said: str
) -> None:
    site.house.trouble = trouble
    answer = let_go(site)
    assert answer.status_code == status
    assert said in answer.json()["error"]


def test_the_author_may_be_kept_from_letting_go(site: Site) -> None:
    site.house.deciders = Deciders(four_eyes=True)
    assert let_go(site).status_code == 403
