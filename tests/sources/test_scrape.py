"""The scraper against real HTTP: what pages say, and what is said when they do not."""

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from analyzer.sample import Absence, Grid, Missing, Query, Reply, Series
from analyzer.signal import Matcher, Selector
from rollbackd.sources.http_access import HttpAccess
from rollbackd.sources.scrape import ScrapeSettings, ScrapeSource
from rollbackd.sources.targets import ScrapeJob, TargetGroup
from tests.sources.conftest import Serve
from tests.sources.stub_server import Answer, Connection, StubServer, until

QUERY = Query(Selector("x_total"), ("instance",))
START = 1_700_000_000.0


class Scene:
    """A scraper whose clock is turned by hand: one round, then five seconds pass."""

    def __init__(self, *jobs: ScrapeJob, settings: ScrapeSettings | None = None) -> None:
        self.now = START
        self.source = ScrapeSource(
            jobs, settings or ScrapeSettings(timeout_s=0.3), clock=lambda: self.now
        )

    def round(self, times: int = 1) -> None:
        for _ in range(times):
            self.now += 5
            self.source.scrape_round()

    def ask(self, query: Query = QUERY) -> Reply:
        (reply,) = self.source.fetch([query], Grid(self.now, 1.0, 1))
        return reply

    def value(self, query: Query = QUERY) -> float:
        """Return the only value there is now."""
        reply = self.ask(query)
        assert isinstance(reply, Series), reply
        ((value,),) = reply.values.tolist()
        return float(value)

    def why(self, query: Query = QUERY) -> Absence:
        reply = self.ask(query)
        assert isinstance(reply, Missing), reply
        return reply.reason


Stage = Callable[..., Scene]


@pytest.fixture
def stage() -> Iterator[Stage]:
    scenes: list[Scene] = []

    def set_up(*jobs: ScrapeJob, settings: ScrapeSettings | None = None) -> Scene:
        scenes.append(Scene(*jobs, settings=settings))
        return scenes[-1]

    yield set_up
    for scene in scenes:
        scene.source.close()


def job(*servers: StubServer, **labels: str) -> ScrapeJob:
    addresses = tuple(f"127.0.0.1:{server.port}" for server in servers)
    return ScrapeJob("tests", (TargetGroup(addresses, labels),))


def up(scene: Scene) -> float:
    return scene.value(Query(Selector("up"), ()))


PAGE = Answer(b"# TYPE x counter\nx_total 5\n")


def test_a_page_becomes_series_with_the_targets_labels(serve: Serve, stage: Stage) -> None:
    server = serve(lambda _: Answer(b'x_total{job="theirs",code="200",empty=""} 5\n'))
    scene = stage(job(server, side="canary"))
    scene.round()
    labels = ("instance", "job", "exported_job", "side", "code", "empty")
    reply = scene.ask(Query(Selector("x_total"), labels))
    assert isinstance(reply, Series)
    assert reply.keys == ((f"127.0.0.1:{server.port}", "tests", "theirs", "canary", "200", ""),)
    assert up(scene) == 1.0


def test_the_format_is_negotiated(serve: Serve, stage: Stage) -> None:
    page = b'# TYPE x counter\nx_total 5 # {trace_id="a"} 1\nx_created 1.7e9\n# EOF\n'
    content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8"
    server = serve(lambda _: Answer(page, headers={"Content-Type": content_type}))
    scene = stage(job(server))
    scene.round()
    assert scene.value() == 5.0
    assert server.requests[0].headers["Accept"].startswith("application/openmetrics-text")


def test_compressed_pages_are_read(serve: Serve, stage: Stage) -> None:
    body = gzip.compress(PAGE.body)
    server = serve(lambda _: Answer(body, headers={"Content-Encoding": "gzip"}))
    scene = stage(job(server))
    scene.round()
    assert scene.value() == 5.0


def test_what_vanishes_from_a_page_ends_at_once(serve: Serve, stage: Stage) -> None:
    pages = iter([b"x_total 5\ny_total 1\n", b"y_total 2\n", b"x_total 1\ny_total 3\n"])
    scene = stage(job(serve(lambda _: Answer(next(pages)))))
    scene.round(2)
    assert scene.why() is Absence.NO_SERIES
    scene.round()
    assert scene.value() == 1.0
    (reply,) = scene.source.fetch([QUERY], Grid(START, 5.0, 4))
    assert isinstance(reply, Series)
    assert str(reply.values[0].tolist()) == "[nan, 5.0, nan, 1.0]"


