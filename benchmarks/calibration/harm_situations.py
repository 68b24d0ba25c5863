"""Situations in which the canary does harm: an alarm is right, and the sooner the better."""

from collections.abc import Iterator
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
    UNKNOWN,
    WARM_TICKS,
    Design,
    Situation,
    Table,
    fleet,
    rolling,
    scraped,
)

_TWENTY_MINUTES = 120 + WARM_TICKS
_TEN_MINUTES = 60 + WARM_TICKS

TENFOLD, TWOFOLD = Errors(rate=0.001, factor=10.0), Errors(rate=0.01, factor=2.0)
FROM_NOTHING, HALF_FAIL = Errors(rate=1e-7, extra=0.005), Errors(rate=0.001, extra=0.5)


def _errors(
    name: str,
    where: Fleet,
    errors: Errors,
    noise: Wobble = REALISTIC_ERRORS,
    *,
    design: tuple[float, float, float] | None = None,
    quick: bool = False,
    table: Table = Table.ERRORS_HARM,
) -> Situation:
    real = noise is not CLEAN
    return Situation(
        name=name,
        table=table,
        fleet=scraped(where) if real else where,
        errors=errors,
        noise=noise,
        quick=quick,
        design=_design(design),
    )


def _design(figures: tuple[float, float, float] | None) -> Design:
    if figures is None:
        return UNKNOWN
    power, median, p90 = figures  # a delay of 0 was not measured
    return Design(rate=power, median_s=median or None, p90_s=p90 or None)


ERRORS_HARM = (
    _errors(".1 %→1 %, clean, 1v20", ONE_OF_21, TENFOLD, CLEAN, design=(1.0, 90, 171)),
    _errors(".1 %→1 %, 1v20", ONE_OF_21, TENFOLD, design=(1.0, 120, 240), quick=True),
    _errors(".1 %→1 %, 3v7", THREE_OF_10, TENFOLD, design=(1.0, 70, 120), quick=True),
    _errors(".1 %→1 %, 5 % split 2v10", SPLIT, TENFOLD, design=(1.0, 160, 350)),
    _errors(".1 %→1 %, 3v3", fleet(3, 3), TENFOLD, design=(1.0, 100, 210)),
    _errors(".1 %→1 %, 1v1", fleet(1, 1), TENFOLD, design=(1.0, 425, 860), quick=True),
    _errors(".1 %→.6 %, 3v7", THREE_OF_10, Errors(rate=0.001, factor=6.0), quick=True),
    _errors(".1 %→.3 %, 3v7", THREE_OF_10, Errors(rate=0.001, factor=3.0), design=(1.0, 380, 871)),
    _errors("1 %→2 %, clean, 1v20", ONE_OF_21, TWOFOLD, CLEAN, design=(1.0, 290, 540)),
    _errors("1 %→2 %, 1v20", ONE_OF_21, TWOFOLD, design=(0.94, 625, 1780), quick=True),
    replace(
        _errors("1 %→2 %, 3v7", THREE_OF_10, TWOFOLD, design=(1.0, 340, 680), quick=True),
        pictured=True,
    ),
    _errors("1 %→2 %, 5 % split 2v10", SPLIT, TWOFOLD, design=(0.99, 755, 1845)),
    _errors(
        "1 %→1.5 %, 3v7", THREE_OF_10, Errors(rate=0.01, factor=1.5), design=(0.69, 1170, 2859)
    ),
    _errors("0→.5 %, 1v20", ONE_OF_21, FROM_NOTHING, design=(1.0, 130, 321)),
    _errors("0→.5 %, 3v7", THREE_OF_10, FROM_NOTHING, design=(1.0, 60, 110), quick=True),
    _errors("0→.5 %, 5 % split 2v10", SPLIT, FROM_NOTHING, design=(1.0, 210, 500)),
    _errors(".1 %→50 %, 3v7", THREE_OF_10, HALF_FAIL, design=(1.0, 30, 30), quick=True),
    _errors(".1 %→50 %, .2 rps, 1v4", QUIET, HALF_FAIL, design=(1.0, 90, 190), quick=True),
    _errors(".1 %→1 %, .2 rps, 1v4", QUIET, TENFOLD, design=(0.20, 2400, 3360), quick=True),
    _errors(
        ".1 %→.3 %, 200 rps, 3v7",
        fleet(3, 7, 200.0),
        Errors(rate=0.001, factor=3.0),
        design=(1.0, 80, 140),
    ),
    _errors(
        ".1 %→1 % after 20 min, 1v20",
        ONE_OF_21,
        replace(TENFOLD, onset=_TWENTY_MINUTES),
        design=(1.0, 170, 321),
        quick=True,
    ),
    _errors(
        "1 %→2 % after 20 min, 3v7",
        THREE_OF_10,
        replace(TWOFOLD, onset=_TWENTY_MINUTES),
        design=(0.98, 470, 1076),
    ),
    _errors(
        "harmless: 1 %→1.1 %, 3v7",
        THREE_OF_10,
        Errors(rate=0.01, factor=1.1),
        design=(0.008, 0, 0),
    ),
    _errors(
        "harmless: 1 %→1.2 %, 3v7",
        THREE_OF_10,
        Errors(rate=0.01, factor=1.2),
        design=(0.058, 0, 0),
        quick=True,
    ),
)


