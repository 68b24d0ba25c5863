"""What must never happen when routes are told apart, whatever the mix is."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from detectors import (
    CountNoise,
    CountRatio,
    Limits,
    PairCounts,
    PairRoutes,
    RouteMix,
    RouteNoise,
    fit_route_noise,
)
from detectors.route_noise import REST, ROUTES, STRATA
from detectors.routes import RouteFindings
from detectors.rows import Floats

few = settings(max_examples=8, deadline=None)
seeds = st.integers(0, 2**32 - 1)
LIKE = np.array([0.5, 0.3, 0.1, 0.05, 0.03] + [0.0] * 5 + [0.02])
"""Parts of the baseline's requests: five routes and the rest."""
UNLIKE = np.array([0.1, 0.1, 0.2, 0.3, 0.28] + [0.0] * 5 + [0.02])
RATES = np.array([0.001, 0.001, 0.003, 0.02, 0.08] + [0.0] * 5 + [0.002])
"""What fails anyway, by route."""


def ticks(
    seed: int, mix: Floats, *, factor: float = 1.0, count: int = 60, rows: int = 1
) -> list[PairRoutes]:
    """Three canary and seven baseline pods at ten requests a second."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        one = rng.poisson(300 * mix, (rows, STRATA))
        zero = rng.poisson(700 * LIKE, (rows, STRATA))
        canary = rng.binomial(one, np.minimum(RATES * factor, 1.0))
        baseline = rng.binomial(zero, RATES)
        made.append(pair_of(canary, baseline, one, zero))
    return made


def pair_of(*counted: NDArray[np.int64]) -> PairRoutes:
    """Return a tick of bad events and all events, canary and baseline of each."""
    canary, baseline, one, zero = (x.astype(float) for x in counted)
    rows = len(canary)
    return PairRoutes(canary, baseline, one, zero, np.full(rows, 3.0), np.full(rows, 7.0))


def found(pairs: list[PairRoutes], **how: object) -> RouteFindings:
    rows, detector = len(pairs[0]), RouteMix()
    state = detector.start(RouteNoise.prior(rows), Limits.of(rows), 3, 7, **how)  # type: ignore[arg-type]
    for pair in pairs:
        state = detector.update(state, pair, np.ones(rows, np.bool_))
    return detector.findings(state)


def whole(pair: PairRoutes) -> PairCounts:
    """Return a tick as it is without routes."""
    return PairCounts(
        *(
            v.sum(axis=1) if v.ndim > 1 else v
            for v in (getattr(pair, f.name) for f in fields(pair))
        )
    )


def over_all_routes(pairs: list[PairRoutes]) -> tuple[float, float, bool]:
    rows, detector = len(pairs[0]), CountRatio()
    state = detector.start(CountNoise.prior(rows), Limits.of(rows), 3, 7)
    for pair in pairs:
        state = detector.update(state, whole(pair), np.ones(rows, np.bool_))
    told = detector.findings(state)
    return float(told.e_value[0]), float(told.effect[0]), bool(told.harmful[0])


def test_an_unlike_mix_alone_is_no_harm_where_all_routes_together_say_it_is() -> None:
    pairs = ticks(1, UNLIKE)
    e_value, effect, harmful = over_all_routes(pairs)
    assert harmful
    assert e_value > 100
    assert effect > np.log(3)
    told = found(pairs)
    assert told.differs.all()
    assert told.e_value[0] < 1
    assert abs(told.effect[0]) < np.log(1.15)
    assert told.harmless.all()
    assert told.canary_value[0] == pytest.approx(told.baseline_value[0], rel=0.15)


def test_harm_is_found_beside_an_unlike_mix() -> None:
    told = found(ticks(2, UNLIKE, factor=3.0))
    assert told.e_value[0] > 100
    assert told.harmful.all()
    assert told.effect[0] == pytest.approx(np.log(3), abs=0.15)
    assert told.low[0] > 0 < np.log(2.5) < told.high[0]


def test_harm_that_easier_requests_hide_is_found() -> None:
    easier = np.array([0.7, 0.28, 0.01, 0.005, 0.004] + [0.0] * 5 + [0.001])
    pairs = ticks(3, easier, factor=3.0, count=120)
    _, effect, harmful = over_all_routes(pairs)
    assert not harmful
    assert effect < np.log(1.1)
    told = found(pairs)
    assert told.suspected.all()
    assert told.harmful.all()
    assert told.e_value[0] > 100


def test_the_same_mix_is_not_said_to_differ() -> None:
    told = found(ticks(4, LIKE, rows=100))
    assert not told.differs.any()
    assert told.distance.max() < 0.03
    np.testing.assert_allclose(told.covered, 1.0, atol=0.02)


@few
@given(seed=seeds, factor=st.sampled_from([1.0, 2.0, 30.0]))
def test_one_route_is_compared_as_without_routes(seed: int, factor: float) -> None:
    """With a single stratum there is nothing to tell apart: the same numbers must come out."""
    alone = np.zeros(STRATA)
    alone[0] = 1.0
    pairs = ticks(seed, LIKE, factor=factor, count=20)
    merged = [
        replace(
            pair,
            **{
                f.name: getattr(pair, f.name).sum(axis=1, keepdims=True) * alone
                for f in fields(pair)
                if getattr(pair, f.name).ndim > 1
            },
        )
        for pair in pairs
    ]
    e_value, effect, _ = over_all_routes(pairs)
    told = found(merged)
    assert told.e_value[0] == pytest.approx(e_value, rel=1e-3)
    assert told.effect[0] == pytest.approx(effect, abs=0.1)  # ticks weigh a little otherwise


@few
@given(seed=seeds)
def test_the_order_of_routes_means_nothing(seed: int) -> None:
    pairs = ticks(seed, UNLIKE, factor=2.0, count=25)
    order = np.append(np.random.default_rng(seed).permutation(ROUTES), REST)
    turned = [
        replace(
            pair,
            **{
                f.name: getattr(pair, f.name)[:, order]
                for f in fields(pair)
                if getattr(pair, f.name).ndim > 1
            },
        )
        for pair in pairs
    ]
    one, other = found(pairs), found(turned)
    np.testing.assert_allclose(one.e_value, other.e_value, rtol=1e-3)
    np.testing.assert_allclose(one.mix_e, other.mix_e, rtol=1e-3)
    np.testing.assert_allclose(one.route_e[:, order], other.route_e, rtol=1e-3)
    np.testing.assert_allclose(one.distance, other.distance)
    assert (one.differs == other.differs).all()


@few
@given(seed=seeds, busier=st.sampled_from([0.1, 5.0]))
def test_more_requests_of_the_same_kind_change_no_mix(seed: int, busier: float) -> None:
    """The canary's part of the traffic is another question: weights change in every rollout."""
    assert not found(ticks(seed, LIKE * busier, count=40)).differs.any()


