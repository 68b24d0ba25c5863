"""Guilty operations in words: what got worse, by how much, and whose time it is."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from analyzer.evidence import Finding
from analyzer.judge import admitted
from analyzer.traces.operations import Detail, SideDetail, kind_of, name_of
from analyzer.traces.shares import STRUCTURE, Aspect
from analyzer.wording import MOST, factor, interval, seconds, share, significant

OWN = 0.5
"""Part of an operation's growth that must be its self time for the growth to be its own."""
RARE = 0.05
"""A call or an error type of a smaller share of the spans is not worth a word."""
MENTIONED = 2
"""Calls, and error types, that are told of an operation."""


@dataclass(frozen=True, slots=True)
class Accusation:
    """What was found of one aspect of one operation.

    Attributes:
        operation, aspect, finding: of what, and what was found.
        share: of the signal's evidence.
        detail: what both sides do in the operation, once it is known.
        called: of a vanished call, the operation that is not called any more.
    """

    operation: str
    aspect: Aspect
    finding: Finding
    share: float
    detail: Detail | None = None
    called: str = ""

    @property
    def contribution(self) -> float:
        """What it adds to the signal's e-value."""
        return self.share * admitted(self.finding)


def tell(accused: Sequence[Accusation], most: int) -> str:
    """Say which operations are guilty, the worst first, with everything they are accused of."""
    by_operation: dict[str, list[Accusation]] = {}
    for one in accused:
        by_operation.setdefault(one.operation, []).append(one)
    told = [_operation(operation, of) for operation, of in list(by_operation.items())[:most]]
    more = len(by_operation) - len(told)
    if more:
        told.append(f"and {more} more operation{'s' if more > 1 else ''}")
    caveats = {c for one in accused if one.detail for c in one.detail.caveats}
    return "; ".join([*told, *sorted(caveats)])


def cleared(compared: int, operations: int) -> str:
    """Say that nothing is worse, with how much could be compared."""
    return f"no operation is worse, {compared} of {operations} compared so far"


def drifting(every: Sequence[Accusation]) -> str:
    """Name the operations whose baseline is worse than its past, what is called before who calls."""
    grown = {
        one.operation: one.share * one.finding.drift_e
        for one in sorted(every, key=lambda one: one.share * one.finding.drift_e)
        if one.share * one.finding.drift_e >= 1.0
    }
    called_first = sorted(grown, key=lambda o: (kind_of(o) != "client", -grown[o], o))
    return ", ".join(name_of(operation) for operation in called_first[:MENTIONED])


def _operation(operation: str, accused: Sequence[Accusation]) -> str:
    aspects = {one.aspect: one for one in accused if one.aspect is not Aspect.VANISHED_CALLS}
    detail = next((one.detail for one in accused if one.detail), None)
    # self time says the same as the duration it is part of, and says it better
    if Aspect.SELF_TIME in aspects and Aspect.DURATION in aspects:
        del aspects[Aspect.DURATION]
    # so do the calls themselves where they are more
    if Aspect.FAN_OUT in aspects and detail is not None:
        aspects.pop(Aspect.NEW_CALLS, None)
    parts = [_aspect(one, detail) for one in aspects.values()]
    gone = [one for one in accused if one.aspect is Aspect.VANISHED_CALLS]
    parts.extend(_gone(one) for one in gone[:MENTIONED])
    if detail is not None and not aspects.keys().isdisjoint({Aspect.DURATION, Aspect.SELF_TIME}):
        parts.append(_whose(operation, detail))
    told = {one.aspect for one in accused}
    if detail is not None and told.isdisjoint({Aspect.FAN_OUT, *STRUCTURE}):
        parts.extend(_changed_calls(detail)[:MENTIONED])
    return f"{name_of(operation)}: {', '.join(part for part in parts if part)}"


def _aspect(one: Accusation, detail: Detail | None) -> str:
    match one.aspect:
        case Aspect.DURATION | Aspect.SELF_TIME:
            return _time(one)
        case Aspect.FAN_OUT:
            changed = _changed_calls(detail) if detail else []
            effect = f"{factor(one.finding.ratio)} as many calls"
            return ", ".join(changed[:MENTIONED]) or effect
        case Aspect.NEW_ERRORS:
            return _new_errors(one, detail)
        case Aspect.NEW_CALLS:
            return _new_calls(one, detail)
        case Aspect.VANISHED_CALLS:
            return _gone(one)
        case Aspect.DEPTH:
            f = one.finding
            values = f"{significant(f.canary_value)} vs {significant(f.baseline_value)} spans"
            return f"critical path {values}, {factor(f.ratio)} {interval(f.low, f.high)}"
        case Aspect.REQUESTS:
            f = one.finding
            values = f"{share(f.canary_value)} of its requests vs {share(f.baseline_value)}"
            return f"not asked for any more: {values}" if f.canary_value == 0 else values
        case _:
            f = one.finding
            values = f"{share(f.canary_value)} vs {share(f.baseline_value)}"
            return f"{one.aspect} {values}, {factor(f.ratio)} {interval(f.low, f.high)}"


