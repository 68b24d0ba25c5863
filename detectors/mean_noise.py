"""How much the level of innocent pods varies, learned from the baseline's own history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from detectors.rows import Floats, Rows

PRIOR_TAU_GAUGE: Final = 0.05
"""Standard deviation of persistent log differences between pods: gauges."""

PRIOR_TAU_SCORE: Final = 0.03
"""The same for the latency score, which traffic balances better than CPU or memory."""

PRIOR_NU: Final = 4.0
"""Weight of the prior, as degrees of freedom."""

PRIOR_OMEGA2: Final = 0.1
"""Long-run variance per pod and tick without history: about an AR(1) noise of sd 7 %, φ = 0.9."""

MAX_LEVEL: Final = 1e3
"""Log values beyond this (10^±434) are a broken source."""

MIN_SAMPLING: Final = 1e-12
MAX_SAMPLING: Final = 1e6
"""Sampling variances outside this range are nonsense, and so is a weight made of them."""

MIN_OMEGA2: Final = 1e-8
"""Keeps variances positive for values that never move."""

BLOCKS: Final = (1, 3, 6, 12, 30, 60)
PAIR_BLOCKS: Final = (1, 3, 6, 12, 30)
MIN_BLOCKS: Final = 4
"""Block lengths in ticks, and how many blocks a length needs."""


@dataclass(frozen=True, slots=True)
class MeanNoise(Rows):
    """Noise of a mean signal on the log scale; arrays (rows,).

    Attributes:
        omega2: long-run variance per pod and tick beyond the sampling variance, > 0.
        tau2: variance of persistent differences between pods.
        nu: degrees of freedom behind `tau2`.

    Raises:
        ValueError: shapes differ or a value is outside its range.
    """

    omega2: Floats
    tau2: Floats
    nu: Floats

    def __post_init__(self) -> None:
        if len({array.shape for array in (self.omega2, self.tau2, self.nu)}) > 1:
            raise ValueError("omega2, tau2 and nu differ in shape")
        for name, ok in (
            ("omega2 must be finite and > 0", np.isfinite(self.omega2) & (self.omega2 > 0)),
            ("tau2 must be finite and >= 0", np.isfinite(self.tau2) & (self.tau2 >= 0)),
            ("nu must be finite and >= 1", np.isfinite(self.nu) & (self.nu >= 1)),
        ):
            if not ok.all():
                raise ValueError(name)

    @classmethod
    def prior(cls, rows: int, *, tau: float = PRIOR_TAU_GAUGE) -> MeanNoise:
        """Return what is assumed without any history."""
        return cls(np.full(rows, PRIOR_OMEGA2), np.full(rows, tau**2), np.full(rows, PRIOR_NU))

    def pod_quantile(self, alpha: float) -> Floats:
        """Return τ times the 1 - α/2 quantile of Student t (ν), (rows,)."""
        from scipy.special import stdtrit  # noqa: PLC0415  # slow import, once per watch

        quantile: Floats = np.sqrt(self.tau2) * stdtrit(self.nu, 1 - alpha / 2)
        return quantile


def fit_mean_noise(
    values: Floats, sampling_variance: Floats | None = None, *, tau: float = PRIOR_TAU_GAUGE
) -> MeanNoise:
    """Estimate the noise of one signal from the baseline pods' history.

    With var_L the between-pod variance of block means (sampling variance taken off) and var_H
    that of the whole history:

        ω² = max_L L·max(var_L - var_H, 0)
        τ² = (ν0·τ0² + (m-1)·max(var_H - ω²/H, 0)) / (ν0 + m - 1),  ν = ν0 + m - 1

    Block means weigh ticks by the inverse of the sampling variance when it is given. With one
    pod, adjacent blocks stand in for two pods and τ stays at its prior.

    Source: one-way random effects by moments (design 5).

    When it errs: as `fit_count_noise`; histories under 30 min miss slow noise.

    Args:
        values: (H, m) log value per tick and pod; nan where missing.
        sampling_variance: (H, m) known variance of each value, or None.
        tau: prior standard deviation τ0.

    Returns:
        The noise of one row. Nothing usable in the history gives the prior.

    Raises:
        ValueError: the arrays are not two-dimensional and of one shape.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2:  # noqa: PLR2004  # (ticks, pods)
        raise ValueError(f"expected (ticks, pods), got {values.shape}")
    known = np.abs(values) <= MAX_LEVEL
    weight = known.astype(np.float64)
    sampled = sampling_variance is not None
    if sampling_variance is not None:
        if np.shape(sampling_variance) != values.shape:
            raise ValueError("values and sampling_variance differ in shape")
        known &= (sampling_variance >= MIN_SAMPLING) & (sampling_variance <= MAX_SAMPLING)
        weight = np.where(known, 1.0 / np.where(known, sampling_variance, 1.0), 0.0)
    pods = np.flatnonzero(known.any(axis=0))
    if not len(pods):
        return MeanNoise.prior(1, tau=tau)
    weight, values = weight[:, pods], np.where(known, values, 0.0)[:, pods]
    fit = _one_pod if len(pods) == 1 else _many_pods
    found = fit(values, weight, sampled=sampled, tau=tau)
    return MeanNoise(*(np.array([x], dtype=np.float64) for x in found))


