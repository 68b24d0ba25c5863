"""Which change is harmful: a rise, a fall, or both. The detectors themselves look for a rise."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar, cast

import numpy as np

from detectors.findings import Findings
from detectors.rows import Rows

if TYPE_CHECKING:
    from detectors.rows import Bools, Floats

HALF = 0.5
"""Each direction gets half of the evidence where both are harmful."""

S = TypeVar("S", bound=Rows)
P = TypeVar("P", bound=Rows)
P_contra = TypeVar("P_contra", bound=Rows, contravariant=True)


class OneSided(Protocol[S, P_contra]):
    """A detector of a rise."""

    def update(self, state: S, pair: P_contra, live: Bools) -> S:
        """Return the state after one tick."""

    def findings(self, state: S) -> Findings:
        """Return what is known of every row by now."""


@dataclass(frozen=True, slots=True)
class BothStates(Rows):
    """States of the same rows, once as they are and once with both sides exchanged."""

    up: Rows
    down: Rows


@dataclass(frozen=True, slots=True)
class Sided(Generic[S, P]):
    """A detector told which direction is harmful.

    Findings are signed so that positive is harmful: where a fall is, `effect` is the log of how
    many times less the canary has. Where both are, `effect` is that of the side with more evidence,
    e is the mean of both sides, and a side whose gate is closed enters with at most one.

    Attributes:
        detector: looks for a rise. rise, fall: which of them is harmful; one at least.

    Raises:
        ValueError: nothing is harmful.
    """

    detector: OneSided[S, P]
    rise: bool = True
    fall: bool = False

    def __post_init__(self) -> None:
        if not (self.rise or self.fall):
            raise ValueError("a rise, a fall or both must be harmful")

    def start(self, up: S, down: S) -> Rows:
        """Return the state of new rows, given the detector's for either direction."""
        if self.rise and self.fall:
            return BothStates(up, down)
        return up if self.rise else down

    def update(self, state: Rows, up: P, down: P, live: Bools) -> Rows:
        """Return the state after one tick.

        Args:
            state: before the tick.
            up: the tick.
            down: the same with the sides exchanged.
            live: (rows,) rows that are being watched.
        """
        if isinstance(state, BothStates):
            return BothStates(
                self.detector.update(cast("S", state.up), up, live),
                self.detector.update(cast("S", state.down), down, live),
            )
        return self.detector.update(cast("S", state), up if self.rise else down, live)

    def findings(self, state: Rows) -> Findings:
        """Return what is known of every row by now."""
        if isinstance(state, BothStates):
            return _either(
                self.detector.findings(cast("S", state.up)),
                _exchanged(self.detector.findings(cast("S", state.down))),
            )
        found = self.detector.findings(cast("S", state))
        return found if self.rise else _exchanged(found)


def _exchanged(found: Findings) -> Findings:
    """Return findings of exchanged sides with the sides' own values where they belong."""
    return replace(found, canary_value=found.baseline_value, baseline_value=found.canary_value)


def _either(up: Findings, down: Findings) -> Findings:
    """Return what two directions say together."""
    fallen = _gated(down) > _gated(up)

    def told(name: str) -> Floats:
        chosen: Floats = np.where(fallen, getattr(down, name), getattr(up, name))
        return chosen

    return replace(
        up,
        e_value=HALF * (_gated(up) + _gated(down)),
        effect=told("effect"),
        recent_effect=told("recent_effect"),
        low=told("low"),
        high=told("high"),
        harmful=up.harmful | down.harmful,
        harmless=up.harmless & down.harmless,
        detectable=np.fmin(up.detectable, down.detectable),
        drift_e=np.ones(len(up)),
    )


def _gated(found: Findings) -> Floats:
    return np.where(found.harmful, found.e_value, np.minimum(found.e_value, 1.0))
