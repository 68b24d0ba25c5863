"""The site over a real socket: what it shows, who may decide, and what is refused."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from actions.ports import Entry, Transient
from analyzer.events import Approved, Demanded, Snoozed
from rollbackd.config.settings import Deciders
from rollbackd.decisions import Verb, offer_key
from rollbackd.views import ExampleView, GuardView
from rollbackd.web.visitors import NOBODY, SESSION, SESSION_S, Visitors, vouched_for
from tests.web.house import PROXY, TOKEN, WAITING, WATCHED, House, open_house

OURS = {"sec-fetch-site": "same-origin"}
KEY = offer_key(WAITING, Verb.APPROVE)


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
def url(house: House) -> Iterator[str]:
    with open_house(house, proxies=(PROXY,)) as address:
        yield address


def signed_in(url: str, name: str = "ann", token: str = TOKEN) -> requests.Session:
    session = requests.Session()
    form = {"name": name, "token": token}
    answer = session.post(f"{url}/sign-in", data=form, headers=OURS, timeout=10)
    assert answer.status_code == (200 if token == TOKEN else 403)
    return session


def decide(
    session: requests.Session, url: str, key: str = KEY, headers: dict[str, str] | None = None
) -> requests.Response:
    return session.post(
        f"{url}/decide",
        data={"key": key},
        headers=OURS if headers is None else headers,
        timeout=10,
        allow_redirects=False,
    )


def get(url: str, path: str, **headers: str) -> requests.Response:
    return requests.get(f"{url}{path}", headers=headers, timeout=10)


def test_the_overview_names_what_needs_attention_first_and_escapes_names(url: str) -> None:
    page = get(url, "/").text
    assert page.index("shop/checkout") < page.index("&lt;b&gt;search&lt;/b&gt;")
    assert "<b>search" not in page
    assert "read only" in page


def test_every_page_forbids_foreign_and_inline_code(url: str) -> None:
    for path in ("/", f"/watches/{WAITING.id}", "/journal", "/policies", "/sign-in"):
        answer = get(url, path)
        assert answer.status_code == 200, path
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert " style=" not in answer.text
    for name in ("report.css", "web.css", "live.js"):
        assert get(url, f"/static/{name}").status_code == 200
    assert get(url, "/static/../site.py").status_code == 404


def test_an_unknown_rollout_is_not_found(url: str) -> None:
    answer = get(url, "/watches/nobody")
    assert (answer.status_code, "There is no such rollout" in answer.text) == (404, True)


def test_only_somebody_is_shown_buttons(url: str) -> None:
    assert "Yes: Approve" not in get(url, f"/watches/{WAITING.id}").text
    page = signed_in(url).get(f"{url}/watches/{WAITING.id}", timeout=10).text
    assert "Yes: Approve" in page
    assert KEY in page


def test_a_signed_in_person_decides_about_what_they_saw_once(house: House, url: str) -> None:
    session = signed_in(url)
    first, second = decide(session, url), decide(session, url)
    assert first.status_code == 303
    assert first.headers["location"].endswith("?said=taken")
    assert second.status_code == 409
    assert house.events == [(WAITING.id, Approved("plan-1", "ann"))]
    (entry,) = house.journal.entries(kinds=frozenset({"decision"}))
    assert (entry.data["by"], entry.data["via"]) == ("ann", "web")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
    ],
)
def test_a_request_from_elsewhere_decides_nothing(
    house: House, url: str, headers: dict[str, str]
) -> None:
    assert decide(signed_in(url), url, headers=headers).status_code == 403
    assert house.events == []
    assert house.refused == ["foreign"]


def test_an_older_browser_is_known_by_its_origin(house: House, url: str) -> None:
    assert decide(signed_in(url), url, headers={"origin": url}).status_code == 303
    assert len(house.events) == 1


def test_nobody_decides_without_signing_in(house: House, url: str) -> None:
    assert decide(requests.Session(), url).status_code == 403
    assert decide(signed_in(url, token="wrong"), url).status_code == 403
    assert house.events == []
    assert house.refused == ["not authorised"] * 3


def test_who_signs_out_is_nobody_again(url: str) -> None:
    session = signed_in(url)
    assert "sign out" in session.get(url, timeout=10).text
    assert session.post(f"{url}/sign-out", timeout=10).status_code == 403  # not from our page
    assert "read only" in session.post(f"{url}/sign-out", headers=OURS, timeout=10).text
    assert decide(session, url).status_code == 403


def test_without_a_token_nobody_can_sign_in(house: House) -> None:
    with open_house(house, token=None) as url:
        assert "nobody can sign in" in get(url, "/sign-in").text
        form = {"name": "ann", "token": ""}
        answer = requests.post(f"{url}/sign-in", data=form, headers=OURS, timeout=10)
        assert answer.status_code == 403


@pytest.mark.parametrize("key", ["", "unknown", offer_key(WAITING, Verb.RESUME), "x" * 3000])
def test_an_unknown_key_decides_nothing(house: House, url: str, key: str) -> None:
    assert decide(signed_in(url), url, key).status_code == 409
    assert house.events == []


def test_an_oversized_form_is_refused(house: House, url: str) -> None:
    assert decide(signed_in(url), url, "x" * 100_000).status_code == 403
    big = {"text": "a" * 200_000}
    answer = requests.post(f"{url}/policies", data=big, headers=OURS, timeout=10)
    assert answer.status_code == 413
    assert house.events == []


def test_what_could_not_be_recorded_is_said_and_can_be_decided_again(
    house: House, url: str
) -> None:
    house.trouble = Transient("disk full")
    session = signed_in(url)
    assert decide(session, url).headers["location"].endswith("?said=unrecorded")
    house.trouble = None
    assert decide(session, url).headers["location"].endswith("?said=taken")


def test_a_proxy_vouches_for_people_by_group(house: House, url: str) -> None:
    house.deciders = Deciders(groups=("sre",))
    session = requests.Session()
    session.headers["x-forwarded-user"] = "carol"
    assert decide(session, url).headers["location"].endswith("?said=forbidden")
    session.headers["x-forwarded-groups"] = "dev, sre"
    assert decide(session, url).headers["location"].endswith("?said=taken")
    assert house.events == [(WAITING.id, Approved("plan-1", "carol"))]


def test_snoozing_is_offered_while_evidence_is_gathered(house: House, url: str) -> None:
    decide(signed_in(url), url, offer_key(WATCHED, Verb.SNOOZE))
    ((watch_id, event),) = house.events
    assert watch_id == WATCHED.id
    assert isinstance(event, Snoozed)


def test_a_hold_is_released_once_also_after_the_end(house: House, url: str) -> None:
    over = replace(WAITING, phase="rolled back", final=True, held=("the sync of <i>a/b</i>",))
    house.seen = (over, *house.seen[1:])
    page = signed_in(url).get(f"{url}/watches/{over.id}", timeout=10).text
    assert "Yes: Release hold" in page
    assert "the sync of &lt;i&gt;a/b&lt;/i&gt;" in page
    key = offer_key(over, Verb.RELEASE)
    session = signed_in(url)
    assert decide(session, url, key).headers["location"].endswith("?said=taken")
    assert decide(session, url, key).status_code == 409
    assert house.released == ["ann: the sync of <i>a/b</i>"]


def test_what_was_only_reported_can_still_be_rolled_back(house: House, url: str) -> None:
    reported = replace(WAITING, phase="reported", final=True, can_demand=True)
    house.seen = (reported, *house.seen[1:])
    key = offer_key(reported, Verb.ROLL_BACK)
    assert decide(signed_in(url), url, key).headers["location"].endswith("?said=taken")
    assert house.events == [(WAITING.id, Demanded("ann"))]
    gone = replace(reported, can_demand=False)
    house.seen = (gone, *house.seen[1:])
    assert decide(signed_in(url), url, offer_key(gone, Verb.ROLL_BACK)).status_code == 409


def test_a_rollouts_page_shows_guards_links_traces_and_its_journal(house: House, url: str) -> None:
    example = ExampleView(
        "canary", "GET /<b>cart</b>", "4bf92f3577b34da6", "https://tempo.example/4bf"
    )
    guards = (
        GuardView("cool-down", "passed", ""),
        GuardView("capacity", "refused", "the quota <i>leaves</i> no room"),
    )
    errors = replace(WAITING.signals[0], examples=(example,))
    view = replace(WAITING, guards=guards, signals=(errors, *WAITING.signals[1:]))
    house.seen = (view, *house.seen[1:])
    for kind, data in (
        ("watch", {"phase": "degraded", "note": "errors <script>"}),
        ("decision", {"decision": "snooze", "by": "bob", "via": "slack"}),
        ("view", {"phase": "not for people"}),
        ("refusal", {"reasons": ["no way back", "frozen"]}),
    ):
        house.journal.append(Entry(1.0, view.id, kind, "", data))
    page = get(url, f"/watches/{view.id}").text
    for shown in (
        "<strong>capacity</strong> refused: the quota &lt;i&gt;leaves&lt;/i&gt; no room",
        "Passed: cool-down",
        'href="https://tempo.example/4bf"',
        "GET /&lt;b&gt;cart&lt;/b&gt;",
        'href="https://grafana.example/d/shop?var-app=checkout&amp;from=',
        "degraded: errors &lt;script&gt;",
        "snooze by bob (slack)",
        "no way back; frozen",
        "<dt>Author</dt><dd>bob</dd>",
    ):
        assert shown in page
    assert "not for people" not in page
    house.unreadable = Transient("the database is away")
    assert "The journal cannot be read now" in get(url, f"/watches/{view.id}").text


def test_the_journal_is_searched_and_paged(house: House, url: str) -> None:
    for number in range(130):
        kind = "watch" if number % 2 else "view"
        house.journal.append(Entry(float(number), f"shop/{number % 3}", kind, "", {"n": number}))
    page = get(url, "/journal")
    assert page.text.count("<details") == 100
    older = get(url, "/journal?before=31")
    assert older.text.count("<details") == 30
    assert "Older entries" not in older.text
    found = get(url, "/journal?watch=shop/1&kind=watch")
    assert 0 < found.text.count("<details") < 40
    assert get(url, "/journal?before=none&kind=%3Cscript%3E").status_code == 200


def test_a_configuration_is_checked_and_every_problem_told(url: str) -> None:
    wrong = {"text": "source: {}\nnonsense: 1\n"}
    page = requests.post(f"{url}/policies", data=wrong, headers=OURS, timeout=10).text
    assert "nonsense" in page
    assert "problems" in page
    assert "No problems." not in page


def test_a_policy_of_the_cluster_is_checked_too(url: str) -> None:
    head = "apiVersion: rollbackd.io/v1alpha1\nkind: RollbackPolicy\nmetadata: {name: x}\n"
    for spec, said in (("{horizn: 1h}", "spec.horizn"), ("{horizon: 2h}", "No problems.")):
        text = {"text": f"{head}spec: {spec}\n"}
        page = requests.post(f"{url}/policies", data=text, headers=OURS, timeout=10).text
        assert said in page


def test_the_stream_says_that_something_changed(house: House, url: str) -> None:
    with requests.get(f"{url}/stream", stream=True, timeout=20) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.iter_lines(decode_unicode=True)
        assert next(lines).startswith("retry")
        house.seen = (replace(WAITING, phase="acting"), *house.seen[1:])
        assert any(line == "event: change" for line in lines)


# Who is asking, without a socket

VISITORS = Visitors(lambda: TOKEN)


def test_a_session_ends_after_its_time_and_with_its_token() -> None:
    session = VISITORS.sign_in(TOKEN, " ann ", 1000.0)
    assert session is not None
    assert session[0] == SESSION
    cookies = dict([session])
    person = VISITORS.visitor({}, cookies, "", 1000.0 + SESSION_S).person
    assert person is not None
    assert (person.name, person.trusted) == ("ann", True)
    assert VISITORS.visitor({}, cookies, "", 1002.0 + SESSION_S).person is None
    assert Visitors(lambda: "changed").visitor({}, cookies, "", 1000.0).person is None
    assert Visitors(None).visitor({}, cookies, "", 1000.0).person is None


@given(st.text(max_size=60), st.integers(0, 80), st.characters())
def test_a_session_that_was_tampered_with_is_nobodys(name: str, at: int, other: str) -> None:
    cookie = VISITORS.sign_in(TOKEN, name, 1000.0)
    if cookie is None:
        return
    session = cookie[1]
    position = at % len(session)
    forged = session[:position] + other + session[position + 1 :]
    person = VISITORS.visitor({}, {SESSION: forged}, "", 1000.0).person
    assert person is None or forged == session


@given(st.text(max_size=300))
def test_nonsense_is_nobody(cookie: str) -> None:
    assert VISITORS.visitor({}, {SESSION: cookie}, "", 0.0) == NOBODY


@pytest.mark.parametrize("client", ["10.0.0.1", "", "nonsense", "::1", "::ffff:127.0.0.1"])
def test_headers_from_elsewhere_vouch_for_nobody(client: str) -> None:
    assert vouched_for(PROXY, {"x-forwarded-user": "root"}, client) is None


def test_a_proxy_that_names_nobody_vouches_for_nobody() -> None:
    assert vouched_for(PROXY, {"x-forwarded-user": " "}, "127.0.0.1") is None
    assert vouched_for(PROXY, {"x-forwarded-user": "x" * 201}, "127.0.0.1") is None
