"""How much the event rates of innocent pods vary, learned from the baseline's own history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from detectors.drift import temporal_dispersion
from detectors.rows import Bools, Floats, Rows

PRIOR_KAPPA: Final = 1.0
"""Temporal dispersion assumed where history cannot tell, and the most that doubt may add."""

MIN_KAPPA: Final = 0.05
"""No service is steadier than this; a lucky history must not make the detector jumpy."""

PRIOR_TAU: Final = 0.10
"""Standard deviation of persistent log-rate differences between pods, before any history."""

PRIOR_NU: Final = 4.0
"""Weight of that prior, as degrees of freedom."""

MAX_TAU: Final = 0.6
"""A history with a handful of events can suggest absurd pod differences; stop there."""

BLOCKS: Final = (1, 3, 6, 12, 30, 60)
"""Block lengths in ticks: noise that persists shows up in the longer ones."""

PAIR_BLOCKS: Final = (1, 3, 6, 12)
"""Block lengths for a single pod, where adjacent blocks are compared."""

MIN_BLOCKS: Final = 4
"""A block length needs at least this many blocks in the history."""

_DOUBT: Final = 2.0
"""Standard errors taken off an estimate of κ before it counts as measured ..."""

_PRIOR_DOUBT: Final = 2.5
"""... and put back, bounded by the prior, for what may hide below them."""


@dataclass(frozen=True, slots=True)
class CountNoise(Rows):
    """Noise of a count signal; arrays (rows, ...) of one shape.

    Attributes:
        kappa: variance of a pod's relative rate over time, long run, per tick.
        tau2: variance of the persistent log rate between pods.
        nu: degrees of freedom behind `tau2`.
        history_rate: upper 97.5 % limit of the history's pooled event rate; nan without history.
        kappa_time: relative variance over time of the pooled rate, long run, per tick.

    Raises:
        ValueError: shapes differ or a value is outside its range.
    """

    kappa: Floats
    tau2: Floats
    nu: Floats
    history_rate: Floats
    kappa_time: Floats

    def __post_init__(self) -> None:
        columns = (self.kappa, self.tau2, self.nu, self.history_rate, self.kappa_time)
        if len({array.shape for array in columns}) > 1:
            raise ValueError(f"shapes differ: {[array.shape for array in columns]}")
        for name, low in (("kappa", 0.0), ("tau2", 0.0), ("nu", 1.0), ("kappa_time", 0.0)):
            array = getattr(self, name)
            if not (np.isfinite(array) & (array >= low)).all():
                raise ValueError(f"{name} must be finite and >= {low:g}")

    @classmethod
    def prior(cls, rows: int) -> CountNoise:
        """Return what is assumed without any history."""
        return cls(
            np.full(rows, PRIOR_KAPPA),
            np.full(rows, PRIOR_TAU**2),
            np.full(rows, PRIOR_NU),
            np.full(rows, np.nan),
            np.full(rows, 1.0),
        )

    def pod_quantile(self, alpha: float) -> Floats:
        """Return τ times the 1 - α/2 quantile of Student t (ν), (rows, ...)."""
        from scipy.special import stdtrit  # noqa: PLC0415  # slow import, once per watch

        quantile: Floats = np.sqrt(self.tau2) * stdtrit(self.nu, 1 - alpha / 2)
        return quantile


def fit_count_noise(events: Floats, exposure: Floats, *, tail: bool) -> CountNoise:
    """Estimate the noise of one signal from the baseline pods' history.

    Per block length L, with E_ij events and N_ij exposures of pod i in block j, E_j = Σ_i E_ij,
    w_ij = N_ij/Σ_i N_ij, μ_ij = E_j·w_ij:

        κ_L = Σ[(E_ij - μ_ij)² - μ_ij·(1 - w_ij)·h_j] / Σ E_j·(E_j - 1)·w_ij²·(1 - w_ij)
        κ   = max_L [ L·max(κ_L - κ_H - 2·se_L, 0) + min(2.5·L·se_L, 1) ],  at least 0.05
        τ²  = (ν0·τ0² + d·max(κ_H - κ/H - se_H, 0)) / (ν0 + d),  at most 0.6²,  ν = ν0 + d

    where κ_H takes the whole history as one block and d is m - 1, less where events are so few
    that pods cannot be told apart (`_freedom`). Multiplying by L leaves independent noise
    as it is and lets autocorrelated noise grow to its long-run value. With one pod, adjacent
    blocks stand in for two pods (slow drift cancels) and τ stays at its prior.

    Source: method of moments for overdispersed shares (Kleinman 1973), design 2.1.

    When it errs: histories under about 30 min miss slow noise; bursts rarer than the history
    is long are not in it.

    Args:
        events: (H, m) events per tick and pod; nan where a pod or scrape is missing.
        exposure: (H, m) exposure, the same way.
        tail: the events are a tail of the exposure (hypergeometric factor h_j = 1 - E_j/N_j).

    Returns:
        The noise of one row. Nothing usable in the history gives the prior.

    Raises:
        ValueError: the arrays are not two-dimensional and of one shape.
    """
    events, exposure = _usable(events, exposure)
    if events.size == 0 or not exposure.sum() > 0:
        return CountNoise.prior(1)
    pods = np.flatnonzero(exposure.sum(axis=0) > 0)
    events, exposure = events[:, pods], exposure[:, pods]
    if len(pods) == 1:
        kappa, tau2, nu = _one_pod(events[:, 0], exposure[:, 0], tail=tail)
    else:
        kappa, tau2, nu = _many_pods(events, exposure, tail=tail)
    rate, kappa_time = temporal_dispersion(events.sum(axis=1), exposure.sum(axis=1))
    return CountNoise(
        *(np.array([x], dtype=np.float64) for x in (kappa, tau2, nu, rate, kappa_time))
    )


def _usable(events: Floats, exposure: Floats) -> tuple[Floats, Floats]:
    """Return both arrays with zeros where an entry is missing or inconsistent."""
    events = np.asarray(events, dtype=np.float64)
    exposure = np.asarray(exposure, dtype=np.float64)
    if events.ndim != 2 or events.shape != exposure.shape:  # noqa: PLR2004  # (ticks, pods)
        raise ValueError(
            f"expected two arrays (ticks, pods), got {events.shape}, {exposure.shape}"
        )
    ok = consistent(events, exposure) & (exposure >= LEAST_EXPOSURE)
    return np.where(ok, events, 0.0), np.where(ok, exposure, 0.0)


MAX_COUNT: Final = 2.0**53
"""Counts above this are not exact in float64, so something is broken."""

LEAST_EXPOSURE: Final = 1e-6
"""Less than a millionth of a request (or pod-second) is none: ratios of it only overflow."""


def consistent(events: Floats, exposure: Floats) -> Bools:
    """Return where a pair of counts makes sense: finite and 0 <= events <= exposure."""
    return (events >= 0) & (events <= exposure) & (exposure <= MAX_COUNT)


def _many_pods(events: Floats, exposure: Floats, *, tail: bool) -> tuple[float, float, float]:
    ticks, pods = events.shape
    whole, whole_se = _dispersion(events.sum(axis=0)[None], exposure.sum(axis=0)[None], tail=tail)
    whole = max(whole, 0.0)
    kappa = MIN_KAPPA
    for block in BLOCKS:
        if ticks // block >= MIN_BLOCKS:
            found, se = _dispersion(_blocks(events, block), _blocks(exposure, block), tail=tail)
            kappa = max(kappa, _long_run(found - whole, se, block))
    if ticks < MIN_BLOCKS:
        kappa = PRIOR_KAPPA
    persistent = max(whole - kappa / ticks - whole_se, 0.0)
    freedom = _freedom(whole_se, pods)
    tau2 = (PRIOR_NU * PRIOR_TAU**2 + freedom * persistent) / (PRIOR_NU + freedom)
    return kappa, min(tau2, MAX_TAU**2), PRIOR_NU + freedom


def _freedom(se: float, pods: int) -> float:
    """Return how many degrees of freedom the history really holds about τ².

    m - 1 pods would give an estimate of variance 2·τ0⁴/(m-1); Poisson noise adds se². The
    degrees of freedom that stand for both are m - 1 with many events and 0 with none.
    """
    exact = 2 * PRIOR_TAU**4 / (pods - 1)
    return (pods - 1) * exact / (exact + se**2)


def _one_pod(events: Floats, exposure: Floats, *, tail: bool) -> tuple[float, float, float]:
    kappa = MIN_KAPPA if len(events) >= 2 * MIN_BLOCKS else PRIOR_KAPPA
    for block in PAIR_BLOCKS:
        pairs = len(events) // (2 * block)
        if pairs >= MIN_BLOCKS:
            halves = [
                x[len(x) - 2 * block * pairs :].reshape(pairs, 2, block).sum(axis=2)
                for x in (events, exposure)
            ]
            kappa = max(kappa, _long_run(*_dispersion(*halves, tail=tail), block))
    return kappa, PRIOR_TAU**2, PRIOR_NU


def _blocks(values: Floats, block: int) -> Floats:
    """Return sums over blocks of the newest ticks, (blocks, pods)."""
    count = len(values) // block
    blocks: Floats = values[len(values) - count * block :].reshape(count, block, -1).sum(axis=1)
    return blocks


def _long_run(found: float, se: float, block: int) -> float:
    """Return the long-run dispersion per tick which blocks of this length suggest."""
    return block * max(found - _DOUBT * se, 0.0) + min(_PRIOR_DOUBT * block * se, PRIOR_KAPPA)


def _dispersion(events: Floats, exposure: Floats, *, tail: bool) -> tuple[float, float]:
    """Return κ_L and its standard error from block sums (blocks, pods); E[κ_L] = 0 for equal pods."""
    total, traffic = events.sum(axis=1, keepdims=True), exposure.sum(axis=1, keepdims=True)
    weight = exposure / np.maximum(traffic, 1.0)
    mean = total * weight
    rare = 1.0 - total / np.maximum(traffic, 1.0) if tail else np.ones_like(total)
    power = float((total * (total - 1.0) * weight**2 * (1.0 - weight)).sum())
    if power <= 0:
        return 0.0, float("inf")
    excess = float(((events - mean) ** 2 - mean * (1.0 - weight) * rare).sum())
    return excess / power, float(np.sqrt(2.0 / power))
