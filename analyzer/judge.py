"""From evidence to a verdict: total, pure, with reasons that carry their numbers.

Signals are combined by the weighted mean of their e-values with weights fixed in advance, the only
admissible way under arbitrary dependence (Vovk & Wang 2021; Wang 2024). Evidence and practical
relevance are separate questions: a signal whose effect does not reach its margin enters with at
most 1. A missing signal enters with 0, so absence can only ever weaken a case against the canary.

Facts of the cluster (``analyzer.distress``) stand beside that sum, not in it: they are no statistics.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from analyzer.distress import Facts, Standing
from analyzer.evidence import Evidence, EvidenceOf, Finding, Measured
from analyzer.policy import FactUse, Policy, WhenMissing
from analyzer.sample import Missing
from analyzer.signal import IntervalSignal, PastSignal, RatioSignal, Signal, Tier, TrafficSignal
from analyzer.telling import compare, excluded, mismatch, revealed
from analyzer.wording import duration, quantity
from analyzer.wording import e_value as write_e

SHARED_EVIDENCE = 100.0
"""Drift of the baseline against its own history at which both sides count as worse."""
SHARED_CAUTION = 10.0
"""How much more evidence against the canary is asked for during a shared incident: pods are hit
unequally by one, which is what still causes false rollbacks then (detectors.md 8.1)."""
ATTRIBUTED = 1.0
"""A signal whose weighted e-value reaches this is named as a reason (detectors.md 7)."""
NOTHING = "nothing is measured: no ready-made signal fits what the source exposes"
"""Said when signals were to be found and none was."""


class Verdict(StrEnum):
    """What the evidence says."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    SHARED_INCIDENT = "shared incident"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Reason:
    """One sentence behind a verdict. ``signal`` is "" when it is about the whole watch."""

    signal: str
    text: str
    strength: float = 0.0


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict and why.

    Attributes:
        e_value: combined evidence of the acting signals. limit: where it becomes ``degraded``.
        blind: not one critical signal could be measured.
        missing: names of the acting signals that could not be measured.
        by_facts: what the cluster says decided, whatever the evidence is.
    """

    verdict: Verdict
    reasons: tuple[Reason, ...]
    e_value: float
    limit: float
    blind: bool = False
    missing: tuple[str, ...] = ()
    by_facts: bool = False


NO_FACTS = Facts()


@dataclass(frozen=True, slots=True)
class _Case:
    """The measured, acting signals of one watch, with their contributions to the evidence."""

    signal: Signal
    finding: Finding
    contribution: float

    @property
    def attributed(self) -> bool:
        return self.finding.harmful and self.contribution >= ATTRIBUTED


def judge(policy: Policy, evidence: EvidenceOf, facts: Facts = NO_FACTS) -> Judgement:
    """Return the verdict that the evidence and the facts allow.

    Args:
        policy: which signals count, for how much, and how sure one must be.
        evidence: by the signal's name; a signal of the policy that is not in it is missing.
        facts: what the cluster says of the instances.
    """
    used = facts if policy.facts is not FactUse.IGNORE else Facts(warm=facts.warm)
    weights = policy.weights
    acting = [s for s in policy.signals if s.tier is not Tier.INFO]
    cases = [
        _Case(s, found.finding, weights[s.name] * admitted(found.finding))
        for s in acting
        if isinstance(found := evidence.get(s.name), Measured)
    ]
    missing = tuple(s.name for s in acting if not isinstance(evidence.get(s.name), Measured))
    total = sum(case.contribution for case in cases)
    drifting = any(
        c.signal.tier is Tier.CRITICAL and c.finding.drift_e >= SHARED_EVIDENCE for c in cases
    )
    shared = drifting or used.standing is Standing.SHARED
    limit = (SHARED_CAUTION if shared else 1.0) / policy.alpha
    critical = [s for s in acting if s.tier is Tier.CRITICAL]
    blind = bool(critical) and all(s.name in missing for s in critical)
    unfair = _unfair(policy, evidence)
    gaps = unfair + _gaps(acting, evidence)
    told = ((Reason("", used.text),) if used.text else ()) + _less_certain(policy)
    told += _other_requests(policy, evidence)

    def conclude(
        verdict: Verdict, reasons: tuple[Reason, ...], by_facts: bool = False
    ) -> Judgement:
        # While the baseline drifts, that is what people must read first.
        reasons = reasons + told if drifting else told + reasons
        return Judgement(verdict, reasons, total, limit, blind, missing, by_facts)

    if total >= limit and _may_act(cases):
        return conclude(Verdict.DEGRADED, _harm(cases) + gaps)
    if used.standing is Standing.ACCUSED and policy.facts is FactUse.ACT and not drifting:
        return conclude(Verdict.DEGRADED, _harm(cases) + gaps, by_facts=True)
    if shared:
        return conclude(Verdict.SHARED_INCIDENT, _drifting(cases) + _harm(cases) + gaps)
    if not policy.signals:
        return conclude(Verdict.INCONCLUSIVE, (Reason("", NOTHING),))
    if not unfair and _may_be_healthy(used) and _healthy(policy, critical, cases, missing):
        return conclude(Verdict.HEALTHY, tuple(Reason(c.signal.name, _fine(c)) for c in cases))
    return conclude(Verdict.INCONCLUSIVE, _harm(cases) + _undecided(cases) + gaps)


def admitted(finding: Finding) -> float:
    """Return the e-value that may be counted: at most 1 while the effect is below its margin.

    An untested or non-finite e-value is no evidence at all.
    """
    if not (finding.tested and finding.e_value >= 0.0):  # also refuses NaN
        return 0.0
    return finding.e_value if finding.harmful else min(finding.e_value, 1.0)


def _may_act(cases: list[_Case]) -> bool:
    """Tell whether the tiers allow acting: a critical signal, or supporting ones in company."""
    named = [c.signal.tier for c in cases if c.attributed]
    return Tier.CRITICAL in named or len(named) > 1


def _may_be_healthy(facts: Facts) -> bool:
    """Tell whether the facts let a rollout be called healthy.

    A canary of which no instance is left to take traffic cannot be, however well it had begun.
    """
    return facts.standing is Standing.QUIET and facts.warm != 0


def _healthy(
    policy: Policy, critical: list[Signal], cases: list[_Case], missing: tuple[str, ...]
) -> bool:
    """Tell whether every critical signal excludes its harm margin and no other one accuses."""
    decisive = [c for c in cases if c.signal.tier is Tier.CRITICAL]
    unmeasured = [s for s in critical if s.name in missing]
    if not decisive or (unmeasured and policy.when_missing is not WhenMissing.IGNORE):
        return False
    return all(c.finding.harmless for c in decisive) and not any(c.attributed for c in cases)


def _harm(cases: list[_Case]) -> tuple[Reason, ...]:
    """Return the signals that accuse the canary, strongest first."""
    named = sorted((c for c in cases if c.attributed), key=lambda c: -c.contribution)
    return tuple(
        Reason(c.signal.name, compare(c.signal, c.finding), c.contribution) for c in named
    )


def _less_certain(policy: Policy) -> tuple[Reason, ...]:
    """Return that nothing runs beside the canary, where it is compared with another time."""
    past = next((s for s in policy.signals if isinstance(s, PastSignal)), None)
    if past is None:
        return ()
    when = f"{duration(past.earlier_s)} earlier"
    text = f"compared with its own past, {when}, for nothing older runs beside it: less certain"
    return (Reason("", text),)


def _other_requests(policy: Policy, evidence: EvidenceOf) -> tuple[Reason, ...]:
    """Return that the canary gets other requests, where that is known; it decides nothing itself."""
    found = ((s.name, evidence.get(s.name)) for s in policy.signals)
    mixes = {
        what.finding.mix: name
        for name, what in found
        if isinstance(what, Measured) and what.finding.mix
    }
    return tuple(Reason(name, text) for text, name in mixes.items())


def _unfair(policy: Policy, evidence: EvidenceOf) -> tuple[Reason, ...]:
    """Return why the comparison is not fair: the canary's share of the traffic is not as it should be.

    Such a mismatch says nothing of the canary, and a comparison that is not fair proves no health.
    """
    found = ((s, evidence.get(s.name)) for s in policy.signals if isinstance(s, TrafficSignal))
    return tuple(
        Reason(signal.name, mismatch(signal, what.finding), what.finding.e_value)
        for signal, what in found
        if isinstance(what, Measured)
        and what.finding.harmful
        and what.finding.e_value >= 1.0 / policy.alpha
    )


def _drifting(cases: list[_Case]) -> tuple[Reason, ...]:
    """Return the signals whose baseline is worse than its own history."""
    return tuple(
        Reason(
            c.signal.name,
            f"{_named(c)}: the baseline itself is worse than its own history "
            f"(e-value {write_e(c.finding.drift_e)}); not the canary's fault alone",
            c.finding.drift_e,
        )
        for c in cases
        if c.finding.drift_e >= SHARED_EVIDENCE
    )


def _named(case: _Case) -> str:
    """Return the signal's name, with what of it drifts where it is about many things."""
    drifting = case.finding.drifting
    return f"{case.signal.name} ({drifting})" if drifting else case.signal.name


