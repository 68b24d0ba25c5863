"""People with tokens of the cluster, on the page and at the API, against the fake API server."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import requests

from analyzer.events import Approved
from rollbackd.config import ConfigError, load
from rollbackd.config.settings import ClusterLogin as Settings
from rollbackd.config.settings import Deciders
from rollbackd.daemon import Daemon
from rollbackd.web import cluster_login
from rollbackd.web.cluster_login import REMEMBER_S, ClusterLogin
from tests.config.files import minimal, write
from tests.end_to_end.cluster import free_port
from tests.fakes.kube_api import Access, FakeKubeApi, Fault, FaultAction, User
from tests.kubernetes.shop import cluster
from tests.web.house import TOKEN, WAITING, House, open_house
from tests.web.test_site import OURS, decide

ANN, EVE = "token-of-ann", "token-of-eve"
RIGHT = "decide rollouts.rollbackd.io"
PEOPLE = {
    ANN: User("ann@shop.example", ("sre",), frozenset({f"{RIGHT} shop"})),
    EVE: User(
        "eve", ("dev",), frozenset({f"{RIGHT} search", "update rollouts.rollbackd.io shop"})
    ),
}


@dataclass
class Site:
    api: FakeKubeApi
    house: House
    url: str
    now: list[float] = field(default_factory=lambda: [0.0])

    def decide(self, token: str, **fields: object) -> requests.Response:
        usual = {"watch": WAITING.id, "decision": "approve", "plan": "plan-1", "turn": 0}
        headers = {"Authorization": f"Bearer {token}"}
        body = usual | {"by": "somebody else"} | fields
        url = f"{self.url}/api/v1/decisions"
        return requests.post(url, json=body, headers=headers, timeout=10)

    def sign_in(self, token: str) -> tuple[requests.Session, requests.Response]:
        session = requests.Session()
        form = {"token": token}
        url = f"{self.url}/sign-in"
        return session, session.post(url, data=form, headers=OURS, timeout=10)

    def reviews(self) -> list[str]:
        return [r.path.rpartition("/")[2] for r in self.api.requests() if "reviews" in r.path]


@pytest.fixture
def site() -> Iterator[Site]:
    with cluster() as (api, connection):
        api.set_access(Access(people=PEOPLE))
        house, now = House(), [0.0]
        login = ClusterLogin(connection, Settings(), lambda: now[0])
        with open_house(house, cluster=login.person) as url:
            yield Site(api, house, url, now)


def test_whoever_has_the_right_decides_under_the_name_that_the_cluster_gives(site: Site) -> None:
    assert site.decide(ANN).status_code == 200
    assert site.house.events == [(WAITING.id, Approved("plan-1", "ann@shop.example"))]
    (entry,) = site.house.journal.entries(kinds=frozenset({"decision"}))
    assert (entry.data["by"], entry.data["id"]) == ("ann@shop.example", "ann@shop.example")
    assert ANN not in str(entry)


def test_a_right_elsewhere_or_to_something_else_is_none(site: Site) -> None:
    site.house.deciders = Deciders(users=("eve",), groups=("dev",))
    answer = site.decide(EVE)
    assert answer.status_code == 403
    assert answer.json()["error"] == "the cluster does not let eve decide about shop/checkout"
    assert site.house.events == []


@pytest.mark.parametrize(
    "token", ["", "nobody-has-this", "ünïcode-token", "x" * 9000, "a b c d e f"]
)
def test_an_unknown_token_lets_nobody_in(site: Site, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}".encode()}
    url = f"{site.url}/api/v1/decisions"
    assert requests.post(url, json={}, headers=headers, timeout=10).status_code == 403
    session, answer = site.sign_in(token)
    assert answer.status_code == 403
    assert not session.cookies
    assert set(site.reviews()) <= {"tokenreviews"}
    assert site.house.events == []


def test_the_daemons_own_token_goes_on_to_let_people_in(site: Site) -> None:
    assert site.decide(TOKEN).status_code == 200
    assert site.reviews() == []


def test_on_the_page_a_person_signs_in_with_their_token_and_out(site: Site) -> None:
    session, answer = site.sign_in(ANN)
    assert "ann@shop.example" in answer.text
    assert "Yes: Approve" in session.get(f"{site.url}/watches/{WAITING.id}", timeout=10).text
    left = session.post(f"{site.url}/sign-out", headers=OURS, timeout=10)
    assert "read only" in left.text
    assert not session.cookies
    session, _ = site.sign_in(ANN)
    assert decide(session, site.url).headers["location"].endswith("?said=taken")
    assert site.house.events == [(WAITING.id, Approved("plan-1", "ann@shop.example"))]


def test_on_the_page_too_the_right_is_asked_for(site: Site) -> None:
    session, answer = site.sign_in(EVE)
    assert "eve" in answer.text
    assert decide(session, site.url).headers["location"].endswith("?said=forbidden")
    assert site.house.events == []


@pytest.mark.parametrize(
    "down",
    [Fault(FaultAction.DROP_BEFORE), Fault(FaultAction.ERROR)],
    ids=["gone", "broken"],
)
def test_while_the_cluster_is_down_everybody_may_read_and_is_told(site: Site, down: Fault) -> None:
    session, _ = site.sign_in(ANN)
    site.api.add_fault(down)
    site.now[0] += REMEMBER_S
    page = session.get(f"{site.url}/watches/{WAITING.id}", timeout=10)
    assert page.status_code == 200
    assert "Read only for now: the cluster does not say who may decide" in page.text
    assert "Yes: Approve" not in page.text
    assert decide(session, site.url).status_code == 503
    answer = site.decide(ANN)
    assert (answer.status_code, "read only for now" in answer.json()["error"]) == (503, True)
    assert site.sign_in(ANN)[1].status_code == 503
    assert site.house.events == []
    site.api.clear_faults()
    assert decide(session, site.url).headers["location"].endswith("?said=taken")


def test_a_cluster_that_does_not_let_us_review_lets_nobody_decide(site: Site) -> None:
    for denied in ("create tokenreviews", "create subjectaccessreviews"):
        site.now[0] += REMEMBER_S
        site.api.set_access(Access(people=PEOPLE, denied=frozenset({denied})))
        answer = site.decide(ANN)
        assert answer.status_code == 503
        assert denied.split()[1] in answer.json()["error"]
    assert site.house.events == []


def test_answers_are_remembered_for_a_short_time_only(site: Site) -> None:
    session, _ = site.sign_in(ANN)
    for _ in range(5):
        session.get(site.url, timeout=10)
    assert site.reviews() == ["tokenreviews"]
    site.api.set_access(Access(people={ANN: replace(PEOPLE[ANN], may=frozenset())}))
    site.now[0] += REMEMBER_S
    assert decide(session, site.url).headers["location"].endswith("?said=forbidden")
    site.api.set_access(Access(people={}))
    site.now[0] += REMEMBER_S
    assert decide(session, site.url).status_code == 403
    assert site.house.events == []


def test_the_author_does_not_decide_whatever_the_cluster_allows(site: Site) -> None:
    site.house.deciders = Deciders(four_eyes=True)
    mine = {"rollbackd.io/author": "ANN@shop.example"}
    site.house.seen = (replace(WAITING, annotations=mine), *site.house.seen[1:])
    answer = site.decide(ANN)
    assert (answer.status_code, "four eyes" in answer.json()["error"]) == (403, True)


def test_a_token_for_others_is_nobodys() -> None:
    made = replace(PEOPLE[ANN], audiences=("rollbackd",))
    with cluster() as (api, connection):
        api.set_access(Access(people={ANN: made, EVE: PEOPLE[EVE]}))
        ours = ClusterLogin(connection, Settings(audiences=("rollbackd",)))
        person = ours.person(ANN, "http")
        assert person is not None
        assert person.name == "ann@shop.example"
        assert ours.person(EVE, "http") is None  # made for the API server
        assert ClusterLogin(connection, Settings()).person(ANN, "http") is None


def test_a_server_that_knows_no_audiences_vouches_for_nobody_with_one() -> None:
    with cluster() as (api, connection):
        api.set_access(Access(people=PEOPLE, knows_audiences=False))
        assert ClusterLogin(connection, Settings()).person(ANN, "http") is not None
        ours = ClusterLogin(connection, Settings(audiences=("rollbackd",)))
        assert ours.person(ANN, "http") is None


def test_strangers_who_try_tokens_fill_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_login, "MAX_REMEMBERED", 5)
    with cluster() as (api, connection):
        api.set_access(Access(people=PEOPLE))
        login = ClusterLogin(connection, Settings())
        for i in range(20):
            assert login.person(f"made-up-token-{i}", "http") is None
        assert len(login._known) <= 5
        assert login.person(ANN, "http") is not None


def test_the_whole_daemon_asks_its_cluster(tmp_path: Path) -> None:
    with FakeKubeApi() as api:
        api.set_access(Access(people=PEOPLE))
        values = minimal() | {
            "journal": {"url": f"sqlite:///{tmp_path / 'journal.db'}"},
            "http": {"listen": f"127.0.0.1:{free_port()}", "kubernetes": {}},
            "source": {"scrape": {"targets": [{"address": "127.0.0.1:1"}]}},
            "rollouts": {"kubernetes": {"server": api.url}},
        }
        with Daemon(load(write(tmp_path, values))) as daemon:
            url = f"http://127.0.0.1:{daemon.port}"
            asked = {"watch": "a/b/c/d", "decision": "approve", "turn": 0, "by": "x"}
            answers = [
                requests.post(
                    f"{url}/api/v1/decisions",
                    json=asked,
                    headers={"Authorization": f"Bearer {token}"},
                    timeout=10,
                ).status_code
                for token in (ANN, "nobody-has-this", "")
            ]
            form = {"token": ANN}
            page = requests.post(f"{url}/sign-in", data=form, headers=OURS, timeout=10)
    assert answers == [404, 403, 403]  # whom the cluster knows is told that there is no such watch
    assert page.history[0].cookies


def test_without_a_cluster_nobody_can_be_known_by_it(tmp_path: Path) -> None:
    static = {"rollouts": {"static_file": "rollouts.json"}, "actions": []}
    values = minimal() | static | {"http": {"kubernetes": {}}}
    with pytest.raises(ConfigError, match="no cluster that could tell who people are"):
        load(write(tmp_path, values))
