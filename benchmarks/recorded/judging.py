"""The same path behind the interface of the recordings' own evaluator.

From the root of the repository:
``python3 ../shared/data/recorded-cases/evaluate.py --judge benchmarks.recorded.judging:judge``
"""

from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any, Protocol

from benchmarks.recorded.cases import Metric
from benchmarks.recorded.following import Following


class View(Protocol):
    """What the evaluator shows of a case at a step."""

    state: MutableMapping[str, Any]
    pairing: str
    t: float

    @property
    def metrics(self) -> Sequence[Mapping[str, Any]]:
        """The metrics as far as they are visible."""


def judge(view: View) -> bool:
    """Return whether the canary is judged degraded by now."""
    following: Following = view.state.setdefault(
        "following", Following(paired=view.pairing == "concurrent")
    )
    return following.look([Metric.of(raw) for raw in view.metrics], view.t)
