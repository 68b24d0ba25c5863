"""A follower in front of a leader: what is passed on, as whom, and what is not."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from rollbackd.config.settings import TrustedProxy
from rollbackd.http import HttpServer
from rollbackd.web.relay import MAX_BODY, RELAYED, Leader, Relay
from rollbackd.web.visitors import Visitors
from rollbackd.web.vouching import GOOD_FOR_S, HEADER, vouch, vouched
from tests.end_to_end.cluster import free_port

KEY = "s3cret"
PROXY = TrustedProxy("x-forwarded-user", "x-forwarded-groups", (ip_network("127.0.0.0/8"),))
ELSEWHERE = TrustedProxy("x-forwarded-user", "x-forwarded-groups", (ip_network("10.0.0.0/8"),))


@dataclass
class Both:
    """What the leader was asked, and the address of the follower in front of it."""

    asked: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    url: str = ""

    def post(self, path: str = "/decide?a=b", **headers: str) -> requests.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        url = f"{self.url}{path}"
        return requests.post(url, data=b"key=1", headers=named, timeout=10, allow_redirects=False)


@contextmanager
def both(
    proxy: TrustedProxy = PROXY, token: str | None = KEY, address: str | None = None
) -> Iterator[Both]:
    both = Both()

    async def take(request: Request) -> Response:
        both.asked.append((str(request.url), dict(request.headers), await request.body()))
        return JSONResponse({"ok": True}, 303, headers={"location": "/there?said=taken"})

    def app(*_: Request) -> Response:
        return JSONResponse("the follower itself")

    every = ["GET", "POST"]
    with ExitStack() as stack:
        leading = Starlette(routes=[Route("/{path:path}", take, methods=every)])
        leader = HttpServer(leading, "127.0.0.1", 0)
        stack.callback(leader.close)
        leader.start()
        reached = f"http://127.0.0.1:{leader.port}" if address is None else address
        following = Relay(
            Starlette(routes=[Route("/{path:path}", app, methods=every)]),
            lambda: False,
            lambda: Leader("pod-1", reached),
            None if token is None else lambda: token,
            (proxy,),
        )
        follower = HttpServer(following, "127.0.0.1", 0)
        stack.callback(follower.close)
        follower.start()
        both.url = f"http://127.0.0.1:{follower.port}"
        yield both


@pytest.fixture
def pair() -> Iterator[Both]:
    with both() as pair:
        yield pair


def test_a_request_is_passed_on_as_it_came_and_so_is_its_answer(pair: Both) -> None:
    answer = pair.post(
        cookie="rollbackd-session=abc", authorization="Bearer x", host="shop.example"
    )
    assert (answer.status_code, answer.headers["location"]) == (303, "/there?said=taken")
    ((url, headers, body),) = pair.asked
    assert url == "http://shop.example/decide?a=b"
    assert body == b"key=1"
    assert headers["cookie"] == "rollbackd-session=abc"
    assert headers["authorization"] == "Bearer x"
    assert HEADER not in headers


@pytest.mark.parametrize("path", ["/sign-in", "/sign-out", "/policies"])
def test_what_changes_nothing_shared_is_answered_by_the_follower(pair: Both, path: str) -> None:
    assert pair.post(path).json() == "the follower itself"
    assert requests.get(f"{pair.url}/decide", timeout=10).json() == "the follower itself"
    assert pair.asked == []


def test_whom_a_proxy_names_the_follower_vouches_for(pair: Both) -> None:
    pair.post(x_forwarded_user="carol", x_forwarded_groups="dev, sre")
    ((_, headers, _),) = pair.asked
    assert "x-forwarded-user" not in headers
    assert "x-forwarded-groups" not in headers
    at_the_leader = Visitors(lambda: KEY, (ELSEWHERE,))
    with_clock = time.time()
    visitor = at_the_leader.visitor(headers, {}, "127.0.0.1", with_clock)
    assert visitor.person is not None
    assert (visitor.person.name, visitor.person.trusted) == ("carol", False)
    assert visitor.person.is_member("sre")
    late = at_the_leader.visitor(headers, {}, "127.0.0.1", with_clock + GOOD_FOR_S + 5)
    assert late.person is None


def test_what_strangers_write_into_a_proxys_headers_is_not_passed_on() -> None:
    with both(proxy=ELSEWHERE) as pair:
        forged = vouch("root", frozenset(), time.time(), "guessed")
        pair.post(x_forwarded_user="root", **{HEADER.replace("-", "_"): forged})
        ((_, headers, _),) = pair.asked
        assert not {"x-forwarded-user", HEADER} & headers.keys()


def test_without_a_token_nobody_can_be_vouched_for() -> None:
    with both(token=None) as pair:
        answer = pair.post(x_forwarded_user="carol")
        assert (answer.status_code, "http.token_file" in answer.text) == (503, True)
        assert pair.asked == []
        assert pair.post(authorization="Bearer x").status_code == 303


def test_nothing_is_passed_on_twice_nor_when_the_leader_is_not_known(pair: Both) -> None:
    answer = pair.post(**{RELAYED.replace("-", "_"): "1"})
    assert (answer.status_code, "pod-1 leads: decide there" in answer.text) == (503, True)
    with both(address="") as lost:
        answer = lost.post("/api/v1/decisions")
        assert answer.json() == {"error": "this replica follows; pod-1 leads: decide there"}
    assert pair.asked == lost.asked == []


def test_a_leader_that_does_not_answer_is_told() -> None:
    with both(address=f"http://127.0.0.1:{free_port()}") as pair:
        answer = pair.post("/api/v1/decisions")
        assert answer.status_code == 503
        assert "look whether it was done before you ask again" in answer.json()["error"]


def test_a_body_that_is_too_long_is_not_passed_on(pair: Both) -> None:
    body = b"x" * (MAX_BODY + 1)
    answer = requests.post(f"{pair.url}/slack/events", data=body, timeout=10)
    assert answer.status_code == 413
    assert pair.asked == []


names = st.text(min_size=1, max_size=30)


@given(names, st.frozensets(names, max_size=3), st.integers(0, 200), st.characters())
def test_a_word_that_was_tampered_with_is_nobodys(
    name: str, groups: frozenset[str], at: int, other: str
) -> None:
    word = vouch(name, groups, 1000.0, KEY)
    assert vouched(word, 1000.0 + GOOD_FOR_S, KEY) == (name, groups)
    assert vouched(word, 1002.0 + GOOD_FOR_S, KEY) is None
    assert vouched(word, 998.0 - GOOD_FOR_S, KEY) is None
    assert vouched(word, 1000.0, "another") is None
    position = at % len(word)
    forged = word[:position] + other + word[position + 1 :]
    assert forged == word or vouched(forged, 1000.0, KEY) is None


@given(st.text(max_size=200))
def test_nonsense_vouches_for_nobody(value: str) -> None:
    assert vouched(value, 0.0, KEY) is None
