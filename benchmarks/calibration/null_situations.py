"""Situations in which nothing is wrong with the canary: every alarm is a false one."""

from dataclasses import replace

from benchmarks.calibration.gauges import Level
from benchmarks.calibration.simulator import (
    REALISTIC_ERRORS,
    REALISTIC_LATENCY,
    Errors,
    Fleet,
    Latency,
    Wobble,
)
from benchmarks.calibration.situations import (
    CLEAN,
    ONE_OF_21,
    QUIET,
    SPLIT,
    THREE_OF_10,
    WARM_TICKS,
    Design,
    Situation,
    Table,
    fleet,
    rolling,
    scraped,
)

ONE_PERCENT, TENTH, FIFTH = Errors(rate=0.01), Errors(rate=0.001), Errors(rate=0.002)
REAL_ONE, REAL_THREE = scraped(ONE_OF_21), scraped(THREE_OF_10)
_INCIDENT_AT = 60 + WARM_TICKS
_WARM_5 = replace(REALISTIC_ERRORS, warm_up=5.0, warm_ticks=6)


def _errors(
    name: str,
    where: Fleet,
    errors: Errors,
    noise: Wobble = CLEAN,
    *,
    design: float | None = None,
    healthy: tuple[float, float, float] | None = None,
    quick: bool = False,
) -> Situation:
    return Situation(
        name=name,
        table=Table.ERRORS_FINE,
        fleet=where,
        errors=errors,
        noise=noise,
        quick=quick,
        design=_design(design, healthy),
    )


def _design(rate: float | None, healthy: tuple[float, float, float] | None) -> Design:
    """Return the design's share of false rollbacks, and share, median and p90 of "healthy"."""
    share, median, p90 = healthy or (None, None, None)
    return Design(rate=rate, healthy=share, healthy_median_s=median, healthy_p90_s=p90)


def _incident(factor: float, *, spread: float = 0.0, ticks: int = 30) -> Wobble:
    return replace(
        REALISTIC_ERRORS,
        incident=factor,
        incident_at=_INCIDENT_AT,
        incident_ticks=ticks,
        incident_spread=spread,
    )