def _latency_table() -> Iterator[Situation]:
    """Yield every fault at every traffic, as in the design's table 4.2 with realistic noise."""
    faults = {
        "all +20 %": Latency(factor=1.2),
        "all +50 %": Latency(factor=1.5),
        "all ×2": Latency(factor=2.0),
        "slow share 2 %→5 %": Latency(slow_factor=2.5),
        "1 % of requests get slow": Latency(slow_extra=0.01),
    }
    designs = {
        "1v20": ((0.95, 460, 1744), (1, 60, 100), (1, 30, 30), (1, 335, 725), (0.38, 2050, 2981)),
        "3v7": ((1, 170, 465), (1, 30, 40), (1, 30, 30), (1, 160, 331), (0.79, 1580, 2912)),
        ".2 rps, 1v4": (
            (0.44, 2075, 3148),
            (0.99, 570, 1366),
            (1, 180, 300),
            (0.05, 2950, 3150),
            (0.01, 890, 890),
        ),
    }
    fleets = {"1v20": ONE_OF_21, "3v7": THREE_OF_10, ".2 rps, 1v4": QUIET}
    quick = {"all +20 %", "all +50 %", "slow share 2 %→5 %", "1 % of requests get slow"}
    for traffic, figures in designs.items():
        for (fault, latency), design in zip(faults.items(), figures, strict=True):
            yield Situation(
                name=f"{fault}, {traffic}",
                table=Table.LATENCY_HARM,
                fleet=fleets[traffic],
                latency=latency,
                quick=traffic == "3v7" and fault in quick,
                design=_design(design),
            )
    yield Situation(
        name="all +50 % after 20 min, 3v7",
        table=Table.LATENCY_HARM,
        fleet=THREE_OF_10,
        latency=Latency(factor=1.5, onset=_TWENTY_MINUTES),
        design=_design((1.0, 60, 100)),
    )


LATENCY_HARM = tuple(_latency_table())

_ROLLING_NOISE = replace(REALISTIC_ERRORS, warm_up=5.0, warm_ticks=6)
_INCIDENT = replace(REALISTIC_ERRORS, incident=5.0, incident_at=_TEN_MINUTES, incident_ticks=60)
_LATE_TENFOLD = Errors(rate=0.002, factor=10.0, onset=_TEN_MINUTES)


SHARED_HARM = (
    _errors(
        "canary ×10 during an incident ×5, 3v7",
        THREE_OF_10,
        _LATE_TENFOLD,
        _INCIDENT,
        design=(1.0, 50, 0),
        quick=True,
        table=Table.SHARED,
    ),
    *(
        _errors(
            f"rolling update ×{factor:g} errors, a pod every {every * 10:g} s",
            rolling(every),
            Errors(rate=0.002, factor=factor),
            _ROLLING_NOISE,
            design=design,
            quick=every in {3.0, 1.5} and factor == 10,
            table=Table.SHARED,
        )
        for factor, every, design in (
            (10.0, 3.0, (0.998, 120, 152)),
            (10.0, 6.0, (1.0, 130, 160)),
            (3.0, 6.0, (0.802, 310, 460)),
            (10.0, 1.5, (0.704, 110, 130)),
        )
    ),
)

SUITE_HARM = tuple(
    Situation(
        name=f"{name}, 3v7",
        table=Table.SUITE,
        fleet=scraped(THREE_OF_10),
        errors=errors,
        latency=latency,
        cpu=Level(factor=cpu),
        memory=Level(leak=leak),
        noise=REALISTIC_ERRORS,
        slowness_noise=REALISTIC_LATENCY,
        quick=quick,
        design=_design(design),
    )
    for name, errors, latency, cpu, leak, quick, design in (
        (
            "errors .2 %→2 %",
            Errors(rate=0.002, factor=10.0),
            Latency(),
            1.0,
            0.0,
            True,
            (1, 50, 80),
        ),
        (
            "errors .2 %→.6 %",
            Errors(rate=0.002, factor=3.0),
            Latency(),
            1.0,
            0.0,
            False,
            (1, 265, 532),
        ),
        ("all +20 %", Errors(rate=0.002), Latency(factor=1.2), 1.0, 0.0, False, (1, 195, 583)),
        ("all +50 %", Errors(rate=0.002), Latency(factor=1.5), 1.0, 0.0, False, (1, 40, 51)),
        (
            "slow share 2 %→5 %",
            Errors(rate=0.002),
            Latency(slow_factor=2.5),
            1.0,
            0.0,
            False,
            (1, 195, 330),
        ),
        ("CPU +50 %", Errors(rate=0.002), Latency(), 1.5, 0.0, False, (1, 180, 420)),
        ("leak 3 % a minute", Errors(rate=0.002), Latency(), 1.0, 0.03, False, (1, 310, 430)),
    )
)
