"""Trace backends that do not answer as they should: nothing is counted, and it is asked again."""

from collections.abc import Callable

import pytest

from rollbackd.traces.backends.server import Backend
from rollbackd.traces.book import TraceBook
from rollbackd.traces.fates import Fate
from rollbackd.traces.intake import Poller
from tests.sources.stub_server import Answer, StubServer
from tests.traces.served import (
    NOW,
    Server,
    book_and,
    file,
    jaeger,
    tempo,
    tempo_metrics,
    tempo_search,
)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(b"invalid TraceQL query: parse error", 400),
        Answer(b"no org id", 401),
        Answer(b"too many requests", 429, {"Retry-After": "1"}),
        Answer(b"", 503),
        Answer(b"{not json"),
        Answer(b"[1]"),
        Answer(b'{"series": 3}'),
        Answer(b'{"series": [{"labels": 1, "value": "NaN"}]}'),
        Answer(b'{"series": [{"value": -1}]}'),
        Answer(b'{"series": [7]}'),
        Answer(b"x" * 300_000),
        Answer(b"", 404),
    ],
)
@pytest.mark.parametrize("make", [tempo, jaeger])
def test_trouble_is_no_evidence_and_the_stretch_is_asked_for_again(
    make: Callable[[Backend, TraceBook], Poller], answer: Answer
) -> None:
    bad = dict.fromkeys(("/api/metrics/query", "/api/v3/traces", "/api/traces"), lambda _: answer)
    server = Server(dict(bad))
    with StubServer(server) as stub:
        book, poller = book_and(make, stub.url)
        poller.poll(NOW)
        assert book.fates[Fate.COUNTED] == 0
        first = stub.requests[0].path
        server.paths.update(
            {
                "/api/metrics/query": tempo_metrics,
                "/api/search": tempo_search,
                "/api/v3/traces": file("jaeger-v3.json"),
            }
        )
        poller.poll(NOW)
        again = [r.path for r in stub.requests[1:] if r.path == first]
        # a server that asked to be left alone is, and is asked later
        assert again or answer.status == 429
        poller.close()