def _many_pods(
    values: Floats, weight: Floats, *, sampled: bool, tau: float
) -> tuple[float, float, float]:
    ticks, pods = values.shape
    whole = max(_between(values, weight, ticks, sampled=sampled), 0.0)
    lengths = [length for length in BLOCKS if ticks // length >= MIN_BLOCKS]
    omega2 = MIN_OMEGA2 if lengths else PRIOR_OMEGA2
    for length in lengths:
        omega2 = max(omega2, length * (_between(values, weight, length, sampled=sampled) - whole))
    persistent = max(whole - omega2 / ticks, 0.0)
    nu = PRIOR_NU + pods - 1
    return omega2, (PRIOR_NU * tau**2 + (pods - 1) * persistent) / nu, nu


def _one_pod(
    values: Floats, weight: Floats, *, sampled: bool, tau: float
) -> tuple[float, float, float]:
    lengths = [length for length in PAIR_BLOCKS if len(values) // (2 * length) >= MIN_BLOCKS]
    omega2 = MIN_OMEGA2 if lengths else PRIOR_OMEGA2
    for length in lengths:
        pairs = len(values) // (2 * length)
        start = len(values) - 2 * length * pairs
        halves = [
            x[start:, 0].reshape(pairs, 2, length).transpose(0, 2, 1).reshape(pairs * length, 2)
            for x in (values, weight)
        ]
        omega2 = max(omega2, length * _between(halves[0], halves[1], length, sampled=sampled))
    return omega2, tau**2, PRIOR_NU


def _between(values: Floats, weight: Floats, block: int, *, sampled: bool) -> float:
    """Return the between-pod variance of block means, less their sampling variance."""
    count = len(values) // block
    shape = (count, block, values.shape[1])
    weight = weight[len(weight) - count * block :].reshape(shape)
    total = weight.sum(axis=1)
    seen = total > 0
    safe = np.where(seen, total, 1.0)
    mean = (weight * values[len(values) - count * block :].reshape(shape)).sum(axis=1) / safe
    pods = np.maximum(seen.sum(axis=1, keepdims=True), 1)
    centre = np.where(seen, mean, 0.0).sum(axis=1, keepdims=True) / pods
    excess = np.where(seen, mean - centre, 0.0) ** 2
    if sampled:
        excess -= np.where(seen, 1.0 / safe, 0.0) * (1 - 1 / pods)
    freedom = float((pods - 1).sum())
    return float(excess.sum()) / freedom if freedom > 0 else 0.0
