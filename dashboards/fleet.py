"""The fleet: what is being rolled out, how rollouts end, and where we see nothing."""

from dataclasses import replace

from grafana_foundation_sdk.builders.dashboard import Dashboard

from analyzer.judge import Verdict
from analyzer.regions.life import RegionPhase
from analyzer.trains.life import TrainPhase
from analyzer.trains.standing import StopState
from analyzer.watch import Phase
from dashboards.board import board, either, place_of_state, selected
from dashboards.panels import (
    Caption,
    Curve,
    Panel,
    Scale,
    areas,
    bars,
    coloured,
    curves,
    number,
    states,
)

UID = "rollbackd-fleet"
UNDER_WAY = tuple(phase.value for phase in Phase if not phase.final)
ENDED = tuple(phase.value for phase in Phase if phase.final)

PHASE_COLORS = {
    Phase.WARMING.value: "super-light-blue",
    Phase.OBSERVING.value: "blue",
    Phase.HELD.value: "yellow",
    Phase.DEGRADED.value: "red",
    Phase.DEMANDED.value: "red",
    Phase.AWAITING_APPROVAL.value: "orange",
    Phase.ACTING.value: "purple",
    Phase.VERIFYING.value: "light-purple",
    Phase.HEALTHY.value: "green",
    Phase.ROLLED_BACK.value: "purple",
    Phase.REPORTED.value: "orange",
    Phase.NEEDS_HUMAN.value: "red",
    Phase.INCONCLUSIVE.value: "yellow",
    Phase.SUPERSEDED.value: "text",
}
REGION_COLORS = {
    RegionPhase.NORMAL: "green",
    RegionPhase.SICK: "red",
    RegionPhase.REPORTED: "orange",
    RegionPhase.AWAITING_APPROVAL: "orange",
    RegionPhase.FAILING_OVER: "purple",
    RegionPhase.FAILED_OVER: "yellow",
    RegionPhase.AWAITING_RETURN: "orange",
    RegionPhase.FAILING_BACK: "light-purple",
    RegionPhase.NEEDS_HUMAN: "red",
}
TRAIN_COLORS = {
    TrainPhase.WAITING: "text",
    TrainPhase.JUDGING: "blue",
    TrainPhase.SOAKING: "super-light-blue",
    TrainPhase.AWAITING_APPROVAL: "orange",
    TrainPhase.RELEASING: "light-blue",
    TrainPhase.AWAITING_RETURN: "orange",
    TrainPhase.TAKING_BACK: "purple",
    TrainPhase.NEEDS_HUMAN: "red",
    TrainPhase.ARRIVED: "green",
    TrainPhase.STOPPED: "yellow",
    TrainPhase.TAKEN_BACK: "light-purple",
}
STOP_COLORS = {
    StopState.WAITING: "text",
    StopState.RELEASING: "light-blue",
    StopState.RELEASED: "light-blue",
    StopState.JUDGING: "blue",
    StopState.HEALTHY: "green",
    StopState.VOUCHED: "light-green",
    StopState.UNDECIDED: "orange",
    StopState.FAILED: "red",
    StopState.GOING_BACK: "purple",
    StopState.TAKEN_BACK: "light-purple",
    StopState.LEFT_OUT: "text",
}
VERDICT_COLORS = {
    Verdict.HEALTHY.value: "green",
    Verdict.DEGRADED.value: "red",
    Verdict.SHARED_INCIDENT.value: "orange",
    Verdict.INCONCLUSIVE.value: "text",
}

COUNT = Scale("short", decimals=0)
NOTABLE = replace(COUNT, limits=((1, "yellow"),))
URGENT = replace(COUNT, limits=((1, "red"),))


def fleet() -> Dashboard:
    """Return the dashboard."""
    caption = Caption(
        "rollbackd / Fleet",
        "All rollouts that rollbackd follows. A watch is our following of one rollout.",
    )
    return board(
        UID,
        caption,
        (
            ("Now", _now()),
            ("How rollouts end", _ends()),
            ("Decisions", _decisions()),
            ("Regions and release trains", _regional()),
            ("Blindness", _blindness()),
        ),
    )


