"""Views of made-up watches: one that went bad, one that is fine, one that sees nothing."""

from math import inf, sin

from rollbackd.views import GuardView, SignalPoint, SignalView, TimelineItem, WatchView

START = 1_790_000_000.0


def degraded() -> WatchView:
    errors = tuple(
        SignalPoint(
            at=START + 10 * i,
            canary=None if i in {8, 9} else 0.004 + (0.037 if i > 10 else 0.0005 * sin(i)),
            baseline=0.004 + 0.0004 * sin(2 * i),
            ratio=1.0 if i <= 10 else 10.2,
            low=0.4 if i <= 10 else 6.1,
            high=inf if i == 0 else 17.0,
            e_value=0.4 if i <= 10 else 10.0 ** ((i - 10) / 2.2),
        )
        for i in range(24)
    )
    latency = tuple(
        SignalPoint(
            at=START + 10 * i,
            canary=0.051 + 0.004 * sin(i),
            baseline=0.05 + 0.003 * sin(3 * i),
            ratio=1.02,
            low=0.9,
            high=1.1,
            e_value=0.2 + 0.1 * sin(i),
        )
        for i in range(24)
    )
    return WatchView(
        id="production/shop/Deployment/checkout@7c4b9",
        workload="shop/checkout",
        canary="7c4b9",
        baseline="5d9f1",
        policy="checkout",
        mode="enforce",
        phase="verifying",
        verdict="degraded",
        reasons=(
            "errors 4.1 % vs 0.4 %, ×10 [×6, ×17], e-value 8·10⁵: more than 25 % above baseline",
            "latency shows no harm: ×1.02 [×0.9, ×1.1]",
        ),
        evidence=8.2e5,
        limit=1000.0,
        started_at=START,
        updated_at=START + 230,
        final=False,
        outlook="Recovery is being measured; people are called if it does not show within 5m.",
        plan="roll shop/checkout back to 5d9f1 (template of ReplicaSet checkout-5d9f1)",
        guards=(
            GuardView("way-back", "passed", ""),
            GuardView("cool-down", "passed", ""),
            GuardView("capacity", "warned", "not known whether it fits: the resource quotas could "
                      "not be read (403)"),
        ),
        signals=(
            SignalView(
                "errors", "ratio", "", "critical", 1.25, 1428.0, "clearly more errors", None, errors
            ),
            SignalView(
                "latency", "histogram", "s", "critical", 1.1, 3333.0, "as fast as before",
                "stale: the newest sample is 31 s old", latency,
            ),
        ),
        timeline=(
            TimelineItem(START, "phase", "warming: the first canary instance appeared"),
            TimelineItem(START + 60, "phase", "warming → observing"),
            TimelineItem(START + 200, "verdict", "degraded: errors 4.1 % vs 0.4 %"),
            TimelineItem(START + 201, "step", "roll shop/checkout back to 5d9f1: done"),
        ),
    )  # fmt: skip


def healthy() -> WatchView:
    return WatchView(
        id="production/shop/Deployment/search-frontend@v41",
        workload="shop/search-frontend",
        canary="v41",
        baseline="v40",
        policy="default",
        mode="observe",
        phase="observing",
        verdict="inconclusive",
        reasons=("not enough evidence yet: 120 requests on the canary",),
        evidence=3.2,
        limit=100.0,
        started_at=START + 100,
        updated_at=START + 230,
        final=False,
        outlook="Watched until something is decided, for 57m at most.",
        plan=None,
        signals=(),
        timeline=(),
    )


def blind() -> WatchView:
    unseen = SignalView(
        "errors", "ratio", "", "critical", 1.25, 100.0, "", "source down: connection refused", ()
    )
    return WatchView(
        id="production/batch/Deployment/checkout@9a",
        workload="batch/checkout",
        canary="9a",
        baseline="8f",
        policy="default",
        mode="approve",
        phase="held",
        verdict="inconclusive",
        reasons=("errors: source down",),
        evidence=1.0,
        limit=100.0,
        started_at=START - 90_000,
        updated_at=START + 230,
        final=False,
        outlook="Held until the source answers again.",
        plan=None,
        signals=(unseen,),
        timeline=(),
    )
