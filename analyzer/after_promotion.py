"""What a revision is compared with once it took over: its workload's own past. Pure.

Nothing runs beside it any more, so this is less certain than a comparison of a rollout: the limits
are stricter, and the policy says separately how far it may go.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import ceil, inf

from analyzer.policy import Policy, WhenMissing, lowered
from analyzer.rollout import Side
from analyzer.roster import Roster, Stay
from analyzer.signal import HistogramSignal, PastSignal, RatioSignal, Signal, Tier
from analyzer.watch import Hold, Phase, Watch

DAY_S = 86400.0
CLOCK_TIMES_S = (7 * DAY_S, DAY_S)
"""How much earlier it was the same time of the same weekday, or of the day: the best first."""
STEP_S = 900.0
"""The stretch before a rollout is this or a multiple of it earlier, so that watches share queries."""
STRICTER = 0.1
"""Share of the policy's α that such a comparison may use."""
LASTING_S = 300.0
"""What must at least agree before it decides: a service has bursts that nothing beside it shows."""
RECOVERY_S = 600.0
"""Least time for measuring recovery: intervals are a minute long."""
BLIND_S = 600.0
SLOW_MARGIN, SLOW_HARM = 2.5, 4.0
"""Ratios of the share of slow requests, about 10 % by definition: ×2.5 is about +45 % latency."""
ERROR_MARGIN, ERROR_HARM = 2.0, 3.0
APART_S = 1800.0
"""How long a revision is compared that replaced the one before at once, where nothing else is said:
that is all there is to compare."""
LEFT_S = 60.0
"""The baseline must have been gone for so long: samples of its last moments are still coming in."""

_HANDED = frozenset({Phase.HEALTHY, Phase.INCONCLUSIVE})
"""Ends of a rollout's watch after which its revision is guarded: nothing spoke against it."""
_WATCHING = frozenset({Phase.WARMING, Phase.OBSERVING, Phase.HELD})


def hands_over(watch: Watch, policy: Policy) -> bool:
    """Tell whether a rollout's watch ended so that its revision is guarded from then on."""
    return (
        policy.after_promotion_s > 0
        and not watch.after_promotion
        and watch.baseline is not None
        and watch.phase in _HANDED
    )


def is_over(watch: Watch, policy: Policy, roster: Roster, now: float) -> bool:
    """Tell whether a complete rollout's watch has nothing left to compare and should hand over.

    While something can still be measured, or a person holds it, it goes on.
    """
    if policy.after_promotion_s <= 0 or watch.after_promotion or watch.phase not in _WATCHING:
        return False
    if watch.hold in {Hold.SNOOZED, Hold.SHARED_INCIDENT} or watch.blind_since is None:
        return False
    left = [stay.until for stay in roster.stays if stay.side is Side.BASELINE]
    return max(left, default=-inf) <= now - LEFT_S


def times_before(since: float, now: float, policy: Policy) -> tuple[float, ...]:
    """Return how much earlier the other stretch may be, in seconds, the best first.

    Args:
        since: when the rollout began, seconds since the epoch; the last one ends before that.
        now: when the guard begins.
        policy: says how long it goes on.
    """
    least = now - since + policy.after_promotion_s
    before = STEP_S * max(1, ceil(least / STEP_S))
    return (*(t for t in CLOCK_TIMES_S if t > before), before)


def past_roster(roster: Roster, earlier_s: float, warm_up_s: float) -> Roster:
    """Return the baseline's instances as they were so much earlier, moved to now.

    Args:
        roster: of the rollout's watch.
        earlier_s: from ``times_before``.
        warm_up_s: instances younger than this do not count, at that time either.
    """
    found: dict[tuple[str, ...], Stay] = {}
    for stay in roster.stays:
        if stay.side is Side.BASELINE and stay.id not in found:
            started = -inf if stay.started_at is None else stay.started_at
            since = started + warm_up_s + earlier_s
            found[stay.id] = Stay(stay.id, Side.BASELINE, since, inf, stay.started_at)
    return Roster(tuple(found.values()))


def guarding(policy: Policy, earlier_s: float, bounds: Mapping[str, float]) -> Policy | None:
    """Return the policy that a revision is guarded by; None when none of its signals can do it.

    Args:
        policy: of the rollout.
        earlier_s: how much earlier the other stretch is.
        bounds: of histograms, by the signal's name, the bound beyond which requests are slow.
    """
    made = (_past(signal, earlier_s, bounds) for signal in policy.signals)
    signals = tuple(signal for signal in made if signal is not None)
    if not any(signal.tier is Tier.CRITICAL for signal in signals):
        return None
    lasts = policy.after_promotion_s
    missing = policy.when_missing
    return replace(
        policy,
        signals=signals,
        mode=lowered(policy.mode, policy.after_promotion_mode),
        alpha=policy.alpha * STRICTER,
        min_observation_s=lasts,
        horizon_s=lasts,
        persistence_s=max(policy.persistence_s, LASTING_S),
        blind_after_s=max(policy.blind_after_s, BLIND_S),
        recovery_s=max(policy.recovery_s, RECOVERY_S),
        # nobody is woken because a time long past cannot be read
        when_missing=WhenMissing.HOLD if missing is WhenMissing.PAGE else missing,
        discovers=False,
    )


def left_out(policy: Policy, guarded: Policy) -> Sequence[str]:
    """Return the names of signals that are not compared with the past."""
    kept = {signal.name for signal in guarded.signals}
    return [signal.name for signal in policy.signals if signal.name not in kept]


def _past(signal: Signal, earlier_s: float, bounds: Mapping[str, float]) -> PastSignal | None:
    """Return a signal's form for the comparison with the past, None when it has none.

    Levels, leaks and traffic follow the load, which is never the same at two times.
    """
    match signal:
        case RatioSignal():
            return PastSignal(
                name=signal.name,
                total=signal.total,
                bad=signal.bad,
                earlier_s=earlier_s,
                tier=signal.tier,
                weight=signal.weight,
                margin=max(signal.margin, ERROR_MARGIN),
                harm=max(signal.harm, ERROR_HARM),
                floor=signal.floor,
                harm_rate=signal.harm_rate,
                id_labels=signal.id_labels,
            )
        case HistogramSignal() if signal.name in bounds:
            return PastSignal(
                name=signal.name,
                total=signal.buckets,
                bound=bounds[signal.name],
                earlier_s=earlier_s,
                tier=signal.tier,
                weight=signal.weight,
                margin=SLOW_MARGIN,
                harm=SLOW_HARM,
                id_labels=signal.id_labels,
            )
        case _:
            return None