def _now() -> tuple[Panel, ...]:
    return (
        number(
            Caption("Under way", "Rollouts that are being watched and not over yet."),
            _watches(*UNDER_WAY),
            COUNT,
        ),
        number(
            Caption(
                "Held",
                "Not judged: we are blind, or canary and baseline are both worse, or somebody "
                "snoozed it. Nothing is rolled back while a watch is held.",
            ),
            _watches(Phase.HELD.value),
            NOTABLE,
        ),
        number(
            Caption(
                "Acting", "Found degraded: a plan is made, carried out, or its effect measured."
            ),
            _watches(
                Phase.DEGRADED.value,
                Phase.DEMANDED.value,
                Phase.ACTING.value,
                Phase.VERIFYING.value,
            ),
            NOTABLE,
        ),
        number(
            Caption("Waiting for approval", "Degraded, planned, and waiting for a person."),
            _watches(Phase.AWAITING_APPROVAL.value),
            URGENT,
        ),
        number(
            Caption("Rolled back", "In the time shown: acted, and the recovery was measured."),
            _entered(Phase.ROLLED_BACK.value),
            COUNT,
        ),
        number(
            Caption("Needs a human", "In the time shown: ended without a remedy of our own."),
            _entered(Phase.NEEDS_HUMAN.value),
            URGENT,
        ),
    )


def _ends() -> tuple[Panel, ...]:
    ended = selected("rollbackd_transitions_total", f'phase=~"{either(ENDED)}"')
    return (
        coloured(
            bars(
                Caption("Ended in the time shown", "How the watches ended, by their last phase."),
                Curve(f"round(sum by (phase) (increase({ended}[$__range])))", "{{phase}}"),
                COUNT,
            ),
            PHASE_COLORS,
        ),
        coloured(
            curves(
                Caption(
                    "Ended in the hour before",
                    "At each moment, the watches that ended in the hour before it. Many at once in "
                    "red or purple point to one common cause rather than to many bad releases.",
                ),
                [Curve(f"sum by (phase) (increase({ended}[1h]))", "{{phase}}")],
                COUNT,
            ),
            PHASE_COLORS,
        ),
    )


def _decisions() -> tuple[Panel, ...]:
    under_way = selected("rollbackd_watches", f'phase=~"{either(UNDER_WAY)}"')
    judgements = selected("rollbackd_judgements_total")
    plans, actions = selected("rollbackd_plans_total"), selected("rollbackd_actions_total")
    took = selected("rollbackd_time_to_decision_seconds_bucket")
    refusals = selected("rollbackd_refusals_total")
    return (
        coloured(
            areas(
                Caption("Watches under way", "By phase, one on top of the other."),
                Curve(f"sum by (phase) ({under_way})", "{{phase}}"),
                COUNT,
            ),
            PHASE_COLORS,
        ),
        coloured(
            areas(
                Caption(
                    "Judgements",
                    "Each look at each watch gives one. Inconclusive is normal while evidence "
                    "gathers, and the statistics allow for looking as often as one likes.",
                ),
                Curve(f"sum by (verdict) (rate({judgements}[$__rate_interval]))", "{{verdict}}"),
                Scale("cps"),
            ),
            VERDICT_COLORS,
        ),
        curves(
            Caption(
                "Time to decision",
                "From a watch's beginning to its verdict, warm-up included; inconclusive ones ran "
                "out of time. The points lead to the trace of a decision.",
            ),
            [
                Curve(
                    f"histogram_quantile({share}, sum by (le, phase) (rate({took}[1h])))",
                    f"{{{{phase}}}}: {text}",
                    exemplars=True,
                )
                for share, text in ((0.5, "half are quicker"), (0.9, "90 % are quicker"))
            ],
            Scale("s"),
        ),
        bars(
            Caption(
                "Refusals in the time shown",
                "By guard: what kept a plan from being carried out at once. Capacity and schema are "
                "worth a look before the next release; budget and incident mean a larger trouble.",
            ),
            Curve(f"round(sum by (guard) (increase({refusals}[$__range])))", "{{guard}}"),
            COUNT,
        ),
        curves(
            Caption(
                "Plans in the hour before",
                "Refused: a guard objected (cool-down, no known-good revision, another owner); "
                "the watch then needs a human.",
            ),
            [Curve(f"sum by (outcome) (increase({plans}[1h]))", "{{outcome}}")],
            COUNT,
        ),
        coloured(
            curves(
                Caption(
                    "Actions in the hour before",
                    "Conflict: the world moved on before the write, and a new plan is made. "
                    "Interrupted: handed over to the next start.",
                ),
                [Curve(f"sum by (outcome) (increase({actions}[1h]))", "{{outcome}}")],
                COUNT,
            ),
            {"done": "green", "failed": "red", "conflict": "yellow", "interrupted": "text"},
        ),
    )


