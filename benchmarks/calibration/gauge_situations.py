"""Situations of gauges, of what the business counts, and of the traffic itself."""

from dataclasses import replace

from benchmarks.calibration.gauges import CPU_LIKE, MEMORY_LIKE, Level
from benchmarks.calibration.simulator import Errors, Fleet, Wobble
from benchmarks.calibration.situations import (
    ONE_OF_21,
    THREE_OF_10,
    WARM_TICKS,
    Design,
    Situation,
    Table,
    fleet,
    scraped,
)

_AFTER_20_MIN = 120 + WARM_TICKS
_SLOW = Wobble(pod_sd=0.1, pod_phi=0.9, tau=0.02)
_STEADY = Wobble(pod_sd=0.005, pod_phi=0.9, tau=0.1)
"""Threads, heap after a collection, open connections: each pod has its own level and stays there."""


def _cpu(
    name: str,
    where: Fleet,
    noise: Wobble = CPU_LIKE,
    factor: float = 1.0,
    *,
    design: tuple[float, ...] = (),
    quick: bool = False,
) -> Situation:
    return Situation(
        name=name,
        table=Table.GAUGES_HARM if factor > 1 else Table.GAUGES_FINE,
        fleet=where,
        cpu=Level(factor=factor),
        cpu_noise=noise,
        quick=quick,
        design=_design(*design),
    )


def _memory(
    name: str,
    where: Fleet,
    level: Level,
    noise: Wobble = MEMORY_LIKE,
    *,
    settle_s: float = 0.0,
    design: tuple[float, ...] = (),
    quick: bool = False,
) -> Situation:
    return Situation(
        name=name,
        settle_s=settle_s,
        table=Table.GAUGES_HARM if level.leak > 0 else Table.GAUGES_FINE,
        fleet=where,
        memory=level,
        memory_noise=noise,
        quick=quick,
        design=_design(*design),
    )


def _design(
    rate: float | None = None, median: float | None = None, p90: float | None = None
) -> Design:
    return Design(rate=rate, median_s=median, p90_s=p90)


_FILL_2, _FILL_10 = (Level(fill=0.3, fill_ticks=ticks) for ticks in (12.0, 60.0))

GAUGES_FINE = (
    _cpu("level: white noise, 1v20", ONE_OF_21, Wobble(pod_sd=0.1, pod_phi=0.0), design=(0.0,)),
    _cpu("level: AR(1) .9, 1v20", ONE_OF_21, Wobble(pod_sd=0.1), design=(0.0,)),
    _cpu("level: AR(1) .98, 3v7", THREE_OF_10, Wobble(pod_sd=0.1, pod_phi=0.98), design=(0.0,)),
    _cpu("level: CPU-like, 1v20", ONE_OF_21, design=(0.002,)),
    _cpu(
        "level: CPU-like, 10 % missing, 3v7",
        scraped(THREE_OF_10, 0.1, 0.0),
        design=(0.002,),
        quick=True,
    ),
    _cpu(
        "level: unlike pods .15, 3v7",
        THREE_OF_10,
        Wobble(pod_sd=0.1, tau=0.15),
        design=(0.004,),
        quick=True,
    ),
    _cpu("level: unlike pods .15, 1v20", ONE_OF_21, Wobble(pod_sd=0.1, tau=0.15), design=(0.0,)),
    _cpu("level: CPU-like, 1v2", fleet(1, 2), design=(0.0,)),
    _cpu("level: CPU-like, 1v1", fleet(1, 1), design=(0.001,)),
    _cpu(
        "level: strong shared drift, 3v7",
        THREE_OF_10,
        Wobble(pod_sd=0.1, tau=0.05, shared_sd=0.5, shared_phi=0.995),
        design=(0.002,),
    ),
    _cpu("level: steady, unlike pods .1, 3v7", THREE_OF_10, _STEADY, quick=True),
    _cpu("level: steady, unlike pods .1, 1v20", ONE_OF_21, _STEADY),
    _memory("leak: memory-like, 3v7", THREE_OF_10, Level(), design=(0.001,), quick=True),
    _memory("leak: memory-like, 1v20", ONE_OF_21, Level(), design=(0.002,)),
    _memory(
        "leak: saw teeth 15 % 3 min, 3v7",
        scraped(THREE_OF_10, 0.05, 0.0),
        Level(saw=0.15),
        design=(0.003,),
        quick=True,
    ),
    _memory(
        "leak: near random walk, 3v7",
        THREE_OF_10,
        Level(),
        Wobble(pod_sd=0.08, pod_phi=0.995, tau=0.05),
        design=(0.001,),
    ),
    _memory("leak: shared growth .5 %/min, 3v7", THREE_OF_10, Level(drift=0.005), design=(0.0,)),
    _memory("leak: memory-like, 1v1", fleet(1, 1), Level()),
    _memory(
        "leak: start +30 % in 2 min, 5 min left out, 3v7",
        THREE_OF_10,
        _FILL_2,
        settle_s=300.0,
        design=(0.006,),
    ),
    _memory(
        "leak: start +30 % in 2 min, known, 3v7",
        THREE_OF_10,
        replace(_FILL_2, start_known=True),
        design=(0.0,),
    ),
    _memory(
        "leak: start +30 % in 10 min, known, 3v7",
        THREE_OF_10,
        replace(_FILL_10, start_known=True),
        design=(0.0,),
        quick=True,
    ),
)

