"""What a rollback daemon sees of a fleet: seeded, vectorised, with every kind of noise we fear.

All arrays are increments per tick, shape (runs, ticks, pods[, buckets]). Ticks 0…history-1 are
the baseline's past; canary pods (the first ones) carry no traffic then. Each noise model is a
field with a plain meaning; zero switches it off. The same seed gives the same data.

`simulate_counts` draws events out of requests, `simulate_histograms` latency buckets; gauges are in
gauges.py. Each returns a value which cuts into history and ticks of both sides.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]

BOUNDS = np.array([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, np.inf])
"""Default buckets of the Prometheus client libraries, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Pods, time and traffic, common to all three families.

    Attributes:
        canary_pods: k.
        baseline_pods: m.
        rps: requests per second and baseline pod.
        canary_rps: per canary pod; None for the same.
        tick_s: seconds per tick.
        history: ticks before the canary starts.
        ticks: ticks of the canary phase.
        traffic_sd: shared AR(1) of log traffic, φ = 0.95.
        pod_traffic_cv: per pod and tick, gamma.
        daily: amplitude of a two-hour wave.
        missing: chance of a missed scrape; its increment arrives with the next.
        reset: chance of a container restart, which loses half a tick.
        replace_every: ticks between two replacements of a baseline pod by a canary pod, as in a
            rolling update; 0 when all canary pods come at once and no baseline pod goes.
    """

    canary_pods: int = 3
    baseline_pods: int = 7
    rps: float = 10.0
    canary_rps: float | None = None
    tick_s: float = 10.0
    history: int = 360
    ticks: int = 360
    traffic_sd: float = 0.2
    pod_traffic_cv: float = 0.1
    daily: float = 0.3
    missing: float = 0.0
    reset: float = 0.0
    replace_every: float = 0.0

    @property
    def births(self) -> NDArray[np.int64]:
        """Tick of the canary phase at which each canary pod begins, (k,)."""
        births: Array = np.floor(
            self.replace_every * np.arange(self.canary_pods, dtype=np.float64)
        )
        return births.astype(np.int64)

    @property
    def deaths(self) -> NDArray[np.int64]:
        """Tick of the canary phase from which each baseline pod is gone, (m,)."""
        gone = np.full(self.baseline_pods, self.ticks, dtype=np.int64)
        if self.replace_every:
            replaced = min(self.canary_pods, self.baseline_pods)
            gone[:replaced] = self.births[:replaced] + 1
        return gone

    @property
    def total_ticks(self) -> int:
        """Ticks of history and canary phase together."""
        return self.history + self.ticks

    @property
    def pods(self) -> int:
        """Pods of both sides."""
        return self.canary_pods + self.baseline_pods


@dataclass(frozen=True, slots=True, kw_only=True)
class Wobble:
    """Multiplicative noise of a rate (or latency), on the log scale unless said.

    Attributes:
        tick_variance: independent per pod and tick, gamma with this variance (κ).
        pod_sd: per pod AR(1); pod_phi its coefficient.
        shared_sd: AR(1) common to all pods; shared_phi its coefficient.
        tau: persistent differences between pods.
        burst: chance per pod and tick that a burst starts; of mean burst_ticks, × burst_factor.
        incident: factor of a shared incident (1 for none) of incident_ticks; incident_spread is
            the sd of its log factor between pods; it starts incident_at ticks after the canary.
        warm_up: factor on each canary pod's first warm_ticks.
    """

    tick_variance: float = 0.0
    pod_sd: float = 0.0
    pod_phi: float = 0.9
    shared_sd: float = 0.0
    shared_phi: float = 0.9
    tau: float = 0.0
    burst: float = 0.0
    burst_ticks: float = 3.0
    burst_factor: float = 30.0
    incident: float = 1.0
    incident_ticks: int = 30
    incident_at: int = 60
    incident_spread: float = 0.0
    warm_up: float = 1.0
    warm_ticks: int = 0


REALISTIC_ERRORS = Wobble(tick_variance=0.3, tau=0.1, pod_sd=0.2, shared_sd=0.3)
REALISTIC_LATENCY = Wobble(pod_sd=0.06, shared_sd=0.15, tau=0.03)


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """Error rate of the baseline and what the canary does to it after `onset` ticks.

    The canary's rate is rate · factor + extra. `batch` > 1 makes errors come in geometric
    batches of that mean size.
    """

    rate: float = 0.001
    factor: float = 1.0
    extra: float = 0.0
    onset: int = 0
    batch: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Lognormal body with a Pareto tail, and what the canary does to it after `onset` ticks.

    Attributes:
        median: of the body, seconds; sigma: its log sd.
        slow_share: part of the requests in the tail, which starts at slow_from with exponent
            slow_alpha.
        factor: the canary's factor on every latency; slow_factor: on its slow share;
            slow_extra: added to its slow share.
    """

    median: float = 0.060
    sigma: float = 0.6
    slow_share: float = 0.02
    slow_from: float = 0.2
    slow_alpha: float = 1.5
    factor: float = 1.0
    slow_factor: float = 1.0
    slow_extra: float = 0.0
    onset: int = 0


