"""Which requests each side gets, by route, and what is worse within the routes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from detectors.cadence import Cadence, RecentSums
from detectors.count_noise import LEAST_EXPOSURE, consistent
from detectors.counts import FLOOR_EVIDENCE, HARMLESS_EVIDENCE
from detectors.findings import Findings, Limits
from detectors.interval import RatioInterval
from detectors.rates import RateBelow, RateExcess, excess_cap
from detectors.route_noise import STRATA, RouteNoise
from detectors.rows import (
    TINY,
    Bools,
    Floats,
    Ints,
    Rows,
    advanced,
    all_blocks,
    as_floats,
    column,
    pod_spread,
    some_pods,
    sum_nodes,
)
from detectors.share import ShareCounts, ShareEvidence, ShareNoise, share_cap
from detectors.strata import (
    KNOWN_ROUTE,
    added,
    comparable,
    log_matched,
    matched_sums,
    standardised,
)

MIX_PERSISTENCE: Final = 2.0
"""Ticks that an unlike mix takes at least to be found: fewer than harm takes (three of 10 s), so
that what it explains is not taken for harm before."""

SUSPICION: Final = 10.0
"""Evidence on a single route from which errors are compared within the routes. What an unlike mix
explains must not be taken for harm before the mix is found to differ; where it does not, both
comparisons come to the same, so that being wrong in some cases of a hundred costs next to nothing."""

MIX_MARGIN: Final = float(np.log(1.25))
"""Smallest ratio of a route's parts of both sides' requests that is a difference, either way."""

_FLOOR_PHI_MOST: Final = 4.0
"""As for counts that are not told by route."""


@dataclass(frozen=True, slots=True)
class PairRoutes(Rows):
    """One tick of both sides by route; arrays (rows, 11) but for the pods, (rows,).

    A row that is nan, infinite, negative, or has more events than exposure on any route, or no
    exposure or no pod on either side, says nothing in this tick.

    Attributes:
        canary_events, baseline_events: bad events by route, the rest last.
        canary_exposure, baseline_exposure: requests, from the same scrapes.
        canary_pods, baseline_pods: eligible pods.

    Raises:
        ValueError: lengths differ, or there are not 11 routes.
    """

    canary_events: Floats
    baseline_events: Floats
    canary_exposure: Floats
    baseline_exposure: Floats
    canary_pods: Floats
    baseline_pods: Floats

    def __post_init__(self) -> None:
        as_floats(self)
        if self.canary_events.shape[1:] != (STRATA,):
            raise ValueError(f"expected shape (rows, {STRATA}), got {self.canary_events.shape}")

    def informative(self) -> Bools:
        """Return which rows say something in this tick."""
        known = some_pods(self.canary_pods) & some_pods(self.baseline_pods)
        for events, exposure in (
            (self.canary_events, self.canary_exposure),
            (self.baseline_events, self.baseline_exposure),
        ):
            sound = consistent(events, exposure)
            known &= sound.all(axis=1)
            known &= added(np.where(sound, exposure, 0.0)) >= LEAST_EXPOSURE
        return known


@dataclass(frozen=True, slots=True)
class RouteMemory(Rows):
    """What changes from tick to tick.

    Attributes:
        age, ticks: ticks lived, and informative ones, (rows,).
        pod_sd: Σ sqrt(1/k + 1/m) over the informative ticks, (rows,).
        sums: (rows, 4, 11) canary and baseline events, canary and baseline exposure.
        recent: the exposures of about the last five minutes, (rows, 2, 11).
        rise, fall: evidence that the canary has more, or less, of a route, (rows, 11).
        suspected: errors are to be compared within the routes, now or since before, (rows,).
        differs: the mix was found to differ, now or before, (rows,).
        within: evidence of a higher error rate within the routes.
        interval: what ratios remain possible within the routes.
        matched: (rows, 4) canary's events and baseline's, each weighted by the other side's part
            of its route; requests, weighted by both; requests.
        recent_matched: the same of about the last five minutes.
        above_floor, below_harm: the canary against absolute rates, whatever the routes.
    """

    age: Ints
    ticks: Floats
    pod_sd: Floats
    sums: Floats
    recent: RecentSums
    rise: ShareEvidence
    fall: ShareEvidence
    suspected: Bools
    differs: Bools
    within: ShareEvidence
    interval: RatioInterval
    matched: Floats
    recent_matched: RecentSums
    above_floor: RateExcess
    below_harm: RateBelow


@dataclass(frozen=True, slots=True)
class RouteSetup(Rows):
    """What was fixed at the start.

    Attributes:
        limits: what counts as harm. threshold: evidence from which the mix differs, (rows,).
        used: (rows, 11) which routes there are. mix_noise: of their parts, (rows, 11).
        error_noise: of the error rate. rate: (rows, 11) past error rates.
        pod_quantile: τ of the error rate times the 1 - α/2 quantile of Student t (ν), (rows,).
    """

    limits: Limits
    threshold: Floats
    used: Bools
    mix_noise: ShareNoise
    error_noise: ShareNoise
    rate: Floats
    pod_quantile: Floats


@dataclass(frozen=True, slots=True)
class RouteState(Rows):
    """What is known of each row, as a value; made by `RouteMix.start` and `update` only."""

    memory: RouteMemory
    setup: RouteSetup


@dataclass(frozen=True, slots=True)
class RouteFindings(Findings):
    """What is known of errors within the routes, and of the mix; see `Findings`.

    The effect is the ratio of error rates within routes, common to all of them; `baseline_value`
    is what the baseline's routes would give with the canary's mix.

    Attributes:
        suspected: errors are to be compared within the routes, now or since before.
        differs: the mix was found to differ, now or before.
        mix_e: evidence that it does: the mean over routes and both directions.
        distance: part of the canary's requests that the baseline does not get in that proportion
            (total variation): no share of requests can differ by more for that reason alone.
        covered: part of the baseline's requests on routes that the canary has served, too.
        route_e: (rows, 11) evidence on each route: the larger of both directions, gated.
        shares: (rows, 2, 11) each route's part of the canary's and of the baseline's requests.
    """

    suspected: Bools
    differs: Bools
    mix_e: Floats
    distance: Floats
    covered: Floats
    route_e: Floats
    shares: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteMix(Cadence):
    """Do both sides get the same requests, and if not: is the canary worse within the routes?

    *The mix.* Of the requests of a tick, those of one route are a tail of all requests, and the
    canary's part of them is compared with its part of all, as E1 does with errors: a rise and a
    fall of every route, with the pods' usual differences in the mix discounted. The mix differs
    once the mean of these e-values reaches the threshold (a route whose parts differ by less than
    25 % counts nothing). Once found, it is so for good: what was counted stays counted.

    *Within the routes.* Given the events of a tick and a route, the canary's part of them is
    Binomial, whatever that route's own error rate is and however many requests it has; the log
    likelihoods add up over routes (Cochran 1954, Mantel & Haenszel 1959, made sequential). A
    canary that only gets other requests has a ratio of one. On a route that the baseline does not
    serve there is nothing to compare with: the canary's requests there are judged as if they were
    of the baseline's worst route.

    When it errs: routes that are themselves mixtures, say of tenants, hide the same paradox one
    level down; a route label that the release changes is a different mix. Where few ticks have
    requests of a route on both sides, it finds less than a comparison over all routes.
    """

    def start(
        self,
        noise: RouteNoise,
        limits: Limits,
        canary_pods: object,
        baseline_pods: object,
        *,
        used: Bools | None = None,
        threshold: object = 100.0,
    ) -> RouteState:
        """Return the state of rows that have seen nothing.

        Args:
            noise: one row of noise per row.
            limits: one row of limits of the error rate per row.
            canary_pods: checked only; the pods that count are those of every tick.
            baseline_pods: the same.
            used: (rows, 11) which routes there are; default: all.
            threshold: evidence from which the mix differs, scalar or (rows,).

        Raises:
            ValueError: lengths differ.
        """
        rows = len(limits)
        for pods in (canary_pods, baseline_pods, noise.errors.kappa):
            column(pods, rows)
        shape = (rows, STRATA)
        there = np.ones(shape, np.bool_) if used is None else np.asarray(used, np.bool_).copy()
        limit = column(threshold, rows)
        memory = RouteMemory(
            age=np.zeros(rows, np.int64),
            ticks=np.zeros(rows),
            pod_sd=np.zeros(rows),
            sums=np.zeros((rows, 4, STRATA)),
            recent=RecentSums.empty((rows, 2, STRATA)),
            rise=ShareEvidence.empty(shape),
            fall=ShareEvidence.empty(shape),
            suspected=np.zeros(rows, np.bool_),
            differs=np.zeros(rows, np.bool_),
            within=ShareEvidence.empty((rows,)),
            interval=RatioInterval.empty(rows),
            matched=np.zeros((rows, 4)),
            recent_matched=RecentSums.empty((rows, 4)),
            above_floor=RateExcess.empty((rows,)),
            below_harm=RateBelow.empty(rows),
        )
        return RouteState(memory, self._setup(noise, limits, there, limit))

    def _setup(
        self, noise: RouteNoise, limits: Limits, used: Bools, threshold: Floats
    ) -> RouteSetup:
        shares, errors = noise.shares, noise.errors
        each = threshold * 2.0 * np.maximum(used.sum(axis=1), 1)
        cap = share_cap(each, np.full(len(limits), MIX_PERSISTENCE), self)
        return RouteSetup(
            limits=limits,
            threshold=threshold,
            used=used,
            mix_noise=ShareNoise.of(
                shares,
                tail=np.ones(used.shape, np.bool_),
                cap=np.broadcast_to(cap[:, None], used.shape).copy(),
            ),
            error_noise=ShareNoise.of(
                errors,
                tail=np.zeros(len(limits), np.bool_),
                cap=share_cap(limits.threshold, limits.persistence, self),
            ),
            rate=noise.rate,
            pod_quantile=errors.pod_quantile(self.interval_alpha),
        )

    def update(self, state: RouteState, pair: PairRoutes, live: Bools) -> RouteState:
        """Return the state after one tick; rows not live stay exactly as they are.

        Args:
            state: before the tick; not changed.
            pair: the tick.
            live: (rows,) rows that are being watched.

        Raises:
            ValueError: lengths differ.
        """
        return RouteState(advanced(state.memory, state.setup, pair, live, self._step), state.setup)

    def _step(self, memory: RouteMemory, setup: RouteSetup, pair: PairRoutes) -> None:
        """Add one tick to a block of rows, in place."""
        known = pair.informative()
        counts = ShareCounts(
            *(
                np.where(known[:, None], value, 0.0)
                for value in (
                    pair.canary_events,
                    pair.baseline_events,
                    pair.canary_exposure,
                    pair.baseline_exposure,
                )
            )
        )
        spread, age = pod_spread(known, pair.canary_pods, pair.baseline_pods), memory.age
        strata = comparable(counts, memory.sums, setup.rate)
        memory.within.add_strata(strata, spread, setup.error_noise, age, self)
        memory.interval.add_strata(strata, spread, setup.error_noise.kappa)
        matched = matched_sums(strata)
        memory.recent_matched.add(matched, age, self)
        memory.matched[...] += matched
        self._add_rates(memory, setup, counts, np.where(known, pair.canary_pods, 1.0))
        self._add_mix(memory, setup, counts, spread)
        memory.recent.add(
            np.stack([counts.canary_exposure, counts.baseline_exposure], 1), age, self
        )
        memory.sums[...] += np.stack(
            [
                counts.canary_events,
                counts.baseline_events,
                counts.canary_exposure,
                counts.baseline_exposure,
            ],
            axis=1,
        )
        memory.pod_sd[...] += np.where(known, np.sqrt(spread), 0.0)
        memory.ticks[...] += known
        memory.age[...] += 1
        mix_e, route_e = self._mix(memory, setup)
        lasting = memory.ticks >= MIX_PERSISTENCE
        memory.differs[...] |= lasting & (mix_e >= setup.threshold)
        memory.suspected[...] |= memory.differs | (lasting & (route_e.max(axis=1) >= SUSPICION))

    def _add_mix(
        self, memory: RouteMemory, setup: RouteSetup, counts: ShareCounts, spread: Floats
    ) -> None:
        """Add one tick to the evidence that the mix differs, in place."""
        canary, baseline = counts.canary_exposure, counts.baseline_exposure
        shape = canary.shape
        all_canary, all_baseline = (
            np.broadcast_to(added(side)[:, None], shape) for side in (canary, baseline)
        )
        wide = np.broadcast_to(spread[:, None], shape)
        up = ShareCounts(canary, baseline, all_canary, all_baseline)
        down = ShareCounts(baseline, canary, all_baseline, all_canary)
        memory.rise.add(up, wide, setup.mix_noise, memory.age, self)
        memory.fall.add(down, wide, setup.mix_noise, memory.age, self)

    def _add_rates(
        self, memory: RouteMemory, setup: RouteSetup, counts: ShareCounts, pods: Floats
    ) -> None:
        """Add one tick of the canary to the tests against absolute rates, in place."""
        limits, kappa = setup.limits, setup.error_noise.kappa
        events, exposure = added(counts.canary_events), added(counts.canary_exposure)
        expected = exposure * np.where(np.isnan(limits.floor), 1.0, limits.floor)
        memory.above_floor.add(
            events=events,
            expected=expected,
            phi=np.minimum(1.0 + kappa * expected / pods, _FLOOR_PHI_MOST),
            cap=excess_cap(limits.threshold, limits.persistence, self),
            age=memory.age,
            cadence=self,
        )
        bound = np.where(np.isnan(limits.harm_rate), 1.0, limits.harm_rate)
        memory.below_harm.add(events, exposure, 1.0 + kappa * exposure * bound / pods)

    def _mix(self, memory: RouteMemory, setup: RouteSetup) -> tuple[Floats, Floats]:
        """Return the evidence that the mix differs, (rows,), and on each route, (rows, 11).

        A route whose parts differ by less than the margin counts nothing, and most never do: what
        they would say is not worked out.
        """
        since, lately = _log_shares(memory.sums[:, 2:]), _log_shares(memory.recent.total())
        both, each = np.zeros(len(since)), np.zeros(since.shape)
        for evidence, sign in ((memory.rise, 1.0), (memory.fall, -1.0)):
            gate = setup.used & (np.fmax(sign * since, sign * lately) >= MIX_MARGIN)
            rows = np.flatnonzero(gate.any(axis=1))
            noise, some = setup.mix_noise.take(rows), evidence.take(rows)
            e_value = np.where(gate[rows], some.e_value(noise, memory.age[rows], self), 0.0)
            both[rows] += added(e_value)
            each[rows] = np.maximum(each[rows], e_value)
        return both / (2.0 * np.maximum(setup.used.sum(axis=1), 1)), each

    def findings(self, state: RouteState) -> RouteFindings:
        """Return what is known of every row by now."""
        parts = [self._find(state.take(rows)) for rows in all_blocks(len(state))]
        return RouteFindings.concat(parts)

    def _find(self, state: RouteState) -> RouteFindings:
        memory, setup, limits = state.memory, state.setup, state.setup.limits
        ticks, age = memory.ticks, memory.age
        tested = ticks >= limits.persistence
        effect = log_matched(memory.matched)
        recent = log_matched(memory.recent_matched.total())
        pods = setup.pod_quantile * memory.pod_sd / np.maximum(ticks, 1.0)
        low, high = memory.interval.bounds(self.interval_alpha, pods)
        above = memory.above_floor.e_value(age, self) >= FLOOR_EVIDENCE
        below = memory.below_harm.e_value(limits.harm_rate) >= HARMLESS_EVIDENCE
        gate = np.fmax(effect, recent) >= limits.margin
        mix_e, route_e = self._mix(memory, setup)
        shares = _shares(memory.sums[:, 2:])
        served = memory.sums[:, 2] >= KNOWN_ROUTE
        canary, baseline = standardised(memory.sums, setup.rate)
        unknown = np.full(len(state), np.nan)
        return RouteFindings(
            e_value=memory.within.e_value(setup.error_noise, age, self),
            tested=tested,
            effect=effect,
            recent_effect=recent,
            low=low,
            high=high,
            harmful=tested & gate & (above | np.isnan(limits.floor)),
            harmless=tested & ((high < limits.harm) | below),
            canary_value=canary,
            baseline_value=baseline,
            detectable=unknown,
            drift_e=np.ones(len(state)),
            ticks=ticks.copy(),
            suspected=memory.suspected.copy(),
            differs=memory.differs.copy(),
            mix_e=mix_e,
            distance=added(np.abs(shares[:, 0] - shares[:, 1])) / 2.0,
            covered=added(np.where(served, shares[:, 1], 0.0)),
            route_e=route_e,
            shares=shares,
        )


def _shares(exposure: Floats) -> Floats:
    """Return each route's part of each side's requests, (rows, 2, 11); 0 without requests."""
    whole = sum_nodes(np.moveaxis(exposure, -1, 0))
    shares: Floats = exposure / np.maximum(whole, TINY)[..., None]
    return shares


def _log_shares(exposure: Floats) -> Floats:
    """Return the log of the ratio of both sides' parts, (rows, 11); half a request added."""
    whole = sum_nodes(np.moveaxis(exposure, -1, 0))[..., None]
    parts = (exposure + 0.5) / (whole + 1.0)
    ratio: Floats = np.log(parts[:, 0] / parts[:, 1])
    known = (whole > 0).all(axis=1)
    return np.where(known, ratio, 0.0)
