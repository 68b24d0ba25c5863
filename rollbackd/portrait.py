"""What people are shown of a watch: built from the watch, its evidence and a bounded trail."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite, isnan

from analyzer.check import Check, CheckOutcome
from analyzer.evidence import Evidence, Finding, Measured
from analyzer.policy import Mode, Policy, WhenMissing
from analyzer.sample import Missing
from analyzer.signal import Signal
from analyzer.telling import compare
from analyzer.traces.operations import name_of
from analyzer.watch import Phase, Watch
from analyzer.wording import duration
from rollbackd.views import (
    ExampleView,
    GuardView,
    SignalPoint,
    SignalView,
    TimelineItem,
    WatchView,
)

MAX_POINTS = 240
"""Looks kept of each signal: enough for a plot as wide as a screen. When full, every second one is
dropped and from then on only every second one is taken, so the whole watch stays in view."""
MAX_TIMELINE = 100


@dataclass(slots=True)
class Thinned:
    """A series of looks of bounded length that always covers the whole time."""

    points: list[SignalPoint] = field(default_factory=list)
    stride: int = 1
    seen: int = 0

    def add(self, point: SignalPoint) -> None:
        """Take a look in, thinning when there are too many."""
        if self.seen % self.stride == 0:
            self.points.append(point)
            if len(self.points) > MAX_POINTS:
                self.points = self.points[::2]
                self.stride *= 2
        self.seen += 1
        self._newest = point

    _newest: SignalPoint | None = None

    def all(self) -> tuple[SignalPoint, ...]:
        """Return the kept looks, the newest always among them."""
        newest = self._newest
        tail = (newest,) if newest is not None and newest not in self.points[-1:] else ()
        return (*self.points, *tail)


@dataclass(slots=True)
class Portrait:
    """The trail of one watch; ``before`` is what was seen of it before a restart."""

    signals: dict[str, Thinned] = field(default_factory=dict)
    timeline: list[TimelineItem] = field(default_factory=list)
    evidence: dict[str, Evidence] = field(default_factory=dict)
    plan: str | None = None
    checks: tuple[Check, ...] = ()
    before: WatchView | None = None

    @classmethod
    def from_view(cls, view: WatchView) -> "Portrait":
        """Return the portrait that continues a view from before a restart."""
        checks = tuple(Check(g.guard, CheckOutcome(g.outcome), g.text) for g in view.guards)
        portrait = cls(timeline=list(view.timeline), plan=view.plan, checks=checks, before=view)
        for signal in view.signals:
            trail = portrait.signals.setdefault(signal.name, Thinned())
            for point in signal.points:
                trail.add(point)
        return portrait

    def look(
        self,
        at: float,
        evidence: Mapping[str, Evidence],
        recent: Mapping[str, tuple[float, float]],
    ) -> None:
        """Take in one more look at every signal."""
        self.evidence = dict(evidence)
        for name, found in evidence.items():
            canary, baseline = recent.get(name, (float("nan"), float("nan")))
            point = _point(at, found, canary, baseline)
            if point is not None:
                self.signals.setdefault(name, Thinned()).add(point)

    def note(self, at: float, kind: str, text: str) -> None:
        """Add something that happened; the oldest middle is forgotten first, never the start."""
        if len(self.timeline) >= MAX_TIMELINE:
            del self.timeline[1]
        self.timeline.append(TimelineItem(at, kind, text))

    def said_by(self, guard: str) -> str:
        """Return what a guard had to say of the newest plan, "" when it passed."""
        return next((check.text for check in self.checks if check.guard == guard), "")

    def view(self, watch: Watch, policy: Policy, now: float) -> WatchView:
        """Return the immutable snapshot."""
        verdict, reasons, evidence, limit = self._case(watch, policy)
        return WatchView(
            id=watch.id,
            workload=str(watch.workload),
            canary=watch.canary.label,
            baseline=watch.baseline.label if watch.baseline else "",
            policy=policy.name,
            mode=watch.mode.value,
            phase=watch.phase.value,
            verdict=verdict,
            reasons=reasons,
            evidence=evidence,
            limit=limit,
            started_at=watch.started_at,
            updated_at=now,
            final=watch.phase.final,
            outlook=outlook(watch, policy, now),
            plan=self.plan,
            signals=self._signals(policy),
            timeline=tuple(self.timeline),
            plan_key=watch.plan_key,
            guards=tuple(GuardView(c.guard, c.outcome.value, c.text) for c in self.checks),
            turn=watch.turn,
            since=watch.since,
            note=watch.note,
            hold=watch.hold.value if watch.hold else "",
            decided_by=watch.demanded_by or watch.approved_by,
            annotations=watch.annotations,
        )

    def _case(self, watch: Watch, policy: Policy) -> tuple[str, tuple[str, ...], float, float]:
        """Return verdict, reasons, e-value and limit; those from before a restart until the next."""
        judgement, before = watch.judgement, self.before
        if judgement is not None:
            reasons = tuple(reason.text for reason in judgement.reasons)
            return judgement.verdict.value, reasons, judgement.e_value, judgement.limit
        if before is not None:
            return before.verdict, before.reasons, before.evidence, before.limit
        return "inconclusive", (), 0.0, 1.0 / policy.alpha

    def _signals(self, policy: Policy) -> tuple[SignalView, ...]:
        weights = policy.weights
        return tuple(
            self._signal(s, policy.alpha * weights.get(s.name, 0.0)) for s in policy.signals
        )

    def _signal(self, signal: Signal, alpha: float) -> SignalView:
        """Return one signal; ``alpha``: its share of the policy's."""
        found = self.evidence.get(signal.name)
        missing = str(found) if isinstance(found, Missing) else None
        trail = self.signals.get(signal.name)
        return SignalView(
            name=signal.name,
            kind=signal.kind,
            unit=signal.unit,
            tier=signal.tier.value,
            margin=signal.margin,
            threshold=1.0 / alpha if alpha > 0 else float("inf"),
            summary=compare(signal, found.finding) if isinstance(found, Measured) else "",
            missing=missing if found is not None else "not measured yet",
            points=trail.all() if trail else (),
            examples=_examples(found),
        )


