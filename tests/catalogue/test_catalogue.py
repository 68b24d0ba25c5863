"""The catalogue against a real Prometheus that holds samples of every convention."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from analyzer.policy import Policy
from analyzer.sample import Absence, Grid, Missing, Query, Series
from analyzer.signal import HistogramSignal, RatioSignal, Tier
from rollbackd.catalogue import CATALOGUE, Discovery, Offer, discover
from rollbackd.catalogue.discovery import NAME, chosen
from rollbackd.catalogue.page import PAGE, page
from rollbackd.cli import main
from rollbackd.sources.exposition import TextFormat, labels_of, parse
from rollbackd.sources.prometheus import PrometheusSource
from tests.config.files import minimal, write
from tests.servers.prometheus import PrometheusServer
from tests.servers.remote_write import WrittenSeries

EXPOSITIONS = sorted((Path(__file__).parent / "expositions").glob("*.prom"))
EXPECTED = {
    "aspnet": {
        "errors": "http_requests_received_total",
        "latency": "http_request_duration_seconds_bucket",
        "queued-requests": "kestrel_queued_requests",
        "thread-pool-queue": "dotnet_thread_pool_queue_length_work_items",
        "garbage-collection": "dotnet_gc_pause_time_seconds_total",
        "cpu": "dotnet_process_cpu_time_seconds_total",
    },
    "cadvisor": {
        "cpu": "container_cpu_usage_seconds_total",
        "memory": "container_memory_working_set_bytes",
        "cpu-throttling": "container_cpu_cfs_periods_total",
        "restarts": "kube_pod_container_status_restarts_total",
    },
    "go": {
        "errors": "http_requests_total",
        "latency": "http_request_duration_seconds_bucket",
        "call-errors": "grpc_server_handled_total",
        "call-latency": "grpc_server_handling_seconds_bucket",
        "garbage-collection": "go_gc_duration_seconds_sum",
        "cpu": "process_cpu_seconds_total",
        "memory": "process_resident_memory_bytes",
        "threads": "go_goroutines",
        "open-files": "process_open_fds",
    },
    "istio": {  # the mesh counts gRPC calls, too: grpc_server_handled_total is left out
        "errors": "istio_requests_total",
        "latency": "istio_request_duration_milliseconds_bucket",
        "memory": "process_resident_memory_bytes",
        "threads": "go_goroutines",
        "open-files": "process_open_fds",
    },
    "linkerd": {"errors": "response_total", "latency": "response_latency_ms_bucket"},
    "nginx": {
        "errors": "nginx_ingress_controller_requests",
        "latency": "nginx_ingress_controller_request_duration_seconds_bucket",
    },
    "node": {
        "errors": "http_request_duration_seconds_count",
        "latency": "http_request_duration_seconds_bucket",
        "event-loop-lag": "nodejs_eventloop_lag_p99_seconds",
        "garbage-collection": "nodejs_gc_duration_seconds_sum",
        "cpu": "process_cpu_seconds_total",
    },
    "opentelemetry": {
        "errors": "http_server_request_duration_seconds_count",
        "latency": "http_server_request_duration_seconds_bucket",
        "call-errors": "rpc_server_duration_milliseconds_count",
        "call-latency": "rpc_server_duration_milliseconds_bucket",
        "database-errors": "db_client_operation_duration_seconds_count",
        "database-latency": "db_client_operation_duration_seconds_bucket",
        "message-errors": "messaging_process_duration_seconds_count",
        "message-latency": "messaging_process_duration_seconds_bucket",
        "outgoing-errors": "http_client_request_duration_seconds_count",
        "garbage-collection": "jvm_gc_duration_seconds_sum",
        "cpu": "jvm_cpu_recent_utilization_ratio",
        "threads": "jvm_thread_count",
    },
    "opentelemetry-old": {
        "errors": "http_server_duration_milliseconds_count",
        "latency": "http_server_duration_milliseconds_bucket",
    },
    "proxies": {
        "errors": "envoy_http_downstream_rq_xx",
        "latency": "envoy_http_downstream_rq_time_bucket",
    },
    "python": {
        "errors": "http_requests_total",
        "latency": "http_request_duration_seconds_bucket",
        "cpu": "process_cpu_seconds_total",
        "memory": "process_resident_memory_bytes",
        "open-files": "process_open_fds",
    },
    "spring": {
        "errors": "http_server_requests_seconds_count",
        "latency": "http_server_requests_seconds_bucket",
        "waiting-for-connections": "hikaricp_connections_pending",
        "garbage-collection": "jvm_gc_pause_seconds_sum",
        "cpu": "process_cpu_usage",
        "threads": "jvm_threads_live_threads",
        "open-files": "process_files_open_files",
    },
    "traefik": {
        "errors": "traefik_entrypoint_requests_total",
        "latency": "traefik_entrypoint_request_duration_seconds_bucket",
    },
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusServer]:
    """Return a server in which each convention is a pod of its own."""
    with PrometheusServer(tmp_path_factory.mktemp("prometheus")) as running:
        running.write(
            WrittenSeries({**labels_of(text), "pod": path.stem, "namespace": "shop"}, samples)
            for path in EXPOSITIONS
            for text, samples in _samples(path)
        )
        yield running


def _samples(path: Path) -> Iterator[tuple[str, list[tuple[float, float]]]]:
    read = parse(path.read_text(encoding="utf-8"), TextFormat.PROMETHEUS)
    now = float(int(time.time()))
    for text, value in zip(read.series, read.values, strict=True):
        yield text, [(now - 30.0, value), (now, value)]


def found(server: PrometheusServer, *pods: str) -> Discovery | Missing:
    source = PrometheusSource(server.url)
    try:
        ids = [("shop", pod) for pod in pods]
        return discover(source, CATALOGUE, ("namespace", "pod"), ids, time.time())
    finally:
        source.close()


@pytest.mark.servers
@pytest.mark.parametrize("pod", EXPECTED)
def test_each_convention_is_found_in_a_real_prometheus(server: PrometheusServer, pod: str) -> None:
    discovery = found(server, pod)
    assert isinstance(discovery, Discovery)
    used = {f.offer.signal.name: f.offer.needed.metric for f in discovery.found if f.taken}
    assert used == EXPECTED[pod]
    assert len(discovery.signals) == len({s.name for s in discovery.signals})


@pytest.mark.servers
def test_what_is_found_can_be_fetched(server: PrometheusServer) -> None:
    source = PrometheusSource(server.url)
    for pod in EXPECTED:
        discovery = found(server, pod)
        assert isinstance(discovery, Discovery)
        for signal in discovery.signals:
            needed = next(o.needed for o in CATALOGUE if o.signal == signal)
            le = ("le",) if isinstance(signal, HistogramSignal) else ()
            query = Query(needed, ("pod", *le), (("pod", frozenset({pod})),))
            (reply,) = source.fetch([query], Grid(float(int(time.time())), 1.0, 1))
            assert isinstance(reply, Series), (pod, needed, reply)
    source.close()


@pytest.mark.servers
def test_pods_that_expose_nothing_are_told(server: PrometheusServer) -> None:
    nothing = found(server, "unknown")
    assert isinstance(nothing, Missing)
    assert nothing.reason is Absence.NO_SERIES


@pytest.mark.servers
def test_the_command_lists_what_is_used_and_why_not_the_others(
    server: PrometheusServer, tmp_path: Path
) -> None:
    values = minimal()
    values["source"]["prometheus"]["url"] = server.url
    values["settle"] = "0s"
    del values["policies"][0]["signals"]
    file = write(tmp_path, values)
    arguments = ["signals", "-c", str(file), "-l", "namespace", "-l", "pod", "-i"]
    told = CliRunner().invoke(main, [*arguments, "shop,istio"])
    assert told.exit_code == 0, told.output
    assert 'istio_requests_total{reporter="destination"}' in told.output
    assert "call-errors, gRPC" in told.output
    assert "Istio measures it already" in told.output
    everything = CliRunner().invoke(main, [*arguments, "shop,istio", "--all"])
    assert "no http_requests_total for these instances" in everything.output
    absent = CliRunner().invoke(main, [*arguments, "shop,unknown"])
    assert absent.exit_code == 1
    short = CliRunner().invoke(main, [*arguments, "istio"])
    assert short.exit_code == 2


def series_for(metric: str, **labels: str) -> dict[str, str]:
    return {NAME: metric, **labels}


def fitting(offer: Offer) -> dict[str, str]:
    """Return the labels of a series that the offer would take."""
    labels = dict.fromkeys(offer.labels, "200") | {m.label: m.value for m in offer.needed.matchers}
    return {NAME: offer.needed.metric, **{k: v or "app" for k, v in labels.items()}}


EVERYTHING = [fitting(offer) for offer in CATALOGUE]


@given(st.sets(st.sampled_from(range(len(EVERYTHING)))))
def test_no_purpose_is_measured_twice_and_weights_are_the_catalogues(which: set[int]) -> None:
    discovery = chosen(CATALOGUE, [EVERYTHING[i] for i in which])
    covered = [p for f in discovery.found if f.taken for p in f.offer.covers]
    assert len(covered) == len(set(covered))
    by_name = {o.signal.name: o.signal.weight for o in CATALOGUE}
    assert all(s.weight == by_name[s.name] for s in discovery.signals)
    weights = Policy("p", discovery.signals).weights
    assert not weights or sum(weights.values()) == pytest.approx(1.0)


def test_a_label_that_marks_failures_must_exist() -> None:
    bare = chosen(CATALOGUE, [series_for("http_requests_total", method="get")])
    assert bare.signals == ()
    reasons = {f.reason for f in bare.found if f.offer.needed.metric == "http_requests_total"}
    assert "http_requests_total has no label code" in reasons


def test_every_purpose_has_one_weight_and_every_offer_a_reason() -> None:
    for offer in CATALOGUE:
        assert offer.why
        same = [o.signal for o in CATALOGUE if o.signal.name == offer.signal.name]
        assert len({(s.weight, s.tier) for s in same}) == 1
        if isinstance(offer.signal, RatioSignal) and offer.signal.tier is Tier.CRITICAL:
            # where the total exists, no series of failures means that none failed
            assert offer.signal.bad.metric == offer.signal.total.metric
        if offer.signal.tier is Tier.CRITICAL:
            assert offer.signal.weight > 0


def test_the_reference_page_is_made_from_the_catalogue() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), (
        "docs/signals.md is old: python -m rollbackd.catalogue.page"
    )
