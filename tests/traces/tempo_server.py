"""A Tempo that counts spans of its own, with the arithmetic of the real one, old and new."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tests.sources.stub_server import Answer

SECOND = 1_000_000_000
_GROUPS = re.compile(r"by \((.*)\)$")


@dataclass(frozen=True, slots=True)
class Span:
    """What Tempo knows of a span; times in nanoseconds."""

    start: int
    duration: int = 20_000_000
    pod: str = "checkout-old-1"
    name: str = "POST /checkout"
    kind: str = "server"
    status: str = "unset"

    def label(self, group: str) -> str | None:
        return {
            "resource.k8s.namespace.name": "shop",
            "resource.k8s.pod.name": self.pod,
            "name": self.name,
            "kind": self.kind,
            "status": self.status,
        }.get(group)


@dataclass(frozen=True, slots=True)
class CountingTempo:
    """Answers instant TraceQL metrics of one service.

    Args:
        spans: that it has. aligns: as 2.6 and 2.7 do, an instant range is cut at multiples of its own
            length, and the first part is the answer; later ones take the range as it is.
    """

    spans: Sequence[Span]
    aligns: bool

    def __call__(self, query: dict[str, str]) -> Answer:
        start, end = (int(query[key]) * SECOND for key in ("start", "end"))
        groups = _GROUPS.search(query["q"])
        if groups is None or end <= start:
            return Answer(b"invalid TraceQL query: parse error", 400)
        until = start - start % (end - start) + (end - start) if self.aligns else end
        by = groups[1].split(", ")
        histogram = "histogram_over_time(duration)" in query["q"]
        kind = re.search(r" && kind=(\w+)", query["q"])
        counts: Counter[tuple[str | float | None, ...]] = Counter()
        for span in self.spans:
            if start <= span.start < until and (kind is None or kind[1] == span.kind):
                bucket = [_power_of_two(span.duration) / SECOND] if histogram else []
                counts[(*(span.label(group) for group in by), *bucket)] += 1
        keys = [*by, "__bucket"] if histogram else by
        series = [
            {
                "labels": [_label(k, v) for k, v in zip(keys, values, strict=True)],
                "value": count,
                "promLabels": "{}",
            }
            for values, count in counts.items()
        ]
        return Answer(json.dumps({"series": series, "metrics": {"completedJobs": 1}}).encode())


def _power_of_two(nanoseconds: int) -> int:
    """Return the bucket: the next power of two."""
    return 1 << (nanoseconds - 1).bit_length()


def _label(key: str, value: str | float | None) -> dict[str, object]:
    if isinstance(value, float):
        return {"key": key, "value": {"doubleValue": value}}
    return {"key": key, "value": {"stringValue": "nil" if value is None else value}}