@dataclass(frozen=True, slots=True)
class Counts:
    """Requests and events, (runs, ticks, pods), of one fleet.

    ``restarted``: (runs, ticks, pods), where a scrape is the first after a container restart.
    """

    fleet: Fleet
    requests: Array
    events: Array
    restarted: Bools

    def history(self, run: int) -> tuple[Array, Array]:
        """Return events and requests of the baseline's past, (H, m)."""
        part = np.s_[run, : self.fleet.history, self.fleet.canary_pods :]
        return self.events[part], self.requests[part]

    def sides(self, tick: int) -> tuple[Array, Array, Array, Array]:
        """Return canary and baseline events, canary and baseline requests, (runs,)."""
        at, k = self.fleet.history + tick, self.fleet.canary_pods
        e, n = self.events[:, at], self.requests[:, at]
        return e[:, :k].sum(1), e[:, k:].sum(1), n[:, :k].sum(1), n[:, k:].sum(1)


@dataclass(frozen=True, slots=True)
class Histograms:
    """Bucket counts, (runs, ticks, pods, buckets), not cumulative; otherwise as `Counts`."""

    fleet: Fleet
    counts: Array
    restarted: Bools
    bounds: Array = field(default_factory=lambda: BOUNDS)

    def history(self, run: int) -> Array:
        """Return the baseline's past, (H, m, J)."""
        return self.counts[run, : self.fleet.history, self.fleet.canary_pods :]

    def sides(self, tick: int) -> tuple[Array, Array]:
        """Return canary and baseline counts, (runs, J)."""
        at, k = self.fleet.history + tick, self.fleet.canary_pods
        return self.counts[:, at, :k].sum(1), self.counts[:, at, k:].sum(1)


def simulate_counts(fleet: Fleet, errors: Errors, wobble: Wobble, runs: int, seed: int) -> Counts:
    """Draw requests and errors of `runs` independent rollouts."""
    rng = np.random.default_rng(seed)
    requests = rng.poisson(expected_requests(rng, fleet, runs))
    rate = errors.rate * np.exp(log_noise(rng, fleet, wobble, runs))
    sick = np.s_[:, fleet.history + errors.onset :, : fleet.canary_pods]
    rate[sick] = rate[sick] * errors.factor + errors.extra
    np.clip(rate, 0.0, 1.0, out=rate)
    if errors.batch > 1:
        batches = rng.binomial(requests, rate / errors.batch)
        more = rng.negative_binomial(np.maximum(batches, 1), 1 / errors.batch)
        events = np.minimum(batches + more * (batches > 0), requests)
    else:
        events = rng.binomial(requests, rate)
    seen, restarted = scraped_values(
        rng, fleet, np.stack([requests, events], axis=-1).astype(float)
    )
    return Counts(fleet, seen[..., 0], seen[..., 1], restarted)


def simulate_histograms(
    fleet: Fleet, latency: Latency, wobble: Wobble, runs: int, seed: int, bounds: Array = BOUNDS
) -> Histograms:
    """Draw latency histograms of `runs` independent rollouts."""
    rng = np.random.default_rng(seed)
    requests = rng.poisson(expected_requests(rng, fleet, runs))
    slowness = log_noise(rng, fleet, wobble, runs)
    sick = np.s_[:, fleet.history + latency.onset :, : fleet.canary_pods]
    slowness[sick] += np.log(latency.factor)
    share = np.full(slowness.shape, latency.slow_share)
    share[sick] = min(1.0, latency.slow_share * latency.slow_factor + latency.slow_extra)
    counts = np.empty((*requests.shape, len(bounds)))
    left, above_before = requests, np.ones(requests.shape)
    for bucket, bound in enumerate(bounds):
        above = _survival(latency, np.log(bound) - slowness, share)
        stay = np.clip(above / np.maximum(above_before, 1e-300), 0.0, 1.0)
        beyond = rng.binomial(left, stay)
        counts[..., bucket] = left - beyond
        left, above_before = beyond, above
    return Histograms(fleet, *scraped_values(rng, fleet, counts), bounds)


def autoregressive(
    rng: np.random.Generator, shape: tuple[int, ...], sd: float, phi: float
) -> Array:
    """Draw a stationary AR(1) along axis 1 with marginal standard deviation `sd`."""
    series = np.empty(shape)
    state = sd * rng.standard_normal((shape[0], *shape[2:]))
    step = sd * np.sqrt(1 - phi**2)
    for tick in range(shape[1]):
        series[:, tick] = state
        state = phi * state + step * rng.standard_normal(state.shape)
    return series