def _blindness() -> tuple[Panel, ...]:
    held = selected("rollbackd_watches", f'phase="{Phase.HELD.value}"')
    under_way = selected("rollbackd_watches", f'phase=~"{either(UNDER_WAY)}"')
    missing = selected("rollbackd_evidence_missing_total")
    return (
        curves(
            Caption("Share held", "Of the watches under way, those that cannot be judged now."),
            [Curve(f"sum({held}) / (sum({under_way}) > 0) or vector(0)", "held")],
            Scale("percentunit", limits=((0.5, "red"),), maximum=1.0),
        ),
        areas(
            Caption(
                "Signals that could not be measured",
                "By reason. Warming and too_few pass by themselves; source_down, timeout and "
                "unauthorised are the source's; no_series is a selector that matches nothing.",
            ),
            Curve(f"sum by (reason) (rate({missing}[$__rate_interval]))", "{{reason}}"),
            Scale("cps"),
        ),
    )


def _regional() -> tuple[Panel, ...]:
    asking = (TrainPhase.AWAITING_APPROVAL, TrainPhase.AWAITING_RETURN, TrainPhase.NEEDS_HUMAN)
    waiting = selected("rollbackd_train_phase", f'phase=~"{either(asking)}"')
    since = selected("rollbackd_train_phase_since_timestamp_seconds")
    waited = f"(time() - max by (train) ({since})) * on (train) max by (train) ({waiting})"
    return (
        states(
            Caption(
                "Release trains",
                "Where each is: judged in a region, soaking, waiting for somebody, on its way back.",
            ),
            Curve(
                place_of_state("rollbackd_train_phase", "phase", TrainPhase, ("train",)),
                "{{train}}",
            ),
            [(phase.value, color) for phase, color in TRAIN_COLORS.items()],
        ),
        states(
            Caption(
                "Regions of the trains", "How each region stands to the release that is carried."
            ),
            Curve(
                place_of_state("rollbackd_train_region", "state", StopState, ("train", "region")),
                "{{train}}: {{region}}",
            ),
            [(state.value, color) for state, color in STOP_COLORS.items()],
        ),
        curves(
            Caption(
                "Trains that wait for somebody",
                "For how long. Nothing is released or taken back until somebody decides.",
            ),
            [Curve(waited, "{{train}}")],
            Scale("s", limits=((3600, "yellow"),)),
        ),
        states(
            Caption("Regions", "Whether each has its traffic, and what it waits for."),
            Curve(
                place_of_state("rollbackd_region_phase", "phase", RegionPhase, ("region",)),
                "{{region}}",
            ),
            [(phase.value, color) for phase, color in REGION_COLORS.items()],
        ),
    )


def _watches(*phases: str) -> str:
    watches = selected("rollbackd_watches", f'phase=~"{either(phases)}"')
    return f"sum({watches})"


def _entered(phase: str) -> str:
    transitions = selected("rollbackd_transitions_total", f'phase="{phase}"')
    return f"round(sum(increase({transitions}[$__range])))"
