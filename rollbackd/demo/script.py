"""The script of the play: what happens when, and whether it ended as it should. Pure."""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import assert_never

from rollbackd.report.page import LABELLED
from rollbackd.views import TimelineItem, WatchView

HISTORY_S = 13.0
"""Before the canary gets traffic: what is normal for the baseline is learnt from this."""

FAULT_AFTER_S = 7.0
"""From the canary's first traffic to its fault: it looks well at first, as bad releases do."""

HELD_S = 10.0
"""A shared incident must have been held for so long, and nothing done, to be believed."""

TOTAL_S = 85.0
"""The whole play, so that with ending everything it is over within 90 s."""


class Cue(StrEnum):
    """What the stage is to do next."""

    ADMIT_CANARY = "the canary gets its share of traffic"
    ARM_FAULT = "the canary goes bad"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it ended: as it should or not, and a sentence for people."""

    expected: bool
    sentence: str


@dataclass(frozen=True, slots=True)
class Script:
    """Where the play stands; times are seconds since it began.

    Attributes:
        fault: of ``service.FAULTS``. given: the cues so far, and when.
    """

    fault: str
    given: tuple[tuple[Cue, float], ...] = field(default=())

    def next(self, elapsed: float) -> "tuple[Script, Cue | None]":
        """Return the script after this moment, and the cue that is due, if any."""
        match self.given:
            case () if elapsed >= HISTORY_S:
                cue = Cue.ADMIT_CANARY
            case ((Cue.ADMIT_CANARY, at),) if self.fault != "none":
                if elapsed < at + FAULT_AFTER_S:
                    return self, None
                cue = Cue.ARM_FAULT
            case _:
                return self, None
        return replace(self, given=(*self.given, (cue, elapsed))), cue

    def describe(self, cue: Cue) -> str:
        """Say for people what a cue means in this play."""
        match cue:
            case Cue.ADMIT_CANARY:
                return "canary gets traffic"
            case Cue.ARM_FAULT if self.fault == "dependency":
                return "fault: the stock is slow for everybody"
            case Cue.ARM_FAULT:
                return f"fault: {self.fault}"
            case _:
                assert_never(cue)


def outcome(fault: str, view: WatchView | None, canary_serves: bool) -> Outcome | None:
    """Return how the play ended, or None while it has not.

    Args:
        fault: what was done to the canary.
        view: the watch.
        canary_serves: the proxy still sends requests to the canary.
    """
    acted = not canary_serves
    if view is not None and fault == "dependency":
        return _shared(view, acted)
    if view is None or not view.final:
        return None
    if fault == "none":
        if view.phase == "healthy" and not acted and view.plan is None:
            return Outcome(True, "The canary is healthy: nothing was done, as it should be.")
        return Outcome(False, f"A healthy canary ended as {view.phase}: {_last_words(view)}")
    if view.phase == "rolled back" and acted:
        return Outcome(
            True,
            f"The bad canary ({fault}) was found {_found_after(view)}, its traffic was switched "
            "back to the baseline, and recovery was verified.",
        )
    if view.phase == "rolled back":
        return Outcome(False, "The watch says rolled back, but the canary still gets traffic.")
    return Outcome(False, f"The bad canary ended as {view.phase}: {_last_words(view)}")


def _shared(view: WatchView, acted: bool) -> Outcome | None:
    """Return how a play ended in which everybody suffers: held for a while, and nothing done."""
    if acted or view.plan is not None:
        return Outcome(False, f"It was not the canary's fault, but: {_last_words(view)}")
    held = [i.at for i in view.timeline if i.text.startswith("held")]
    if view.phase == "held" and view.updated_at - held[-1] >= HELD_S:
        return Outcome(
            True,
            "What both versions depend on is slow. That is a shared incident: the rollout is held, "
            "people are called, and nothing is rolled back.",
        )
    if view.final:
        return Outcome(False, f"The shared incident ended as {view.phase}: {_last_words(view)}")
    return None


def too_late(view: WatchView | None, seconds: float) -> Outcome:
    """Return the outcome of a play that was broken off."""
    if view is None:
        return Outcome(False, f"The daemon has not begun to watch within {seconds:.0f} s.")
    where = f"the watch is still {view.phase}: {_last_words(view)}"
    return Outcome(False, f"Not decided within {seconds:.0f} s; {where}")


def with_cues(view: WatchView, cues: "tuple[tuple[str, float], ...]") -> WatchView:
    """Return the watch with what the play did among what happened to it.

    Args:
        view: the watch.
        cues: what was done, and when (seconds since the epoch).
    """
    ours = [TimelineItem(at, LABELLED, text) for text, at in cues]
    return replace(view, timeline=tuple(sorted([*view.timeline, *ours], key=lambda i: i.at)))


def _found_after(view: WatchView) -> str:
    """Say how long after the fault it was found, or after the rollout's start."""
    found = next((i.at for i in view.timeline if i.text.startswith("degraded")), None)
    if found is None:
        return "in time"
    faults = [i.at for i in view.timeline if i.kind == LABELLED and i.text.startswith("fault")]
    since, what = (faults[0], "going bad") if faults else (view.started_at, "the rollout began")
    return f"{found - since:.0f} s after {what}"


def _last_words(view: WatchView) -> str:
    items = [i.text for i in view.timeline if i.kind != LABELLED]
    return items[-1].removeprefix(f"{view.phase}: ") if items else view.outlook