def expected_requests(rng: np.random.Generator, fleet: Fleet, runs: int) -> Array:
    """Return expected requests, (runs, ticks, pods)."""
    ticks, k = fleet.total_ticks, fleet.canary_pods
    sd = fleet.traffic_sd
    shared = np.exp(autoregressive(rng, (runs, ticks), sd, 0.95) - sd**2 / 2)
    phase = rng.uniform(0, 2 * np.pi, (runs, 1))
    shared *= 1 + fleet.daily * np.sin(2 * np.pi * np.arange(ticks) * fleet.tick_s / 7200 + phase)
    expected = np.repeat(shared[:, :, None], fleet.pods, axis=2) * fleet.rps * fleet.tick_s
    if fleet.canary_rps is not None:
        expected[:, :, :k] *= fleet.canary_rps / fleet.rps
    for pod, (birth, death) in enumerate(_lifetimes(fleet)):
        expected[:, :birth, pod] = 0.0
        expected[:, death:, pod] = 0.0
    if fleet.pod_traffic_cv:
        shape = 1 / fleet.pod_traffic_cv**2
        expected *= rng.standard_gamma(shape, expected.shape) / shape
    return expected


def _lifetimes(fleet: Fleet) -> list[tuple[int, int]]:
    """Return the ticks between which each pod runs, from the first tick of the history on."""
    canary = [(int(birth), fleet.total_ticks) for birth in fleet.births + fleet.history]
    return canary + [(0, int(death)) for death in fleet.deaths + fleet.history]


def log_noise(
    rng: np.random.Generator, fleet: Fleet, wobble: Wobble, runs: int, *, centred: bool = True
) -> Array:
    """Return the log of the multiplicative noise, (runs, ticks, pods), of mean factor one."""
    shape = (runs, fleet.total_ticks, fleet.pods)
    noise = np.zeros(shape)
    middle = 0.5 if centred else 0.0
    if wobble.tick_variance:
        gamma = rng.standard_gamma(1 / wobble.tick_variance, shape) * wobble.tick_variance
        noise += np.log(np.maximum(gamma, 1e-300))
    if wobble.pod_sd:
        noise += autoregressive(rng, shape, wobble.pod_sd, wobble.pod_phi)
        noise -= middle * wobble.pod_sd**2
    if wobble.shared_sd:
        shared = autoregressive(rng, shape[:2], wobble.shared_sd, wobble.shared_phi)
        noise += shared[:, :, None] - middle * wobble.shared_sd**2
    if wobble.tau:
        noise += wobble.tau * rng.standard_normal((runs, 1, fleet.pods)) - middle * wobble.tau**2
    if wobble.burst:
        noise += np.log(wobble.burst_factor) * _bursts(rng, shape, wobble)
    if wobble.incident != 1.0:
        start = fleet.history + wobble.incident_at
        hit = np.log(wobble.incident) + wobble.incident_spread * rng.standard_normal(
            (runs, 1, fleet.pods)
        )
        noise[:, start : start + wobble.incident_ticks] += hit
    if wobble.warm_ticks:
        for pod, birth in enumerate(fleet.births + fleet.history):
            noise[:, birth : birth + wobble.warm_ticks, pod] += np.log(wobble.warm_up)
    return noise


def _bursts(rng: np.random.Generator, shape: tuple[int, int, int], wobble: Wobble) -> Array:
    """Return 1 while a pod is in a burst, else 0."""
    starts = rng.random(shape) < wobble.burst
    lengths = rng.geometric(1 / wobble.burst_ticks, shape)
    left = np.zeros((shape[0], shape[2]), np.int64)
    active = np.zeros(shape)
    for tick in range(shape[1]):
        left = np.where(starts[:, tick], lengths[:, tick], np.maximum(left - 1, 0))
        active[:, tick] = left > 0
    return active


def _survival(latency: Latency, log_time: Array, slow_share: Array) -> Array:
    """Return the share of requests slower than exp(log_time)."""
    body = ndtr(-(log_time - np.log(latency.median)) / latency.sigma)
    tail = np.exp(np.minimum(0.0, -latency.slow_alpha * (log_time - np.log(latency.slow_from))))
    above: Array = (1 - slow_share) * body + slow_share * tail
    return above


def scraped_values(rng: np.random.Generator, fleet: Fleet, values: Array) -> tuple[Array, Bools]:
    """Lose half a tick at restarts, and merge missed scrapes into the next good one.

    Returns:
        What each scrape finds, and which ones are the first after a restart.
    """
    shape = values.shape[:3]
    restarted = np.zeros(shape, dtype=np.bool_)
    if fleet.reset:
        restarted = rng.random(shape) < fleet.reset
        values = np.where(restarted[..., None], np.floor(values / 2), values)
    if not fleet.missing:
        return values, restarted
    missed = rng.random(shape) < fleet.missing
    seen, noticed = np.zeros_like(values), np.zeros_like(restarted)
    waiting, fresh = np.zeros_like(values[:, 0]), np.zeros_like(restarted[:, 0])
    for tick in range(shape[1]):
        waiting, fresh = waiting + values[:, tick], fresh | restarted[:, tick]
        good = ~missed[:, tick]
        seen[:, tick][good], noticed[:, tick][good] = waiting[good], fresh[good]
        waiting[good], fresh = 0.0, fresh & ~good
    return seen, noticed
