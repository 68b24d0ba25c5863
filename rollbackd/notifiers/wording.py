"""What is said of a watch, in plain words, whoever is told."""

from datetime import UTC, datetime
from enum import StrEnum

from actions.marks import COMMIT
from analyzer.regions.life import RegionPhase
from analyzer.trains.life import TrainPhase
from analyzer.trains.standing import StopState
from analyzer.watch import Hold, Phase
from rollbackd.notifiers.links import parts
from rollbackd.regions.portrait import region_of
from rollbackd.rollouts.annotations import AUTHOR, CHANGE_CAUSE, CHANGE_URL
from rollbackd.trains.portrait import train_of
from rollbackd.views import StopView, TimelineItem, WatchView

STRONGEST = 3
"""Reasons that are told; the rest is on the page."""
QUIET = frozenset(
    {Phase.WARMING, Phase.OBSERVING, Phase.HEALTHY, Phase.INCONCLUSIVE, Phase.SUPERSEDED}
)
"""Phases of a rollout in which nobody has to look."""


class Severity(StrEnum):
    """How much it matters; the names are PagerDuty's."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


_SAID: dict[str, tuple[Severity, str]] = {
    Phase.WARMING: (Severity.INFO, "a new version is being rolled out"),
    Phase.OBSERVING: (Severity.INFO, "the new version is being compared"),
    Phase.HELD: (Severity.WARNING, "held"),
    Phase.DEGRADED: (Severity.CRITICAL, "the new version does harm"),
    Phase.DEMANDED: (Severity.WARNING, "a rollback was demanded"),
    Phase.AWAITING_APPROVAL: (Severity.CRITICAL, "the new version does harm: roll it back?"),
    Phase.ACTING: (Severity.CRITICAL, "rolling back"),
    Phase.VERIFYING: (Severity.WARNING, "rolled back, measuring whether it helped"),
    Phase.HEALTHY: (Severity.INFO, "the new version is healthy"),
    Phase.ROLLED_BACK: (Severity.INFO, "rolled back, and recovered"),
    Phase.REPORTED: (Severity.CRITICAL, "the new version does harm; nothing was done"),
    Phase.NEEDS_HUMAN: (Severity.CRITICAL, "somebody has to look"),
    Phase.INCONCLUSIVE: (Severity.INFO, "ended without a verdict"),
    Phase.SUPERSEDED: (Severity.INFO, "replaced by a newer version"),
}


_SAID_OF_REGIONS: dict[str, tuple[Severity, str]] = {
    RegionPhase.NORMAL: (Severity.INFO, "all is well"),
    RegionPhase.SICK: (Severity.CRITICAL, "the region is sick"),
    RegionPhase.REPORTED: (Severity.CRITICAL, "the region is sick; nothing was done"),
    RegionPhase.AWAITING_APPROVAL: (Severity.CRITICAL, "the region is sick: fail over?"),
    RegionPhase.FAILING_OVER: (Severity.CRITICAL, "its traffic is moving away"),
    RegionPhase.FAILED_OVER: (Severity.WARNING, "its traffic is elsewhere"),
    RegionPhase.AWAITING_RETURN: (Severity.WARNING, "the region is well again: fail back?"),
    RegionPhase.FAILING_BACK: (Severity.WARNING, "its traffic is coming back"),
    RegionPhase.NEEDS_HUMAN: (Severity.CRITICAL, "somebody has to look"),
}


_SAID_OF_TRAINS: dict[str, tuple[Severity, str]] = {
    TrainPhase.WAITING: (Severity.INFO, "no release is on its way"),
    TrainPhase.JUDGING: (Severity.INFO, "a release is on its way, and judged in one region"),
    TrainPhase.SOAKING: (Severity.INFO, "healthy so far, the next region follows"),
    TrainPhase.AWAITING_APPROVAL: (Severity.WARNING, "healthy so far: release the next region?"),
    TrainPhase.RELEASING: (Severity.INFO, "the next region is being released"),
    TrainPhase.AWAITING_RETURN: (Severity.CRITICAL, "a region failed: take the others back?"),
    TrainPhase.TAKING_BACK: (Severity.CRITICAL, "the regions that have the release go back"),
    TrainPhase.NEEDS_HUMAN: (Severity.CRITICAL, "somebody has to look"),
    TrainPhase.ARRIVED: (Severity.INFO, "the release is healthy in every region"),
    TrainPhase.STOPPED: (Severity.INFO, "stopped"),
    TrainPhase.TAKEN_BACK: (Severity.INFO, "taken back"),
}


def is_region(view: WatchView) -> bool:
    """Tell whether this is a region, and no rollout."""
    return region_of(view.id) is not None


def is_train(view: WatchView) -> bool:
    """Tell whether this is a release train, and no rollout."""
    return train_of(view.id) is not None


def is_rollout(view: WatchView) -> bool:
    """Tell whether this is a rollout: only those are weighed by their own evidence."""
    return not (is_region(view) or is_train(view))


def _said(view: WatchView) -> tuple[Severity, str]:
    if is_train(view):
        return _said_of_train(view)
    of = _SAID_OF_REGIONS if is_region(view) else _SAID
    return of.get(view.phase, (Severity.WARNING, view.phase))


def _said_of_train(view: WatchView) -> tuple[Severity, str]:
    how_bad, said = _SAID_OF_TRAINS.get(view.phase, (Severity.WARNING, view.phase))
    failed = [stop.region for stop in view.stops if stop.state == StopState.FAILED]
    if view.phase == TrainPhase.STOPPED and failed:
        return Severity.CRITICAL, f"stopped: the release failed in {', '.join(failed)}"
    if view.hold and how_bad is Severity.INFO:
        return Severity.WARNING, said  # it goes on by itself only when that region is seen again
    return how_bad, said


def severity(view: WatchView) -> Severity:
    """Return how much the state of a watch matters; what a person wanted held calls nobody."""
    if view.hold == Hold.SNOOZED:
        return Severity.INFO
    return _said(view)[0]


def headline(view: WatchView) -> str:
    """Return the state of a watch in half a line: "shop/checkout: rolling back"."""
    said = _said(view)[1]
    why = f" ({view.hold})" if view.hold else ""
    return f"{view.workload}: {said}{why}"


def subject(view: WatchView) -> str:
    """Return what a message is about, in one line."""
    if is_region(view):
        return f"compared with {view.baseline}; {view.outlook}"
    if is_train(view):
        return f"{view.canary} over {view.baseline}"
    return f"{view.baseline or '?'} → {view.canary} on {parts(view)['cluster']}"


def stop_line(stop: StopView) -> str:
    """Return how a region of a train stands: "us: healthy since 14:03 UTC"."""
    since = "" if stop.since is None else f" since {clock(stop.since)}"
    text = f" ({stop.text})" if stop.text else ""
    return f"{stop.region}: {stop.state}{since}{text}"


def is_quiet(view: WatchView) -> bool:
    """Tell whether nobody has to look at a state, unless they were told before."""
    return severity(view) is Severity.INFO if is_train(view) else view.phase in QUIET


def strongest(view: WatchView) -> tuple[str, ...]:
    """Return the reasons that matter most, the strongest first."""
    return view.reasons[:STRONGEST]


def author(view: WatchView) -> str:
    """Return who made the change, or ""."""
    return view.annotations.get(AUTHOR, "")


def change(view: WatchView) -> tuple[str, str]:
    """Return the commit or the cause of a change, and a web address of it; "" when unknown.

    Whoever can annotate a workload writes these: an address that is none is left out.
    """
    what = view.annotations.get(COMMIT) or view.annotations.get(CHANGE_CAUSE, "")
    url = view.annotations.get(CHANGE_URL, "")
    is_url = url.startswith(("https://", "http://")) and url.isprintable()
    return what, url if is_url and not set(url) & set(" <>|\"'`\\") else ""


def clock(at: float) -> str:
    """Return a time of day, in UTC."""
    return f"{datetime.fromtimestamp(at, UTC):%H:%M} UTC"


def entered(view: WatchView, phase: Phase) -> TimelineItem | None:
    """Return when a watch last entered a phase."""
    items = (i for i in reversed(view.timeline) if i.text.startswith(f"{phase.value}: "))
    return next(items, None)


def course(view: WatchView) -> str:
    """Return how it ended: "rolled back by ann at 12:03 UTC, recovered at 12:05 UTC", or ""."""
    acted = entered(view, Phase.VERIFYING)
    if acted is None:
        return ""
    by = f"by {view.decided_by}" if view.decided_by else "by rollbackd"
    text = f"rolled back {by} at {clock(acted.at)}"
    recovered = entered(view, Phase.ROLLED_BACK)
    return f"{text}, recovered at {clock(recovered.at)}" if recovered else text


def summary(view: WatchView) -> str:
    """Return everything in a few plain lines, for those who know no formatting."""
    lines = [headline(view), subject(view)]
    what, url = change(view)
    said = [f"by {author(view)}" if author(view) else "", what, url]
    lines.append(" ".join(part for part in said if part))
    lines += [f"• {reason}" for reason in strongest(view)]
    lines += [f"{place}. {stop_line(stop)}" for place, stop in enumerate(view.stops, 1)]
    lines += [course(view), view.note, f"Plan: {view.plan}" if view.plan else ""]
    lines.append(f"Mode {view.mode}: {view.outlook}")
    return "\n".join(line for line in lines if line)
