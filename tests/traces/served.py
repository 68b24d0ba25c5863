"""Trace backends that answer from a test's own server, and what is asked of the book afterwards."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from analyzer.sample import Missing
from analyzer.traces.operations import Detail, Instances
from rollbackd.sources.http_access import HttpAccess
from rollbackd.sources.prometheus_session import QueryLimits
from rollbackd.traces.backends.jaeger import JaegerPoller
from rollbackd.traces.backends.server import Backend
from rollbackd.traces.backends.tempo import TempoPoller
from rollbackd.traces.book import TraceBook
from rollbackd.traces.catalogue import Catalogue
from rollbackd.traces.counters import TraceCounters
from rollbackd.traces.intake import Poller
from tests.sources.stub_server import Answer, Request

NOW = 1_800_000_000.0


RECORDED = Path(__file__).parent / "recorded"


LIMITS = QueryLimits(timeout_s=5.0, retries=0, max_answer_bytes=200_000)


TENANT = HttpAccess(headers=(("X-Scope-OrgID", "shop"),))


BY = ("k8s.namespace.name", "k8s.pod.name")


SIDES = Instances(("namespace", "pod"), [("shop", "checkout-new-1")], [("shop", "checkout-old-1")])


POST, SELECT = "checkout|server|POST /checkout", "checkout|client|SELECT items"


def recorded(name: str) -> bytes:
    return (RECORDED / name).read_bytes()


@dataclass
class Server:
    """A backend that answers by path; ``paths`` may be changed while it runs."""

    paths: dict[str, Callable[[dict[str, str]], Answer]] = field(default_factory=dict)

    def __call__(self, request: Request) -> Answer:
        parts = urlsplit(request.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        answer = self.paths.get(parts.path)
        return Answer(b"404 page not found", 404) if answer is None else answer(query)


def file(name: str) -> Callable[[dict[str, str]], Answer]:
    return lambda _: Answer(recorded(name))


def tempo_metrics(query: dict[str, str]) -> Answer:
    kind = "histogram" if "histogram_over_time" in query["q"] else "count"
    return Answer(recorded(f"tempo-{kind}.json"))


def tempo_search(_query: dict[str, str]) -> Answer:
    return Answer(recorded("tempo-search.json"))


def book_and(make: Callable[[Backend, TraceBook], Poller], url: str) -> tuple[TraceBook, Poller]:
    book = TraceBook(Catalogue())
    return book, make(Backend(url, TENANT, LIMITS), book)


def tempo(backend: Backend, book: TraceBook) -> TempoPoller:
    return TempoPoller(backend, book, ["checkout"], BY)


def jaeger(backend: Backend, book: TraceBook) -> JaegerPoller:
    return JaegerPoller(backend, book, ["checkout"], 3)


def detail(book: TraceBook, operation: str) -> Detail:
    found = TraceCounters(book).detail(SIDES, operation)
    assert not isinstance(found, Missing)
    return found
