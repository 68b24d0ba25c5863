"""Confidence sequence of a rate ratio: what the counts leave possible at every look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from detectors.rows import Bools, Floats, Ints, Rows, Singles, sum_nodes
from detectors.share import stratified_tempering, tempering

if TYPE_CHECKING:
    from detectors.share import ShareCounts

_BEND: Final = 0.5
_LOWEST: Final = -3.0
_HIGHEST: Final = 6.0
_POINTS: Final = 64
GRID: Final[Floats] = _BEND * np.sinh(
    np.linspace(np.arcsinh(_LOWEST / _BEND), np.arcsinh(_HIGHEST / _BEND), _POINTS)
)
"""Log ratios from ×0.05 to ×400, dense near 1 (steps of 5 %) where decisions fall, wide far out."""

_PRIOR_SD: Final = 1.5
"""Scale of the mixture's Student t (3 degrees) prior: most ratios lie between ×0.2 and ×5."""

_PLACE: Final = GRID.astype(np.float32)[:, None]
_GAIN: Final = np.expm1(GRID).astype(np.float32)[:, None]


def _prior() -> Singles:
    density = (1 + (GRID / _PRIOR_SD) ** 2 / 3) ** -2 * np.gradient(GRID)
    prior: Singles = (density / density.sum()).astype(np.float32)[:, None]
    return prior


_PRIOR: Final = _prior()


@dataclass(frozen=True, slots=True)
class RatioInterval(Rows):
    """Time-uniform confidence sequence of the ratio of two event rates.

    With ℓ(r) the tempered conditional log likelihood cumulated since the start,

        CS = { r : log Σ_g π_g·exp ℓ(g) - ℓ(r) < log(1/α) }

    holds the true ratio at all times with probability >= 1 - α (mixture method: Robbins 1970;
    Howard et al. 2021). Between grid points ℓ is taken as a parabola. The pods' persistent
    differences are then added in quadrature.

    When it errs: coverage at all looks measured 95-99 %, but 85 % where pods differ by 30 %
    and there are few of them, for τ is shrunk towards its prior (design 9).

    Attributes:
        likelihood: (rows, 64) ℓ on `GRID`.
    """

    likelihood: Singles

    @classmethod
    def empty(cls, rows: int) -> RatioInterval:
        """Return an interval that excludes nothing yet."""
        return cls(np.zeros((rows, _POINTS), np.float32))

    def add(self, counts: ShareCounts, spread: Floats, kappa: Floats, tail: Bools) -> None:
        """Add one tick, in place; arguments as for `ShareEvidence.add`."""
        busy = counts.events > 0
        if busy.all():
            self.likelihood[...] += _gained(counts, spread, kappa, tail)
        elif busy.any():
            some = counts.take(busy), spread[busy], kappa[busy], tail[busy]
            self.likelihood[busy] += _gained(*some)

    def add_strata(self, strata: ShareCounts, spread: Floats, kappa: Floats) -> None:
        """Add one tick told by stratum, in place; arguments as for `ShareEvidence.add_strata`."""
        phi = stratified_tempering(strata, spread, kappa)
        share = strata.canary_share.astype(np.float32)
        events = (strata.events / phi[:, None]).astype(np.float32)
        hits = (strata.canary_events / phi[:, None]).astype(np.float32)
        gain = np.zeros((_POINTS, len(phi)), np.float32)
        for stratum in range(share.shape[1]):
            gain -= np.log(1 + _GAIN * share[:, stratum]) * events[:, stratum]
            gain += _PLACE * hits[:, stratum]
        self.likelihood[...] += gain.T

    def bounds(self, alpha: float, pod_radius: Floats) -> tuple[Floats, Floats]:
        """Return lower and upper end of the log ratio, ±inf where the counts leave it open.

        Args:
            alpha: one minus the coverage.
            pod_radius: (rows,) half width owed to persistent pod differences, log scale.
        """
        nodes = np.ascontiguousarray(self.likelihood.T)
        nodes -= nodes.max(axis=0)
        mixture = np.log(sum_nodes(np.exp(nodes) * _PRIOR).astype(np.float64))
        # sqrt(peak - ℓ) is linear in r for a parabola: interpolate the crossing on that scale.
        root = np.sqrt(-nodes)
        level = np.sqrt(np.log(1 / alpha) - np.minimum(mixture, 0.0))
        inside = root < level
        first = inside.argmax(axis=0)
        last = first + inside.sum(axis=0) - 1
        middle = GRID[nodes.argmax(axis=0)]
        low = np.minimum(_crossing(root, level, first, -1), middle)
        high = np.maximum(_crossing(root, level, last, +1), middle)
        return (
            middle - np.hypot(middle - low, pod_radius),
            middle + np.hypot(high - middle, pod_radius),
        )


def _gained(counts: ShareCounts, spread: Floats, kappa: Floats, tail: Bools) -> Singles:
    """Return what one tick adds to the likelihoods, (rows, 64); nothing where there are no events."""
    phi = tempering(counts, spread, kappa, tail)
    # float32 is enough: φ bounds E/φ at some hundreds, so a tick errs by about 1e-5 nats.
    gain = np.log(1 + _GAIN * counts.canary_share.astype(np.float32))
    gain *= -(counts.events / phi).astype(np.float32)
    gain += _PLACE * (counts.canary_events / phi).astype(np.float32)
    return gain.T


def _crossing(root: Singles, level: Floats, inner: Ints, side: int) -> Floats:
    """Return where `root` crosses `level` between the point `inner` and its neighbour.

    ±inf where the grid ends before.
    """
    outer = inner + side
    found = (outer >= 0) & (outer < _POINTS)
    outer = np.clip(outer, 0, _POINTS - 1)
    rows = np.arange(root.shape[1])
    from_level = root[outer, rows] - level
    part = np.where(found, from_level, 0.0) / np.where(
        found, root[outer, rows] - root[inner, rows], 1
    )
    crossing = GRID[outer] + part * (GRID[inner] - GRID[outer])
    return np.where(found, crossing, side * np.inf)