def test_a_route_that_the_baseline_does_not_serve_is_held_against_its_worst() -> None:
    """Five per cent failing is what the worst route does anyway; most of them failing is not."""
    strange = np.zeros(STRATA)
    strange[6] = 1.0
    fine = found(_failing(strange, 0.06))
    assert fine.differs.all()
    assert not fine.harmful.any()
    assert fine.covered[0] == 0
    bad = found(_failing(strange, 0.6))
    assert bad.harmful.all()
    assert bad.e_value[0] > 100


def test_a_release_that_fails_before_it_finds_the_route_is_found() -> None:
    """Its failures are of no route; on the baseline the few that are fail just as surely."""
    early = 0.7 * LIKE
    early[REST] = 0.3
    rates = RATES.copy()
    rates[REST] = 1.0
    rng = np.random.default_rng(7)
    pairs = []
    for _ in range(20):
        one, zero = rng.poisson(300 * early, (1, STRATA)), rng.poisson(700 * LIKE, (1, STRATA))
        zero[:, REST] = rng.poisson(0.7)
        pairs.append(pair_of(rng.binomial(one, rates), rng.binomial(zero, rates), one, zero))
    told = found(pairs)
    assert told.differs.all()
    assert told.harmful.all()
    assert told.e_value[0] > 100


def _failing(mix: Floats, rate: float) -> list[PairRoutes]:
    pairs = ticks(6, mix)
    rng = np.random.default_rng(8)
    return [
        replace(p, canary_events=rng.binomial(p.canary_exposure.astype(int), rate).astype(float))
        for p in pairs
    ]


def test_it_stays_said_that_the_mix_differed() -> None:
    """What was counted over all routes stays counted: the comparison must not go back to it."""
    pairs = ticks(9, UNLIKE, count=12) + ticks(10, LIKE, count=300)
    assert found(pairs).differs.all()


def test_pods_that_differ_by_themselves_differ_less_surely() -> None:
    """Sticky sessions: every baseline pod has a mix of its own, and so has the canary's."""
    rng = np.random.default_rng(11)
    history = np.stack(
        [rng.multinomial(100, rng.dirichlet(30 * LIKE + 0.01), 200) for _ in range(7)], axis=1
    ).astype(float)
    learned = fit_route_noise(np.zeros(history.shape), history)
    prior = RouteNoise.prior(1)
    assert (learned.shares.tau2[:, 3:5] > 4 * prior.shares.tau2[:, 3:5]).all()


def test_a_history_of_the_wrong_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="expected"):
        fit_route_noise(np.zeros((5, 2, 3)), np.zeros((5, 2, 3)))
    with pytest.raises(ValueError, match="shape"):
        pair_of(*[np.zeros((1, 4), np.int64)] * 4)