BROKEN = {
    "500": (Answer(status=500), Absence.SOURCE_DOWN),
    "404": (Answer(status=404), Absence.INVALID),
    "401": (Answer(status=401), Absence.UNAUTHORISED),
    "429": (Answer(status=429), Absence.THROTTLED),
    "redirected": (Answer(status=302, headers={"Location": "/login"}), Absence.INVALID),
    "dropped": (Answer(status=0, breakage=Connection.drop), Absence.SOURCE_DOWN),
    "hanging": (Answer(status=0, breakage=Connection.hang), Absence.TIMEOUT),
    "hanging after the head": (Answer(breakage=Connection.hang), Absence.TIMEOUT),
    "trickling": (Answer(breakage=Connection.trickle), Absence.TIMEOUT),
    "cut off": (Answer(b"x_total", breakage=Connection.drop), Absence.INVALID),
    "html": (Answer(b"<html>It works!</html>"), Absence.INVALID),
    "a bad label": (Answer(b"x_total 6\nx_total{a=b} 1\n"), Absence.INVALID),
    "not utf-8": (Answer(b"\xff\xfe"), Absence.INVALID),
    "not gzip": (Answer(b"plain", headers={"Content-Encoding": "gzip"}), Absence.INVALID),
    "no end": (
        Answer(b"x_total 6\n", headers={"Content-Type": "application/openmetrics-text"}),
        Absence.INVALID,
    ),
}


@pytest.mark.parametrize(("answer", "reason"), BROKEN.values(), ids=BROKEN)
def test_a_scrape_that_fails_ends_the_series_and_says_why(
    serve: Serve, stage: Stage, answer: Answer, reason: Absence
) -> None:
    answers = iter([PAGE, answer, PAGE])
    scene = stage(job(serve(lambda _: next(answers))))
    scene.round()
    assert (scene.value(), up(scene)) == (5.0, 1.0)
    scene.round()
    assert (scene.why(), up(scene)) == (reason, 0.0)
    (trouble,) = scene.source.troubles().values()
    assert trouble is not None
    assert trouble.reason is reason
    scene.round()
    assert (scene.value(), up(scene)) == (5.0, 1.0)
    assert list(scene.source.troubles().values()) == [None]


def test_a_page_of_50_mb_is_refused_unread(serve: Serve, stage: Stage) -> None:
    server = serve(lambda _: Answer(b"x_total 5\n", breakage=Connection.flood))
    scene = stage(job(server), settings=ScrapeSettings(max_page_bytes=1 << 20))
    scene.round()
    assert scene.why() is Absence.TOO_LARGE
    assert server.bytes_sent < 25_000_000


def test_a_small_page_that_unpacks_to_a_large_one_is_refused(serve: Serve, stage: Stage) -> None:
    body = gzip.compress(b"# nothing\n" * 5_000_000)
    server = serve(lambda _: Answer(body, headers={"Content-Encoding": "gzip"}))
    scene = stage(job(server), settings=ScrapeSettings(max_page_bytes=1 << 20))
    scene.round()
    assert scene.why() is Absence.TOO_LARGE


def test_too_many_series_are_refused_and_leave_room_for_others(serve: Serve, stage: Stage) -> None:
    large = serve(lambda _: Answer("".join(f'y{{n="{n}"}} 1\n' for n in range(999)).encode()))
    small = serve(lambda _: PAGE)
    # one after the other, the large one first
    scene = stage(job(large, small), settings=ScrapeSettings(max_series=500, concurrency=1))
    scene.round(3)
    assert scene.value() == 5.0
    trouble = scene.source.troubles()[f"127.0.0.1:{large.port}"]
    assert trouble is not None
    assert trouble.reason is Absence.TOO_LARGE
    assert "500 series" in trouble.detail
    reply = scene.ask(Query(Selector("up"), ("instance",)))
    assert isinstance(reply, Series)
    assert sorted(reply.values.ravel().tolist()) == [0.0, 1.0]


