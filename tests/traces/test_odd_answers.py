"""Whatever a trace backend answers: counted or told, bounded, and never an error of ours."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.sample import Missing
from analyzer.traces.operations import Instances
from rollbackd.sources.http_access import HttpAccess
from rollbackd.sources.prometheus_session import QueryLimits
from rollbackd.traces.backends.jaeger import JaegerPoller
from rollbackd.traces.backends.server import Backend, NotThere
from rollbackd.traces.backends.tempo import TempoPoller
from rollbackd.traces.book import TraceBook
from rollbackd.traces.catalogue import Catalogue
from rollbackd.traces.counters import TraceCounters
from rollbackd.traces.intake import Poller
from rollbackd.traces.otlp import decode
from rollbackd.traces.semantics import MAX_ERROR, MAX_NAME
from tests.traces.building import Made, request

NOW = 1_800_000_000.0
RECORDED = Path(__file__).parent / "recorded"
CANARY, BASELINE = "checkout-new-1", "checkout-old-1"
SIDES = Instances(("namespace", "pod"), [("shop", CANARY)], [("shop", BASELINE)])


class Answering(Backend):
    """A backend that answers by path, without a network."""

    def __init__(self, answers: dict[str, object]) -> None:
        super().__init__("http://127.0.0.1:1", HttpAccess(), QueryLimits(timeout_s=1.0))
        self._answers = answers

    def documents(self, path: str, query: object) -> Sequence[object]:
        if path not in self._answers:
            raise NotThere(path, "")
        told = self._answers[path]
        if isinstance(told, dict) and set(told) == {"histogram", "count"}:
            told = told["histogram" if "histogram" in str(query) else "count"]
        return [json.loads(json.dumps(told))]


def recorded(name: str) -> object:
    return json.loads((RECORDED / name).read_bytes())


def jaeger(answers: dict[str, object], book: TraceBook) -> Poller:
    return JaegerPoller(Answering(answers), book, ["checkout"], 100)


def tempo(answers: dict[str, object], book: TraceBook) -> Poller:
    by = ("k8s.namespace.name", "k8s.pod.name")
    return TempoPoller(Answering(answers), book, ["checkout"], by)


KNOWN: dict[str, tuple[Callable[[dict[str, object], TraceBook], Poller], str, object]] = {
    "v3": (jaeger, "/api/v3/traces", recorded("jaeger-v3.json")),
    "v1": (jaeger, "/api/traces", recorded("jaeger-v1.json")),
    "VictoriaTraces": (jaeger, "/api/traces", recorded("victoriatraces-v1.json")),
    "Tempo": (
        tempo,
        "/api/metrics/query",
        {"count": recorded("tempo-count.json"), "histogram": recorded("tempo-histogram.json")},
    ),
}
junk = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.just([]),
    st.just({}),
    st.just([[], {}]),
    st.just({"stringValue": {"stringValue": []}}),
    st.just("x" * 100_000),
    st.just("\ud800"),
)


def places(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Return the way to every part of a document."""
    parts: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        parts = list(value.items())
    elif isinstance(value, list):
        parts = list(enumerate(value))
    return [path] * bool(path) + [p for key, part in parts for p in places(part, (*path, key))]


def changed(value: object, path: tuple[str | int, ...], into: object) -> object:
    """Return a document with one part replaced."""
    key, rest = path[0], path[1:]
    part = value[key]  # type: ignore[index]
    new = changed(part, rest, into) if rest else into
    if isinstance(value, dict):
        return value | {key: new}
    assert isinstance(value, list)
    assert isinstance(key, int)
    return [*value[:key], new, *value[key + 1 :]]


@pytest.mark.parametrize("kind", list(KNOWN))
@given(st.data())
def test_an_answer_with_a_part_replaced_is_counted_or_told(kind: str, data: st.DataObject) -> None:
    make, path, document = KNOWN[kind]
    for _ in range(data.draw(st.integers(1, 3))):
        ways = [w for w in places(document) if kind != "Tempo" or len(w) > 1]
        if ways:
            document = changed(document, data.draw(st.sampled_from(ways)), data.draw(junk))
    book = TraceBook(Catalogue())
    poller = make({path: document}, book)
    poller.poll(NOW)
    book.turn(NOW)
    book.turn(NOW)
    rows = book.rows.now(range(book.catalogue.rows))
    assert np.isfinite(rows).all()
    assert (rows >= 0).all()
    counters = TraceCounters(book)
    seen = counters.seen(SIDES)
    if not isinstance(seen, Missing):
        for one in seen:
            assert len(one.operation) <= 2 * MAX_NAME + 20
            counters.detail(SIDES, one.operation)
    poller.close()


HUGE = "x" * 300_000


def test_huge_texts_are_cut_wherever_they_stand() -> None:
    book = TraceBook(Catalogue())
    spans = [
        Made(name=f"GET /{HUGE}", failed=True, exception=HUGE),
        Made(name="GET", attributes={"http.route": f"/{HUGE}", "error.type": HUGE}, failed=True),
        Made(attributes={HUGE: HUGE, "blob": HUGE}),
    ]
    for pod in (CANARY, HUGE):
        made = request(spans, pod=pod, service=HUGE)
        out = decode(made, book.catalogue, made.SerializeToString(), NOW)
        book.take(out.columns, NOW)
        assert (out.invalid, out.crowded, out.unattributed) == (0, 0, 0)
    book.turn(NOW)
    book.turn(NOW)
    assert all(len(o.name) <= MAX_NAME for o in book.catalogue.operations)
    assert all(len(o.service) <= 100 for o in book.catalogue.operations)
    assert all(len(label) <= 253 for i in book.instances() for label in i.labels)
    seen = TraceCounters(book).seen(SIDES)
    assert not isinstance(seen, Missing)
    assert sum(one.canary for one in seen) == len(spans)
    for one in seen:
        found = TraceCounters(book).detail(SIDES, one.operation)
        assert not isinstance(found, Missing)
        assert all(len(error) <= MAX_ERROR for error in found.canary.errors)
