"""From a metric that accuses a canary to traces of it: with a real Prometheus, and one that fails."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from analyzer.evidence import Evidence, Finding, Measured
from analyzer.policy import Policy
from analyzer.rollout import Side
from analyzer.roster import Roster, Stay
from analyzer.sample import Absence, Missing
from analyzer.signal import HistogramSignal, RatioSignal, Selector
from rollbackd.sources.http_access import HttpAccess
from rollbackd.sources.prometheus_session import QueryLimits
from rollbackd.traces.backends.server import Backend
from rollbackd.traces.exemplars import ExemplarDesk, Question
from tests.servers.nginx import eventually
from tests.servers.prometheus import PrometheusServer
from tests.sources.stub_server import Answer, Request, StubServer

BUCKETS = Selector("shop_seconds_bucket")
LATENCY = HistogramSignal("latency", BUCKETS, weight=1.0)
ERRORS = RatioSignal("errors", Selector("shop_total"), Selector("shop_errors_total"), weight=1.0)
POLICY = Policy("shop", (LATENCY,))
ROSTER = Roster((Stay(("new-1",), Side.CANARY, 0.0), Stay(("old-1",), Side.BASELINE, 0.0)))
QUESTION = Question("watch", POLICY, ROSTER, ("pod",))
FINDING = Finding(1e4, True, 2.0, 2.0, 1.5, 3.0, True, False, 2.0, 1.0)
ACCUSED: dict[str, Evidence] = {"latency": Measured(FINDING)}


def desk(url: str) -> ExemplarDesk:
    limits = QueryLimits(timeout_s=5.0, retries=0)
    return ExemplarDesk(Backend(url, HttpAccess(), limits), lambda t: f"http://traces/{t}")


def shown(evidence: Evidence) -> list[tuple[str, str, str]]:
    assert isinstance(evidence, Measured)
    examples = evidence.finding.examples
    return [(e.side.value, e.trace_id, e.url) for e in examples]


def exposed(_: Request) -> Answer:
    """Expose a histogram as instrumentation with exemplars does."""
    lines = ["# TYPE shop_seconds histogram"]
    for pod, seconds in (("new-1", 3.0), ("old-1", 0.2), ("else-1", 9.0)):
        for le in ("0.5", "5.0", "+Inf"):
            inside = seconds <= float(le)
            mark = f' # {{trace_id="trace-{pod}-{le}"}} {seconds}' if inside else ""
            lines.append(f'shop_seconds_bucket{{pod="{pod}",le="{le}"}} {5 * inside}{mark}')
        lines += [f'shop_seconds_sum{{pod="{pod}"}} 1', f'shop_seconds_count{{pod="{pod}"}} 5']
    text = "\n".join([*lines, "# EOF", ""])
    kind = "application/openmetrics-text; version=1.0.0; charset=utf-8"
    return Answer(text.encode(), 200, {"Content-Type": kind})


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[str]:
    with StubServer(exposed) as target:
        host = target.url.removeprefix("http://")
        flags = ["--enable-feature=exemplar-storage"]
        with PrometheusServer(tmp_path / "prometheus", targets=[host], flags=flags) as server:
            yield server.url


@pytest.mark.servers
def test_exemplars_of_a_real_prometheus_are_shown_by_side(prometheus: str) -> None:
    looking = desk(prometheus)

    def found() -> bool:
        looking.forget("watch")
        return len(shown(looking.show(QUESTION, ACCUSED, time.time())["latency"])) >= 3

    assert eventually(found, 60)
    told = shown(looking.show(QUESTION, ACCUSED, time.time())["latency"])
    looking.close()
    canary = [trace for side, trace, _ in told if side == "canary"]
    baseline = [trace for side, trace, _ in told if side == "baseline"]
    assert set(canary) == {"trace-new-1-5.0", "trace-new-1-+Inf"}
    assert len(baseline) == 1
    assert baseline[0].startswith("trace-old-1")
    assert all(url == f"http://traces/{trace}" for _, trace, url in told)


NONSENSE = [
    Answer(b'{"status": "success", "data": []}'),
    Answer(b'{"status": "success"}'),
    Answer(b"[]"),
    Answer(b'{"data": [{"seriesLabels": 1}, 2, {"seriesLabels": {"pod": "new-1"}}]}'),
    Answer(
        b'{"data": [{"seriesLabels": {"pod": "new-1"}, "exemplars": ['
        b'{"labels": {}, "value": "1", "timestamp": 1}, 3,'
        b'{"labels": {"trace_id": "a"}, "value": "many", "timestamp": 1}]}]}'
    ),
    Answer(b"{", 200),
    Answer(b"exemplars are not there", 404),
    Answer(b"", 503),
]


@pytest.mark.parametrize("answer", NONSENSE, ids=range(len(NONSENSE)))
def test_trouble_costs_examples_and_nothing_else(answer: Answer) -> None:
    with StubServer(lambda _: answer) as stub:
        looking = desk(stub.url)
        assert looking.show(QUESTION, ACCUSED, 1000.0) == ACCUSED
        looking.close()


def test_only_what_accuses_is_looked_up_and_not_at_every_tick() -> None:
    found = (
        b'{"data": [{"seriesLabels": {"pod": "new-1"}, "exemplars": '
        b'[{"labels": {"traceID": "abc"}, "value": "7", "timestamp": 990.0}]}]}'
    )
    innocent = Measured(replace(FINDING, e_value=0.5, harmful=False))
    missing = Missing(Absence.STALE)
    policy = replace(POLICY, signals=(LATENCY, ERRORS))
    both = replace(QUESTION, policy=policy)
    with StubServer(lambda _: Answer(found)) as stub:
        looking = desk(stub.url)
        quiet: dict[str, Evidence] = {"latency": innocent, "errors": missing}
        assert looking.show(both, quiet, 1000.0) == quiet
        assert stub.requests == []
        for now in (1000.0, 1010.0, 1059.0):
            told = looking.show(both, {**ACCUSED, "errors": missing}, now)
            assert shown(told["latency"]) == [("canary", "abc", "http://traces/abc")]
        assert len(stub.requests) == 1
        looking.show(both, ACCUSED, 1061.0)
        assert len(stub.requests) == 2
        looking.close()
