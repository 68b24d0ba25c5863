"""One ready-made signal: what it measures, by which convention, and what must exist for it."""

from collections.abc import Iterable
from dataclasses import dataclass

from analyzer.signal import (
    GaugeSignal,
    HistogramSignal,
    LeakSignal,
    Matcher,
    RateSignal,
    RatioSignal,
    Selector,
    Signal,
)


@dataclass(frozen=True, slots=True)
class Offer:
    """An entry of the catalogue.

    Attributes:
        convention: whose naming it is, for people.
        signal: as it would stand in a policy; its name is its purpose.
        covers: purposes that it measures. The first offer that a source can answer takes them, and
            later offers for any of them are left out: the same requests must not count twice.
        why: one sentence: what it sees, and what it does not.
        routes: labels that may tell what was asked for, the preferred first.
    """

    convention: str
    signal: Signal
    covers: frozenset[str]
    why: str
    routes: tuple[str, ...] = ()

    @property
    def needed(self) -> Selector:
        """The series that must exist: all events, the buckets, the values."""
        match self.signal:
            case RatioSignal(total=total):
                return total
            case HistogramSignal(buckets=buckets):
                return buckets
            case GaugeSignal(values=values) | LeakSignal(values=values):
                return values
            case RateSignal(events=events):
                return events
            case other:
                raise TypeError(f"the catalogue has no {other.kind} signals")

    @property
    def labels(self) -> frozenset[str]:
        """Labels that the series must have: without them a matcher would mean nothing.

        A label that is only asked to be not empty (``error_type!=""``) may be there on failures
        alone.
        """
        return frozenset(m.label for m in self._matchers() if (m.op, m.value) != ("!=", ""))

    def _matchers(self) -> tuple[Matcher, ...]:
        bad = self.signal.bad.matchers if isinstance(self.signal, RatioSignal) else ()
        return (*self.needed.matchers, *bad)


def errors(  # noqa: PLR0913  # what a table's row needs
    convention: str,
    total: str,
    bad: Matcher,
    why: str,
    *,
    where: Iterable[Matcher] = (),
    name: str = "errors",
    covers: Iterable[str] = (),
    weight: float = 0.35,
    routes: Iterable[str] = (),
) -> Offer:
    """Return an offer of failed events among all events of one counter.

    Args:
        convention: whose naming.
        total: counter of all events.
        bad: what marks the failed ones.
        why: one sentence.
        where: matchers of both.
        name: the purpose.
        covers: further purposes.
        weight: share of α.
        routes: labels that may tell what was asked for.
    """
    both = tuple(where)
    signal = RatioSignal(name, Selector(total, both), Selector(total, (*both, bad)), weight=weight)
    return Offer(convention, signal, frozenset({name, *covers}), why, tuple(routes))


def latency(  # noqa: PLR0913  # as above
    convention: str,
    buckets: str,
    why: str,
    *,
    where: Iterable[Matcher] = (),
    name: str = "latency",
    covers: Iterable[str] = (),
    weight: float = 0.35,
    unit: str = "s",
) -> Offer:
    """Return an offer of durations in cumulative buckets; arguments as for ``errors``."""
    signal = HistogramSignal(name, Selector(buckets, tuple(where)), unit=unit, weight=weight)
    return Offer(convention, signal, frozenset({name, *covers}), why)


def gauge(  # noqa: PLR0913  # as above
    convention: str,
    values: str,
    why: str,
    *,
    name: str,
    unit: str,
    where: Iterable[Matcher] = (),
    counter: bool = False,
    margin: float = 1.5,
    least: float = 0.0,
) -> Offer:
    """Return an offer of a level; higher is worse, and it needs company to act.

    ``counter``: the level is the increase per second. ``margin``: smallest harmful ratio.
    ``least``: values below it are all alike. Others as above.
    """
    signal = GaugeSignal(
        name,
        Selector(values, tuple(where)),
        counter=counter,
        unit=unit,
        weight=0.05,
        margin=margin,
        harm=2.0 * margin,
        least=least,
    )
    return Offer(convention, signal, frozenset({name}), why)


def leak(
    convention: str,
    values: str,
    why: str,
    *,
    name: str,
    unit: str,
    where: Iterable[Matcher] = (),
) -> Offer:
    """Return an offer of a gauge that must not grow for ever; it needs company to act."""
    signal = LeakSignal(name, Selector(values, tuple(where)), unit=unit, weight=0.05)
    return Offer(convention, signal, frozenset({name}), why)
