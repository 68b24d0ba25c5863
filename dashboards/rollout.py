"""One rollout: the canary against its baseline, the evidence, and what was made of it."""

from dataclasses import replace

from grafana_foundation_sdk.builders.dashboard import Dashboard

from analyzer.watch import Phase
from dashboards.board import board, label_variable, place_of_state, selected
from dashboards.fleet import PHASE_COLORS
from dashboards.panels import (
    Caption,
    Curve,
    Panel,
    Scale,
    coloured,
    curves,
    logarithmic,
    number,
    states,
)

UID = "rollbackd-rollout"
CHOSEN = 'workload=~"$workload"'
ONE = Scale("none")
RATIO = Scale("none", minimum=None)
COLORS = {"canary": "orange", "baseline": "blue", "limit": "red"}


def rollout() -> Dashboard:
    """Return the dashboard."""
    caption = Caption(
        "rollbackd / Rollout",
        "One rollout under way, or just ended: choose the workload at the top. What happened before "
        "and why is told by rollbackd explain, and by its page.",
    )
    workload = label_variable("workload", "rollbackd_rollout_phase")
    return board(UID, caption, (("Verdict", _verdict()), ("Signals", _signals())), (workload,))


def _series(metric: str) -> str:
    return selected(metric, CHOSEN)


def _phase_number() -> str:
    """Return a query for the place of each rollout's phase in ``Phase``."""
    return place_of_state(
        "rollbackd_rollout_phase", "phase", Phase, ("workload", "canary"), CHOSEN
    )


def _verdict() -> tuple[Panel, ...]:
    evidence, limit = _series("rollbackd_rollout_evidence"), _series("rollbackd_rollout_limit")
    share = f"max({evidence} / {limit})"
    return (
        number(
            Caption("Under way", "Rollouts of the chosen workloads that are followed now."),
            f"count({evidence})",
            replace(ONE, decimals=0),
        ),
        number(
            Caption("Evidence", "Combined e-value of harm, the largest of those chosen."),
            f"max({evidence})",
            ONE,
        ),
        number(
            Caption("Decides at", "E-value from which on the verdict is degraded."),
            f"min({limit})",
            ONE,
        ),
        number(
            Caption("Evidence / limit", "From 1 on the canary counts as degraded."),
            share,
            Scale("none", limits=((0.1, "yellow"), (1, "red"))),
        ),
        number(
            Caption("Largest effect", "Of all signals: the canary's value over the baseline's."),
            f"max({_series('rollbackd_signal_effect')})",
            RATIO,
        ),
        number(
            Caption("Signals measured", "Signals with a value on the canary's side now."),
            f"count({_series('rollbackd_signal_canary')}) or vector(0)",
            replace(ONE, decimals=0),
        ),
        states(
            Caption("Phase", "Which phase the watch of each rollout is in, over time."),
            Curve(_phase_number(), "{{workload}} {{canary}}"),
            [(phase.value, PHASE_COLORS[phase.value]) for phase in Phase],
        ),
        coloured(
            logarithmic(
                curves(
                    Caption(
                        "Evidence against the limit",
                        "Combined e-value of each rollout; it decides when it reaches the limit.",
                    ),
                    [
                        Curve(evidence, "{{workload}} {{canary}}"),
                        Curve(f"min({limit})", "limit"),
                    ],
                    replace(ONE, minimum=None),
                )
            ),
            COLORS,
        ),
    )


def _signals() -> tuple[Panel, ...]:
    name = "{{workload}} {{signal}}"
    return (
        curves(
            Caption("Canary", "Each signal's value on the canary, in its own unit."),
            [Curve(_series("rollbackd_signal_canary"), name)],
            RATIO,
        ),
        curves(
            Caption("Baseline", "The same on the baseline, to be held against the canary."),
            [Curve(_series("rollbackd_signal_baseline"), name)],
            RATIO,
        ),
        logarithmic(
            curves(
                Caption(
                    "Effect with its interval",
                    "Ratio of canary to baseline, with its 95 % confidence sequence. Inside the "
                    "margin nothing is harm, whatever the evidence.",
                ),
                [
                    Curve(_series("rollbackd_signal_effect"), name),
                    Curve(_series("rollbackd_signal_low"), f"{name} low"),
                    Curve(_series("rollbackd_signal_high"), f"{name} high"),
                    Curve(_series("rollbackd_signal_margin"), f"{name} margin"),
                ],
                RATIO,
            )
        ),
        logarithmic(
            curves(
                Caption(
                    "Evidence of each signal",
                    "E-value of harm, and the value at which the signal decides alone.",
                ),
                [
                    Curve(_series("rollbackd_signal_evidence"), name),
                    Curve(_series("rollbackd_signal_threshold"), f"{name} decides"),
                ],
                RATIO,
            )
        ),
    )
