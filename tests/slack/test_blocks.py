"""Whatever a workload is called: Slack takes the message, and nothing in it does anything."""

import re
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analyzer.watch import Hold, Phase
from rollbackd.decisions import Verb, offers
from rollbackd.notifiers.links import NO_LINKS, Links
from rollbackd.slack import blocks
from rollbackd.slack.messenger import untold
from rollbackd.slack.mrkdwn import code, escape, fitted, plain, sparkline
from rollbackd.slack.picture import draw
from rollbackd.views import ExampleView, SignalPoint, SignalView, TimelineItem, WatchView
from tests.cli import sample_views
from tests.fakes.slack.limits import problems

LINKS = Links("https://g.example/{namespace}/{name}", "https://t.example/{watch}", "")
ATTACKS = (
    "<!channel>", "<@U1>", "<https://evil.example|checkout>", "*bold*", "`code`", "a|b", "&lt;",
    "\u202eevil", "\x00", "line\nline", "<!date^1^{date}|x>", "x" * 5000, "", "@here", "%s {plan}",
)  # fmt: skip
foreign = st.one_of(st.sampled_from(ATTACKS), st.text(max_size=80))
annotations = st.dictionaries(
    st.sampled_from(("rollbackd.io/author", "rollbackd.io/commit", "rollbackd.io/change-url")),
    st.one_of(foreign, foreign.map(lambda text: f"https://git.example/{text}")),
)
numbers = st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False))
points = st.lists(
    st.builds(
        SignalPoint, st.floats(1.7e9, 1.9e9), numbers, numbers, numbers, numbers, numbers,
        st.floats(0, 1e300),
    ),
    max_size=60,
).map(tuple)  # fmt: skip
signals = st.builds(
    SignalView, foreign, st.just("ratio"), foreign, st.just("critical"), st.just(1.25),
    st.just(100.0), foreign, st.none(), points,
    st.lists(
        st.builds(
            ExampleView, st.sampled_from(["canary", "baseline"]), foreign, foreign,
            foreign.map(lambda text: f"https://t.example/{text}"),
        ),
        max_size=4,
    ).map(tuple),
)  # fmt: skip
views = st.builds(
    WatchView,
    id=foreign, workload=foreign, canary=foreign, baseline=foreign, policy=foreign, mode=foreign,
    phase=st.sampled_from([p.value for p in Phase]), verdict=foreign,
    reasons=st.lists(foreign, max_size=20).map(tuple), evidence=st.floats(0), limit=st.floats(1),
    started_at=st.floats(1.7e9, 1.9e9), updated_at=st.floats(1.7e9, 1.9e9), final=st.booleans(),
    outlook=foreign, plan=st.one_of(st.none(), foreign),
    signals=st.lists(signals, max_size=5).map(tuple),
    timeline=st.lists(
        st.builds(TimelineItem, st.floats(1.7e9, 1.9e9), st.just("phase"), foreign), max_size=60
    ).map(tuple),
    plan_key=foreign, turn=st.integers(0, 9), since=st.floats(1.7e9, 1.9e9), note=foreign,
    hold=st.sampled_from(["", *(h.value for h in Hold)]), decided_by=foreign,
    annotations=annotations, held=st.lists(foreign, max_size=9).map(tuple),
    can_demand=st.booleans(),
)  # fmt: skip

SPECIAL = re.compile(r"<([^>]*)>")
OURS = re.compile(
    r"!date\^\d+\^\{time(_secs)?\}\|\d\d:\d\d UTC"
    r"|https://(g|t|git)\.example/[^<>|\s]*\|[^<>|]*"
)


