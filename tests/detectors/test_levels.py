"""What the detector of moved levels must survive, beside its false-alarm rate."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.findings import Findings, Limits
from detectors.level_noise import NODES, LevelNoise, Spread, Track, spread_of
from detectors.levels import LevelShift, LevelShiftState, PairLevels
from detectors.rows import Floats
from tests.detectors.kit import assert_same

SHIFT = LevelShift(tick_s=60.0, restart_s=120.0)
LIMITS = Limits.of(1, threshold=100.0, margin=np.log(1.25), floor=np.nan, persistence=2.0)


@dataclass(frozen=True)
class World:
    """Log values: canary (intervals, rows, k), baseline (intervals, rows, m)."""

    canary: Floats
    baseline: Floats

    @classmethod
    def drawn(
        cls, seed: int, *, rows: int = 1, intervals: int = 12, effect: float = 0.0
    ) -> "World":
        rng = np.random.default_rng(seed)
        values = rng.normal(0.0, 0.1, (intervals, rows, 5)) + rng.normal(0.0, 0.05, (rows, 5))
        values[intervals // 2 :, :, :2] += effect
        return cls(values[:, :, :2], values[:, :, 2:])

    def rows(self, chosen: slice) -> "World":
        return World(self.canary[:, chosen], self.baseline[:, chosen])

    def ticks(self) -> list[PairLevels]:
        intervals, rows, pods = self.baseline.shape
        owner = np.repeat(np.arange(rows), pods)
        track, out = Track.empty(rows * pods), []
        for at in range(intervals):
            known = np.isfinite(self.baseline[at]).ravel()
            track = track.add(np.nan_to_num(self.baseline[at]).ravel(), known)
            spread = track.spread(owner, rows)
            seen = np.isfinite(self.canary[at])
            total = np.where(seen, self.canary[at], 0.0).sum(axis=1)
            mean = np.where(seen.any(axis=1), total / np.maximum(seen.sum(axis=1), 1), np.nan)
            reference = np.where(spread.points > 0, spread.level, np.nan)
            pods_seen = seen.sum(axis=1).astype(float)
            out.append(
                PairLevels(mean, reference, spread.points, pods_seen, spread.instances, spread)
            )
        return out


def start(rows: int, *, up: float = 1.0) -> LevelShiftState:
    noise = LevelNoise.prior(rows)
    limits = LIMITS.take(np.zeros(rows, np.int64))
    return SHIFT.start(noise, limits, 2, 3, up=up, down=1.0 - up)


def run(world: World, *, up: float = 1.0, state: LevelShiftState | None = None) -> LevelShiftState:
    rows = world.canary.shape[1]
    state = start(rows, up=up) if state is None else state
    for pair in world.ticks():
        state = SHIFT.update(state, pair, np.ones(rows, np.bool_))
    return state


def find(world: World, *, up: float = 1.0) -> Findings:
    return SHIFT.findings(run(world, up=up))


def alarms(found: Findings) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    return found.harmful & (found.e_value >= 100.0)


def test_a_large_shift_is_found_and_the_level_told() -> None:
    found = find(World.drawn(1, effect=1.0))
    assert alarms(found).all()
    assert found.recent_effect[0] == pytest.approx(1.0, abs=0.35)


def test_a_fall_is_harmful_only_when_asked_for() -> None:
    world = World.drawn(2, effect=-1.0)
    assert not alarms(find(world)).any()
    assert alarms(find(world, up=0.0)).all()
    assert alarms(find(world, up=0.5)).all()


def test_one_odd_interval_never_decides() -> None:
    world = World.drawn(3)
    world.canary[7] += 6.0
    assert not alarms(find(world)).any()


@given(seed=st.integers(0, 10_000), effect=st.sampled_from([0.0, 0.7]))
@settings(max_examples=20, deadline=None)
def test_rows_do_not_see_each_other(seed: int, effect: float) -> None:
    world = World.drawn(seed, rows=3, effect=effect)
    parts = [find(world.rows(slice(i, i + 1))) for i in range(3)]
    assert_same(find(world), Findings.concat(parts))


@given(seed=st.integers(0, 10_000), cut=st.integers(1, 11))
@settings(max_examples=20, deadline=None)
def test_later_intervals_change_nothing_earlier(seed: int, cut: int) -> None:
    world = World.drawn(seed, effect=0.7)
    head = World(world.canary[:cut], world.baseline[:cut])
    changed = World(world.canary.copy(), world.baseline.copy())
    changed.canary[cut:] += 3.0
    changed.baseline[cut:] -= 3.0
    for pair, other in zip(head.ticks(), changed.ticks(), strict=False):
        assert_same(pair, other)


@given(seed=st.integers(0, 10_000), unit=st.floats(-10.0, 10.0))
@settings(max_examples=20, deadline=None)
def test_units_and_the_order_of_instances_mean_nothing(seed: int, unit: float) -> None:
    world = World.drawn(seed, effect=0.5)
    other = World(world.canary[:, :, ::-1] + unit, world.baseline[:, :, [2, 0, 1]] + unit)
    one, two = find(world), find(other)
    assert np.log(two.e_value) == pytest.approx(np.log(one.e_value), abs=1e-6)
    assert two.harmful.tolist() == one.harmful.tolist()


def test_what_is_missing_is_no_evidence() -> None:
    world = World.drawn(4, effect=1.0)
    silent = World(np.full_like(world.canary, np.nan), world.baseline)
    alone = World(world.canary, np.full_like(world.baseline, np.nan))
    for found in (find(silent), find(alone), SHIFT.findings(start(1))):
        assert found.e_value.tolist() == [1.0]
        assert not found.tested.any()


def test_a_canary_that_falls_silent_adds_nothing() -> None:
    world = World.drawn(5, intervals=8, effect=0.5)
    state = run(world)
    before = SHIFT.findings(state).e_value
    last = world.ticks()[-1]
    nothing = replace(last, canary=np.array([np.nan]))
    for _ in range(5):
        state = SHIFT.update(state, nothing, np.ones(1, np.bool_))
    assert (SHIFT.findings(state).e_value <= before).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0, 1e300, -1e300])
def test_nonsense_and_constants_never_raise_and_never_alarm(value: float) -> None:
    world = World(np.full((12, 1, 2), value), np.full((12, 1, 3), value))
    world = World(world.canary, np.where(np.abs(world.baseline) < 1e3, world.baseline, np.nan))
    assert not alarms(find(world, up=0.5)).any()


@pytest.mark.parametrize("instances", [1, 3])
@pytest.mark.parametrize(("omega", "rho", "tau"), [(0.1, 0.5, 0.05), (0.3, 0.8, 0.05)])
def test_innocent_canaries_are_rarely_accused(
    instances: int, omega: float, rho: float, tau: float
) -> None:
    rng = np.random.default_rng(11)
    rows, intervals = 600, 16
    noise = rng.standard_t(4, (intervals, rows, 1 + instances)) / np.sqrt(2)
    for at in range(1, intervals):
        noise[at] = rho * noise[at - 1] + np.sqrt(1 - rho**2) * noise[at]
    values = omega * noise + tau * rng.normal(size=(rows, 1 + instances))
    values[rng.random(values.shape) < 0.1] = np.nan
    world, state = World(values[:, :, :1], values[:, :, 1:]), start(rows)
    ever = np.zeros(rows, np.bool_)
    for pair in world.ticks():
        state = SHIFT.update(state, pair, np.ones(rows, np.bool_))
        ever |= alarms(SHIFT.findings(state))
    # nominal 1 % at a limit of 100, plus three standard errors of 600 runs
    assert ever.mean() <= 0.01 + 3 * np.sqrt(0.01 * 0.99 / rows)


def test_spreads_agree_with_the_textbook() -> None:
    values = np.random.default_rng(3).normal(size=(9, 4))
    spread = spread_of(values)
    assert spread.within[0] == pytest.approx(((values - values.mean(axis=0)) ** 2).sum())
    assert spread.between[0] == pytest.approx(np.var(values.mean(axis=0)) * 4)
    assert spread.level[0] == pytest.approx(values.mean())
    assert spread.freedom[0] == 32


def test_history_teaches_the_noise() -> None:
    steady = spread_of(np.random.default_rng(1).normal(0.0, 0.02, (60, 3)))
    restless = spread_of(np.random.default_rng(1).normal(0.0, 0.5, (60, 3)))
    found = [
        LevelNoise.prior(1).after(s, SHIFT.tick_s).belief[0].argmax() % 8
        for s in (steady, restless)
    ]
    assert found[0] < found[1]


def test_malformed_beliefs_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        LevelNoise(np.zeros((1, NODES - 1)), np.ones(1))
    with pytest.raises(ValueError, match="finite"):
        LevelNoise(np.full((1, NODES), np.nan), np.ones(1))
    two = np.zeros(2)
    with pytest.raises(ValueError, match="differ"):
        PairLevels(two, two, two, two, two, Spread.nothing(1))
    with pytest.raises(ValueError, match="intervals"):
        spread_of(np.zeros(3))
