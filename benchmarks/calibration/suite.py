"""Which situations are run, how often, and by how many processes."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import astuple, dataclass

from benchmarks.calibration.gauge_situations import GAUGES_FINE, GAUGES_HARM, RATES
from benchmarks.calibration.harm_situations import (
    ERRORS_HARM,
    LATENCY_HARM,
    SHARED_HARM,
    SUITE_HARM,
)
from benchmarks.calibration.mix_situations import MIX_FINE, MIX_HARM
from benchmarks.calibration.null_situations import (
    ERRORS_FINE,
    LATENCY_FINE,
    SHARED_FINE,
    SUITE_FINE,
)
from benchmarks.calibration.situations import Situation, Table
from benchmarks.calibration.summary import Row, row_of
from benchmarks.calibration.trial import Times, run, seed_of

SITUATIONS: tuple[Situation, ...] = (
    *ERRORS_FINE,
    *ERRORS_HARM,
    *LATENCY_FINE,
    *LATENCY_HARM,
    *SHARED_FINE,
    *SHARED_HARM,
    *GAUGES_FINE,
    *GAUGES_HARM,
    *MIX_FINE,
    *MIX_HARM,
    *RATES,
    *SUITE_FINE,
    *SUITE_HARM,
)

CHUNK_COUNTS, CHUNK_HISTOGRAMS, CHUNK_ROUTES = 100, 40, 40
"""Deployments simulated at once: a few hundred megabytes."""


@dataclass(frozen=True, slots=True)
class Size:
    """How many deployments are simulated for a row.

    Attributes:
        fine, harm: of error situations without and with harm.
        fine_latency, harm_latency: of those with histograms, which cost ten times as much.
        suite: of all signals on a healthy deployment.
        fine_gauge, harm_gauge: of gauges alone.
    """

    fine: int
    harm: int
    fine_latency: int
    harm_latency: int
    suite: int
    fine_gauge: int
    harm_gauge: int

    def capped(self, most: int) -> "Size":
        """Return a size of at most so many deployments a row."""
        return Size(*(min(most, count) for count in astuple(self)))

    def of(self, situation: Situation) -> int:
        """Return the deployments of a situation."""
        if situation.latency is None and situation.levels:
            return self.harm_gauge if situation.harmful else self.fine_gauge
        if situation.mix is not None:
            return self.harm if situation.harmful else self.fine_latency
        if situation.latency is None:
            return self.harm if situation.harmful else self.fine
        if situation.harmful:
            return self.harm_latency
        return self.suite if situation.table is Table.SUITE else self.fine_latency


FULL = Size(
    fine=2000,
    harm=250,
    fine_latency=400,
    harm_latency=100,
    suite=400,
    fine_gauge=1000,
    harm_gauge=300,
)
"""As in the design note; the two rows of the whole suite are its 800 healthy deployments."""
QUICK = Size(
    fine=120, harm=50, fine_latency=60, harm_latency=30, suite=40, fine_gauge=120, harm_gauge=50
)


@dataclass(frozen=True, slots=True)
class Job:
    """A chunk of a situation."""

    situation: Situation
    runs: int
    seed: int


def rows(situations: Sequence[Situation], size: Size, seed: int) -> Iterator[Row]:
    """Run situations on all cores and yield their rows in order."""
    plans = [list(_jobs(situation, size.of(situation), seed)) for situation in situations]
    with ProcessPoolExecutor(max_workers=os.cpu_count()) as pool:
        results = pool.map(_work, (job for jobs in plans for job in jobs))
        for situation, jobs in zip(situations, plans, strict=True):
            parts = [next(results) for _ in jobs]
            yield row_of(situation, Times.joined(parts), jobs[0].seed)


def _jobs(situation: Situation, runs: int, seed: int) -> Iterator[Job]:
    at_once = CHUNK_COUNTS if situation.latency is None else CHUNK_HISTOGRAMS
    at_once = at_once if situation.mix is None else CHUNK_ROUTES
    for chunk, first in enumerate(range(0, runs, at_once)):
        count = min(at_once, runs - first)
        yield Job(situation, count, seed_of(seed, situation, chunk))


def _work(job: Job) -> Times:
    return run(job.situation, job.runs, job.seed)