GAUGES_HARM = (
    _cpu("level: +50 %, CPU-like, 3v7", THREE_OF_10, factor=1.5, design=(1, 150, 360), quick=True),
    _cpu("level: +50 %, CPU-like, 1v20", ONE_OF_21, factor=1.5, design=(1, 360, 910)),
    _cpu("level: ×2, steady, 3v7", THREE_OF_10, _STEADY, factor=2.0, quick=True),
    _cpu("level: ×2, steady, 1v20", ONE_OF_21, _STEADY, factor=2.0),
    _cpu("level: +20 %, AR(1) .9, 3v7", THREE_OF_10, _SLOW, 1.2, design=(1, 410, 1026)),
    *(
        _memory(
            f"leak: {leak} %/min, {name}",
            where,
            Level(leak=leak / 100, saw=saw),
            design=design,
            quick=leak == 3.0 and where is THREE_OF_10,
        )
        for leak, name, where, saw, design in (
            (3.0, "3v7", THREE_OF_10, 0.0, (1, 280, 370)),
            (1.0, "3v7", THREE_OF_10, 0.0, (1, 940, 1180)),
            (3.0, "1v20", ONE_OF_21, 0.0, (1, 400, 550)),
            (0.5, "saw teeth, 3v7", THREE_OF_10, 0.15, (0.94, 1600, 2314)),
        )
    ),
    _memory("leak: 3 %/min, 5 min left out, 3v7", THREE_OF_10, Level(leak=0.03), settle_s=300.0),
    _memory(
        "leak: 1 %/min after 20 min, 3v7",
        THREE_OF_10,
        Level(leak=0.01, onset=_AFTER_20_MIN),
        design=(1, 760, 970),
    ),
    _memory(
        "leak: 3 %/min, start +30 % in 10 min, known, 3v7",
        THREE_OF_10,
        replace(_FILL_10, leak=0.03, start_known=True),
        design=(1, 490, 640),
    ),
)


def _rates(
    name: str,
    where: Fleet,
    orders: Errors | None = None,
    *,
    traffic: bool = False,
    quick: bool = False,
) -> Situation:
    return Situation(
        name=name,
        table=Table.RATES,
        fleet=scraped(where),
        orders=orders,
        traffic=traffic,
        quick=quick,
    )


RATES = (
    _rates("orders 10 in 100 requests, 3v7", THREE_OF_10, Errors(rate=0.1), quick=True),
    _rates("orders 10 in 100 requests, 1v20", ONE_OF_21, Errors(rate=0.1)),
    _rates("the canary's share of the traffic, 3v7", THREE_OF_10, traffic=True, quick=True),
    _rates("the canary's share of the traffic, 1v20", ONE_OF_21, traffic=True),
    _rates("a third of the orders is lost, 3v7", THREE_OF_10, Errors(rate=0.1, factor=0.67)),
    _rates(
        "half of the orders are lost, 3v7", THREE_OF_10, Errors(rate=0.1, factor=0.5), quick=True
    ),
    _rates("half of the orders are lost, 1v20", ONE_OF_21, Errors(rate=0.1, factor=0.5)),
    _rates(
        "the canary gets half of its share, 3v7",
        replace(THREE_OF_10, canary_rps=5.0),
        traffic=True,
        quick=True,
    ),
)
