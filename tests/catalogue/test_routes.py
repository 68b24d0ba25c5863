"""Routes are found in a real Prometheus, and a canary that gets other requests is not rolled back."""

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from click.testing import CliRunner

from analyzer.comparison import Comparison
from analyzer.evidence import Measured
from analyzer.judge import Verdict, judge
from analyzer.policy import Policy
from analyzer.rollout import Instance, Revision, Rollout, Workload
from analyzer.roster import Roster
from analyzer.sample import Absence, Grid, Missing, Query, Reply
from analyzer.signal import Matcher, RatioSignal, Selector
from rollbackd.catalogue.routes import with_routes
from rollbackd.cli import main
from rollbackd.policy_record import policy_from_json, policy_to_json
from rollbackd.signal_finder import PATIENCE_S, SignalFinder, resumed
from rollbackd.sources.prometheus import PrometheusSource
from tests.analyzer.scenario import advance
from tests.config.files import minimal, write
from tests.servers.prometheus import PrometheusServer
from tests.servers.remote_write import WrittenSeries

STEP, HISTORY, TICKS = 10.0, 60, 100
LIKE = {"/browse": 0.85, "/search": 0.1, "/pay": 0.05}
UNLIKE = {"/browse": 0.4, "/search": 0.2, "/pay": 0.4}
RATES = {"/browse": 0.001, "/search": 0.01, "/pay": 0.1}
ERRORS: Final = RatioSignal(
    "errors", Selector("calls_total"), Selector("calls_total", (Matcher("code", "=~", "5.."),))
)
BASELINE, CANARY = ("b0", "b1", "b2", "b3"), ("c0", "c1")
IDS = ("namespace", "pod")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[PrometheusServer, float]]:
    """Return a server that holds two rollouts, and the grid time of their newest samples.

    In the namespace "unlike" the canary gets other requests, in "worse" it fails three times as
    often, too.
    """
    end = float(int(time.time() / STEP) * STEP)
    with PrometheusServer(tmp_path_factory.mktemp("prometheus")) as running:
        for namespace, factor in (("unlike", 1.0), ("worse", 3.0)):
            running.write(_counters(namespace, factor, end))
        running.write(_labels(end))
        yield running, end


def _counters(namespace: str, factor: float, end: float) -> Iterator[WrittenSeries]:
    rng = np.random.default_rng(len(namespace))
    times = end - STEP * np.arange(TICKS - 1, -1, -1)
    for pod in (*BASELINE, *CANARY):
        canary = pod in CANARY
        begun = HISTORY if canary else 0
        for route, share in (UNLIKE if canary else LIKE).items():
            asked = rng.poisson(200 * share, TICKS - begun)
            failed = rng.binomial(asked, min(1.0, RATES[route] * (factor if canary else 1.0)))
            for code, values in (("200", asked - failed), ("500", failed)):
                labels = {
                    "__name__": "http_requests_total",
                    "namespace": namespace,
                    "pod": pod,
                    "handler": route,
                    "code": code,
                }
                counted = values.cumsum().astype(float).tolist()
                yield WrittenSeries(
                    labels, list(zip(times[begun:].tolist(), counted, strict=True))
                )


def _labels(end: float) -> Iterator[WrittenSeries]:
    """Three services whose labels tell no routes, or not only routes."""
    for service, route, path in (
        *(("ids", f"/users/{i}", f"/p{i % 2}") for i in range(300)),
        ("early", "/pay", "/"),
        ("early", "UNKNOWN", "/"),
        ("early", "", "/"),
        ("early", "/search", "/"),
        ("single", "all", "/"),
    ):
        yield WrittenSeries(
            {
                "__name__": "calls_total",
                "namespace": "labels",
                "pod": service,
                "code": "200",
                "handler": route,
                "path": path,
            },
            [(end - STEP, 5.0 + len(route)), (end, 9.0 + len(route))],
        )


class Asked:
    """Passes on, and remembers."""

    def __init__(self, source: PrometheusSource) -> None:
        self.source = source
        self.queries: list[Query] = []

    def fetch(self, queries: Sequence[Query], grid: Grid) -> list[Reply]:
        self.queries += queries
        return self.source.fetch(queries, grid)

    def close(self) -> None:
        self.source.close()


class Broken:
    """A source that answers nothing."""

    def __init__(self, reason: Absence) -> None:
        self.reason = reason

    def fetch(self, queries: Sequence[Query], grid: Grid) -> list[Reply]:
        del grid
        return [Missing(self.reason) for _ in queries]

    def close(self) -> None:
        """Nothing is open."""


def rollout(namespace: str, at: float) -> Rollout:
    began = at - STEP * (TICKS - HISTORY)
    return Rollout(
        Workload("c", namespace, "Deployment", "shop"),
        Revision("2", "v2"),
        Revision("1", "v1"),
        tuple(Instance((namespace, pod), began) for pod in CANARY),
        tuple(Instance((namespace, pod), 0.0) for pod in BASELINE),
        IDS,
        began,
    )