ERRORS_FINE = (
    _errors("clean .1 %, 1v20", ONE_OF_21, TENTH, design=0.0),
    _errors("clean 1 %, 1v20", ONE_OF_21, ONE_PERCENT, design=0.001, quick=True),
    _errors("clean .1 %, 3v3", fleet(3, 3), TENTH, design=0.0),
    _errors("next to no errors, 1v20", ONE_OF_21, Errors(rate=1e-5), design=0.0),
    _errors("no errors, 3v7", THREE_OF_10, Errors(rate=1e-7), healthy=(1.0, 40.0, 60.0)),
    _errors(
        "overdispersed κ=1, .1 %, 1v20", ONE_OF_21, TENTH, Wobble(tick_variance=1.0), design=0.0
    ),
    _errors(
        "overdispersed κ=1, 1 %, 1v20",
        ONE_OF_21,
        ONE_PERCENT,
        Wobble(tick_variance=1.0),
        design=0.0,
        quick=True,
    ),
    _errors(
        "pods' AR(1) noise .5, 1 %, 1v20",
        ONE_OF_21,
        ONE_PERCENT,
        Wobble(pod_sd=0.5),
        design=0.015,
        quick=True,
    ),
    _errors(
        "shared AR(1) noise 1, 1 %, 1v20",
        ONE_OF_21,
        ONE_PERCENT,
        Wobble(shared_sd=1.0),
        design=0.0,
    ),
    _errors("unlike pods τ=.2, 1 %, 1v20", ONE_OF_21, ONE_PERCENT, Wobble(tau=0.2), design=0.001),
    _errors(
        "unlike pods τ=.2, 1 %, 3v7",
        THREE_OF_10,
        ONE_PERCENT,
        Wobble(tau=0.2),
        design=0.003,
        quick=True,
    ),
    _errors("unlike pods τ=.1, 1 %, 1v2", fleet(1, 2), ONE_PERCENT, Wobble(tau=0.1), design=0.0),
    _errors(
        "unlike pods τ=.1, 1 %, 1v1",
        fleet(1, 1),
        ONE_PERCENT,
        Wobble(tau=0.1),
        design=0.0,
        quick=True,
    ),
    _errors("batches of 5, 1 %, 1v20", ONE_OF_21, replace(ONE_PERCENT, batch=5.0), design=0.0),
    _errors(
        "pod bursts ×30 for 30 s, .1 %, 1v20",
        ONE_OF_21,
        TENTH,
        Wobble(burst=0.0005),
        design=0.012,
        quick=True,
    ),
    _errors(
        "realistic, .1 %, 1v20",
        REAL_ONE,
        TENTH,
        REALISTIC_ERRORS,
        design=0.001,
        healthy=(1.0, 220.0, 401.0),
    ),
    _errors(
        "realistic, 1 %, 1v20",
        REAL_ONE,
        ONE_PERCENT,
        REALISTIC_ERRORS,
        design=0.001,
        healthy=(1.0, 330.0, 782.0),
        quick=True,
    ),
    _errors(
        "realistic, .1 %, 3v7", REAL_THREE, TENTH, REALISTIC_ERRORS, healthy=(1.0, 80.0, 150.0)
    ),
    replace(
        _errors(
            "realistic, 1 %, 3v7",
            REAL_THREE,
            ONE_PERCENT,
            REALISTIC_ERRORS,
            design=0.001,
            healthy=(1.0, 190.0, 401.0),
            quick=True,
        ),
        pictured=True,
    ),
    _errors(
        "10 % of scrapes missing, 1 %, 1v20", scraped(ONE_OF_21, 0.1, 0.0), ONE_PERCENT, design=0.0
    ),
    _errors(
        "30 % missing and restarts, 1 %, 1v20",
        scraped(ONE_OF_21, 0.3, 0.002),
        ONE_PERCENT,
        design=0.0,
        quick=True,
    ),
    _errors(
        "low traffic .2 rps, .1 %, 1v4",
        scraped(QUIET),
        TENTH,
        REALISTIC_ERRORS,
        healthy=(0.15, 3290.0, 3536.0),
    ),
    _errors(
        "low traffic .2 rps, 1 %, 1v4", scraped(QUIET), ONE_PERCENT, REALISTIC_ERRORS, design=0.0
    ),
    _errors(
        "low traffic .2 rps, 5 %, 1v4",
        scraped(QUIET),
        Errors(rate=0.05),
        REALISTIC_ERRORS,
        design=0.001,
        quick=True,
    ),
    _errors("5 % split 2v10, 1 %", scraped(SPLIT), ONE_PERCENT, REALISTIC_ERRORS, design=0.001),
    _errors(
        "high traffic 200 rps, .1 %, 1v20",
        scraped(fleet(1, 20, rps=200.0)),
        TENTH,
        REALISTIC_ERRORS,
        design=0.001,
    ),
    replace(
        _errors(
            "warm-up ×5 for 60 s, no filter", REAL_ONE, FIFTH, _WARM_5, design=0.081, quick=True
        ),
        warm_up_s=0.0,
    ),
    _errors("warm-up ×5 for 60 s, filtered", REAL_ONE, FIFTH, _WARM_5, design=0.002, quick=True),
    _errors(
        "warm-up ×5 for 90 s, 60 s filtered",
        REAL_ONE,
        FIFTH,
        replace(_WARM_5, warm_ticks=9),
        design=0.016,
    ),
)


def _latency(
    name: str,
    where: Fleet,
    noise: Wobble = REALISTIC_LATENCY,
    *,
    design: float | None = None,
    healthy: tuple[float, float, float] | None = None,
    quick: bool = False,
) -> Situation:
    return Situation(
        name=name,
        table=Table.LATENCY_FINE,
        fleet=where,
        latency=Latency(),
        slowness_noise=noise,
        quick=quick,
        design=_design(design, healthy),
    )