def _examples(found: Evidence | None) -> tuple[ExampleView, ...]:
    if not isinstance(found, Measured):
        return ()
    return tuple(
        ExampleView(e.side.value, name_of(e.operation), e.trace_id, e.url)
        for e in found.finding.examples
    )


def _point(at: float, found: Evidence, canary: float, baseline: float) -> SignalPoint | None:
    """Return a look, or None when nothing at all is known."""
    if isinstance(found, Measured):
        f: Finding = found.finding
        return SignalPoint(
            at,
            _known(canary),
            _known(baseline),
            None if f.told else _known(f.ratio),  # many operations have no ratio in common
            f.low if f.low > 0 and not f.told else None,
            None if f.told else _known(f.high),
            f.e_value,
        )
    if isnan(canary) and isnan(baseline):
        return None
    return SignalPoint(at, _known(canary), _known(baseline), None, None, None, 1.0)


def _known(value: float) -> float | None:
    return value if isfinite(value) else None


def outlook(watch: Watch, policy: Policy, now: float) -> str:
    """Say what will happen next, and when."""
    left = duration(max(0.0, watch.started_at + policy.horizon_s - now))
    match watch.phase:
        case Phase.WARMING:
            return f"compares as soon as both sides are warm and have traffic; gives up in {left}"
        case Phase.OBSERVING:
            return f"{_on_harm(watch.mode)} if harm is proved; ends without a verdict in {left}"
        case Phase.HELD:
            calls = " and people were called" if policy.when_missing is WhenMissing.PAGE else ""
            return f"held ({watch.hold}){calls}; goes on when that is over, ends in {left}"
        case Phase.DEGRADED | Phase.DEMANDED:
            return "making a plan"
        case Phase.AWAITING_APPROVAL:
            wait = duration(max(0.0, watch.since + policy.approval_expires_s - now))
            return f"waits {wait} more for approval: rollbackd approve {watch.workload}"
        case Phase.ACTING:
            return "carrying out the plan"
        case Phase.VERIFYING:
            wait = duration(max(0.0, watch.since + policy.recovery_s - now))
            return f"measures for up to {wait} whether the action helped"
        case Phase.REPORTED:
            return "nothing more is done by itself, for the mode is observe; people decide"
        case Phase.NEEDS_HUMAN:
            return "nothing more is done; somebody has to look"
        case _:
            return "nothing more is done"


def _on_harm(mode: Mode) -> str:
    return {
        Mode.OBSERVE: "says what it would do",
        Mode.APPROVE: "asks for approval of a rollback",
        Mode.ENFORCE: "rolls back",
    }[mode]
