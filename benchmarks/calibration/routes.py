"""Requests by route: a fleet whose canary may get other ones than its baseline."""

from dataclasses import dataclass

import numpy as np

from benchmarks.calibration.simulator import (
    Array,
    Counts,
    Errors,
    Fleet,
    Wobble,
    autoregressive,
    expected_requests,
    log_noise,
    scraped_values,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """What is asked for, and how much of it fails anyway.

    Attributes:
        shares: of the routes among the baseline's requests. canary: among the canary's; None for
            the same. rates: error rate of each route.
        named: how many of the routes are told apart; the others are the rest.
        pod_sd: persistent differences of a route's share between pods, log scale.
        drift_sd: AR(1) of the shares that is common to all pods; tick_sd: of each pod.
    """

    shares: tuple[float, ...]
    canary: tuple[float, ...] | None = None
    rates: tuple[float, ...]
    named: int = 10
    pod_sd: float = 0.05
    drift_sd: float = 0.2
    tick_sd: float = 0.05

    @property
    def routes(self) -> tuple[str, ...]:
        """The names of all routes."""
        return tuple(f"/route-{i}" for i in range(len(self.shares)))


@dataclass(frozen=True, slots=True)
class RouteCounts:
    """Requests and events, (runs, ticks, pods, routes); ``whole``: over all routes."""

    mix: Mix
    requests: Array
    events: Array
    whole: Counts


def simulate_routes(
    fleet: Fleet, errors: Errors, mix: Mix, wobble: Wobble, runs: int, seed: int
) -> RouteCounts:
    """Draw requests and errors by route; a harmful canary is worse on every route alike."""
    rng = np.random.default_rng(seed)
    requests = rng.poisson(expected_requests(rng, fleet, runs))
    by_route = rng.multinomial(requests, _shares(rng, fleet, mix, runs))
    noise = np.exp(log_noise(rng, fleet, wobble, runs))
    factor, extra = np.ones(noise.shape), np.zeros(noise.shape)
    sick = np.s_[:, fleet.history + errors.onset :, : fleet.canary_pods]
    factor[sick], extra[sick] = errors.factor, errors.extra
    rate = np.array(mix.rates) * (noise * factor)[..., None] + extra[..., None]
    events = rng.binomial(by_route, np.clip(rate, 0.0, 1.0))
    both = np.concatenate([by_route, events], axis=-1).astype(float)
    seen, restarted = scraped_values(rng, fleet, both)
    count = len(mix.shares)
    asked, failed = seen[..., :count], seen[..., count:]
    whole = Counts(fleet, asked.sum(axis=-1), failed.sum(axis=-1), restarted)
    return RouteCounts(mix, asked, failed, whole)


def _shares(rng: np.random.Generator, fleet: Fleet, mix: Mix, runs: int) -> Array:
    """Return each route's share, (runs, ticks, pods, routes)."""
    count = len(mix.shares)
    log_share = np.empty((fleet.pods, count))
    log_share[...] = np.log(np.maximum(mix.shares, 1e-12))
    if mix.canary is not None:
        log_share[: fleet.canary_pods] = np.log(np.maximum(mix.canary, 1e-12))
    drift = autoregressive(rng, (runs, fleet.total_ticks, count), mix.drift_sd, 0.98)
    moved = drift[:, :, None] + mix.pod_sd * rng.standard_normal((runs, 1, fleet.pods, count))
    moved = moved + mix.tick_sd * rng.standard_normal((runs, fleet.total_ticks, fleet.pods, count))
    share = np.exp(log_share + moved)
    normal: Array = share / share.sum(axis=-1, keepdims=True)
    return normal
