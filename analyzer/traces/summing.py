"""From what was found of every operation to the one finding of a trace signal."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from analyzer.evidence import Finding
from analyzer.judge import ATTRIBUTED
from analyzer.signal import ChangedCalls
from analyzer.traces.shares import STRUCTURE, Aspect
from analyzer.traces.wording import Accusation, cleared, drifting, tell

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Bools = NDArray[np.bool_]

TOLD = 3
"""Operations that a finding names."""
MAJOR = 0.1
"""An operation with this share of what the canary is asked for must be free of harm before all is
well."""
LONGER = 1.1
"""Ratio of an operation's durations below which it did not become longer by anything it does itself."""
COMPANY = 0.1
"""Part of what would decide that changed calls may add to a case where they are only told."""
ASPECTS = tuple(Aspect)
"""An aspect's number is its place here."""
SELF_TIME, DURATION = ASPECTS.index(Aspect.SELF_TIME), ASPECTS.index(Aspect.DURATION)
STRUCTURAL = np.array([aspect in STRUCTURE for aspect in ASPECTS])
USUAL_HARM = np.array([aspect in {Aspect.ERRORS, Aspect.DURATION} for aspect in ASPECTS])


@dataclass(frozen=True, slots=True)
class Measure:
    """How evidence is summed up. ``decisive``: an e-value at which the signal decides alone."""

    changed_calls: ChangedCalls
    decisive: float


@dataclass(frozen=True, slots=True)
class Every:
    """What was found of every part of every operation, as parallel arrays.

    There may be very many, and few are ever spoken of: only these are looked at closely.

    Attributes:
        operation, aspect: numbers of what was compared, see ``ASPECTS``.
        share: of the signal's evidence.
        tested: there were enough ticks. drift_e: as in ``Finding``.
        contribution: what each adds to the signal's e-value.
        harmful: as in ``Finding``, wherever the contribution can be of interest.
        accuse: returns all that was found of some, by their places in these arrays.
    """

    operation: Ints
    aspect: Ints
    share: Floats
    tested: Bools
    drift_e: Floats
    contribution: Floats
    harmful: Bools
    accuse: Callable[[Ints], list[Accusation]]

    @property
    def structural(self) -> Bools:
        """Which only tell that something is different."""
        found: Bools = STRUCTURAL[self.aspect]
        return found


@dataclass(frozen=True, slots=True)
class Asked:
    """How many spans of each operation the canary sent, and by which it is asked for something."""

    canary: Floats
    entry: Bools


def contributions(share: Floats, e_value: Floats, tested: Bools, harmful: Bools) -> Floats:
    """Return what parts add to a signal's e-value: ``Accusation.contribution`` of each."""
    e_value = np.where(tested & (e_value >= 0.0), e_value, 0.0)
    counted: Floats = share * np.where(harmful, e_value, np.minimum(e_value, 1.0))
    return counted


def told_only(every: Every, changed_calls: ChangedCalls) -> Bools:
    """Return which parts only tell that something is different, and are no harm by themselves."""
    return every.structural & (changed_calls is not ChangedCalls.HARM)


def believed(every: Every) -> Every:
    """Return what was found, without self times that grew in operations that last no longer.

    Where spans of calls are missing or late, what was waited for looks like own work; so does work that
    moved from a dependency into the service. Neither takes anybody longer.
    """
    doubted = np.flatnonzero(every.harmful & (every.aspect == SELF_TIME))
    if not len(doubted):
        return every
    timed = np.isin(every.operation, every.operation[doubted]) & every.tested
    durations = every.accuse(np.flatnonzero(timed & (every.aspect == DURATION)))
    same = {a.operation for a in durations if a.finding.ratio < LONGER}
    own = zip(doubted.tolist(), every.accuse(doubted), strict=True)
    wrong = np.array([i for i, a in own if a.operation in same], dtype=np.intp)
    harmful, contribution = every.harmful.copy(), every.contribution.copy()
    harmful[wrong] = False
    contribution[wrong] = np.minimum(contribution[wrong], every.share[wrong])
    return replace(every, harmful=harmful, contribution=contribution)


def strongest(every: Every, among: Bools, least: float) -> list[Accusation]:
    """Return what speaks against the canary and contributes so much at least, strongest first."""
    enough = (every.contribution >= least) & (every.contribution > 0)
    strong = every.accuse(np.flatnonzero(among & every.harmful & enough))
    return sorted(strong, key=lambda a: (-a.contribution, a.operation, a.aspect, a.called))


def sum_up(every: Every, asked: Asked, measure: Measure) -> Finding:
    """Return the one finding that stands for all operations.

    Args:
        every: what was found; at least one.
        asked: of all operations, by their numbers.
        measure: what counts for how much.
    """
    changed = told_only(every, measure.changed_calls)
    strong = strongest(every, ~changed, ATTRIBUTED)
    different = strongest(every, changed, ATTRIBUTED)
    lead = strong[0] if strong else _leading(every, ~changed)
    named = [*strong, *different]
    return replace(
        lead.finding,
        e_value=_e_value(every, changed, measure),
        tested=bool(every.tested.any()),
        harmful=bool(strong),
        harmless=not strong and _harmless(every, asked),
        drift_e=_drift(every),
        detectable=None,
        drifting=drifting(_drifted(every)),
        told=_told(every, strong, different, len(asked.canary)),
        examples=next((a.detail.examples for a in named if a.detail), ()),
    )


def _leading(every: Every, worse: Bools) -> Accusation:
    """Return the part that contributes most, of those that can be worse if there are any."""
    among = worse if worse.any() else np.ones(len(worse), dtype=np.bool_)
    best = np.where(among, every.contribution, -np.inf).argmax()
    (lead,) = every.accuse(np.array([best]))
    return lead


def _e_value(every: Every, changed: Bools, measure: Measure) -> float:
    """Return the mean of all e-values, in which what is only told cannot decide."""
    company = float(every.contribution[changed].sum())
    worse = float(every.contribution[~changed].sum())
    return worse + min(company, COMPANY * measure.decisive)


def _harmless(every: Every, asked: Asked) -> bool:
    """Tell whether every operation that matters is shown to be free of harm.

    Those by which the canary is asked for something, where there are any: what it does for that
    shows in them as far as it matters to anybody, and each exclusion more takes its time.
    """
    entries = asked.entry & (asked.canary > 0)
    among = entries if entries.any() else np.ones(len(entries), dtype=np.bool_)
    least = MAJOR * float(asked.canary[among].sum())
    major = among & (asked.canary >= least)
    found = every.accuse(np.flatnonzero(USUAL_HARM[every.aspect] & major[every.operation]))
    return bool(found) and all(a.finding.harmless for a in found)


def _drift(every: Every) -> float:
    """Return the evidence that the baseline is worse than its past.

    What is not measured counts as 1: no drift is known there. So does what only is different.
    """
    known = ~every.structural
    rest = max(0.0, 1.0 - float(every.share[known].sum()))
    return rest + float((every.share * every.drift_e)[known].sum())


def _drifted(every: Every) -> list[Accusation]:
    """Return the parts whose drift is worth a word."""
    drift = every.share * every.drift_e
    return every.accuse(np.flatnonzero(~every.structural & (drift >= 1.0)))


def _told(
    every: Every, strong: Sequence[Accusation], different: Sequence[Accusation], operations: int
) -> str:
    if strong:
        return tell([*strong, *different], TOLD)
    text = cleared(len(np.unique(every.operation[every.tested])), operations)
    return f"{text}; changed: {tell(different, TOLD)}" if different else text
