"""What is known of a signal, in a sentence that a person can act on."""

import math

from analyzer.evidence import Finding
from analyzer.signal import (
    Direction,
    GaugeSignal,
    LeakSignal,
    LevelSignal,
    PastSignal,
    RateSignal,
    Signal,
    TrafficSignal,
)
from analyzer.wording import duration, factor, interval, quantity, share
from analyzer.wording import e_value as write_e

LATELY = 1.25
"""A recent ratio this much above the one since the start is told, too: the fault began later."""
MINUTE_S = 60.0
LONGEST_S = 48 * 3600.0
"""A limit that is reached later than in two days worries nobody during a rollout."""


def compare(signal: Signal, finding: Finding) -> str:
    """Say in one line what was measured: "errors 4.1 % vs 0.4 %, ×10 [×6, ×17], e-value 3·10⁵"."""
    note = f" ({finding.note})" if finding.note else ""
    if finding.told:
        return f"{signal.name}: {finding.told}, e-value {write_e(finding.e_value)}{note}"
    unit = signal.unit
    name = f"{signal.name} {finding.quantile}".rstrip()
    values = f"{quantity(finding.canary_value, unit)} vs {quantity(finding.baseline_value, unit)}"
    if isinstance(signal, PastSignal):
        values += f" {duration(signal.earlier_s)} earlier"
    if isinstance(signal, LeakSignal):
        effect = _growth(signal, finding)
    else:
        effect = f"{factor(finding.ratio)} {interval(finding.low, finding.high)}"
        effect += _less(signal, finding)
        if finding.recent_ratio >= LATELY * max(finding.ratio, 1.0):
            effect += f" since the start, {factor(finding.recent_ratio)} lately"
    return f"{name} {values}, {effect}, e-value {write_e(finding.e_value)}{note}"


def excluded(signal: Signal) -> str:
    """Say which harm a healthy signal excludes."""
    if isinstance(signal, LeakSignal):
        return f"growth of {share(signal.harm - 1)} a minute is excluded"
    return f"harm of {factor(signal.harm)} is excluded"


def revealed(signal: Signal, detectable: float) -> str:
    """Say what a comparison would reveal in the time that is left."""
    if isinstance(signal, LeakSignal):
        return f"the time left would reveal {share(detectable - 1)} a minute or more"
    return f"this traffic would reveal {factor(detectable)} or more"


def mismatch(signal: TrafficSignal, finding: Finding) -> str:
    """Say that the canary's share of the traffic is not what it should be, and what to check."""
    should = "the share of its instances" if signal.share is None else share(signal.share)
    each = f"{quantity(finding.canary_value, '')} vs {quantity(finding.baseline_value, '')}"
    return (
        f"{signal.name}: the canary's part of the traffic is off by {factor(finding.ratio)} from "
        f"{should} ({each} {signal.unit} and instance, e-value {write_e(finding.e_value)}); unlike "
        "traffic cannot be compared: check weights, routes and sticky sessions"
    )


def _growth(signal: LeakSignal, finding: Finding) -> str:
    """Say how fast the canary grows, and when it reaches its limit."""
    text = f"grows by {_percent(finding.ratio)} a minute more"
    if not math.isinf(finding.high):
        text += f" [{_percent(finding.low)}, {_percent(finding.high)}]"
    speed = (finding.ratio - 1) * finding.baseline_value
    room = signal.limit - finding.canary_value
    if signal.limit > 0 and speed > 0 and 0 < (left := room / speed * MINUTE_S) < LONGEST_S:
        text += f", at the limit of {quantity(signal.limit, signal.unit)} in {duration(left)}"
    return text


def _percent(ratio: float) -> str:
    """Return growth: 1.021 -> "2.1 %", 0.99 -> "−1 %"."""
    return share(ratio - 1) if ratio >= 1 or math.isnan(ratio) else f"−{share(1 - ratio)}"


def _less(signal: Signal, finding: Finding) -> str:
    """Return a word where the ratio does not tell the direction."""
    if not isinstance(signal, GaugeSignal | RateSignal | LevelSignal | TrafficSignal):
        return ""
    if signal.direction is Direction.HIGHER or not finding.ratio > 1:
        return ""
    return " lower" if finding.canary_value < finding.baseline_value else " higher"
