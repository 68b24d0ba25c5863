"""Fabricated watches for the report and the demo's screen: a canary that goes bad after 10 s."""

import math
from dataclasses import replace

from rollbackd.views import SignalPoint, SignalView, TimelineItem, WatchView

BEGAN = 1_800_000_000.0


def point(after: float, **changes: float | None) -> SignalPoint:
    return replace(
        SignalPoint(
            at=BEGAN + after,
            canary=0.2,
            baseline=0.005,
            ratio=40.0,
            low=4.0,
            high=300.0,
            e_value=1000.0,
        ),
        **changes,  # type: ignore[arg-type]
    )


def errors(points: tuple[SignalPoint, ...] | None = None) -> SignalView:
    """Return the error signal; by default a fault at 10 s whose evidence grows tenfold a look."""
    if points is None:
        good = [
            point(t, canary=0.005, ratio=1.0, low=None, high=20.0 / t, e_value=1.0)
            for t in range(2, 11)
        ]
        bad = [
            point(t, ratio=float(t), low=float(t) / 8, high=None, e_value=10.0 ** (t - 10))
            for t in range(11, 17)
        ]
        points = (*good, *bad)
    return SignalView(
        name="errors",
        kind="ratio",
        unit="share",
        tier="critical",
        margin=1.25,
        threshold=200.0,
        summary="errors 20 % vs 0.50 %, ×40 [×4.0, ×300], e-value 10³",
        missing=None,
        points=points,
    )


def shown_only() -> SignalView:
    return replace(
        errors(()),
        name="service-latency",
        kind="histogram",
        unit="s",
        tier="info",
        threshold=math.inf,
        summary="",
        missing="no series: nothing there",
    )


def watch(**changes: object) -> WatchView:
    """Return a watch that ended rolled back."""
    bad = WatchView(
        id="default/demo/Static/shop@v2",
        workload="demo/shop",
        canary="v2",
        baseline="v1",
        policy="demo",
        mode="enforce",
        phase="rolled back",
        verdict="degraded",
        reasons=("errors 20 % vs 0.50 %, ×40 [×4.0, ×300], e-value 10³",),
        evidence=500.0,
        limit=100.0,
        started_at=BEGAN,
        updated_at=BEGAN + 25,
        final=True,
        outlook="nothing more is done",
        plan="take 127.0.0.1:9004 out of NGINX upstream shop (plan 0123)",
        signals=(errors(), shown_only()),
        timeline=(
            TimelineItem(BEGAN + 1, "marker", "canary gets traffic"),
            TimelineItem(BEGAN + 5, "phase", "observing: comparing canary with baseline"),
            TimelineItem(BEGAN + 10, "marker", "fault: errors"),
            TimelineItem(BEGAN + 13, "phase", "degraded: errors 20 % vs 0.50 %"),
            TimelineItem(BEGAN + 13.2, "phase", "acting: take 127.0.0.1:9004 out"),
            TimelineItem(BEGAN + 13.4, "phase", "verifying: the action took effect"),
            TimelineItem(BEGAN + 25, "phase", "rolled back: recovered"),
        ),
    )
    return replace(bad, **changes)  # type: ignore[arg-type]
