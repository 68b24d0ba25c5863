"""The report is a valid, self-contained, escaped page, whatever is in the watches."""

import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from rollbackd.report import render, write
from rollbackd.views import ExampleView, SignalPoint, TimelineItem, WatchView
from tests.report.watches import BEGAN, errors, point, shown_only, watch

VOID = {"meta", "link", "br", "hr", "img", "input", "path", "rect", "line", "circle"}
HOSTILE = "<script>alert(1)</script>\"'&{{7*7}}--></title>"


class Page(HTMLParser):
    """Reads a page strictly: every element is closed in order, every id is there once."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.ids: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id" and value]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in VOID
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def count(self, tag: str, **attributes: str) -> int:
        wanted = {name.rstrip("_"): value for name, value in attributes.items()}
        return sum(t == tag and wanted.items() <= a.items() for t, a in self.tags)


def page(*views: WatchView, outcome: str = "All is well.", **facts: str) -> str:
    return render(views, title="demo", generated_at=BEGAN, outcome=outcome, facts=facts)


def test_a_rolled_back_watch_tells_the_whole_story() -> None:
    html = page(watch(), outcome="The bad canary was found.", Traffic="150 requests a second")
    read = Page(html)
    for text in (
        "The bad canary was found.",
        "demo/shop: v1 → v2",
        "rolled back",
        "errors 20 % vs 0.50 %, ×40 [×4.0, ×300], e-value 10³",
        "take 127.0.0.1:9004 out of NGINX upstream shop (plan 0123)",
        "recovered",
        "150 requests a second",
        "at most 1 % of the time",
        "no series: nothing there",
    ):
        assert text in read.text
    assert read.count("svg", role="img") == 3
    for kind, label in (
        ("fault", "fault: errors"),
        ("decision", "decision"),
        ("action", "action"),
        ("recovery", "recovery verified"),
    ):
        assert read.count("line", class_=f"marker {kind}") >= 3
        assert label in read.text


def test_the_page_needs_nothing_else() -> None:
    html = page(watch())
    read = Page(html)
    assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _ in read.tags}
    assert not re.search(r"https?://|url\(|@import", html)
    assert not any(name in {"src", "href"} for _, attributes in read.tags for name in attributes)


def test_ids_are_unique_and_labels_lead_somewhere() -> None:
    read = Page(page(watch(), watch(canary="v3")))
    assert len(read.ids) == len(set(read.ids))
    for tag, attributes in read.tags:
        for label in (attributes.get("aria-labelledby") or "").split():
            assert label in read.ids, f"{tag} is labelled by {label}"


def test_every_chart_says_in_words_what_it_shows() -> None:
    read = Page(page(watch()))
    assert "Harm begins above the margin of ×1.2" in read.text
    assert "200 decides alone" in read.text
    assert "At the end: canary 20 %, baseline 0.50 %." in read.text


def test_everything_is_escaped() -> None:
    signal = replace(
        errors(), name=HOSTILE, unit=HOSTILE, summary=HOSTILE, missing=HOSTILE, kind=HOSTILE
    )
    hostile = watch(
        workload=HOSTILE,
        canary=HOSTILE,
        baseline=HOSTILE,
        policy=HOSTILE,
        phase=HOSTILE,
        verdict=HOSTILE,
        reasons=(HOSTILE,),
        plan=HOSTILE,
        outlook=HOSTILE,
        final=False,
        signals=(signal,),
        timeline=(
            TimelineItem(BEGAN, "marker", HOSTILE),
            TimelineItem(BEGAN, HOSTILE, HOSTILE),
        ),
    )
    html = render(
        [hostile], title=HOSTILE, generated_at=BEGAN, outcome=HOSTILE, facts={HOSTILE: HOSTILE}
    )
    assert "<script" not in html
    assert "49" not in re.findall(r"<h1>(.*?)</h1>", html)[0]
    assert Page(html).text.count(HOSTILE) > 15


def numbers_are_finite(html: str) -> bool:
    """Tell whether no coordinate of a picture is nan, inf or missing."""
    names = "d|x|y|x1|x2|y1|y2|cx|cy|r|width|height|viewBox"
    values = re.findall(rf' (?:{names})="([^"]*)"', html)
    return bool(values) and not any(re.search("nan|inf|None", v) for v in values)


@pytest.mark.parametrize(
    "points",
    [
        pytest.param((), id="none"),
        pytest.param((point(3),), id="one"),
        pytest.param((point(3), point(3)), id="twice-the-same-time"),
        pytest.param(
            (point(1, canary=None, baseline=None, ratio=None, low=None, high=None),),
            id="nothing-known",
        ),
        pytest.param((point(1, canary=0.0, baseline=0.0, e_value=0.0), point(2)), id="zeros"),
        pytest.param((point(1, e_value=math.inf), point(2, e_value=1e300)), id="infinite"),
        pytest.param((point(1, high=math.inf, ratio=math.inf), point(2)), id="open-interval"),
        pytest.param(
            (point(1, canary=math.nan, ratio=math.nan, low=math.nan, e_value=math.nan), point(2)),
            id="nan",
        ),
        pytest.param((point(1, low=1e-20, high=1e20, ratio=1e20), point(2)), id="absurd"),
        pytest.param((point(math.nan), point(2)), id="no-time"),
    ],
)
def test_odd_points_are_drawn_or_left_out(points: tuple[SignalPoint, ...]) -> None:
    html = page(watch(signals=(replace(errors(), points=points),)))
    Page(html)
    if points:
        assert numbers_are_finite(html)
    else:
        assert "There are no looks at this signal to draw." in html


def test_a_lonely_point_is_a_dot() -> None:
    read = Page(page(watch(signals=(errors((point(3),)),))))
    assert read.count("circle", class_="dot canary") == 1


def test_a_gap_is_not_bridged() -> None:
    known = [point(t) for t in (1, 2, 4, 5)]
    gap = point(3, canary=None)
    html = page(watch(signals=(errors((*known[:2], gap, *known[2:])),)))
    (line,) = re.findall(r'class="line canary" d="(M[^"]*M[^"]*)"', html)
    assert line.count("M") == 2


def test_a_watch_that_is_not_over_says_what_comes_next() -> None:
    going = watch(
        phase="observing", final=False, outlook="rolls back if harm is proved", plan=None
    )
    html = page(going)
    assert "Next: rolls back if harm is proved" in html
    assert "Nothing: no plan was made." in html


def test_odd_numbers_of_a_watch_are_said_plainly() -> None:
    odd = watch(evidence=math.nan, limit=0.0, started_at=math.nan, updated_at=math.inf, signals=())
    assert "unknown of the time" in Page(page(odd)).text


def test_without_watches_the_page_says_so() -> None:
    assert "no rollout was seen" in Page(page()).text


def test_long_series_have_short_tables() -> None:
    many = errors(tuple(point(t) for t in range(1, 300)))
    assert Page(page(watch(signals=(many,)))).count("tr") == 25


def test_a_signal_that_is_only_shown_is_folded_away() -> None:
    read = Page(page(watch(signals=(errors(), replace(shown_only(), points=(point(1),))))))
    assert read.count("details", class_="shown") == 1
    assert "it can cause nothing" in read.text


def test_writes_whole_files_only(tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.html"
    write(path, "first")
    write(path, "zweite Fassung: ×")
    assert path.read_text(encoding="utf-8") == "zweite Fassung: ×"
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]


def test_a_directory_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="File exists"):
        write(tmp_path / "file" / "report.html", "x")


def test_traces_are_linked_and_have_no_values_of_their_own() -> None:
    examples = (
        ExampleView(
            "canary", "GET /", "0af7651916cd43dd8448eb211c80319c", "https://traces/x?a=1&b"
        ),
        ExampleView("baseline", f"GET {HOSTILE}", "b7ad6b7169203331b7ad6b7169203331"),
    )
    traces = replace(errors(), name="traces", kind="trace", examples=examples)
    read = Page(page(watch(signals=(traces,))))
    assert read.count("a", href="https://traces/x?a=1&b") == 1
    assert "trace b7ad6b7169203331b7ad6b7169203331" in read.text
    assert read.count("figure") == 1
