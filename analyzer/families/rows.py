"""Between the detectors' columns and the plain values of one watch."""

import math

import numpy as np

from analyzer.evidence import Finding
from analyzer.policy import Policy
from analyzer.signal import Signal
from detectors.findings import Findings, Limits


def findings_by_row(findings: Findings) -> list[Finding]:
    """Return one plain value for each row of the detector's answer."""
    quantiles = getattr(findings, "quantile", None)
    named = [""] * len(findings) if quantiles is None else [_level(q) for q in quantiles.tolist()]
    with np.errstate(over="ignore"):
        ratios = [
            np.exp(column).tolist()
            for column in (findings.effect, findings.recent_effect, findings.low, findings.high)
        ]
        detectable = np.exp(findings.detectable).tolist()
    columns = zip(  # in the order of Finding's attributes; there are ten thousand rows a tick
        findings.e_value.tolist(),
        findings.tested.tolist(),
        *ratios,
        findings.harmful.tolist(),
        findings.harmless.tolist(),
        findings.canary_value.tolist(),
        findings.baseline_value.tolist(),
        named,
        map(_or_none, detectable),
        findings.drift_e.tolist(),
        findings.ticks.astype(int).tolist(),
        strict=True,
    )
    return [Finding(*row) for row in columns]


def _level(quantile: float) -> str:
    """Return "p99", or "" while no quantile can be told."""
    return "" if math.isnan(quantile) else f"p{100 * quantile:.3g}"


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def limits_of(
    policy: Policy, signal: Signal, tick_s: float, *, floor: float, harm_rate: float
) -> Limits:
    """Return the limits of one row.

    Args:
        policy: gives α, the weights and the persistence.
        signal: gives margin and harm.
        tick_s: length of a tick.
        floor: absolute rate below which nothing is harmful, nan for none.
        harm_rate: absolute rate a harmless canary stays below, nan for none.
    """
    weight = policy.weights.get(signal.name, 0.0)
    return Limits.of(
        1,
        # an info signal has no weight and cannot act; its threshold only shapes the surprise cap
        threshold=1.0 / (policy.alpha * (weight if weight > 0 else 1.0)),
        margin=np.log(signal.margin),
        harm=np.log(signal.harm),
        floor=floor,
        harm_rate=harm_rate,
        persistence=max(2.0, np.ceil(policy.persistence_s / tick_s)),
    )
