"""From settings to a daemon's traces: what is configured is asked, and told as it was meant."""

import pytest

from analyzer.sample import Missing
from analyzer.traces.operations import Instances
from rollbackd.config.settings import EndpointSettings
from rollbackd.config.trace_settings import JaegerSettings, TraceSettings
from rollbackd.sources.http_access import HttpAccess
from rollbackd.traces.book import TraceBook
from rollbackd.traces.catalogue import Catalogue
from rollbackd.traces.counters import TraceCounters
from rollbackd.traces.labels import DEFAULT_LABELS
from rollbackd.traces.otlp import decode
from rollbackd.traces.wiring import TraceParts
from tests.servers.nginx import eventually
from tests.sources.stub_server import StubServer
from tests.traces.building import NOW, one_call, request
from tests.traces.test_spm import SPM, Shop, rates


@pytest.mark.parametrize("spm", [True, False])
def test_a_daemon_asks_jaegers_metrics_when_it_is_to(spm: bool) -> None:
    shop = Shop(metrics=rates(41.3))
    with StubServer(shop) as stub:
        settings = TraceSettings(
            labels=DEFAULT_LABELS,
            assembly_s=1.0,
            retention_s=1800.0,
            max_spans=100_000,
            operations=50,
            instances=50,
            jaeger=JaegerSettings(
                EndpointSettings(stub.url, 5.0, 1 << 20), ("checkout",), 500, spm
            ),
        )
        parts = TraceParts.build(settings, lambda _: HttpAccess())
        parts.intake.start()
        try:
            if spm:  # the past that is asked for at the start covers five minutes
                assert eventually(lambda: len(shop.questions()) >= len(SPM), 120)
                assert eventually(lambda: bool(parts.intake.book.caveats), 60)
            else:
                assert eventually(lambda: len(shop.asked) > 90, 120)
                assert shop.questions() == []
        finally:
            parts.intake.close()


def test_versions_that_are_services_of_their_own_are_compared_operation_by_operation() -> None:
    labels = {"service": ("service.name",)}
    for aliases, operations in (({}, 4), ({"shop-canary": "shop"}, 2)):
        book = TraceBook(Catalogue(labels, aliases=aliases))
        for service in ("shop", "shop-canary", "shop-canary"):
            spans = decode(request(one_call(), service=service), book.catalogue, None, NOW)
            book.take(spans.columns, NOW)
        book.turn(NOW)
        book.turn(NOW)
        sides = Instances(("service",), [("shop-canary",)], [("shop",)])
        seen = TraceCounters(book).seen(sides)
        assert not isinstance(seen, Missing)
        assert len(seen) == operations
        counts = {one.operation: (one.canary, one.baseline) for one in seen}
        if aliases:
            assert counts == {"shop|server|GET /": (2, 1), "shop|client|SELECT items": (2, 1)}
        else:
            assert all(0 in sides for sides in counts.values())