_MISSING_ONE, _MISSING_THREE = scraped(ONE_OF_21, 0.05, 0.0), scraped(THREE_OF_10, 0.05, 0.0)
_REAL = REALISTIC_LATENCY

LATENCY_FINE = (
    _latency("clean, 1v20", ONE_OF_21, CLEAN, design=0.0),
    _latency("clean, 3v7", THREE_OF_10, CLEAN, design=0.0),
    _latency("realistic, 1v20", _MISSING_ONE, design=0.0, healthy=(1.0, 110.0, 281.0)),
    _latency(
        "realistic, 3v7", _MISSING_THREE, design=0.002, healthy=(1.0, 70.0, 110.0), quick=True
    ),
    _latency(
        "pods' AR(1) noise .12, 3v7", THREE_OF_10, Wobble(pod_sd=0.12), design=0.002, quick=True
    ),
    _latency("unlike pods τ=.08, 3v7", THREE_OF_10, Wobble(tau=0.08), design=0.005, quick=True),
    _latency("unlike pods τ=.08, 1v20", ONE_OF_21, Wobble(tau=0.08), design=0.008),
    _latency("shared AR(1) noise .4, 3v7", THREE_OF_10, Wobble(shared_sd=0.4), design=0.0),
    _latency(
        "shared incident ×3 for 5 min, 3v7",
        THREE_OF_10,
        replace(_REAL, incident=3.0, incident_at=_INCIDENT_AT),
        design=0.0,
    ),
    _latency("realistic, 1v2", fleet(1, 2), design=0.0),
    _latency("low traffic .2 rps, 1v4", QUIET, design=0.0),
    _latency(
        "warm-up ×3 for 60 s, filtered, 3v7",
        THREE_OF_10,
        replace(_REAL, warm_up=3.0, warm_ticks=6),
        design=0.002,
    ),
    _latency(
        "pod pauses ×3, 3 an hour, 1v20",
        ONE_OF_21,
        replace(_REAL, burst=0.008, burst_ticks=1.5, burst_factor=3.0),
        design=0.008,
    ),
    _latency(
        "rare pod pauses ×3, 1v20",
        ONE_OF_21,
        replace(_REAL, burst=0.0005, burst_ticks=2.0, burst_factor=3.0),
        design=0.0,
    ),
)


def _shared(
    name: str, where: Fleet, noise: Wobble, *, design: float, quick: bool = False
) -> Situation:
    situation = _errors(name, where, FIFTH, noise, design=design, quick=quick)
    return replace(situation, table=Table.SHARED)


SHARED_FINE = (
    _shared("incident ×30 for 5 min, 3v7", REAL_THREE, _incident(30.0), design=0.0, quick=True),
    _shared("incident ×5 for 10 min, 3v7", REAL_THREE, _incident(5.0, ticks=60), design=0.002),
    _shared(
        "incident ×30, pods hit unequally .3, 3v7",
        REAL_THREE,
        _incident(30.0, spread=0.3),
        design=0.016,
        quick=True,
    ),
    replace(
        _shared(
            "incident ×100, pods hit unequally .3, .1 %, 1v20",
            REAL_ONE,
            _incident(100.0, spread=0.3),
            design=0.013,
            quick=True,
        ),
        errors=TENTH,
    ),
    replace(
        _shared(
            "rolling update, a pod every 30 s, no filter",
            scraped(rolling(3)),
            _WARM_5,
            design=0.64,
            quick=True,
        ),
        warm_up_s=0.0,
    ),
    _shared(
        "rolling update, a pod every 30 s", scraped(rolling(3)), _WARM_5, design=0.0, quick=True
    ),
    _shared("rolling update, a pod every 15 s", scraped(rolling(1.5)), _WARM_5, design=0.0),
)

SUITE_FINE = tuple(
    Situation(
        name=f"realistic, {name}",
        table=Table.SUITE,
        fleet=where,
        errors=FIFTH,
        latency=Latency(),
        cpu=Level(),
        memory=Level(),
        quick=name == "3v7",
        design=Design(rate=0.0),
    )
    for name, where in (("3v7", REAL_THREE), ("1v20", REAL_ONE))
)