def told(server: PrometheusServer, end: float, pod: str, *labels: str) -> RatioSignal:
    source = PrometheusSource(server.url)
    try:
        found = with_routes(source, {ERRORS: labels}, IDS, [("labels", pod)], end)
    finally:
        source.close()
    assert not isinstance(found, Missing)
    return found[ERRORS]


@pytest.mark.servers
class TestFinding:
    def test_a_label_full_of_ids_is_no_route(
        self, written: tuple[PrometheusServer, float]
    ) -> None:
        server, end = written
        found = told(server, end, "ids", "handler", "path")
        assert (found.route, found.routes) == ("path", ("/p0", "/p1"))
        assert told(server, end, "ids", "handler").routes == ()

    def test_what_became_of_a_request_is_no_route(
        self, written: tuple[PrometheusServer, float]
    ) -> None:
        server, end = written
        assert told(server, end, "early", "handler").routes == ("/search", "/pay")

    def test_a_label_with_one_value_tells_nothing_unless_a_person_named_it(
        self, written: tuple[PrometheusServer, float]
    ) -> None:
        server, end = written
        assert told(server, end, "single", "handler", "absent").route is None


def follow(server: PrometheusServer, namespace: str, end: float) -> tuple[Policy, Comparison]:
    """Find the signals of a rollout and follow it to its newest sample, as the daemon does."""
    source = Asked(PrometheusSource(server.url))
    there = rollout(namespace, end)
    policy = Policy("p", (), warm_up_s=0.0, history_s=600.0, discovers=True)
    try:
        complete = SignalFinder(source).complete(policy, there, end)
        assert complete is not None
        one = Comparison(STEP)
        one.join("shop", complete, IDS)
        one.enrol("shop", Roster().observe(there, there.started_at, 0.0))
        for tick in range(TICKS - HISTORY - 1, -1, -1):
            for family in one.families:
                advance(family, source, end - STEP * tick)  # type: ignore[arg-type]
    finally:
        source.close()
    by_route = [q for q in source.queries if "handler" in q.by and len(q.restrict) > len(IDS)]
    assert by_route
    assert all(dict(q.restrict)["handler"] == frozenset(LIKE) for q in by_route)
    return complete, one


@pytest.mark.servers
def test_other_requests_alone_are_told_and_are_no_harm(
    written: tuple[PrometheusServer, float],
) -> None:
    server, end = written
    policy, one = follow(server, "unlike", end)
    (errors,) = policy.signals
    assert isinstance(errors, RatioSignal)
    assert (errors.route, errors.routes) == ("handler", ("/browse", "/search", "/pay"))
    judgement = judge(policy, one.evidence()["shop"])
    assert judgement.verdict is not Verdict.DEGRADED
    assert any(re.search(r"/pay is \d\d % of them, [45]", r.text) for r in judgement.reasons)
    found = one.evidence()["shop"]["errors"]
    assert isinstance(found, Measured)
    assert found.finding.canary_value > 0.03
    assert not found.finding.harmful


@pytest.mark.servers
def test_the_command_tells_the_routes(
    written: tuple[PrometheusServer, float], tmp_path: Path
) -> None:
    server, _ = written
    values = minimal()
    values["source"]["prometheus"]["url"] = server.url
    values["settle"] = "0s"
    file = write(tmp_path, values)
    arguments = ["signals", "-c", str(file), "-l", "namespace", "-l", "pod", "-i", "unlike,b0"]
    said = CliRunner().invoke(main, arguments)
    assert said.exit_code == 0, said.output
    assert "by handler: /browse, /search, /pay" in said.output


@pytest.mark.servers
def test_harm_beside_other_requests_is_found(written: tuple[PrometheusServer, float]) -> None:
    server, end = written
    policy, one = follow(server, "worse", end)
    judgement = judge(policy, one.evidence()["shop"])
    assert judgement.verdict is Verdict.DEGRADED
    assert any("within routes" in reason.text for reason in judgement.reasons)


NAMED = replace(ERRORS, route="handler")


@pytest.mark.parametrize("reason", [Absence.SOURCE_DOWN, Absence.TIMEOUT])
def test_a_source_that_is_down_holds_a_watch_up_for_a_while_only(reason: Absence) -> None:
    finder = SignalFinder(Broken(reason))
    policy = Policy("p", (NAMED,))
    there = rollout("unlike", 1000.0)
    assert finder.complete(policy, there, 1000.0) is None
    assert finder.complete(policy, there, 1000.0 + PATIENCE_S) == policy


def test_a_watch_that_looks_at_no_mix_asks_for_none() -> None:
    finder = SignalFinder(Broken(Absence.SOURCE_DOWN))
    off = Policy("p", (NAMED,), request_mix=False)
    assert finder.complete(off, rollout("unlike", 1000.0), 1000.0) == off


def test_a_watch_goes_on_with_the_routes_it_began_with() -> None:
    configured = Policy("p", (NAMED,))
    began = replace(configured, signals=(replace(NAMED, routes=("/a", "/b")),))
    recorded = policy_to_json(began)
    assert policy_from_json(recorded) == began
    assert resumed(configured, recorded) == began
    renamed = replace(configured, signals=(replace(NAMED, route="path"),))
    assert resumed(renamed, recorded) == renamed
    assert resumed(configured, None) == configured
