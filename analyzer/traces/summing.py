"""From what was found of every operation to the one finding of a trace signal."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from analyzer.evidence import Finding
from analyzer.judge import ATTRIBUTED
from analyzer.signal import ChangedCalls
from analyzer.traces.operations import ENTRY_KINDS, Seen, kind_of
from analyzer.traces.shares import STRUCTURE, Aspect
from analyzer.traces.wording import Accusation, cleared, drifting, tell

TOLD = 3
"""Operations that a finding names."""
MAJOR = 0.1
"""An operation with this share of what the canary is asked for must be free of harm before all is
well."""
LONGER = 1.1
"""Ratio of an operation's durations below which it did not become longer by anything it does itself."""
COMPANY = 0.1
"""Part of what would decide that changed calls may add to a case where they are only told."""


@dataclass(frozen=True, slots=True)
class Measure:
    """How evidence is summed up. ``decisive``: an e-value at which the signal decides alone."""

    changed_calls: ChangedCalls
    decisive: float


def believed(every: Sequence[Accusation]) -> list[Accusation]:
    """Return what was found, without self times that grew in operations that last no longer.

    Where spans of calls are missing or late, what was waited for looks like own work; so does work that
    moved from a dependency into the service. Neither takes anybody longer.
    """
    same = {
        a.operation
        for a in every
        if a.aspect is Aspect.DURATION and a.finding.tested and a.finding.ratio < LONGER
    }
    return [
        replace(a, finding=replace(a.finding, harmful=False))
        if a.aspect is Aspect.SELF_TIME and a.operation in same
        else a
        for a in every
    ]


def strongest(every: Iterable[Accusation], least: float) -> list[Accusation]:
    """Return what speaks against the canary and contributes so much at least, strongest first."""
    harmful = [(a.contribution, a) for a in every if a.finding.harmful]
    strong = [pair for pair in harmful if pair[0] >= least and pair[0] > 0]
    strong.sort(key=lambda pair: (-pair[0], pair[1].operation, pair[1].aspect, pair[1].called))
    return [a for _, a in strong]


def sum_up(every: Sequence[Accusation], seen: Mapping[str, Seen], measure: Measure) -> Finding:
    """Return the one finding that stands for all operations.

    Args:
        every: what was found; at least one.
        seen: spans of each operation.
        measure: what counts for how much.
    """
    told_only = measure.changed_calls is not ChangedCalls.HARM
    changed = [a for a in every if told_only and a.aspect in STRUCTURE]
    worse = [a for a in every if not (told_only and a.aspect in STRUCTURE)]
    strong = strongest(worse, ATTRIBUTED)
    different = strongest(changed, ATTRIBUTED)
    lead = strong[0] if strong else max(worse or every, key=lambda a: a.contribution)
    named = [*strong, *different]
    return replace(
        lead.finding,
        e_value=_e_value(worse, changed, measure),
        tested=any(a.finding.tested for a in every),
        harmful=bool(strong),
        harmless=_harmless(worse, seen) and not strong,
        drift_e=_drift(every),
        detectable=None,
        drifting=drifting([a for a in every if a.aspect not in STRUCTURE]),
        told=_told(every, strong, different, len(seen)),
        examples=next((a.detail.examples for a in named if a.detail), ()),
    )


def _e_value(
    worse: Sequence[Accusation], changed: Sequence[Accusation], measure: Measure
) -> float:
    """Return the mean of all e-values, in which what is only told cannot decide."""
    company = sum(a.contribution for a in changed)
    return sum(a.contribution for a in worse) + min(company, COMPANY * measure.decisive)


def _harmless(worse: Sequence[Accusation], seen: Mapping[str, Seen]) -> bool:
    """Tell whether every operation that matters is shown to be free of harm.

    Those by which the canary is asked for something, where there are any: what it does for that
    shows in them as far as it matters to anybody, and each exclusion more takes its time.
    """
    entries = {o: s.canary for o, s in seen.items() if kind_of(o) in ENTRY_KINDS and s.canary}
    asked = entries or {o: s.canary for o, s in seen.items()}
    least = MAJOR * sum(asked.values())
    major = [
        a
        for a in worse
        if a.aspect in {Aspect.ERRORS, Aspect.DURATION} and asked.get(a.operation, -1.0) >= least
    ]
    return bool(major) and all(a.finding.harmless for a in major)


def _drift(every: Sequence[Accusation]) -> float:
    """Return the evidence that the baseline is worse than its past.

    What is not measured counts as 1: no drift is known there. So does what only is different.
    """
    known = [a for a in every if a.aspect not in STRUCTURE]
    rest = max(0.0, 1.0 - sum(a.share for a in known))
    return rest + sum(a.share * a.finding.drift_e for a in known)


def _told(
    every: Sequence[Accusation],
    strong: Sequence[Accusation],
    different: Sequence[Accusation],
    operations: int,
) -> str:
    if strong:
        return tell([*strong, *different], TOLD)
    text = cleared(every, operations)
    return f"{text}; changed: {tell(different, TOLD)}" if different else text