def test_after_a_long_sleep_of_the_machine_all_goes_on(serve: Serve, stage: Stage) -> None:
    dated = Answer(b"x_total 1\ny_total 1 99999999999999\n")
    scene = stage(job(serve(lambda _: PAGE), serve(lambda _: PAGE), serve(lambda _: dated)))
    scene.round(2)
    scene.now += 86_400
    for _ in range(2):
        scene.round()
    reply = scene.ask()
    assert isinstance(reply, Series)
    assert len(reply.keys) == 3
    assert scene.value(Query(Selector("up"), ())) == 3.0


def test_a_large_page_within_the_limits_is_taken(serve: Serve, stage: Stage) -> None:
    n = 0

    def page() -> Answer:
        lines = [f'x_total{{pod="p{k}"}} {k + n}' for k in range(20_000)]
        return Answer("\n".join(lines).encode())

    scene = stage(job(serve(lambda _: page())), settings=ScrapeSettings(timeout_s=20))
    for n in range(3):  # noqa: B007  the page shows it
        scene.round()
    assert scene.value() == sum(range(20_000)) + 2 * 20_000


def test_values_that_are_no_numbers_stay_nan(serve: Serve, stage: Stage) -> None:
    pages = iter([b"x_total NaN\n", b"x_total +Inf\n", b"x_total 1e400\n", b"x_total 7\n"])
    scene = stage(job(serve(lambda _: Answer(next(pages)))))
    scene.round(4)
    (reply,) = scene.source.fetch([QUERY], Grid(START + 5, 5.0, 4))
    assert isinstance(reply, Series)
    np.testing.assert_array_equal(reply.values, [[np.nan, np.nan, np.nan, 7.0]])


def test_of_duplicates_on_a_page_the_first_counts(serve: Serve, stage: Stage) -> None:
    scene = stage(job(serve(lambda _: Answer(b"x_total 1\nx_total 2\n"))))
    scene.round()
    assert (scene.value(), up(scene)) == (1.0, 1.0)


def test_explicit_times_are_kept_and_do_not_end(serve: Serve, stage: Stage) -> None:
    dated = f"x_total 1 {round(START * 1000)}\ny_total 1 99999999999999\n".encode()
    pages = iter([dated, b"z 1\n"])
    scene = stage(job(serve(lambda _: Answer(next(pages)))))
    scene.round(2)
    (reply,) = scene.source.fetch([QUERY], Grid(START - 1, 1.0, 3))
    assert isinstance(reply, Series)
    np.testing.assert_array_equal(reply.values, [[np.nan, 1.0, 1.0]])
    assert scene.value() == 1.0
    assert scene.value(Query(Selector("z"), ())) == 1.0


def test_a_clock_set_back_costs_samples_but_nothing_else(serve: Serve, stage: Stage) -> None:
    scene = stage(job(serve(lambda _: PAGE)))
    scene.round(3)
    scene.now -= 60
    scene.round(2)
    assert scene.why() is Absence.NO_SERIES
    scene.now += 60
    scene.round()
    assert scene.value() == 5.0


def test_one_target_that_fails_leaves_the_others(serve: Serve, stage: Stage) -> None:
    good, bad = serve(lambda _: PAGE), serve(lambda _: Answer(status=500))
    scene = stage(job(good, bad))
    scene.round()
    reply = scene.ask()
    assert isinstance(reply, Series)
    assert reply.keys == ((f"127.0.0.1:{good.port}",),)


def test_the_reason_is_that_of_the_targets_asked_for(serve: Serve, stage: Stage) -> None:
    good, bad = serve(lambda _: PAGE), serve(lambda _: Answer(status=401))
    scene = stage(job(good, bad))
    scene.round()

    def of(*instances: str) -> Query:
        return Query(QUERY.selector, QUERY.by, (("instance", frozenset(instances)),))

    name_of_bad = f"127.0.0.1:{bad.port}"
    assert scene.why(of(name_of_bad)) is Absence.UNAUTHORISED
    assert scene.why(of("nobody")) is Absence.NO_SERIES
    by_matcher = Selector("x_total", (Matcher("instance", "=~", f".*:{bad.port}"),))
    assert scene.why(Query(by_matcher, ())) is Absence.UNAUTHORISED
    assert scene.why(Query(Selector("nothing"), ())) is Absence.NO_SERIES
    assert isinstance(scene.ask(of(name_of_bad, f"127.0.0.1:{good.port}")), Series)


