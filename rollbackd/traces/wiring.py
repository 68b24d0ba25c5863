"""From settings to the parts that take traces in and tell of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Self

from analyzer.ports import MetricSource
from rollbackd.config.settings import EndpointSettings
from rollbackd.config.trace_settings import TraceSettings
from rollbackd.sources.http_access import HttpAccess
from rollbackd.sources.prometheus_session import QueryLimits
from rollbackd.traces.backends.jaeger import JaegerPoller
from rollbackd.traces.backends.server import Backend
from rollbackd.traces.backends.spm import Monitoring
from rollbackd.traces.backends.tempo import TempoPoller
from rollbackd.traces.book import TraceBook
from rollbackd.traces.catalogue import Bounds, Catalogue
from rollbackd.traces.counters import TraceCounters
from rollbackd.traces.fates import Fate
from rollbackd.traces.intake import Intake, Poller
from rollbackd.traces.routing import RoutedSource

Access = Callable[[EndpointSettings], HttpAccess]


@dataclass(frozen=True, slots=True)
class TraceParts:
    """What the configuration's ``traces`` asks for."""

    intake: Intake
    counters: TraceCounters

    @classmethod
    def build(cls, settings: TraceSettings, access: Access) -> Self:
        """Build every part; nothing is counted before the intake is started.

        Args:
            settings: where traces come from.
            access: how a server lets us in.

        Raises:
            OSError: the receiver's address cannot be listened on.
            SecretError or ValueError: a backend cannot be asked as it is configured.
        """
        bounds = Bounds(instances=settings.instances, operations=settings.operations)
        book = TraceBook(
            Catalogue(settings.labels, bounds, settings.aliases),
            generation_s=settings.assembly_s,
            retention_s=settings.retention_s,
            max_spans=settings.max_spans,
        )
        intake = Intake(book, _pollers(settings, book, access))
        receiver = settings.receiver
        if receiver is not None:
            intake.listen(receiver.host, receiver.port, receiver.max_body)
        return cls(intake, TraceCounters(book, settings.address))

    def beside(self, others: MetricSource) -> RoutedSource:
        """Return a metric source that answers for traces and for everything else."""
        return RoutedSource(self.counters, others)

    def fates(self) -> Mapping[Fate, int]:
        """Return what became of the spans that came in."""
        return dict(self.intake.book.fates)


def _pollers(settings: TraceSettings, book: TraceBook, access: Access) -> list[Poller]:
    """Return what asks the configured backends."""

    def server(endpoint: EndpointSettings) -> Backend:
        most = QueryLimits(timeout_s=endpoint.timeout_s, max_answer_bytes=endpoint.max_reply_bytes)
        return Backend(endpoint.url, access(endpoint), most)

    pollers: list[Poller] = []
    if (tempo := settings.tempo) is not None:
        pollers.append(TempoPoller(server(tempo.endpoint), book, tempo.services, tempo.by))
    if (jaeger := settings.jaeger) is not None:
        monitoring = Monitoring(server(jaeger.endpoint)) if jaeger.spm else None
        pollers.append(
            JaegerPoller(server(jaeger.endpoint), book, jaeger.services, jaeger.traces, monitoring)
        )
    return pollers
