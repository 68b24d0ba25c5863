"""From settings to the parts that take traces in and tell of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from analyzer.ports import MetricSource
from rollbackd.config.trace_settings import TraceSettings
from rollbackd.traces.book import TraceBook
from rollbackd.traces.catalogue import Bounds, Catalogue
from rollbackd.traces.counters import TraceCounters
from rollbackd.traces.fates import Fate
from rollbackd.traces.intake import Intake
from rollbackd.traces.routing import RoutedSource


@dataclass(frozen=True, slots=True)
class TraceParts:
    """What the configuration's ``traces`` asks for."""

    intake: Intake
    counters: TraceCounters

    @classmethod
    def build(cls, settings: TraceSettings) -> Self:
        """Build every part; nothing is counted before the intake is started.

        Raises:
            OSError: the receiver's address cannot be listened on.
        """
        bounds = Bounds(instances=settings.instances, operations=settings.operations)
        book = TraceBook(
            Catalogue(settings.labels, bounds),
            generation_s=settings.assembly_s,
            retention_s=settings.retention_s,
            max_spans=settings.max_spans,
        )
        intake = Intake(book)
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