def _fine(case: _Case) -> str:
    """Say what harm is excluded."""
    text = compare(case.signal, case.finding)
    signal = case.signal
    if case.finding.high >= signal.harm and isinstance(
        signal, RatioSignal | IntervalSignal | PastSignal
    ):
        return f"{text}; the canary stays below {quantity(signal.harm_rate, 'share')}"
    return f"{text}; {excluded(signal)}"


def _undecided(cases: list[_Case]) -> tuple[Reason, ...]:
    """Return what is still open, with what the traffic could reveal."""
    reasons = []
    for case in cases:
        if case.attributed or case.finding.harmless:
            continue
        text = f"{compare(case.signal, case.finding)}: not decided yet"
        if case.finding.detectable is not None:
            text += f"; {revealed(case.signal, case.finding.detectable)}"
        reasons.append(Reason(case.signal.name, text, case.contribution))
    return tuple(reasons)


def _gaps(acting: list[Signal], evidence: EvidenceOf) -> tuple[Reason, ...]:
    """Return why each unmeasured signal is unmeasured."""

    def why(found: Evidence | None) -> str:
        return str(found) if isinstance(found, Missing) else "not measured yet"

    return tuple(
        Reason(s.name, f"{s.name}: no evidence ({why(evidence.get(s.name))})")
        for s in acting
        if not isinstance(evidence.get(s.name), Measured)
    )


def out_of_sight(judgement: Judgement, why: str) -> Judgement:
    """Return the judgement of a watch whose rollout cannot be seen now: it is never healthy.

    Which instances there are is not known any more, so what is measured may leave out the very
    ones that went bad. Evidence against the canary stands: it is about instances that were seen.
    """
    if judgement.verdict is not Verdict.HEALTHY:
        return judgement
    reason = Reason("", f"not called healthy while the rollout cannot be seen: {why}")
    reasons = (reason, *judgement.reasons)
    return replace(judgement, verdict=Verdict.INCONCLUSIVE, reasons=reasons)