def texts(content: object) -> list[str]:
    match content:
        case {"type": "mrkdwn", "text": str(text), "verbatim": True}:
            return [text]
        case {"type": "mrkdwn"}:
            raise AssertionError(f"Slack would look for links in {content}")
        case dict():
            return [text for value in content.values() for text in texts(value)]
        case list():
            return [text for value in content for text in texts(value)]
    return []


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(views)
def test_slack_takes_every_message_and_nothing_foreign_does_anything(view: WatchView) -> None:
    every = {
        "message": blocks.message(view, LINKS),
        "explanation": blocks.explanation(view, LINKS),
        "offer": blocks.offer(view, Verb.ROLL_BACK),
        "listing": blocks.listing([view, view]),
        "thread": blocks.thread(view.timeline) if view.timeline else [],
    }
    for name, content in every.items():
        assert list(problems(content, "message")) == [], name
        for text in texts(content):
            for inside in SPECIAL.findall(text):
                assert OURS.fullmatch(inside), (name, inside)
            assert not set("\u202e\x00") & set(text)
    home = blocks.home([view] * 2, view.updated_at)
    assert list(problems(home["blocks"], "home")) == []
    assert "<" not in blocks.fallback(view)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(views)
def test_there_is_a_button_for_every_offer_and_no_other(view: WatchView) -> None:
    shown = [
        element["action_id"].removeprefix(blocks.ACTION)
        for block in blocks.message(view, LINKS)
        if block["type"] == "actions"
        for element in block["elements"]
    ]
    assert tuple(shown) == offers(view)


def test_traces_that_show_it_are_linked_the_canarys_first() -> None:
    sides = ("baseline", "canary", "canary", "canary", "baseline", "baseline", "canary")
    examples = tuple(
        ExampleView(
            side, f"GET /<{i}>|x", f"{i:032x}", f"https://tempo.example/{i}|b" if i else ""
        )
        for i, side in enumerate(sides)
    )
    view = sample_views.degraded()
    view = replace(view, signals=(replace(view.signals[0], examples=examples), *view.signals[1:]))
    (context,) = [b for b in blocks.message(view, NO_LINKS) if "Traces" in str(b)]
    assert context["elements"][0]["text"] == (
        "Traces: <https://tempo.example/1%7Cb|canary: GET /&lt;1&gt;¦x> · "
        "<https://tempo.example/2%7Cb|canary: GET /&lt;2&gt;¦x> · "
        "<https://tempo.example/3%7Cb|canary: GET /&lt;3&gt;¦x> · "
        "<https://tempo.example/4%7Cb|baseline: GET /&lt;4&gt;¦x>"
    )


def test_every_verb_has_a_button() -> None:
    assert set(blocks.BUTTONS) == set(Verb)


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a & b", "a &amp; b"),
        ("<!channel>", "&lt;!channel&gt;"),
        ("a\nb\tc", "a b c"),
        ("\u202egood", "good"),
        ("x" * 400, "x" * 299 + "…"),
    ],
)
def test_foreign_text_is_escaped(text: str, escaped: str) -> None:
    assert escape(text) == escaped


def test_code_cannot_be_left() -> None:
    assert code("a`b*c*") == "`a´b*c*`"
    assert code("") == "` `"
    assert plain("ok", 2) == "ok"


def test_what_does_not_fit_is_said() -> None:
    text = fitted(["x" * 100] * 100)
    assert len(text) <= 3000
    assert text.endswith("more lines")


def test_a_sparkline_is_drawn_on_a_scale_and_shows_gaps() -> None:
    assert sparkline([0.0, 0.5, None, 1.0]) == "▁▅ █"
    assert sparkline([1.0, 1.0], most=10.0) == "▂▂"
    assert sparkline([-1e308, 1e308, 0.0], most=5e-324) == "▁█▁"
    assert sparkline([]) == sparkline([None]) == sparkline([0.0]) == ""


def test_a_picture_shows_the_worst_signals_whatever_they_are_called() -> None:
    view = sample_views.degraded()
    odd = tuple(replace(s, name=r"$\frac{1}{0}$ <!channel>") for s in view.signals)
    for each in (view, replace(view, signals=odd)):
        picture = draw(each)
        assert picture is not None
        assert picture.startswith(b"\x89PNG")
    assert draw(sample_views.blind()) is None


def test_the_thread_goes_on_where_it_ended() -> None:
    a, b, c = (
        TimelineItem(at, "phase", text) for at, text in ((1.0, "a"), (2.0, "b"), (2.0, "c"))
    )
    assert untold((a, b, c), 0.0, 0) == [a, b, c]
    assert untold((a, b, c), 2.0, 1) == [c]
    assert untold((a, b, c), 2.0, 2) == []