def _time(one: Accusation) -> str:
    """Say "self time p95 +180 ms [140, 230]"."""
    f, base = one.finding, one.finding.baseline_value
    name = f"{one.aspect} {f.quantile}".rstrip()
    if not (math.isfinite(base) and f.low > 1 / MOST and f.high < MOST):
        return f"{name} {factor(f.ratio)} {interval(f.low, f.high)}"
    low, high = (_difference(base * (ratio - 1.0)) for ratio in (f.low, f.high))
    return f"{name} {_difference(base * (f.ratio - 1.0))} [{low}, {high}]"


def _difference(value: float) -> str:
    return ("+" if value >= 0 else "−") + seconds(abs(value))


def _whose(operation: str, detail: Detail) -> str:
    """Say whether the time was spent in the operation itself or in what it calls."""
    if kind_of(operation) in {"client", "producer"}:
        return "downstream: this is the call itself"
    grown = detail.canary.whole_s - detail.baseline.whole_s
    own = detail.canary.self_s - detail.baseline.self_s
    if not (math.isfinite(grown) and math.isfinite(own)) or grown <= 0:
        return ""
    if own >= OWN * grown:
        return f"its own: {seconds(own)} of {seconds(grown)} more on average"
    return f"downstream: only {seconds(max(own, 0.0))} of {seconds(grown)} more is its own"


def _gone(one: Accusation) -> str:
    """Say which call is made by fewer spans than before, or by none."""
    f, text = one.finding, f"`{name_of(one.called)}`"
    before = f"before in {share(f.baseline_value)} of spans"
    if f.canary_value < RARE * f.baseline_value:
        return f"no {text} calls any more, {before}"
    return f"{text} calls in {share(f.canary_value)} of spans, {before}"


def _new_calls(one: Accusation, detail: Detail | None) -> str:
    """Say what the canary calls that the baseline never called."""
    rate = f"in {share(one.finding.canary_value)} of spans"
    if detail is None:
        return f"calls that the baseline never made, {rate}"
    new = {k: c.often for k, c in detail.canary.calls.items() if k not in detail.baseline.calls}
    listed = sorted(new, key=lambda called: (-new[called], called))[:MENTIONED]
    told = [f"{significant(new[c])} new `{name_of(c)}` calls per request" for c in listed]
    return ", ".join(told) or f"calls that the baseline never made before, {rate}"


def _changed_calls(detail: Detail) -> list[str]:
    """Return new and vanished calls and those that became more, the largest change first."""
    changes: list[tuple[float, str]] = []
    for called in {**detail.canary.calls, **detail.baseline.calls}:
        now, before = _call(detail.canary, called), _call(detail.baseline, called)
        difference = now[1] - before[1]
        text = f"`{name_of(called)}`"
        if now[0] >= RARE > 0 and before[0] == 0:
            changes.append((difference, f"{significant(now[1])} new {text} calls per request"))
        elif before[0] >= RARE and now[0] == 0:
            changes.append((-difference, f"no {text} calls any more"))
        elif difference >= max(0.5, 0.5 * before[1]):
            more = f"{significant(difference)} more {text} calls per request"
            changes.append((difference, more))
    return [text for _, text in sorted(changes, key=lambda change: (-change[0], change[1]))]


def _call(side: SideDetail, called: str) -> tuple[float, float]:
    call = side.calls.get(called)
    return (0.0, 0.0) if call is None else (call.share, call.often)


def _new_errors(one: Accusation, detail: Detail | None) -> str:
    """Say which kinds of errors the canary has that the baseline never had."""
    rate = f"in {share(one.finding.canary_value)} of spans"
    if detail is None:
        return f"error types that the baseline never had, {rate}"
    new = {k: v for k, v in detail.canary.errors.items() if k not in detail.baseline.errors}
    listed = sorted(new, key=lambda kind: (-new[kind], kind))[:MENTIONED]
    return f"new errors {', '.join(listed) or 'of several types'} {rate}"