def test_before_the_first_round_the_source_is_not_there_yet(serve: Serve, stage: Stage) -> None:
    scene = stage(job(serve(lambda _: PAGE)))
    assert scene.why() is Absence.NO_SERIES
    empty = stage()
    empty.round()
    assert empty.why() is Absence.NO_SERIES


def test_targets_come_and_go_with_their_file(serve: Serve, stage: Stage, tmp_path: Path) -> None:
    servers = [serve(lambda _: PAGE) for _ in range(2)]
    names = [f"127.0.0.1:{server.port}" for server in servers]
    path = tmp_path / "targets.json"
    scene = stage(ScrapeJob("tests", files=(path,)))

    def instances(content: object) -> list[str]:
        if content is not None:
            path.write_text(
                content if isinstance(content, str) else json.dumps(content), encoding="utf-8"
            )
        scene.round()
        reply = scene.ask()
        return [key[0] for key in reply.keys] if isinstance(reply, Series) else []

    assert instances(None) == []
    assert scene.why() is Absence.INVALID
    assert instances([{"targets": names[:1]}]) == names[:1]
    assert instances([{"targets": names}]) == sorted(names)
    assert instances('[{"targets": ["half a') == sorted(names)
    assert instances([{"targets": names[1:]}]) == names[1:]
    assert set(scene.source.troubles()) == set(names[1:])
    path.unlink()
    assert instances(None) == names[1:]
    assert instances([]) == []
    assert scene.why() is Absence.NO_SERIES


def test_credentials_are_those_of_the_job(serve: Serve, stage: Stage, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("secret\n", encoding="utf-8")
    server = serve(lambda _: PAGE)
    address = f"127.0.0.1:{server.port}"
    access = HttpAccess(bearer_token_file=token)
    scene = stage(ScrapeJob("tests", (TargetGroup((address,)),), access=access))
    scene.round()
    assert server.requests[0].headers["Authorization"] == "Bearer secret"
    token.unlink()
    scene.round()
    assert scene.why() is Absence.UNAUTHORISED
    assert len(server.requests) == 1


def test_connections_are_used_again(serve: Serve, stage: Stage) -> None:
    server = serve(lambda _: PAGE)
    scene = stage(job(server))
    scene.round(5)
    assert (len(server.requests), server.connections) == (5, 1)


def test_a_target_still_being_scraped_is_left_out_of_the_next_round(serve: Serve) -> None:
    release = threading.Event()

    def slowly(_: object) -> Answer:
        release.wait(20)
        return PAGE

    slow, quick = serve(slowly), serve(lambda _: PAGE)
    settings = ScrapeSettings(interval_s=0.02, timeout_s=20)
    source = ScrapeSource([job(slow, quick)], settings)
    source.start()
    until(lambda: len(quick.requests) >= 5)
    assert len(slow.requests) == 1
    release.set()
    until(lambda: len(slow.requests) >= 3)
    source.close()


def test_started_it_scrapes_by_itself_until_closed(serve: Serve) -> None:
    server = serve(lambda _: PAGE)
    before = threading.active_count()
    source = ScrapeSource([job(server)], ScrapeSettings(interval_s=0.02))
    source.start()
    source.start()
    until(lambda: len(server.requests) >= 3)
    source.close()
    source.close()
    source.start()
    seen = len(server.requests)
    # only the stub's own thread for its connection may still be there
    until(lambda: threading.active_count() <= before)
    assert len(server.requests) == seen


@pytest.mark.parametrize(
    "bad",
    [
        {"interval_s": 0.0},
        {"timeout_s": -1.0},
        {"concurrency": 0},
        {"max_series": 0},
        {"retention_s": 60.0},
    ],
    ids=str,
)
def test_settings_that_cannot_work(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"must"):
        ScrapeSettings(**bad)  # type: ignore[arg-type]
