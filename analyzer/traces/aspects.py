"""What is compared of an operation, as counted signals, and the families that compare it."""

from typing import Any, assert_never

from analyzer.families.family import Family
from analyzer.families.histogram import HistogramFamily
from analyzer.families.rate import RateFamily
from analyzer.families.ratio import RatioFamily
from analyzer.signal import (
    ChangedCalls,
    Direction,
    HistogramSignal,
    LevelSignal,
    RateSignal,
    RatioSignal,
    Selector,
    SeriesSignal,
    TraceSignal,
)
from analyzer.traces import operations as names
from analyzer.traces.fan_out import FanOutFamily
from analyzer.traces.novelty import NoveltyFamily
from analyzer.traces.shares import STRUCTURE, Aspect

AnyFamily = Family[Any, Any]

GONE = 2.0
"""Calls, and requests, are missing when there are at most half as many as there should be."""
ALL_GONE = 4.0
"""Ratio that must be excluded before nothing is missing."""


def compared(signal: TraceSignal) -> tuple[Aspect, ...]:
    """Return the aspects that a signal compares."""
    if signal.changed_calls is ChangedCalls.IGNORED:
        return tuple(aspect for aspect in Aspect if aspect not in STRUCTURE)
    return tuple(Aspect)


def concerns(aspect: Aspect, operation: str) -> bool:
    """Tell whether an aspect of an operation is compared as soon as the operation is known.

    Its calls are compared one by one once they are known, and only where an instance is asked for
    something does it mean anything that it is not.
    """
    if aspect is Aspect.REQUESTS:
        return names.kind_of(operation) in names.ENTRY_KINDS
    return aspect is not Aspect.VANISHED_CALLS


def labels_of(aspect: Aspect, id_labels: tuple[str, ...]) -> tuple[str, ...]:
    """Return the labels that an instance's part has in the series of an aspect."""
    part = names.CALL if aspect is Aspect.VANISHED_CALLS else names.OPERATION
    return (*id_labels, part)


def signal_of(aspect: Aspect, signal: TraceSignal) -> SeriesSignal:
    """Return the counted signal that an aspect of an operation is."""
    match aspect:
        case Aspect.ERRORS:
            return _ratio(aspect, signal, names.SPANS, names.FAILED)
        case Aspect.NEW_ERRORS:
            return _ratio(aspect, signal, names.SPANS, names.ERRORS)
        case Aspect.RETRIES:
            return _ratio(aspect, signal, names.ASSEMBLED, names.RETRIED)
        case Aspect.NEW_CALLS:
            return _ratio(aspect, signal, names.ASSEMBLED, names.CALLERS_BY_CALLED)
        case Aspect.DURATION:
            return _histogram(aspect, signal, names.DURATIONS)
        case Aspect.SELF_TIME:
            return _histogram(aspect, signal, names.SELF_TIMES)
        case Aspect.FAN_OUT:
            return _level(aspect, names.REPEATS, signal.growth, signal.harm)
        case Aspect.DEPTH:
            return _level(aspect, names.STEPS, signal.margin, signal.harm)
        case Aspect.VANISHED_CALLS:
            return _fall(aspect, names.CALL_MADE, names.CALL_POSSIBLE)
        case Aspect.REQUESTS:
            return _fall(aspect, names.REQUESTED, names.ENTRIES)
        case _:
            assert_never(aspect)


def family_of(
    aspect: Aspect, signal: TraceSignal, labels: tuple[str, ...], tick_s: float, horizon_s: float
) -> AnyFamily:
    """Return a new family that compares an aspect.

    Args:
        aspect: what is compared.
        signal: how.
        labels: of an instance's part, see ``labels_of``.
        tick_s: distance of grid points.
        horizon_s: how long a watch lasts at most.
    """
    part = signal_of(aspect, signal)
    match part:
        case RatioSignal() if aspect in {Aspect.NEW_ERRORS, Aspect.NEW_CALLS}:
            return NoveltyFamily(part, labels, tick_s, horizon_s)
        case RatioSignal():
            return RatioFamily(part, labels, tick_s, horizon_s)
        case HistogramSignal():
            return HistogramFamily(part, labels, tick_s, horizon_s)
        case LevelSignal():
            return FanOutFamily(labels, tick_s, horizon_s, part.values.metric)
        case RateSignal():
            return RateFamily(part, labels, tick_s, horizon_s)
        case _:
            raise TypeError(f"no family compares {part}")


def _ratio(aspect: Aspect, signal: TraceSignal, total: str, bad: str) -> RatioSignal:
    return RatioSignal(
        name=aspect.value,
        total=Selector(total),
        bad=Selector(bad),
        margin=signal.margin,
        harm=max(signal.harm, signal.margin),
        floor=signal.floor,
        harm_rate=signal.harm_rate,
    )


def _histogram(aspect: Aspect, signal: TraceSignal, buckets: str) -> HistogramSignal:
    return HistogramSignal(
        name=aspect.value,
        buckets=Selector(buckets),
        margin=signal.margin,
        harm=max(signal.harm, signal.margin),
    )


def _level(aspect: Aspect, counted: str, margin: float, harm: float) -> LevelSignal:
    values = Selector(counted)
    return LevelSignal(name=aspect.value, values=values, margin=margin, harm=max(harm, margin))


def _fall(aspect: Aspect, events: str, per: str) -> RateSignal:
    return RateSignal(
        name=aspect.value,
        events=Selector(events),
        per=Selector(per),
        direction=Direction.LOWER,
        unit="each",
        margin=GONE,
        harm=ALL_GONE,
    )
