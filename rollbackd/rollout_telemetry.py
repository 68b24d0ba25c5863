"""Metrics of single rollouts, for the dashboard of one of them: bounded, read from snapshots.

Labels name the workload, its canary and the signal, so their number grows with the rollouts under
way. At most ``MOST`` rollouts are exported, and an ended one only until it was scraped a few times.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import isfinite

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from rollbackd.views import SignalPoint, SignalView, WatchView

MOST = 200
"""Rollouts exported at once, the youngest first: with ten signals each some 16,000 series."""
LINGER_S = 300.0
"""An ended rollout is exported this much longer, so that its last state is scraped."""

Views = Callable[[], tuple[WatchView, ...]]
Measured = Callable[[SignalView], float | None]


@dataclass(frozen=True, slots=True)
class _Gauge:
    name: str
    unit: str
    text: str
    value: Measured


def _newest(pick: Callable[[SignalPoint], float | None]) -> Measured:
    return lambda signal: pick(signal.points[-1]) if signal.points else None


_SIGNAL_GAUGES = (
    _Gauge("canary", "", "The canary's value, in the signal's unit.", _newest(lambda p: p.canary)),
    _Gauge("baseline", "", "The baseline's value.", _newest(lambda p: p.baseline)),
    _Gauge("effect", "1", "Ratio of canary to baseline.", _newest(lambda p: p.ratio)),
    _Gauge("low", "1", "Lower end of its 95 % confidence sequence.", _newest(lambda p: p.low)),
    _Gauge("high", "1", "Upper end of its 95 % confidence sequence.", _newest(lambda p: p.high)),
    _Gauge("margin", "1", "Smallest effect that counts as harm.", lambda s: s.margin),
    _Gauge("evidence", "1", "E-value of harm.", _newest(lambda p: p.e_value)),
    _Gauge("threshold", "1", "E-value at which it decides alone.", lambda s: s.threshold),
)


def export_rollouts(meter: Meter, views: Views, now: Callable[[], float]) -> None:
    """Create the metrics of the rollouts under way.

    Args:
        meter: creates the instruments.
        views: the newest snapshots; called at each scrape.
        now: seconds since the epoch.
    """

    def shown() -> list[WatchView]:
        since = now() - LINGER_S
        fresh = [v for v in views() if not v.final or v.updated_at > since]
        return sorted(fresh, key=lambda view: -view.started_at)[:MOST]

    def signals(value: Measured) -> Callable[[CallbackOptions], Iterator[Observation]]:
        def observe(_: CallbackOptions) -> Iterator[Observation]:
            for view in shown():
                for signal in view.signals:
                    found = value(signal)
                    if found is not None and isfinite(found):
                        yield Observation(found, _names(view) | {"signal": signal.name})

        return observe

    def rollouts(
        value: Callable[[WatchView], float],
    ) -> Callable[[CallbackOptions], Iterator[Observation]]:
        def observe(_: CallbackOptions) -> Iterator[Observation]:
            for view in shown():
                if isfinite(value(view)):
                    yield Observation(value(view), _names(view))

        return observe

    for gauge in _SIGNAL_GAUGES:
        name = f"rollbackd.signal.{gauge.name}"
        meter.create_observable_gauge(name, [signals(gauge.value)], gauge.unit, gauge.text)
    meter.create_observable_gauge(
        "rollbackd.rollout.evidence",
        [rollouts(lambda view: view.evidence)],
        description="Combined e-value of harm.",
    )
    meter.create_observable_gauge(
        "rollbackd.rollout.limit",
        [rollouts(lambda view: view.limit)],
        description="E-value at which the verdict is degraded.",
    )
    meter.create_observable_gauge(
        "rollbackd.rollout.phase",
        [lambda _: [Observation(1, _names(v) | {"phase": v.phase}) for v in shown()]],
        "",
        "1 for the phase that the rollout's watch is in.",
    )


def _names(view: WatchView) -> dict[str, str]:
    return {"workload": view.workload, "canary": view.canary}
