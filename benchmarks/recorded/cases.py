"""Recorded cases as they are stored, and as they look at one moment."""

import gzip
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

SPLITS = {"dev": ("dev",), "held": ("held",), "all": ("dev", "held")}
EDGE = 1e-9
"""Rounding of times: a sample at t is seen at t plus a step, not at t."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One recorded metric up to some moment; ``baseline`` and ``canary`` by instance."""

    name: str
    role: str
    kind: str
    unit: str
    direction: str
    step_s: float
    times: Sequence[float]
    baseline: Mapping[str, Sequence[float | None]]
    canary: Mapping[str, Sequence[float | None]]

    @classmethod
    def of(cls, raw: Mapping[str, Any], count: int | None = None) -> "Metric":
        """Return the metric as it is stored, up to ``count`` samples."""
        return cls(
            name=raw["name"],
            role=raw["role"],
            kind=raw["kind"],
            unit=raw["unit"],
            direction=raw["direction"],
            step_s=raw["step_s"],
            times=raw["t"][:count],
            baseline={name: values[:count] for name, values in raw["baseline"].items()},
            canary={name: values[:count] for name, values in raw["canary"].items()},
        )

    def pooled(self, least_s: float) -> "Metric":
        """Return the metric at steps of at least so many seconds; a block not yet full is left out.

        A source that is read every second tells hardly more than one that is read every five, and
        ten times as many looks. Counts are added up, everything else is averaged.
        """
        size = math.ceil(least_s / self.step_s - EDGE)
        full = len(self.times) // size
        if size <= 1:
            return self
        return replace(
            self,
            step_s=self.step_s * size,
            times=self.times[: full * size : size],
            baseline={name: self._blocks(v, size, full) for name, v in self.baseline.items()},
            canary={name: self._blocks(v, size, full) for name, v in self.canary.items()},
        )

    def _blocks(self, values: Sequence[float | None], size: int, full: int) -> list[float | None]:
        blocks = (values[at : at + size] for at in range(0, full * size, size))
        known = ([v for v in block if v is not None] for block in blocks)
        if self.kind == "counter":
            return [math.fsum(block) if block else None for block in known]
        return [math.fsum(block) / len(block) if block else None for block in known]


def load(root: Path, split: str = "all", source: str | None = None) -> Iterator[dict[str, Any]]:
    """Yield the stored cases in the evaluator's order.

    Args:
        root: the folder that holds ``cases/dev`` and ``cases/held``.
        split: ``dev``, ``held`` or ``all``.
        source: only the cases of this source.
    """
    paths = sorted(p for part in SPLITS[split] for p in (root / "cases" / part).glob("*.json.gz"))
    for path in paths:
        with gzip.open(path) as stream:
            case: dict[str, Any] = json.load(stream)
        if source is None or case["source"] == source:
            yield case


def seen_metrics(case: Mapping[str, Any], at: float) -> list[Metric]:
    """Return the metrics of a case as far as they are visible at a moment."""
    found = []
    for raw in case["metrics"]:
        count = sum(1 for t in raw["t"] if t < at - EDGE)
        if count:
            found.append(Metric.of(raw, count))
    return found
