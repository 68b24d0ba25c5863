"""From a bucket on ``/metrics`` to the trace of a decision, where traces go out."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Exemplar, Sample

from rollbackd.decisions import Answer, Outcome
from rollbackd.http import Doors, HttpServer, application
from rollbackd.telemetry import Telemetry
from tests.fakes.memory_journal import MemoryJournal
from tests.process.lifetime import Lifetime
from tests.process.mall import BAD, Mall
from tests.servers.prometheus import PrometheusServer

Series = tuple[str, frozenset[tuple[str, str]]]
TOOK = "rollbackd_time_to_decision_seconds_bucket"


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def telemetry(exporter: InMemorySpanExporter) -> Iterator[Telemetry]:
    made = Telemetry(version="test", environ={}, spans_to=exporter)
    yield made
    made.close()


def live(telemetry: Telemetry) -> None:
    """Let a bad release be rolled back."""
    mall = Mall()
    mall.release("v2", BAD)
    life = Lifetime(mall, MemoryJournal(), telemetry=telemetry)
    life.until("rolled back")
    life.end()
    telemetry.ticked(0.2, 1234.0, ok=True)


def opened(telemetry: Telemetry) -> list[Sample]:
    text = telemetry.open_metrics().decode()
    families = open_families(text)  # type: ignore[no-untyped-call]  # it has no types
    return [sample for family in families for sample in family.samples]


def exemplars(telemetry: Telemetry) -> dict[Series, Exemplar]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.exemplar
        for sample in opened(telemetry)
        if sample.exemplar is not None
    }


def test_a_bucket_leads_to_the_decision_that_fell_into_it(
    telemetry: Telemetry, exporter: InMemorySpanExporter
) -> None:
    live(telemetry)
    found = exemplars(telemetry)
    ((_, labels),) = [series for series in found if series[0] == TOOK]
    exemplar = found[TOOK, labels]
    assert ("phase", "degraded") in labels
    assert exemplar.value <= float(dict(labels)["le"])
    (decision,) = [
        span
        for span in exporter.get_finished_spans()
        if (span.attributes or {}).get("rollbackd.phase") == "degraded"
    ]
    assert decision.context is not None
    assert exemplar.labels == {
        "trace_id": f"{decision.context.trace_id:032x}",
        "span_id": f"{decision.context.span_id:016x}",
    }


def test_a_tick_is_an_exemplar_too(telemetry: Telemetry) -> None:
    live(telemetry)
    names = {name for name, _ in exemplars(telemetry)}
    assert names == {TOOK, "rollbackd_tick_duration_seconds_bucket"}


def test_both_formats_tell_the_same(telemetry: Telemetry) -> None:
    live(telemetry)
    plain = {
        (s.name, frozenset(s.labels.items())): s.value
        for family in text_string_to_metric_families(telemetry.exposition().decode())
        for s in family.samples
    }
    assert {(s.name, frozenset(s.labels.items())): s.value for s in opened(telemetry)} == plain


def test_where_no_traces_go_out_nothing_leads_to_them() -> None:
    telemetry = Telemetry(version="test", environ={})
    live(telemetry)
    assert not exemplars(telemetry)
    telemetry.close()


@pytest.mark.servers
def test_prometheus_stores_them(telemetry: Telemetry, tmp_path: Path) -> None:
    live(telemetry)
    doors = Doors(
        views=tuple,
        metrics=telemetry.exposition,
        open_metrics=telemetry.open_metrics,
        unready=lambda: "",
        decide=lambda _: Outcome(Answer.UNKNOWN, ""),
        release=lambda _watch, _by: Outcome(Answer.UNKNOWN, ""),
    )
    serving = HttpServer(application(doors), "127.0.0.1", 0)
    serving.start()
    flags = ["--enable-feature=exemplar-storage"]
    targets = [f"127.0.0.1:{serving.port}"]
    with PrometheusServer(tmp_path, targets=targets, flags=flags) as prometheus:
        prometheus.await_value(f"count({TOOK}) > bool 0", 1)
        answer = requests.get(
            f"{prometheus.url}/api/v1/query_exemplars",
            params={"query": TOOK, "start": "0", "end": "4000000000"},
            timeout=30,
        ).json()
    serving.close()
    (series,) = answer["data"]
    assert len(series["exemplars"][0]["labels"]["trace_id"]) == 32
